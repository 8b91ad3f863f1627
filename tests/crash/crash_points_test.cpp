// Every call to the disk of a study's life, from the first start to retention: the power fails before it, the disk is
// full from it on, it alone fails. Then the node goes on, is checked, and lives to the end.
//
// What holds always: what was answered 0x0000 is there bit for bit, no row says PRESENT of a file that is gone, results
// and deliveries of a revision are all there or none, what left the node is known to it, no archive ever gets two UIDs
// or two contents for one result, and a file without a row is the only thing left behind.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <set>

#include "tests/crash/hospital.h"

namespace node::crash {
namespace {

using Loss = fakes::FaultyFileSystem::Loss;

struct Images {
  Image first = make_image("first", 1), second = make_image("second", 2);
  Image conflict = make_image("conflict", 1, 100), correction = make_image("correction", 2, 0, "R");
  Image late = make_image("late", 3);

  Images() { conflict.answer = receive::kOtherPixelsUnderKnownUid; }
};
const Images& images() {
  static const Images images;
  return images;
}

// A stage of the study's life: what there is to do, from any state in which a crash of it may leave the machine, and
// what is there when it is done.
struct Stage {
  const char* name;
  std::function<Status(Process&, Hospital&)> live;
  std::vector<const Image*> answered;
  int revision, originals, overlays, reports;  // Of the study; rows of deliveries.
  bool purged;
};

Status receive_all(Process& process, const std::vector<const Image*>& images) {
  for (const Image* image : images) {
    const std::uint16_t status = process.receive(*image);
    if (status == receive::kOutOfResources) return resource_exhausted("receive " + image->name + ": 0xA700");
    if (status == receive::kProcessingFailure) return data_loss("receive " + image->name + ": 0x0110");
    if (status != image->answer) return internal_error("receive " + image->name + ": " + std::to_string(status));
  }
  return ok_status();
}

Status work(Process& process, Hospital& hospital) {
  NODE_RETURN_IF_ERROR(process.analyze());
  hospital.clock().advance(kQuiet);
  NODE_RETURN_IF_ERROR(process.report());
  NODE_RETURN_IF_ERROR(process.deliver("archive"));
  return process.deliver("pacs");
}

// Two images, other pixels under the first one's UID, a correction of the second; analysed, reported, delivered.
Stage first_report() {
  const std::vector<const Image*> sent = {&images().first, &images().second, &images().conflict, &images().correction};
  return {"first report",
          [sent](Process& process, Hospital& hospital) -> Status {
            NODE_RETURN_IF_ERROR(receive_all(process, sent));
            return work(process, hospital);
          },
          sent,
          1,
          3,
          2,
          1,
          false};
}

// A late image makes the next revision; then all that was delivered is deleted.
Stage late_image_and_retention() {
  Stage stage = first_report();
  stage.name = "late image and retention";
  stage.live = [](Process& process, Hospital& hospital) -> Status {
    NODE_RETURN_IF_ERROR(receive_all(process, {&images().late}));
    NODE_RETURN_IF_ERROR(work(process, hospital));
    return process.retain();
  };
  stage.answered.push_back(&images().late);
  stage.revision = 2;
  stage.originals = 4, stage.overlays = 3, stage.reports = 2;
  stage.purged = true;
  return stage;
}

std::map<std::string, int> deliveries_by_kind(Process& process) {
  std::map<std::string, int> counts{{"original", 0}, {"sc", 0}, {"sr", 0}};
  const auto deliveries = process.store().list_deliveries({.limit = 100});
  for (const auto& delivery : *deliveries) ++counts[delivery.kind];
  return counts;
}

void expect_files_as_rows_say(Process& process) {
  std::set<std::string> known;
  const auto files = process.store().known_files();
  for (const StoredFile& file : *files) {
    const Status intact = process.spool().verify(file);
    EXPECT_TRUE(intact.ok()) << intact.message();
    known.insert(file.key);
  }
  const auto keys = process.spool().list_keys();
  for (const std::string& key : *keys) EXPECT_TRUE(known.contains(key) || process.spool().remove(key).ok());
}

void expect_answered_is_held(Process& process, Hospital& hospital) {
  const auto instances = process.store().list_instances(Uid::parse(kStudy).value());
  for (const Image* image : late_image_and_retention().answered) {
    const auto answered = hospital.answers().find(image->name);
    if (answered == hospital.answers().end() || answered->second != image->answer) continue;
    EXPECT_TRUE(std::any_of(instances->begin(), instances->end(),
                            [&](const storage::InstanceRecord& instance) {
                              return instance.sop_instance_uid == image->sop_instance_uid &&
                                     (instance.purged_at ||
                                      fakes::read_bytes(process.spool().path(instance.file.key)) == image->bytes);
                            }))
        << "lost: " << image->name;
  }
}

void expect_all_or_none_of_a_revision(Process& process) {
  std::map<std::string, int> deliveries = deliveries_by_kind(process);
  const int reports = deliveries["sr"];
  EXPECT_EQ(deliveries["sc"], reports == 0 ? 0 : reports + 1)
      << "two overlays with the first report, one with the next";
  const auto study = process.store().find_study(Uid::parse(kStudy).value());
  EXPECT_EQ(study.ok() && study->state == storage::StudyState::kFinished, study.ok() && reports == study->revision);
}

void expect_known_what_was_sent(Process& process, Hospital& hospital) {
  std::set<std::string> recorded;
  const auto deliveries = process.store().list_deliveries({.limit = 100});
  for (const auto& delivery : *deliveries) recorded.insert(delivery.destination + " " + delivery.sop_instance_uid);
  std::map<std::string, std::set<std::string>> contents;
  for (const Sent& object : hospital.sent()) {
    EXPECT_TRUE(recorded.contains(object.destination + " " + object.sop_instance_uid)) << object.sop_instance_uid;
    if (object.destination == "pacs") contents[object.sop_instance_uid].insert(object.bytes);
  }
  for (const auto& [uid, versions] : contents) EXPECT_EQ(versions.size(), 1u) << uid << " with several contents";
}

void check(Process& process, Hospital& hospital) {
  expect_files_as_rows_say(process);
  expect_answered_is_held(process, hospital);
  expect_all_or_none_of_a_revision(process);
  expect_known_what_was_sent(process, hospital);
}

// `faults`: each may have cost one re-send.
void check_end(const Stage& stage, Process& process, Hospital& hospital, int faults) {
  check(process, hospital);
  EXPECT_EQ(hospital.answers().size(), stage.answered.size());
  const auto study = process.store().find_study(Uid::parse(kStudy).value());
  ASSERT_TRUE(study.ok()) << study.status().message();
  EXPECT_EQ(study->state, storage::StudyState::kFinished);
  EXPECT_EQ(study->revision, stage.revision);
  EXPECT_EQ(study->analysed, study->instances) << "a version that was superseded is none";
  EXPECT_EQ(study->conflicts, 1);
  EXPECT_EQ(study->deliveries_pending + study->deliveries_parked, 0);
  EXPECT_EQ(deliveries_by_kind(process),
            (std::map<std::string, int>{{"original", stage.originals}, {"sc", stage.overlays}, {"sr", stage.reports}}));
  std::set<std::string> results, originals;
  for (const Sent& object : hospital.sent()) {
    if (object.destination == "pacs") results.insert(object.sop_instance_uid);
    if (object.destination == "archive") originals.insert(object.bytes);
  }
  EXPECT_EQ(results.size(), static_cast<std::size_t>(stage.overlays + stage.reports)) << "each under one UID";
  EXPECT_EQ(originals.size(), static_cast<std::size_t>(stage.originals));
  EXPECT_LE(hospital.sent().size(),
            static_cast<std::size_t>(stage.originals + stage.overlays + stage.reports + faults));
  EXPECT_TRUE(!stage.purged || process.spool().list_keys()->empty()) << "all is deleted";
  EXPECT_TRUE(process.store().health().ok());
}

// A machine on which all before `stage` was done.
std::unique_ptr<Hospital> before(const Stage& stage) {
  object::register_codecs();
  if (stage.revision == 1) return nullptr;
  auto hospital = std::make_unique<Hospital>();
  auto process = Process::start(*hospital);
  EXPECT_TRUE(process.ok()) << process.status().message();
  const Status lived = first_report().live(**process, *hospital);
  EXPECT_TRUE(lived.ok()) << lived.message();
  process->reset();
  return hospital;
}

class EveryCall : public testing::TestWithParam<Stage (*)()> {
 protected:
  EveryCall() : stage_(GetParam()()), before_(before(stage_)) {
    Hospital hospital = start();
    auto process = Process::start(hospital);
    EXPECT_TRUE(process.ok()) << process.status().message();
    const Status lived = stage_.live(**process, hospital);
    EXPECT_TRUE(lived.ok()) << lived.message();
    check_end(stage_, **process, hospital, 0);
    process->reset();
    calls_ = hospital.files().calls();
  }
  Hospital start() { return before_ ? Hospital(*before_) : Hospital(); }

