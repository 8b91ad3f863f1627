#include "dicom_node/analyze/analysis_worker.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>

#include <sstream>

#include "dicom_node/object/finding_record.h"
#include "dicom_node/object/image_loader.h"
#include "dicom_node/object/pending_route.h"
#include "tests/fakes/fake_predictor.h"
#include "tests/fakes/faulty_sqlite_vfs.h"
#include "tests/fakes/temporary_store.h"

namespace node::analyze {
namespace {

using storage::InstanceState;

std::string a_radiograph() {
  object::register_codecs();
  for (const auto& entry : std::filesystem::recursive_directory_iterator(NODE_TEST_DATA "/radiographs")) {
    if (entry.path().extension() == ".dcm") return fakes::read_bytes(entry.path());
  }
  return {};
}

// Waits (for the worker's threads, not for time) until no instance of the store is RECEIVED.
void wait_until_ended(storage::StudyStore& store) {
  while (store.stats().instances_waiting > 0) std::this_thread::yield();
}

TEST(AnalysisWorker, AnInstanceEndsAnalysedWithItsTasksInOrder) {
  fakes::TemporaryStore here;
  fakes::FakePredictor predictor;
  const auto uid = here.add(a_radiograph(), "1.2.3.1", "1.2.3", {"fracture", "implant"});
  auto worker = AnalysisWorker::start({}, here.spool(), here.store(), predictor);
  wait_until_ended(here.store());
  here.store().stop();  // Its clock stands still: nothing else ends a wait for work.
  worker->stop();
  const auto instances = here.store().list_instances(storage::Uid::parse("1.2.3").value()).value();
  ASSERT_EQ(instances.size(), 1u);
  EXPECT_EQ(instances[0].state, InstanceState::kAnalysed);
  ASSERT_EQ(instances[0].predictions.size(), 2u);
  EXPECT_EQ(instances[0].predictions[0].task, "fracture");
  EXPECT_EQ(instances[0].predictions[1].task, "implant");
  EXPECT_EQ(predictor.seeds(), std::vector<std::uint64_t>{object::mask_seed(uid.str())});
  EXPECT_EQ(worker->stats().analysed, 1u);
}

TEST(AnalysisWorker, ATrialHurriesNobody) {
  fakes::TemporaryStore here;
  fakes::FakePredictor predictor;
  const std::string image = a_radiograph();
  for (const bool shadow : {false, true}) {
    storage::RouteDecision route;
    route.rule = "test";
    route.tasks = {"fracture"};
    route.shadow = shadow;
    here.add_routed(image, shadow ? "1.2.4.1" : "1.2.3.1", shadow ? "1.2.4" : "1.2.3", route);
  }
  auto worker =
      AnalysisWorker::start({.urgent_when = {{"test", {{"fracture", "", 0}}}}}, here.spool(), here.store(), predictor);
  wait_until_ended(here.store());
  here.store().stop();
  worker->stop();
  EXPECT_NE(here.store().find_study(storage::Uid::parse("1.2.3").value())->urgent, "");
  EXPECT_EQ(here.store().find_study(storage::Uid::parse("1.2.4").value())->urgent, "");
}

TEST(AnalysisWorker, WhatCannotBeReadFailsAloneWithAReason) {
  fakes::TemporaryStore here;
  fakes::FakePredictor predictor;
  here.add("this is no DICOM", "1.2.3.1", "1.2.3", {"fracture"});
  here.add(a_radiograph(), "1.2.3.2", "1.2.3", {"fracture"});
  auto worker = AnalysisWorker::start({}, here.spool(), here.store(), predictor);
  wait_until_ended(here.store());
  here.store().stop();  // Its clock stands still: nothing else ends a wait for work.
  worker->stop();
  const auto instances = here.store().list_instances(storage::Uid::parse("1.2.3").value()).value();
  EXPECT_EQ(instances[0].state, InstanceState::kFailed);
  EXPECT_FALSE(instances[0].reason.empty());
  EXPECT_EQ(instances[1].state, InstanceState::kAnalysed);
}

TEST(AnalysisWorker, TheEnginesErrorIsTheReason) {
  fakes::TemporaryStore here;
  fakes::FakePredictor predictor;
  predictor.fail_with(internal_error("logits are not numbers"));
  here.add(a_radiograph(), "1.2.3.1", "1.2.3", {"fracture"});
  auto worker = AnalysisWorker::start({}, here.spool(), here.store(), predictor);
  wait_until_ended(here.store());
  here.store().stop();  // Its clock stands still: nothing else ends a wait for work.
  worker->stop();
  const auto instances = here.store().list_instances(storage::Uid::parse("1.2.3").value()).value();
  EXPECT_EQ(instances[0].state, InstanceState::kFailed);
  EXPECT_EQ(instances[0].reason, "logits are not numbers");
}

TEST(AnalysisWorker, NoMoreThanInFlightMaxAreOut) {
  fakes::TemporaryStore here;
  fakes::FakePredictor predictor(/*answer_at_once=*/false);
  const std::string image = a_radiograph();
  for (int i = 0; i < 6; ++i) here.add(image, "1.2.3." + std::to_string(i + 1), "1.2.3", {"fracture"});
  auto worker = AnalysisWorker::start({.load_workers = 3, .in_flight_max = 2}, here.spool(), here.store(), predictor);
  predictor.wait_for_waiting(2);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_GE(worker->stats().stuck, std::chrono::milliseconds(5)) << "what is out does not come back";
  while (here.store().stats().instances_waiting > 0) predictor.answer_all();
  here.store().stop();  // Its clock stands still: nothing else ends a wait for work.
  worker->stop();
  EXPECT_EQ(predictor.most_waiting(), 2u);
  EXPECT_EQ(worker->stats().analysed, 6u);
  EXPECT_EQ(worker->stats().stuck.count(), 0) << "at rest nothing is";
}

TEST(AnalysisWorker, StopWaitsForWhatIsOutAndStoresIt) {
  fakes::TemporaryStore here;
  fakes::FakePredictor predictor(/*answer_at_once=*/false);
  here.add(a_radiograph(), "1.2.3.1", "1.2.3", {"fracture"});
  auto worker = AnalysisWorker::start({}, here.spool(), here.store(), predictor);
  predictor.wait_for_waiting(1);
  here.store().stop();
  std::thread stopping([&] { worker->stop(); });
  predictor.answer_all();
  stopping.join();
  const auto instances = here.store().list_instances(storage::Uid::parse("1.2.3").value()).value();
  EXPECT_EQ(instances[0].state, InstanceState::kAnalysed);
}

// Its task "region" says "knee" of every image, with the probability it was made with; "anomaly" has a pass of its own.
class RegionPredictor : public fakes::FakePredictor {
 public:
  explicit RegionPredictor(double probability) : probability_(probability) {}
  std::vector<inference::TaskInfo> tasks() const override {
    std::vector<inference::TaskInfo> infos(4);
    infos[0].task = "region", infos[0].pass = 1;
    infos[1].task = "fracture", infos[1].pass = 1;
    infos[2].task = "knee-oa", infos[2].pass = 1;
    infos[3].task = "anomaly", infos[3].pass = 2;
    return infos;
  }
  void submit(inference::AnalysisRequest request,
              std::function<void(Result<std::vector<inference::Prediction>>)> done) override {
    asked_.push_back(request.tasks);
    body_parts_.push_back(request.body_part);
    fakes::FakePredictor::submit(std::move(request), [&, done](Result<std::vector<inference::Prediction>> answers) {
      for (inference::Prediction& answer : *answers) {
        if (answer.task == "region") answer.scores = {{"hand", 0.001, "1"}, {"knee", probability_, "1"}};
      }
      done(std::move(answers));
    });
  }
  const std::vector<std::vector<std::string>>& asked() const { return asked_; }  // After the worker's stop().
  const std::vector<std::string>& body_parts() const { return body_parts_; }

