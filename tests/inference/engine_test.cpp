// The engine's promises, on tiny random checkpoints: what is shared, what is refused, and that everyone is answered.
#include "inference/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <future>
#include <limits>
#include <map>
#include <mutex>
#include <new>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>

#include "tests/fakes/fake_clock.h"
#include "tests/inference/checkpoint_files.h"

namespace node::inference {
namespace {

using namespace test_files;
using ::testing::AllOf;
using ::testing::HasSubstr;
using Answer = Result<std::vector<Prediction>>;

config::TaskConfig task(const std::string& name, const std::string& model,
                        config::OutputKind output = config::OutputKind::kSigmoid) {
  config::TaskConfig config;
  config.name = name;
  config.model = model;
  config.output = output;
  return config;
}

Radiograph radiograph(unsigned seed, std::int32_t rows = 13, std::int32_t columns = 9) {
  std::mt19937 random(seed);
  Radiograph image{rows, columns, {}};
  for (int i = 0; i < rows * columns; ++i) image.pixels.push_back(static_cast<float>(random() % 4096));
  return image;
}

AnalysisRequest request(std::vector<std::string> tasks, unsigned seed = 1) {
  AnalysisRequest request;
  request.image = radiograph(seed);
  request.tasks = std::move(tasks);
  request.seed = seed;
  return request;
}

std::uint64_t batches_of(const Predictor& predictor) {
  const std::vector<std::uint64_t> counts = predictor.stats().batch_rows.counts;
  return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

class EngineOnTinyModels : public ::testing::Test {
 protected:
  EngineOnTinyModels() {
    config_.device = "cpu";
    config_.threads = 1;
    config_.batch_delay = std::chrono::milliseconds(0);
    // "first" and "second" share a backbone, and "maps" has it too; "other" has its own.
    add_model("first", classifier_config(2), classifier_tensors(1, 2, /*head=*/1));
    add_model("second", classifier_config(3), classifier_tensors(1, 3, /*head=*/2));
    add_model("other", classifier_config(2), classifier_tensors(2, 2));
    add_model("maps", mae_config(), mae_tensors(1));
  }

  void add_model(const std::string& name, const nlohmann::json& config, const Tensors& tensors) {
    write_checkpoint(folder_.path() / name, config, tensors);
    config::ModelConfig model;
    model.name = name;
    model.path = (folder_.path() / name).string();
    config_.models.push_back(model);
  }

  std::unique_ptr<Predictor> open(EngineSeams seams = {}) {
    Result<std::unique_ptr<Predictor>> predictor = open_engine(config_, clock_, std::move(seams));
    if (!predictor.ok()) ADD_FAILURE() << predictor.status().message();
    return std::move(predictor).value();
  }
  Status refused() { return open_engine(config_, clock_).status(); }

  static std::future<Answer> submit(Predictor& predictor, AnalysisRequest request) {
    auto promise = std::make_shared<std::promise<Answer>>();
    std::future<Answer> answer = promise->get_future();
    predictor.submit(std::move(request), [promise](Answer result) { promise->set_value(std::move(result)); });
    return answer;
  }

  TemporaryFolder folder_;
  fakes::FakeClock clock_;
  config::InferenceConfig config_;
};

TEST_F(EngineOnTinyModels, HeadsOnOneBackboneShareItsPass) {
  config_.tasks = {task("a", "first"), task("b", "second", config::OutputKind::kSoftmax), task("c", "other"),
                   task("d", "first", config::OutputKind::kRegression)};
  const auto predictor = open();
  const Answer shared = submit(*predictor, request({"b", "a", "d"})).get();
  ASSERT_TRUE(shared.ok()) << shared.status().message();
  EXPECT_EQ(predictor->stats().backbone_passes, 1U);
  ASSERT_EQ(shared->size(), 3U);
  EXPECT_EQ((*shared)[0].task, "b");
  EXPECT_EQ((*shared)[1].task, "a");
  EXPECT_EQ((*shared)[1].logits, (*shared)[2].logits);

  const Answer several = submit(*predictor, request({"c", "a"})).get();
  ASSERT_TRUE(several.ok());
  EXPECT_EQ(predictor->stats().backbone_passes, 3U);
  EXPECT_EQ((*several)[0].model, "other");
  EXPECT_EQ((*several)[1].logits, (*shared)[1].logits);
  EXPECT_NE((*several)[0].logits, (*several)[1].logits);
}

// Five checkpoints with one backbone, and five slices of one head: each image costs one pass, also in a batch.
TEST_F(EngineOnTinyModels, AnImageRoutedToFiveHeadsCostsOneEncoderPass) {
  std::vector<std::string> heads, slices;
  for (int i = 0; i < 5; ++i) {
    const std::string number = std::to_string(i);
    add_model("model-" + number, classifier_config(2), classifier_tensors(7, 2, /*head=*/static_cast<unsigned>(i) + 1));
    config_.tasks.push_back(task(heads.emplace_back("head-" + number), "model-" + number));
  }
  add_model("multihead", classifier_config(5), classifier_tensors(8, 5));
  for (int i = 0; i < 5; ++i) {
    config_.tasks.push_back(task(slices.emplace_back("slice-" + std::to_string(i)), "multihead"));
    config_.tasks.back().logits_first = i;
    config_.tasks.back().logits_count = 1;
  }
  const auto predictor = open();
  std::set<std::vector<float>> different;
  for (const std::vector<std::string>& tasks : {heads, slices}) {
    const std::uint64_t before = predictor->stats().backbone_passes;
    std::vector<std::future<Answer>> answers;
    for (unsigned image = 0; image < 4; ++image) answers.push_back(submit(*predictor, request(tasks, image)));
    for (std::future<Answer>& future : answers) {
      const Answer answer = future.get();
      ASSERT_TRUE(answer.ok()) << answer.status().message();
      ASSERT_EQ(answer->size(), 5U);
      for (std::size_t i = 0; i < 5; ++i) {
        EXPECT_EQ((*answer)[i].task, tasks[i]);
        different.insert((*answer)[i].logits);
      }
    }
    EXPECT_EQ(predictor->stats().backbone_passes, before + 4);
  }
  EXPECT_EQ(different.size(), 2 * 5 * 4U);
}

TEST_F(EngineOnTinyModels, OutputKindsTurnLogitsIntoScores) {
  config_.tasks = {task("sigmoid", "first"), task("slice", "second", config::OutputKind::kSoftmax),
                   task("months", "second", config::OutputKind::kRegression)};
  config_.tasks[0].labels = {"x", "y"};
  config_.tasks[1].logits_first = 1;
  config_.tasks[2].logits_count = 1;
  config_.tasks[2].unit = "mo";
  config_.tasks[2].scale = 10;
  config_.tasks[2].offset = 100;
  const auto predictor = open();
  const Answer answer = submit(*predictor, request({"sigmoid", "slice", "months"})).get();
  ASSERT_TRUE(answer.ok());
  const Prediction& sigmoid = (*answer)[0];
  ASSERT_EQ(sigmoid.scores.size(), 2U);
  EXPECT_EQ(sigmoid.scores[1].label, "y");
  EXPECT_NEAR(sigmoid.scores[1].value, 1 / (1 + std::exp(-static_cast<double>(sigmoid.logits[1]))), 1e-9);
  const Prediction& slice = (*answer)[1];
  ASSERT_EQ(slice.scores.size(), 2U);
  EXPECT_EQ(slice.scores[0].label, "label-1");
  EXPECT_NEAR(slice.scores[0].value + slice.scores[1].value, 1, 1e-9);
  EXPECT_NEAR(std::log(slice.scores[0].value / slice.scores[1].value), slice.logits[0] - slice.logits[1], 1e-6);
  const Prediction& months = (*answer)[2];
  ASSERT_EQ(months.scores.size(), 1U);
  EXPECT_NEAR(months.scores[0].value, months.logits[0] * 10 + 100, 1e-4);
  EXPECT_EQ(months.scores[0].unit, "mo");
}

TEST_F(EngineOnTinyModels, AMapNamesModePassesAndSeedAndIsItsMean) {
  config_.tasks = {task("map", "maps", config::OutputKind::kAnomalyMap), task("a", "first")};
  const auto predictor = open();
  const Answer answer = submit(*predictor, request({"map", "a"}, 7)).get();
  ASSERT_TRUE(answer.ok()) << answer.status().message();
  const AnomalyMap& map = (*answer)[0].map;
  EXPECT_EQ(map.size, kSize);
  ASSERT_EQ(map.values.size(), 64U);
  EXPECT_EQ(map.patch_size, kPatch);
  EXPECT_EQ(map.mode, "partition");
  EXPECT_EQ(map.passes, 8);
  EXPECT_EQ(map.seed, 7U);
  EXPECT_EQ(map.mask_ratio, 0.75);
  double sum = 0;
  for (const float value : map.values) {
    EXPECT_GE(value, 0);
    EXPECT_LE(value, 1);
    sum += value;
  }
  EXPECT_NEAR(map.score, sum / 64, 1e-9);
  EXPECT_GT(map.score, 0);
  EXPECT_TRUE((*answer)[1].map.values.empty());
  EXPECT_EQ(predictor->stats().backbone_passes, 9U);  // Eight masked, one whole.

  const Answer again = submit(*predictor, request({"map"}, 7)).get();
  ASSERT_TRUE(again.ok());
  EXPECT_EQ((*again)[0].map.values, map.values);
}

TEST_F(EngineOnTinyModels, TheBatchAnImageTravelsInDoesNotChangeItsLabel) {
  config_.models[0].precision = config_.models[3].precision = config::Precision::kFloat32;
  config_.models[2].precision = config::Precision::kBfloat16;
  config_.tasks = {task("a", "first"), task("map", "maps", config::OutputKind::kAnomalyMap), task("c", "other")};
  config_.batch_rows_max = 64;
  config_.batch_delay = std::chrono::seconds(1);
  const auto predictor = open();
  std::vector<std::future<Answer>> together;
  for (unsigned seed = 0; seed < 6; ++seed) together.push_back(submit(*predictor, request({"a", "map", "c"}, seed)));
  clock_.advance(std::chrono::seconds(2));
  std::vector<Answer> batched;
  for (auto& answer : together) batched.push_back(answer.get());
  EXPECT_EQ(batches_of(*predictor), 3U);
  for (unsigned seed = 0; seed < 6; ++seed) {
    std::future<Answer> alone = submit(*predictor, request({"a", "map", "c"}, seed));
    clock_.advance(std::chrono::seconds(2));
    const Answer one = alone.get();
    ASSERT_TRUE(one.ok() && batched[seed].ok());
    for (std::size_t i = 0; i < 2; ++i) {
      const double scale = std::max(1.0F, std::abs((*one)[0].logits[i]));
      EXPECT_NEAR((*one)[0].logits[i], (*batched[seed])[0].logits[i], 1e-5 * scale);
    }
    EXPECT_NEAR((*one)[0].scores[0].value, (*batched[seed])[0].scores[0].value, 1e-5);
    EXPECT_NEAR((*one)[1].map.score, (*batched[seed])[1].map.score, 1e-6);
    EXPECT_NEAR((*one)[2].scores[0].value, (*batched[seed])[2].scores[0].value, 0.01);
  }
}

// A device that has memory for passes of so many rows.
EngineSeams memory_for(std::int64_t rows_max, std::vector<std::int64_t>& passes) {
  EngineSeams seams;
  seams.before_pass = [rows_max, &passes](const std::string&, std::int64_t rows) {
    if (rows > rows_max) throw std::bad_alloc();
    passes.push_back(rows);
  };
  return seams;
}

TEST_F(EngineOnTinyModels, OutOfDeviceMemoryHalvesTheBatchAndGoesOn) {
  config_.tasks = {task("a", "first"), task("map", "maps", config::OutputKind::kAnomalyMap)};
  config_.batch_rows_max = 64;
  config_.batch_delay = std::chrono::seconds(1);
  const auto answers_of = [this](Predictor& predictor) {
    std::vector<std::future<Answer>> futures;
    for (unsigned seed = 0; seed < 6; ++seed) futures.push_back(submit(predictor, request({"a", "map"}, seed)));
    clock_.advance(std::chrono::seconds(2));
    std::vector<Answer> answers;
    for (auto& future : futures) answers.push_back(future.get());
    return answers;
  };
  const auto roomy = open();
  const std::vector<Answer> expected = answers_of(*roomy);
  EXPECT_EQ(roomy->stats().halved_batches, 0U);

  std::vector<std::int64_t> passes;
  const auto tight = open(memory_for(5, passes));
  const std::vector<Answer> answers = answers_of(*tight);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    ASSERT_TRUE(answers[i].ok()) << answers[i].status().message();
    EXPECT_NEAR((*answers[i])[0].scores[0].value, (*expected[i])[0].scores[0].value, 1e-5);
    EXPECT_NEAR((*answers[i])[1].map.score, (*expected[i])[1].map.score, 1e-6);
  }
  EXPECT_EQ(tight->stats().halved_batches, 1U + 4U);  // 6 images to 3; 48 masked passes to 24, 12, 6, 3.
  EXPECT_THAT(passes, ::testing::Each(3));
  EXPECT_EQ(passes.size(), 2U + 16U);
  EXPECT_EQ(tight->stats().failures, 0U);
  EXPECT_EQ(tight->stats().batch_rows.sum, 6 + 48);
  EXPECT_EQ(tight->stats().batch_rows.counts[3], 1U);  // 5 to 8 rows: the images.
}

// The batch fails as a whole and says nothing of which image it was; of the three by themselves the second fails again.
TEST_F(EngineOnTinyModels, AnImageThatFailsItsBatchFailsAlone) {
  config_.tasks = {task("a", "first")};
  config_.batch_delay = std::chrono::seconds(1);
  std::vector<std::int64_t> passes;
  EngineSeams seams;
  seams.before_pass = [&passes](const std::string&, std::int64_t rows) {
    passes.push_back(rows);
    if (passes.size() == 1 || passes.size() == 3) throw std::runtime_error("no kernel for these numbers");
  };
  const auto predictor = open(std::move(seams));
  std::vector<std::future<Answer>> futures;
  for (unsigned seed = 0; seed < 3; ++seed) futures.push_back(submit(*predictor, request({"a"}, seed)));
  clock_.advance(std::chrono::seconds(2));
  EXPECT_TRUE(futures[0].get().ok());
  const Answer failed = futures[1].get();
  EXPECT_EQ(failed.status().code(), StatusCode::kInternal);
  EXPECT_THAT(failed.status().message(), HasSubstr("no kernel for these numbers"));
  EXPECT_TRUE(futures[2].get().ok());
  EXPECT_THAT(passes, ::testing::ElementsAre(3, 1, 1, 1));
  EXPECT_EQ(predictor->stats().failures, 1U);
}

TEST_F(EngineOnTinyModels, AModelThatDoesNotFitItsDeviceIsRefusedBeforeItIsRead) {
  EngineSeams seams;
  seams.devices = {{"cpu", false, 1000}};
  const Status status = open_engine(config_, clock_, seams).status();
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("model first"), HasSubstr("cpu has 0 of 0 MiB free")));
  seams.devices = {{"cpu", false, 1 << 30}};
  config_.tasks = {task("a", "first")};
  const auto predictor = open(seams);
  ASSERT_EQ(predictor->stats().memory.size(), 1U);
  EXPECT_EQ(predictor->stats().memory[0].free_bytes, 1U << 30);
}

