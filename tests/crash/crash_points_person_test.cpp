// What a person does about deliveries that were refused: each is released or given up, the study is run again; then
// retention.
//
// What holds always: an act that was acknowledged stands; what was given up is never sent; nothing is deleted while
// anything waits for a person or for its destination.
#include "tests/crash/every_call.h"

namespace node::crash {
namespace {

using storage::ClaimedDelivery;
using storage::DeliveryOutcome;
using storage::DeliveryRecord;
using storage::DeliveryState;

const Image& image() {
  static const Image image = make_image("image", 1);
  return image;
}

Status live_until_reported(Process& process, Hospital& hospital) {
  NODE_RETURN_IF_ERROR(receive_all(process, {&image()}));
  NODE_RETURN_IF_ERROR(process.analyze());
  hospital.clock().advance(kQuiet);
  NODE_RETURN_IF_ERROR(process.report());
  return process.deliver("archive");
}

std::vector<DeliveryRecord> deliveries(Process& process) {  // The oldest first.
  auto found = process.store().list_deliveries({.limit = 100}).value();
  std::reverse(found.begin(), found.end());
  return found;
}

int revision(Process& process) { return process.store().find_study(Uid::parse(kStudy).value())->revision; }

// The person looks before anything is done a second time; what was not acknowledged may have happened.
Status act(Hospital& hospital, const std::string& what, bool done, const std::function<Status()>& call) {
  if (!hospital.remembers(what) && !done) NODE_RETURN_IF_ERROR(call());
  hospital.remember(what);
  return ok_status();
}

Status live(Process& process, Hospital& hospital) {
  const auto answer = [&](const ClaimedDelivery&) {
    DeliveryOutcome outcome;
    if (!hospital.remembers("the PACS is in order")) outcome.state = DeliveryState::kParked;
    return outcome;
  };
  NODE_RETURN_IF_ERROR(process.deliver("pacs", answer));
  if (!hospital.remembers("the PACS is in order")) NODE_RETURN_IF_ERROR(process.retain());
  hospital.remember("the PACS is in order");
  for (const DeliveryRecord& one : deliveries(process)) {
    const std::string id = std::to_string(one.id);
    const bool first = one.id <= 3;  // Of the first revision: the original, the overlay, the report.
    if (!first || one.kind == "original") continue;
    if (one.kind == "sc") {
      NODE_RETURN_IF_ERROR(act(hospital, "released " + id, one.state != DeliveryState::kParked,
                               [&] { return process.store().release_delivery(one.id).status(); }));
    } else {
      NODE_RETURN_IF_ERROR(act(hospital, "given up " + id, one.state == DeliveryState::kGivenUp,
                               [&] { return process.store().give_up_delivery(one.id); }));
    }
  }
  NODE_RETURN_IF_ERROR(process.deliver("pacs", answer));
  NODE_RETURN_IF_ERROR(act(hospital, "run again", revision(process) > 1,
                           [&] { return process.store().retry_study(Uid::parse(kStudy).value()).status(); }));
  NODE_RETURN_IF_ERROR(process.analyze());
  hospital.clock().advance(kQuiet);
  NODE_RETURN_IF_ERROR(process.report());
  NODE_RETURN_IF_ERROR(process.deliver("pacs", answer));
  return process.retain();
}

void check(Process& process, Hospital& hospital) {
  expect_files_as_rows_say(process);
  expect_known_what_was_sent(process, hospital);
  bool waits = false;
  for (const DeliveryRecord& one : deliveries(process)) {
    const std::string id = std::to_string(one.id);
    waits = waits || one.state == DeliveryState::kPending || one.state == DeliveryState::kParked;
    if (hospital.remembers("released " + id)) {
      EXPECT_TRUE(one.state == DeliveryState::kPending || one.state == DeliveryState::kDelivered) << "released in vain";
    }
    if (!hospital.remembers("given up " + id)) continue;
    EXPECT_EQ(one.state, DeliveryState::kGivenUp);
    EXPECT_FALSE(hospital.took("pacs", one.sop_instance_uid)) << "sent though it was given up";
  }
  EXPECT_TRUE(!hospital.remembers("run again") || revision(process) == 2) << "run again in vain";
  const auto instances = process.store().list_instances(Uid::parse(kStudy).value());
  for (const auto& held : *instances) {
    EXPECT_FALSE(waits && held.purged_at) << "deleted while something waits";
  }
}

void check_end(Process& process, Hospital& hospital, int faults) {
  check(process, hospital);
  const auto study = process.store().find_study(Uid::parse(kStudy).value());
  ASSERT_TRUE(study.ok()) << study.status().message();
  EXPECT_EQ(study->state, storage::StudyState::kFinished);
  EXPECT_EQ(study->revision, 2) << "run again once";
  EXPECT_EQ(study->deliveries_pending + study->deliveries_parked, 0);
  EXPECT_EQ(study->deliveries_given_up, 1);
  EXPECT_EQ(study->deliveries_done, 4) << "the original, the overlay, and those of the second revision";
  EXPECT_EQ(hospital.all_remembered("").size(), 4u);
  EXPECT_LE(hospital.sent().size(), static_cast<std::size_t>(4 + faults));
  EXPECT_TRUE(process.spool().list_keys()->empty()) << "all is deleted";
  EXPECT_TRUE(process.store().health().ok());
}

Stage release_give_up_and_retry() {
  return {"release, give up and retry", [] { return after(&live_until_reported); }, &live, &check, &check_end};
}

INSTANTIATE_TEST_SUITE_P(Person, EveryCall, testing::Values(&release_give_up_and_retry));

}  // namespace
}  // namespace node::crash