 private:
  const double probability_;
  std::vector<std::vector<std::string>> asked_;
  std::vector<std::string> body_parts_;
};

// Of a header that names no body part: the knee's route asks for three tasks, the hand's for one, an unsure answer for
// none.
storage::RouteDecision pending_route() {
  object::PendingRoute pending{"region", 0.8, {"region", "fracture", "knee-oa", "anomaly"}, {}, {}, 0};
  storage::RouteDecision nothing, knee, hand;
  nothing.reason = "no rule for DX, body part unknown";
  knee.rule = "knee";
  knee.body_part = "KNEE";
  knee.tasks = {"anomaly", "knee-oa", "region"};
  hand.rule = "hand";
  hand.body_part = "HAND";
  hand.tasks = {"fracture"};
  pending.routes = {nothing, knee, hand};
  pending.by_label = {{"knee", 1}, {"hand", 2}};
  storage::RouteDecision route;
  route.tasks = pending.tasks;
  route.pending = object::encode_pending_route(pending);
  return route;
}

TEST(AnalysisWorker, ThePixelsSettleAPendingRouteWithinThePassOfTheRegionHead) {
  fakes::TemporaryStore here;
  RegionPredictor predictor(0.95);
  here.add_routed(a_radiograph(), "1.2.3.1", "1.2.3", pending_route());
  auto worker = AnalysisWorker::start({}, here.spool(), here.store(), predictor);
  wait_until_ended(here.store());
  here.store().stop();  // Its clock stands still: nothing else ends a wait for work.
  worker->stop();
  using Asked = std::vector<std::vector<std::string>>;
  EXPECT_EQ(predictor.asked(), (Asked{{"region", "fracture", "knee-oa"}, {"anomaly"}}));
  EXPECT_EQ(predictor.body_parts(), (std::vector<std::string>{"", "KNEE"})) << "a map is ranked among knees";
  const auto instance = here.store().list_instances(storage::Uid::parse("1.2.3").value()).value()[0];
  EXPECT_EQ(instance.state, InstanceState::kAnalysed);
  EXPECT_EQ(instance.route.rule, "knee");
  EXPECT_EQ(instance.route.body_part_evidence, "the pixels (region: knee 0.95)");
  ASSERT_EQ(instance.predictions.size(), 3u);
  EXPECT_EQ(instance.predictions[0].task, "anomaly");
  EXPECT_EQ(instance.predictions[1].task, "knee-oa");
  EXPECT_EQ(instance.predictions[2].task, "region");
  EXPECT_EQ(worker->stats().analysed, 1u);
  EXPECT_EQ(worker->stats().in_flight, 0);
}

TEST(AnalysisWorker, AnUnsureRegionHeadSkipsTheImageWithItsAnswerAsReason) {
  fakes::TemporaryStore here;
  RegionPredictor predictor(0.4);
  here.add_routed(a_radiograph(), "1.2.3.1", "1.2.3", pending_route());
  auto worker = AnalysisWorker::start({}, here.spool(), here.store(), predictor);
  wait_until_ended(here.store());
  here.store().stop();  // Its clock stands still: nothing else ends a wait for work.
  worker->stop();
  EXPECT_EQ(predictor.asked().size(), 1u);
  const auto instance = here.store().list_instances(storage::Uid::parse("1.2.3").value()).value()[0];
  EXPECT_EQ(instance.state, InstanceState::kSkipped);
  EXPECT_EQ(instance.reason,
            "no rule for DX, body part unknown; the pixels do not say the body part (region: knee 0.40)");
  EXPECT_EQ(worker->stats().skipped, 1u);
}

TEST(AnalysisWorker, APendingRouteThatIsNotWhatWasStoredFailsItsImage) {
  fakes::TemporaryStore here;
  fakes::FakePredictor predictor;
  storage::RouteDecision route = pending_route();
  route.pending = "[]";
  here.add_routed(a_radiograph(), "1.2.3.1", "1.2.3", route);
  auto worker = AnalysisWorker::start({}, here.spool(), here.store(), predictor);
  wait_until_ended(here.store());
  here.store().stop();  // Its clock stands still: nothing else ends a wait for work.
  worker->stop();
  const auto instance = here.store().list_instances(storage::Uid::parse("1.2.3").value()).value()[0];
  EXPECT_EQ(instance.state, InstanceState::kFailed);
  EXPECT_EQ(instance.reason, "pending route: not what was stored");
}

TEST(AnalysisWorker, ADiskThatRefusesEveryClaimIsSaidOnceAndOnceThatItIsOver) {
  std::ostringstream log;
  const auto before = spdlog::default_logger();
  spdlog::set_default_logger(
      std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)));
  std::string name = (std::filesystem::temp_directory_path() / "skelex-test-XXXXXX").string();
  ASSERT_NE(mkdtemp(name.data()), nullptr);
  {
    config::StorageConfig config;
    config.directory = name;
    config.free_bytes_min = 0;
    SystemClock clock;
    fakes::FaultyFileSystem files;
    const fakes::FaultySqliteVfs vfs(files, name);
    auto store = storage::open_sqlite_study_store(config, clock, files).value();
    auto spool = storage::Spool::open(config, storage::posix_file_system()).value();
    const auto uid = storage::Uid::parse("1.2.3.1").value();
    storage::NewInstance image{.sop_instance_uid = uid, .study_instance_uid = storage::Uid::parse("1.2.3").value()};
    image.file = spool->store(a_radiograph(), uid).value();
    image.route.tasks = {"fracture"};
    ASSERT_TRUE(store->add_instance(image, storage::Arrival::kFirst, 0).ok());
    files.lose_power_before(1);  // Nothing can be written or synced.
    fakes::FakePredictor predictor;
    const auto worker = AnalysisWorker::start({.load_workers = 2}, *spool, *store, predictor);
    std::this_thread::sleep_for(std::chrono::milliseconds(2500));  // Each tries once a second.
    files.lose_power_before(0);
    wait_until_ended(*store);
    store->stop();
    worker->stop();
  }
  spdlog::set_default_logger(before);
  std::filesystem::remove_all(name);
  const auto times = [said = log.str()](const std::string& words) {
    int count = 0;
    for (auto at = said.find(words); at != std::string::npos; at = said.find(words, at + 1)) ++count;
    return count;
  };
  EXPECT_EQ(times("[error] event=analysis_claim_failed"), 1) << log.str();
  EXPECT_EQ(times("[info] event=analysis_claim_works"), 1) << log.str();
}