TEST_F(EngineOnTinyModels, TheCpusMemoryIsTheMachines) {
  config_.tasks = {task("a", "first")};
  const DeviceMemory memory = open()->stats().memory.at(0);
  EXPECT_EQ(memory.device, "cpu");
  EXPECT_GT(memory.free_bytes, 0U);
  EXPECT_GT(memory.total_bytes, memory.free_bytes);
}

TEST_F(EngineOnTinyModels, WithoutMemoryForOneRowTheRequestFailsAndTheDeviceGoesOn) {
  config_.tasks = {task("a", "first")};
  std::atomic<bool> full{true};
  EngineSeams seams;
  seams.before_pass = [&full](const std::string&, std::int64_t) {
    if (full) throw std::bad_alloc();
  };
  const auto predictor = open(std::move(seams));
  const Answer failed = submit(*predictor, request({"a"})).get();
  EXPECT_EQ(failed.status().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(failed.status().message(), HasSubstr("cpu"));
  full = false;
  EXPECT_TRUE(submit(*predictor, request({"a"})).get().ok());
}

TEST_F(EngineOnTinyModels, AModelThatFailsImageAfterImageIsNamedUntilOneSucceeds) {
  config_.tasks = {task("a", "first"), task("c", "other")};
  std::atomic<bool> broken{true};
  EngineSeams seams;
  seams.before_pass = [&broken](const std::string&, std::int64_t) {
    if (broken) throw std::runtime_error("an illegal memory access was encountered");
  };
  const auto predictor = open(std::move(seams));
  for (int i = 0; i < kFailuresInARow; ++i) {
    EXPECT_THAT(predictor->stats().failing, ::testing::IsEmpty()) << "after " << i;
    EXPECT_FALSE(submit(*predictor, request({"a"})).get().ok());
  }
  EXPECT_THAT(predictor->stats().failing,
              ElementsAre(AllOf(HasSubstr("cpu: model first"), HasSubstr("illegal memory access"))));
  broken = false;
  EXPECT_TRUE(submit(*predictor, request({"c"})).get().ok());
  EXPECT_EQ(predictor->stats().failing.size(), 1U) << "another model's success says nothing of it";
  EXPECT_TRUE(submit(*predictor, request({"a"})).get().ok());
  EXPECT_THAT(predictor->stats().failing, ::testing::IsEmpty());
}

TEST_F(EngineOnTinyModels, AModelOnSeveralDevicesIsServedByTheOneWithTheFewestRows) {
  config_.tasks = {task("a", "first"), task("c", "other")};
  config_.models[0].devices = {"cpu", "cpu of another kind"};
  std::mutex mutex;
  std::map<std::string, std::int64_t> rows_of;
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  EngineSeams seams;
  seams.devices = {{"cpu", false}, {"cpu of another kind", false}};
  seams.before_pass = [&](const std::string& device, std::int64_t rows) {
    released.wait();
    const std::lock_guard lock(mutex);
    rows_of[device] += rows;
  };
  const auto predictor = open(std::move(seams));
  EXPECT_EQ(predictor->tasks()[0].device, "cpu,cpu of another kind");
  EXPECT_EQ(predictor->tasks()[1].device, "cpu");
  std::vector<std::future<Answer>> answers;
  for (unsigned i = 0; i < 3; ++i) answers.push_back(submit(*predictor, request({"c"})));  // Of the first device alone.
  for (unsigned i = 0; i < 7; ++i) answers.push_back(submit(*predictor, request({"a"})));
  release.set_value();
  std::vector<std::vector<float>> logits;
  for (auto& answer : answers) {
    const Answer one = answer.get();
    ASSERT_TRUE(one.ok()) << one.status().message();
    logits.push_back((*one)[0].logits);
  }
  EXPECT_EQ(rows_of["cpu"], 3 + 2);
  EXPECT_EQ(rows_of["cpu of another kind"], 5);
  for (std::size_t i = 4; i < logits.size(); ++i) {
    for (std::size_t j = 0; j < logits[i].size(); ++j) EXPECT_NEAR(logits[i][j], logits[3][j], 1e-5);
  }
}

TEST_F(EngineOnTinyModels, ADeviceThatIsNotThereIsNamedWithItsModel) {
  config_.tasks = {task("a", "first")};
  config_.models[0].devices = {"cpu", "cuda:63"};
  const Status status = refused();
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("model first"), HasSubstr("cuda:63")));
}

