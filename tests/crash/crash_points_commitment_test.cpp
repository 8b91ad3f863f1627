// Storage commitment, both ways: the X-ray room asks whether its image is safe, which counts once the archive has
// committed to it; the archive and the PACS are asked about what they got, and the archive has lost an object once.
//
// What holds always: a request that was answered 0000 is answered in the end; nothing is called safe, and nothing is
// deleted, before the archive has committed to it; a report that a destination was not answered 0000 comes again, and
// a request that it never heard is made again.
#include <sstream>

#include "dicom_node/object/commitment_verdict.h"
#include "tests/crash/every_call.h"

namespace node::crash {
namespace {

using storage::CommitmentFailure;
using storage::SopReference;

constexpr std::chrono::hours kDay{24};

const Image& image() {
  static const Image image = make_image("image", 1);
  return image;
}

Status live_until_reported(Process& process, Hospital& hospital) {
  NODE_RETURN_IF_ERROR(receive_all(process, {&image()}));
  NODE_RETURN_IF_ERROR(process.analyze());
  hospital.clock().advance(kQuiet);
  return process.report();
}

// What a destination has decided and has to tell: "report archive TRANSACTION CLASS INSTANCE REASON", a line an object.
void decide(Hospital& hospital, const std::string& destination, const storage::BegunCommitment& asked) {
  const bool loses = destination == "archive" && !hospital.remembers("the archive lost one");
  for (const SopReference& one : asked.references) {
    const bool has = !loses && hospital.took(destination, one.sop_instance_uid);
    if (has) hospital.remember("committed " + destination + " " + one.sop_instance_uid);
    hospital.remember("report " + destination + " " + asked.transaction_uid + " " + one.sop_class_uid + " " +
                      one.sop_instance_uid + " " + std::to_string(has ? 0 : 0x0112));
  }
  if (loses) hospital.remember("the archive lost one");
}

Status take_reports(Process& process, Hospital& hospital, const std::string& destination) {
  const std::string prefix = "report " + destination + " ";
  for (const std::string& line : hospital.all_remembered(prefix)) {
    std::istringstream words(line);
    std::string transaction;
    SopReference reference;
    int reason = 0;
    words >> transaction >> reference.sop_class_uid >> reference.sop_instance_uid >> reason;
    std::vector<SopReference> committed;
    std::vector<CommitmentFailure> failed;
    if (reason == 0) committed.push_back(reference);
    if (reason != 0) failed.push_back({reference, static_cast<std::uint16_t>(reason)});
    NODE_RETURN_IF_ERROR(process.store().end_commitment(destination, transaction, committed, failed).status());
    hospital.forget(prefix + line);  // It was answered 0000.
  }
  return ok_status();
}

bool all_committed(Process& process) {
  const auto deliveries = process.store().list_deliveries({.limit = 100});
  return std::all_of(deliveries->begin(), deliveries->end(),
                     [](const storage::DeliveryRecord& one) { return one.commitment == "committed"; });
}

Status deliver_and_ask(Process& process, Hospital& hospital) {
  const auto answer = [](const auto&) {
    storage::DeliveryOutcome outcome;
    outcome.to_be_committed = true;
    return outcome;
  };
  for (int round = 0; round < 6; ++round) {
    for (const char* const destination : {"archive", "pacs"}) {
      NODE_RETURN_IF_ERROR(take_reports(process, hospital, destination));
      NODE_RETURN_IF_ERROR(process.deliver(destination, answer));
      NODE_RETURN_IF_ERROR(process.retain());
      hospital.clock().advance(std::chrono::seconds(2));  // So that one request speaks of a whole study.
      NODE_ASSIGN_OR_RETURN(const auto asked, process.store().begin_commitment(destination, 100, kDay, 7 * kDay));
      if (!asked.references.empty()) decide(hospital, destination, asked);
      NODE_RETURN_IF_ERROR(take_reports(process, hospital, destination));
    }
    if (all_committed(process)) return ok_status();
    if (round > 0) hospital.clock().advance(kDay);  // What was asked and never heard is asked again.
  }
  return internal_error("not committed after six rounds");
}

Status answer_the_room(Process& process, Hospital& hospital) {
  NODE_ASSIGN_OR_RETURN(const auto due, process.store().due_commitment_requests("xray1", 10));
  for (const storage::CommitmentRequest& request : due) {
    NODE_ASSIGN_OR_RETURN(const auto verdict,
                          object::judge_commitment({request.transaction_uid, request.references}, process.store(),
                                                   process.spool(), /*after_delivery=*/true, [] { return false; }));
    std::optional<std::chrono::milliseconds> again;
    if (verdict.waits) again = std::chrono::seconds(1);
    if (!again) hospital.remember(verdict.report.failed.empty() ? "told: safe" : "told: not safe");
    NODE_RETURN_IF_ERROR(process.store().end_commitment_request(request.id, again, ""));
  }
  return ok_status();
}

Status live(Process& process, Hospital& hospital) {
  if (!hospital.remembers("the room has asked")) {
    NODE_RETURN_IF_ERROR(process.store().add_commitment_request(
        "xray1", "1.2.99", {{image().sop_class_uid, image().sop_instance_uid.str()}}));
    hospital.remember("the room has asked");
  }
  NODE_RETURN_IF_ERROR(answer_the_room(process, hospital));
  NODE_RETURN_IF_ERROR(deliver_and_ask(process, hospital));
  NODE_RETURN_IF_ERROR(answer_the_room(process, hospital));
  return process.retain();
}

void check(Process& process, Hospital& hospital) {
  expect_files_as_rows_say(process);
  expect_known_what_was_sent(process, hospital);
  const bool committed = hospital.remembers("committed archive " + image().sop_instance_uid.str());
  EXPECT_TRUE(committed || !hospital.remembers("told: safe")) << "called safe before the archive had committed";
  EXPECT_FALSE(hospital.remembers("told: not safe")) << "it waits, and then it is safe";
  const auto instances = process.store().list_instances(Uid::parse(kStudy).value());
  for (const auto& held : *instances) EXPECT_TRUE(committed || !held.purged_at) << "deleted before it was committed";
}

void check_end(Process& process, Hospital& hospital, int faults) {
  check(process, hospital);
  EXPECT_TRUE(hospital.remembers("told: safe")) << "a request was lost";
  hospital.clock().advance(std::chrono::minutes(10));
  EXPECT_TRUE(process.store().due_commitment_requests("xray1", 10)->empty());
  EXPECT_TRUE(all_committed(process));
  const auto study = process.store().find_study(Uid::parse(kStudy).value());
  ASSERT_TRUE(study.ok()) << study.status().message();
  EXPECT_EQ(study->deliveries_done, 3);
  EXPECT_TRUE(hospital.all_remembered("report ").empty());
  EXPECT_LE(hospital.sent().size(), static_cast<std::size_t>(3 + 1 + faults)) << "and one again that was lost";
  EXPECT_TRUE(process.spool().list_keys()->empty()) << "all is deleted";
  EXPECT_TRUE(process.store().health().ok());
}

Stage commitment() {
  return {"storage commitment", [] { return after(&live_until_reported); }, &live, &check, &check_end};
}

INSTANTIATE_TEST_SUITE_P(Commitment, EveryCall, testing::Values(&commitment));

}  // namespace
}  // namespace node::crash