// Takes the process down at one image, as a bug in a decoder or a driver would.
class PoisonedPredictor : public fakes::FakePredictor {
 public:
  explicit PoisonedPredictor(std::uint64_t poisonous_seed) : poisonous_seed_(poisonous_seed) {}
  void submit(inference::AnalysisRequest request,
              std::function<void(Result<std::vector<inference::Prediction>>)> done) override {
    if (request.seed == poisonous_seed_) ::raise(SIGKILL);
    FakePredictor::submit(std::move(request), std::move(done));
  }

 private:
  const std::uint64_t poisonous_seed_;
};

TEST(AnalysisWorker, AnImageThatTakesTheProcessDownThreeTimesIsFailedAndTheRestGoesOn) {
  std::string name = (std::filesystem::temp_directory_path() / "skelex-test-XXXXXX").string();
  ASSERT_NE(mkdtemp(name.data()), nullptr);
  config::StorageConfig config;
  config.directory = name;
  config.free_bytes_min = 0;
  SystemClock clock;
  constexpr int kImages = 8;
  const auto poison = storage::Uid::parse("1.2.3.4").value();
  {
    auto store = storage::open_sqlite_study_store(config, clock).value();
    auto spool = storage::Spool::open(config, storage::posix_file_system()).value();
    for (int i = 1; i <= kImages; ++i) {
      const auto uid = storage::Uid::parse("1.2.3." + std::to_string(i)).value();
      storage::NewInstance image{.sop_instance_uid = uid, .study_instance_uid = storage::Uid::parse("1.2.3").value()};
      image.file = spool->store(a_radiograph(), uid).value();
      image.route.tasks = {"fracture"};
      image.reportable = true;
      ASSERT_TRUE(store->add_instance(image, storage::Arrival::kFirst, 0).ok());
    }
  }
  int deaths = 0;
  for (bool done = false; !done;) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto store = storage::open_sqlite_study_store(config, clock);
      auto spool = storage::Spool::open(config, storage::posix_file_system());
      if (!store.ok() || !spool.ok()) ::_exit(1);
      PoisonedPredictor predictor(object::mask_seed(poison.str()));
      auto worker = AnalysisWorker::start({.load_workers = 3, .in_flight_max = 4}, **spool, **store, predictor);
      wait_until_ended(**store);
      (*store)->stop();
      worker->stop();
      ::_exit(0);
    }
    int how = 0;
    ASSERT_EQ(::waitpid(child, &how, 0), child);
    done = WIFEXITED(how);
    ASSERT_TRUE(!done || WEXITSTATUS(how) == 0);
    deaths += done ? 0 : 1;
    ASSERT_LE(deaths, 3) << "the rest does not go on";
  }
  EXPECT_EQ(deaths, 3);
  {
    auto store = storage::open_sqlite_study_store(config, clock).value();
    const auto instances = store->list_instances(storage::Uid::parse("1.2.3").value()).value();
    for (const auto& instance : instances) {
      const bool poisonous = instance.sop_instance_uid == poison;
      EXPECT_EQ(instance.state, poisonous ? InstanceState::kFailed : InstanceState::kAnalysed);
      EXPECT_EQ(instance.reason, poisonous ? "took the process down 3 times" : "");
    }
    EXPECT_EQ(instances.size(), std::size_t{kImages});
  }
  std::filesystem::remove_all(name);
}

}  // namespace
}  // namespace node::analyze