TEST_F(EngineOnTinyModels, WhatIsWrongInARequestIsAnsweredAtOnce) {
  config_.tasks = {task("a", "first")};
  config_.batch_delay = std::chrono::seconds(1);  // Of a clock that stands still: nothing here waits for it.
  const auto predictor = open();
  const Answer unknown = submit(*predictor, request({"a", "nonsense"})).get();
  EXPECT_EQ(unknown.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(unknown.status().message(), HasSubstr("nonsense"));
  EXPECT_EQ(submit(*predictor, request({})).get().status().code(), StatusCode::kInvalidArgument);
  AnalysisRequest misshapen = request({"a"});
  misshapen.image.rows = 1000;
  EXPECT_EQ(submit(*predictor, misshapen).get().status().code(), StatusCode::kInvalidArgument);
  AnalysisRequest not_a_number = request({"a"});
  not_a_number.image.pixels[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(submit(*predictor, not_a_number).get().status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(predictor->stats().requests, 4U);
  EXPECT_EQ(predictor->stats().failures, 4U);
}

TEST_F(EngineOnTinyModels, LogitsThatAreNoNumbersFailTheirRequestAlone) {
  Tensors tensors = classifier_tensors(1, 2);
  // Whatever the sign of the features' sum, one of the two logits leaves float32's range.
  std::vector<float> weights(2 * kHidden, 3e38F);
  std::fill(weights.begin() + kHidden, weights.end(), -3e38F);
  tensors["classifier.weight"] = tensor_of({2, kHidden}, weights);
  tensors["classifier.bias"] = tensor_of({2}, {3.4e38F, 3.4e38F});
  add_model("overflows", classifier_config(2), tensors);
  config_.tasks = {task("a", "first"), task("bad", "overflows")};
  config_.batch_delay = std::chrono::seconds(1);
  const auto predictor = open();
  std::future<Answer> good = submit(*predictor, request({"a"}));
  std::future<Answer> bad = submit(*predictor, request({"a", "bad"}));
  clock_.advance(std::chrono::seconds(2));
  EXPECT_TRUE(good.get().ok());
  const Answer failed = bad.get();
  EXPECT_EQ(failed.status().code(), StatusCode::kInternal);
  EXPECT_THAT(failed.status().message(), HasSubstr("bad"));
  EXPECT_EQ(batches_of(*predictor), 1U);
  EXPECT_EQ(predictor->stats().failures, 1U);
}

// "tumour", then "malignant" on another backbone, then "subtype" on the first: each only where the one before says so.
TEST_F(EngineOnTinyModels, ATaskIsAskedOnlyWhereAnotherReachesItsValue) {
  config_.tasks = {task("tumour", "first"), task("malignant", "other"),
                   task("subtype", "second", config::OutputKind::kSoftmax)};
  config_.tasks[0].labels = {"Tumour", "Other"};
  config_.tasks[1].labels = {"Malignant", "Other"};
  for (const auto& [at_least, asked] : {std::pair{0.0, true}, {1.0, false}}) {
    config_.tasks[1].when = {{"tumour", "Tumour", at_least}};
    config_.tasks[2].when = {{"malignant", "Malignant", 0.0}};
    const auto predictor = open();
    const Answer answer = submit(*predictor, request({"subtype", "malignant", "tumour"})).get();
    ASSERT_TRUE(answer.ok()) << answer.status().message();
    EXPECT_EQ((*answer)[2].scores.size(), 2U);
    EXPECT_EQ((*answer)[1].not_asked.empty(), asked);
    EXPECT_EQ((*answer)[0].not_asked.empty(), asked);
    EXPECT_EQ((*answer)[0].scores.empty(), !asked) << "though its numbers came with the pass of `tumour`";
    EXPECT_EQ(predictor->stats().backbone_passes, asked ? 2U : 1U) << "the other backbone is not run in vain";
    if (asked) continue;
    EXPECT_THAT((*answer)[1].not_asked, AllOf(HasSubstr("tumour Tumour 0."), HasSubstr("below 1")));
    EXPECT_EQ((*answer)[0].not_asked, "malignant was not asked");
    EXPECT_EQ((*answer)[1].model, "other");
  }
}

TEST_F(EngineOnTinyModels, ATaskMayWaitForWhatIsKnownOfAnEarlierRequest) {
  config_.tasks = {task("tumour", "first"), task("malignant", "other")};
  config_.tasks[1].when = {{"tumour", "label-0", 0.5}};
  const auto predictor = open();
  EXPECT_EQ(submit(*predictor, request({"malignant"})).get().status().code(), StatusCode::kInvalidArgument);
  for (const double value : {0.49, 0.4996, 0.5}) {
    AnalysisRequest second = request({"malignant"});
    Prediction& tumour = second.known.emplace_back();
    tumour.task = "tumour";
    tumour.scores = {{"label-0", value, "1"}, {"label-1", 0.9, "1"}};
    const Answer answer = submit(*predictor, std::move(second)).get();
    ASSERT_TRUE(answer.ok()) << answer.status().message();
    ASSERT_EQ(answer->size(), 1U);
    EXPECT_EQ((*answer)[0].not_asked, value == 0.5    ? ""
                                      : value == 0.49 ? "tumour label-0 0.49 below 0.5"
                                                      : "tumour label-0 0.4996 below 0.5");
  }
}

TEST_F(EngineOnTinyModels, ConditionsThatCanNeverBeMetAreRefusedAtOpening) {
  config_.tasks = {task("a", "first"), task("b", "other"), task("map", "maps", config::OutputKind::kAnomalyMap)};
  const auto refusal = [&](const config::TaskCondition& of_a, std::optional<config::TaskCondition> of_b = {}) {
    config_.tasks[0].when = of_a;
    config_.tasks[1].when = std::move(of_b);
    return refused().message();
  };
  EXPECT_THAT(refusal({"c", "", 0.5}), HasSubstr("no task named c"));
  EXPECT_THAT(refusal({"map", "", 0.5}), HasSubstr("anomaly map"));
  EXPECT_THAT(refusal({"b", "", 0.5}), HasSubstr("b has 2 labels"));
  EXPECT_THAT(refusal({"b", "x", 0.5}), HasSubstr("b has no label 'x'"));
  EXPECT_THAT(refusal({"b", "label-0", 0.5}, {{"a", "label-0", 0.5}}), HasSubstr("circle"));
}

TEST_F(EngineOnTinyModels, AStopAsksTheRestOfACascade) {
  config_.tasks = {task("a", "first"), task("c", "other"), task("map", "maps", config::OutputKind::kAnomalyMap)};
  config_.tasks[1].when = {{"a", "label-0", 0.0}};
  config_.tasks[2].when = {{"c", "label-0", 0.0}};
  config_.batch_delay = std::chrono::seconds(60);  // Of a clock that stands still.
  auto predictor = open();
  std::vector<std::future<Answer>> answers;
  for (unsigned seed = 0; seed < 10; ++seed) answers.push_back(submit(*predictor, request({"map", "c", "a"}, seed)));
  predictor.reset();
  for (auto& answer : answers) {
    ASSERT_EQ(answer.wait_for(std::chrono::seconds(0)), std::future_status::ready);
    const Answer got = answer.get();
    ASSERT_TRUE(got.ok()) << got.status().message();
    EXPECT_GT((*got)[0].map.size, 0);
  }
}

TEST_F(EngineOnTinyModels, ShutdownAnswersEveryone) {
  config_.tasks = {task("a", "first"), task("c", "other"), task("map", "maps", config::OutputKind::kAnomalyMap)};
  config_.batch_rows_max = 4;
  config_.batch_delay = std::chrono::seconds(60);  // Of a clock that stands still.
  auto predictor = open();
  std::vector<std::future<Answer>> answers;
  for (unsigned seed = 0; seed < 25; ++seed) answers.push_back(submit(*predictor, request({"a", "c", "map"}, seed)));
  predictor.reset();
  for (auto& answer : answers) {
    ASSERT_EQ(answer.wait_for(std::chrono::seconds(0)), std::future_status::ready);
    EXPECT_TRUE(answer.get().ok());
  }
}

TEST_F(EngineOnTinyModels, ManyThreadsAreEachAnsweredOnce) {
  config_.tasks = {task("a", "first"), task("b", "second"), task("map", "maps", config::OutputKind::kAnomalyMap)};
  const auto predictor = open();
  std::atomic<int> answered{0};
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      std::vector<std::future<Answer>> answers;
      for (unsigned i = 0; i < 10; ++i)
        answers.push_back(submit(*predictor, request({"a", "b", "map"}, thread * 10 + i)));
      for (auto& answer : answers) answered += answer.get().ok() ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answered, 40);
  EXPECT_EQ(predictor->stats().backbone_passes, 40 * 9U);
  EXPECT_EQ(predictor->stats().waiting, 0);
}

TEST_F(EngineOnTinyModels, ALabelListOfTheWrongLengthIsNamedWithBothCounts) {
  config_.tasks = {task("kl-grade", "second", config::OutputKind::kSoftmax)};
  config_.tasks[0].labels = {"0", "1", "2", "3", "4"};
  const Status status = refused();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("kl-grade"), HasSubstr("5 labels"), HasSubstr("3 logits")));
  config_.tasks[0].labels = {"label-1", "label-0", "label-2"};
  config_.tasks[0].origin = "node.yaml:7";
  EXPECT_THAT(refused().message(), AllOf(HasSubstr("node.yaml:7: tasks.kl-grade: "), HasSubstr("'label-1'")));
}