  const Stage stage_;
  std::unique_ptr<Hospital> before_;  // Nothing: an empty disk.
  int calls_ = 0;
};

TEST_P(EveryCall, APowerLossBeforeItLosesAndDoublesNothing) {
  int points = 0;
  for (int call = 1; call <= calls_ && !HasFailure(); ++call) {
    for (const Loss loss : {Loss::kNamesAndContents, Loss::kSome}) {
      SCOPED_TRACE(
          std::string(stage_.name) + ": power lost before call " + std::to_string(call) +
          (loss == Loss::kSome ? ", some unsynced writes kept, the clock an hour back" : ", all unsynced writes lost"));
      Hospital hospital = start();
      hospital.files().lose_power_before(call);
      if (auto process = Process::start(hospital); process.ok()) {
        static_cast<void>(stage_.live(**process, hospital).ok());
      }
      hospital.files().lose_power(loss, static_cast<unsigned>(call));
      if (loss == Loss::kSome) hospital.clock().set_wall(hospital.clock().now() - std::chrono::hours(1));
      auto process = Process::start(hospital);
      ASSERT_TRUE(process.ok()) << process.status().message();
      check(**process, hospital);
      const Status lived = stage_.live(**process, hospital);
      EXPECT_TRUE(lived.ok()) << lived.message();
      check_end(stage_, **process, hospital, 1);
      ++points;
    }
  }
  std::printf("%s: %d calls, %d power losses survived\n", stage_.name, calls_, points);
}

// "Not now", in words, and once there is space again the same process goes on by itself.
TEST_P(EveryCall, ADiskThatIsFullFromItOnIsSaidAndSurvived) {
  for (int call = 1; call <= calls_ && !HasFailure(); ++call) {
    SCOPED_TRACE(std::string(stage_.name) + ": disk full from call " + std::to_string(call));
    Hospital hospital = start();
    hospital.files().fill_disk_before(call);
    auto process = Process::start(hospital);
    if (process.ok()) {
      for (int attempt = 0; attempt < 2; ++attempt) {
        const Status lived = stage_.live(**process, hospital);
        EXPECT_TRUE(lived.ok() || lived.code() == StatusCode::kResourceExhausted) << lived.message();
      }
    }
    hospital.files().free_disk();
    if (!process.ok()) process = Process::start(hospital);
    ASSERT_TRUE(process.ok()) << process.status().message();
    const Status lived = stage_.live(**process, hospital);
    EXPECT_TRUE(lived.ok()) << lived.message();
    check_end(stage_, **process, hospital, 0);
  }
  std::printf("%s: disk full from each of %d calls on survived\n", stage_.name, calls_);
}

// The same process goes on, and what it says then survives a power loss: also after a sync that failed and forgot.
TEST_P(EveryCall, AnErrorOfItAloneIsSaidAndSurvived) {
  for (int call = 1; call <= calls_ && !HasFailure(); ++call) {
    SCOPED_TRACE(std::string(stage_.name) + ": call " + std::to_string(call) + " fails");
    Hospital hospital = start();
    hospital.files().fail(call, data_loss("Input/output error"));
    {
      auto process = Process::start(hospital);
      if (process.ok()) static_cast<void>(stage_.live(**process, hospital).ok());
      if (!process.ok()) process = Process::start(hospital);
      ASSERT_TRUE(process.ok()) << process.status().message();
      const Status lived = stage_.live(**process, hospital);
      EXPECT_TRUE(lived.ok()) << lived.message();
      hospital.files().lose_power_before(1);
    }
    hospital.files().lose_power();
    auto process = Process::start(hospital);
    ASSERT_TRUE(process.ok()) << process.status().message();
    check_end(stage_, **process, hospital, 1);
  }
  std::printf("%s: an error of each of %d calls survived\n", stage_.name, calls_);
}

INSTANTIATE_TEST_SUITE_P(Life, EveryCall, testing::Values(&first_report, &late_image_and_retention));

}  // namespace
}  // namespace node::crash
