#include "inference/region_predictor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <numeric>
#include <utility>

#include "inference/region_head.h"

namespace node::inference {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Logit 0 of every region task is the mean of the pixels; "t boxes" answers what the test says.
class Within : public Predictor {
 public:
  explicit Within(std::vector<Region> found, std::string note) : found_(std::move(found)), note_(std::move(note)) {}

  std::vector<TaskInfo> tasks() const override {
    TaskInfo boxes, regions;
    boxes.task = "t boxes";
    boxes.model_digest = "sha256:0123456789abcdef0123";
    regions.task = "t";
    regions.model_version = "head@1";
    regions.labels = config::kRegionScores;
    return {boxes, regions};
  }
  PredictorStats stats() const override { return {.requests = requests, .failures = 7}; }

  void submit(AnalysisRequest request, std::function<void(Result<std::vector<Prediction>>)> done) override {
    requests += 1;
    EXPECT_TRUE(request.image.pixels.empty());  // A crop is never stretched again.
    const double mean = std::accumulate(request.image.grey.begin(), request.image.grey.end(), 0.0) /
                        static_cast<double>(request.image.grey.size());
    std::vector<Prediction> answers;
    for (const std::string& task : request.tasks) {
      Prediction one;
      one.task = task;
      one.model_version = "head@1";
      if (task == "t boxes") {
        one.regions = found_;
        one.regions_note = note_;
      } else if (not_asked) {
        one.not_asked = "gate 0.1 below 0.5";
      } else {
        one.logits.assign(kRegionLogits, 0);
        one.logits[0] = static_cast<float>(mean);
      }
      answers.push_back(one);
    }
    if (request.image.rows == fails_at_rows) return done(internal_error("network"));
    done(std::move(answers));
  }

  std::atomic<std::uint64_t> requests{0};
  std::int32_t fails_at_rows = 0;
  bool not_asked = false;

 private:
  const std::vector<Region> found_;
  const std::string note_;
};

Region found_at(Box box, std::string label) {
  Region region;
  region.source = RegionSource::kDetector;
  region.label = std::move(label);
  region.box = box;
  return region;
}

class RegionPredictorTest : public testing::Test {
 protected:
  RegionPredictorTest() {
    config::TaskConfig task;
    task.name = "t";
    task.regions = true;
    task.region_selection.detector = "d";
    config_.tasks = {task};
  }

  void open(std::vector<Region> found, std::string note = "") {
    auto within = std::make_unique<Within>(std::move(found), std::move(note));
    within_ = within.get();
    predictor_ = open_region_predictor(std::move(within), config_);
  }
  Result<std::vector<Prediction>> ask(std::vector<std::string> tasks = {"t"}) {
    AnalysisRequest request;
    request.image = {2, 4, {}, {0, 0, 0, 8, 0, 0, 0, 8}};
    request.tasks = std::move(tasks);
    std::promise<Result<std::vector<Prediction>>> answer;
    predictor_->submit(std::move(request), [&](auto result) { answer.set_value(std::move(result)); });
    return answer.get_future().get();
  }

  config::InferenceConfig config_;
  Within* within_ = nullptr;
  std::unique_ptr<Predictor> predictor_;
};

TEST_F(RegionPredictorTest, EachFoundRegionIsCutAndTheWholeImageIsAlwaysThere) {
  open({found_at({0, 0, 2, 2}, "patella"), found_at({3, 0, 4, 1}, "distal femur")}, "left out: 1 box");
  const auto answer = ask();
  ASSERT_TRUE(answer.ok()) << answer.status().message();
  ASSERT_EQ(answer->size(), 1u);
  const Prediction& one = answer->front();
  ASSERT_EQ(one.regions.size(), 3u);
  EXPECT_EQ(one.regions[0].source, RegionSource::kWholeImage);
  EXPECT_EQ(one.regions[0].logits[0], 2);
  EXPECT_EQ(one.regions[1].logits[0], 0);
  EXPECT_EQ(one.regions[2].logits[0], 8);
  EXPECT_EQ(one.scores[0].region, 2);
  EXPECT_EQ(one.regions_note, "left out: 1 box");
  EXPECT_EQ(one.model_version, "head@1+regions:0123456789abcdef");
  EXPECT_EQ(predictor_->stats().requests, 1u);
  EXPECT_EQ(predictor_->stats().failures, 0u);
  ASSERT_EQ(predictor_->tasks().size(), 2u);
  EXPECT_EQ(predictor_->tasks()[1].model_version, "head@1+regions:0123456789abcdef");
}

TEST_F(RegionPredictorTest, WithoutABoxTheWholeImageIsTheAnswer) {
  open({}, "no regions found, whole image only");
  const auto answer = ask();
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->front().regions.size(), 1u);
  EXPECT_GT(answer->front().scores[0].value, 0.8);  // Of the whole image: never 0 for want of a box.
  EXPECT_EQ(answer->front().regions_note, "no regions found, whole image only");
}