TEST_F(EngineOnTinyModels, WhatCannotBeServedIsRefusedAtOpening) {
  const auto refused_with = [this](const config::TaskConfig& wrong) {
    config_.tasks = {wrong};
    const Status status = refused();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    return status.message();
  };
  EXPECT_THAT(refused_with(task("t", "nowhere")), HasSubstr("nowhere"));
  EXPECT_THAT(refused_with(task("t", "maps")), HasSubstr("masked autoencoder"));
  EXPECT_THAT(refused_with(task("t", "first", config::OutputKind::kAnomalyMap)), HasSubstr("classifier"));
  config::TaskConfig slice = task("t", "first");
  slice.logits_first = 1;
  slice.logits_count = 2;
  EXPECT_THAT(refused_with(slice), HasSubstr("has 2"));
  config::TaskConfig passes = task("t", "maps", config::OutputKind::kAnomalyMap);
  passes.passes = 10;
  EXPECT_THAT(refused_with(passes), HasSubstr("10"));

  config_.tasks = {task("t", "first")};
  config_.device = "gpu";
  EXPECT_THAT(refused().message(), HasSubstr("gpu"));
  config_.device = "cpu";
  config_.models[1].path += "-gone";
  const Status gone = refused();
  EXPECT_EQ(gone.code(), StatusCode::kNotFound);
  EXPECT_THAT(gone.message(), AllOf(HasSubstr("second"), HasSubstr(config_.models[1].path)));
}

