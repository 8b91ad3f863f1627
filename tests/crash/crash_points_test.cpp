// Every call to the disk of a study's life, from the first start to retention: the power fails before it, the disk is
// full from it on, it alone fails. Then the node goes on, is checked, and lives to the end.
//
// What holds always: what was answered 0x0000 is there bit for bit, no row says PRESENT of a file that is gone, results
// and deliveries of a revision are all there or none, what left the node is known to it, no archive ever gets two UIDs
// or two contents for one result, and a file without a row is the only thing left behind.
#include <algorithm>
#include <set>

#include "tests/crash/every_call.h"

namespace node::crash {
namespace {

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

struct Outcome {  // What is there when a stage is done.
  std::vector<const Image*> answered;
  int revision, originals, overlays, reports;  // Of the study; rows of deliveries.
  bool purged;
};

// Two images, other pixels under the first one's UID, a correction of the second; then a late one.
const std::vector<const Image*> kFirst = {&images().first, &images().second, &images().conflict, &images().correction};
const std::vector<const Image*> kAll = {&images().first, &images().second, &images().conflict, &images().correction,
                                        &images().late};

Status live_first_report(Process& process, Hospital& hospital) {
  NODE_RETURN_IF_ERROR(receive_all(process, kFirst));
  return work_off(process, hospital);
}

Status live_late_image_and_retention(Process& process, Hospital& hospital) {
  NODE_RETURN_IF_ERROR(receive_all(process, {&images().late}));
  NODE_RETURN_IF_ERROR(work_off(process, hospital));
  return process.retain();
}

std::map<std::string, int> deliveries_by_kind(Process& process) {
  std::map<std::string, int> counts{{"original", 0}, {"sc", 0}, {"sr", 0}};
  const auto deliveries = process.store().list_deliveries({.limit = 100});
  for (const auto& delivery : *deliveries) ++counts[delivery.kind];
  return counts;
}

void expect_answered_is_held(Process& process, Hospital& hospital) {
  const auto instances = process.store().list_instances(Uid::parse(kStudy).value());
  for (const Image* image : kAll) {
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

void check(Process& process, Hospital& hospital) {
  expect_files_as_rows_say(process);
  expect_answered_is_held(process, hospital);
  expect_all_or_none_of_a_revision(process);
  expect_known_what_was_sent(process, hospital);
}

void check_end(const Outcome& stage, Process& process, Hospital& hospital, int faults) {
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

// Analysed, reported, delivered.
Stage first_report() {
  const Outcome outcome{kFirst, 1, 3, 2, 1, false};
  return {
      "first report", [] { return std::make_unique<Hospital>(); }, &live_first_report, &check,
      [outcome](Process& process, Hospital& hospital, int faults) { check_end(outcome, process, hospital, faults); }};
}

// A late image makes the next revision; then all that was delivered is deleted.
Stage late_image_and_retention() {
  const Outcome outcome{kAll, 2, 4, 3, 2, true};
  return {
      "late image and retention", [] { return after(&live_first_report); }, &live_late_image_and_retention, &check,
      [outcome](Process& process, Hospital& hospital, int faults) { check_end(outcome, process, hospital, faults); }};
}

// The same where the database takes over its log after almost every transaction: its writes and syncs are points too.
Stage with_a_short_log() {
  static const Plan plan{.log_pages_max = 4};
  Stage stage = late_image_and_retention();
  stage.name = "late image and retention, with a short log";
  stage.before = [] { return after(&live_first_report, plan); };
  return stage;
}

INSTANTIATE_TEST_SUITE_P(ShortLog, EveryCall, testing::Values(&with_a_short_log));
INSTANTIATE_TEST_SUITE_P(Life, EveryCall, testing::Values(&first_report, &late_image_and_retention));

}  // namespace
}  // namespace node::crash
