// A RIS that gets an HL7 message once the PACS has the results, and is out of order at first; originals that the PACS
// gets after the results; a late image makes the second report and the second message; then retention.
//
// What holds always: no message and no late original leaves before its study has ended and the results have left, no
// message after a newer one, and a revision has its report, overlay and message or none of them.
#include "tests/crash/every_call.h"

namespace node::crash {
namespace {

using storage::ClaimedDelivery;
using storage::DeliveryOutcome;
using storage::DeliveryRecord;
using storage::DeliveryState;

struct Images {
  Image first = make_image("first", 1), late = make_image("late", 2);
};
const Images& images() {
  static const Images images;
  return images;
}

Plan plan() {
  Plan plan;
  plan.forward = {{.match = {}, .send_to = {"pacs"}, .after_results = true}};
  plan.results_to = {"pacs", "ris"};
  config::MessageConfig message;
  message.name = "ris";
  message.after = "pacs";
  plan.messages = {message};
  return plan;
}

std::vector<DeliveryRecord> deliveries(Process& process) {
  return process.store().list_deliveries({.limit = 100}).value();
}
bool is_result(const DeliveryRecord& one) { return one.destination == "pacs" && one.kind != "original"; }

void expect_its_turn(Process& process, Hospital& hospital, const ClaimedDelivery& claim) {
  const bool waits =
      claim.stage == storage::DeliveryStage::kMessage || claim.stage == storage::DeliveryStage::kLateOriginal;
  const auto study = process.store().find_study(claim.study_instance_uid);
  EXPECT_FALSE(waits && study->state != storage::StudyState::kFinished) << claim.sop_instance_uid.str() << " too early";
  for (const DeliveryRecord& one : deliveries(process)) {
    EXPECT_FALSE(waits && is_result(one) && one.state == DeliveryState::kPending)
        << claim.sop_instance_uid.str() << " before " << one.kind;
    EXPECT_FALSE(claim.destination == "ris" && one.destination == "ris" && one.id > claim.id &&
                 hospital.took("ris", one.sop_instance_uid))
        << "an old message after a new one";
  }
}

Status work(Process& process, Hospital& hospital) {
  const auto answer = [&](const ClaimedDelivery& claim) {
    expect_its_turn(process, hospital, claim);
    DeliveryOutcome outcome;
    if (claim.destination != "ris" || hospital.remembers("the RIS is in order")) return outcome;
    hospital.remember("the RIS is in order");
    outcome.state = DeliveryState::kPending;
    outcome.retry_in = std::chrono::seconds(60);
    return outcome;
  };
  NODE_RETURN_IF_ERROR(process.analyze());
  NODE_RETURN_IF_ERROR(process.deliver("pacs", answer));  // Nothing, unless a crash has left something.
  hospital.clock().advance(kQuiet);
  NODE_RETURN_IF_ERROR(process.report());
  for (int round = 0; round < 3; ++round) {
    for (const char* const destination : {"ris", "pacs", "ris"}) {
      NODE_RETURN_IF_ERROR(process.deliver(destination, answer));
    }
    hospital.clock().advance(std::chrono::seconds(60));
  }
  return ok_status();
}

Status live(Process& process, Hospital& hospital) {
  NODE_RETURN_IF_ERROR(work(process, hospital));
  NODE_RETURN_IF_ERROR(receive_all(process, {&images().late}));
  NODE_RETURN_IF_ERROR(work(process, hospital));
  return process.retain();
}

Status live_until_analysed(Process& process, Hospital&) {
  NODE_RETURN_IF_ERROR(receive_all(process, {&images().first}));
  return process.analyze();
}

void check(Process& process, Hospital& hospital) {
  expect_files_as_rows_say(process);
  expect_known_what_was_sent(process, hospital);
  std::map<std::string, int> counts;
  for (const DeliveryRecord& one : deliveries(process)) ++counts[one.kind == "original" ? one.kind : one.destination];
  EXPECT_EQ(counts["pacs"], 2 * counts["ris"]) << "an overlay and a report for each message";
}

void check_end(Process& process, Hospital& hospital, int faults) {
  check(process, hospital);
  const auto study = process.store().find_study(Uid::parse(kStudy).value());
  ASSERT_TRUE(study.ok()) << study.status().message();
  EXPECT_EQ(study->state, storage::StudyState::kFinished);
  EXPECT_EQ(study->revision, 2);
  EXPECT_EQ(study->deliveries_pending + study->deliveries_parked, 0);
  EXPECT_EQ(study->deliveries_done, 8) << "two each: original, overlay, report, message";
  std::set<std::string> messages;
  for (const Sent& object : hospital.sent())
    if (object.destination == "ris") messages.insert(object.sop_instance_uid);
  EXPECT_EQ(messages.size(), 2u);
  EXPECT_LE(hospital.sent().size(), static_cast<std::size_t>(8 + faults));
  EXPECT_TRUE(process.spool().list_keys()->empty()) << "all is deleted";
  EXPECT_TRUE(process.store().health().ok());
}

Stage messages_and_late_originals() {
  return {"messages and late originals", [] { return after(&live_until_analysed, plan()); }, &live, &check, &check_end};
}

INSTANTIATE_TEST_SUITE_P(Messages, EveryCall, testing::Values(&messages_and_late_originals));

}  // namespace
}  // namespace node::crash