TEST_F(RegionPredictorTest, ARegionThatFailsFailsTheRequest) {
  open({found_at({0, 0, 2, 1}, "patella"), found_at({0, 0, 2, 2}, "patella")});
  within_->fails_at_rows = 1;
  const auto answer = ask();
  ASSERT_FALSE(answer.ok());
  EXPECT_THAT(answer.status().message(), HasSubstr("task t: region patella: network"));
  EXPECT_EQ(predictor_->stats().failures, 1u);
}

TEST_F(RegionPredictorTest, ATaskThatIsNotAskedLooksAtNothing) {
  open({found_at({0, 0, 2, 1}, "patella")});
  within_->not_asked = true;
  const auto answer = ask();
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->front().not_asked, "gate 0.1 below 0.5");
  EXPECT_TRUE(answer->front().regions.empty() && answer->front().scores.empty());
  EXPECT_EQ(within_->requests, 1u);
}

TEST_F(RegionPredictorTest, ATaskOfAHalfSeesThatHalfAloneAndSaysWhich) {
  for (const config::Half half : {config::Half::kRight, config::Half::kLeft}) {
    config::TaskConfig task;
    task.name = config::half_name("knee", half);
    task.half = half;
    config_.tasks.push_back(task);
  }
  open({found_at({0, 0, 2, 2}, "patella")});
  for (const bool with_regions : {false, true}) {
    std::vector<std::string> tasks{"knee left half", "knee right half"};
    if (with_regions) tasks.push_back("t");
    const auto answer = ask(tasks);
    ASSERT_TRUE(answer.ok()) << answer.status().message();
    ASSERT_EQ(answer->size(), tasks.size());
    const Prediction &left = (*answer)[0], &right = (*answer)[1];
    EXPECT_EQ(left.task, "knee left half");
    EXPECT_EQ(left.part.side, "L");
    EXPECT_EQ(left.part.box, (Box{2, 0, 4, 2}));
    EXPECT_EQ(left.logits[0], 4);  // The mean of 0, 8, 0, 8: not stretched, and nothing of the other half.
    EXPECT_EQ(right.part.side, "R");
    EXPECT_EQ(right.part.box, (Box{0, 0, 2, 2}));
    EXPECT_EQ(right.logits[0], 0);
    EXPECT_TRUE(left.regions.empty());
    EXPECT_TRUE(!with_regions || answer->back().part.side.empty());
  }
  EXPECT_EQ(within_->requests, 2u + 4u);  // Two halves; then also the whole image and its region.
  EXPECT_EQ(predictor_->tasks().size(), 2u);
  within_->fails_at_rows = 2;
  EXPECT_THAT(ask({"knee left half"}).status().message(), HasSubstr("task knee left half: network"));
}

TEST_F(RegionPredictorTest, HalvesAloneNeedNoRegionTask) {
  config_.tasks.front().regions = false;
  config_.tasks.front().half = config::Half::kLeft;
  open({});
  const auto answer = ask();
  ASSERT_TRUE(answer.ok()) << answer.status().message();
  EXPECT_EQ(answer->front().part.side, "L");
}

TEST_F(RegionPredictorTest, WithoutARegionTaskNothingStandsBetween) {
  config_.tasks.front().regions = false;
  open({});
  EXPECT_EQ(predictor_.get(), within_);
}

TEST_F(RegionPredictorTest, ADetectorHasATaskOfItsOwnWithTheSameCondition) {
  config_.tasks.front().when = config::TaskCondition{"gate", "", 0.5};
  const config::InferenceConfig more = with_detector_tasks(config_);
  ASSERT_EQ(more.tasks.size(), 2u);
  EXPECT_EQ(more.tasks[1].model, "d");
  EXPECT_TRUE(more.tasks[1].detects && more.tasks[1].when);
}

}  // namespace
}  // namespace node::inference