TEST_F(EngineOnTinyModels, ANodeWithoutModelsHasNoTasksAndRefusesRequests) {
  config_.models.clear();
  const auto predictor = open();
  EXPECT_TRUE(predictor->tasks().empty());
  EXPECT_EQ(submit(*predictor, request({"a"})).get().status().code(), StatusCode::kInvalidArgument);
}

TEST_F(EngineOnTinyModels, TasksTellTheirModelAndPrecision) {
  config_.tasks = {task("a", "first"), task("map", "maps", config::OutputKind::kAnomalyMap)};
  config_.models[0].precision = config::Precision::kBfloat16;
  config_.models[3].precision = config::Precision::kFloat32;
  const auto predictor = open();
  const std::vector<TaskInfo> infos = predictor->tasks();
  ASSERT_EQ(infos.size(), 2U);
  EXPECT_EQ(infos[0].precision, "bfloat16");
  EXPECT_EQ(infos[0].labels, (std::vector<std::string>{"label-0", "label-1"}));
  EXPECT_THAT(infos[0].model_version, HasSubstr("first@sha256:"));
  EXPECT_EQ(infos[1].precision, "float32");
  EXPECT_EQ(infos[1].device, "cpu");
  EXPECT_TRUE(submit(*predictor, request({"a", "map"})).get().ok());
}

}  // namespace
}  // namespace node::inference
