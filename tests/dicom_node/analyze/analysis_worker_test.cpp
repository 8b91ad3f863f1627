#include "dicom_node/analyze/analysis_worker.h"

#include <gtest/gtest.h>

#include "dicom_node/object/finding_record.h"
#include "dicom_node/object/image_loader.h"
#include "tests/fakes/fake_predictor.h"
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
  while (here.store().stats().instances_waiting > 0) predictor.answer_all();
  here.store().stop();  // Its clock stands still: nothing else ends a wait for work.
  worker->stop();
  EXPECT_EQ(predictor.most_waiting(), 2u);
  EXPECT_EQ(worker->stats().analysed, 6u);
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

}  // namespace
}  // namespace node::analyze
