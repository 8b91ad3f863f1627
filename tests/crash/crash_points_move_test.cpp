// Images that corrections move from one study to another, one after the other, until the first has none left; then
// retention.
//
// What holds always: what was answered 0x0000 is there bit for bit, in the study that it names; each image is of one
// study; a study that was reported on says what was withdrawn from it, and nothing of that leaves twice.
#include <set>

#include "tests/crash/every_call.h"

namespace node::crash {
namespace {

const std::string kOtherStudy = "1.2.826.0.8";

struct Images {
  Image first = make_image("first", 1), second = make_image("second", 2);
  Image first_moved = make_image("first, moved", 1, 0, "L", kOtherStudy);
  Image second_moved = make_image("second, moved", 2, 0, "L", kOtherStudy);
};
const Images& images() {
  static const Images images;
  return images;
}

Status live_until_reported(Process& process, Hospital& hospital) {
  NODE_RETURN_IF_ERROR(receive_all(process, {&images().first, &images().second}));
  return work_off(process, hospital);
}

Status live(Process& process, Hospital& hospital) {
  for (const Image* moved : {&images().first_moved, &images().second_moved}) {
    NODE_RETURN_IF_ERROR(receive_all(process, {moved}));
    NODE_RETURN_IF_ERROR(work_off(process, hospital));
  }
  return process.retain();
}

// UIDs of the reports of a study that the PACS got and that say so.
std::set<std::string> withdrawals(const Hospital& hospital) {
  std::set<std::string> found;
  for (const Sent& object : hospital.sent())
    if (object.destination == "pacs" &&
        object.bytes.find("withdrawn: image moved to another study") != std::string::npos)
      found.insert(object.sop_instance_uid);
  return found;
}

void check(Process& process, Hospital& hospital) {
  expect_files_as_rows_say(process);
  expect_known_what_was_sent(process, hospital);
  for (const Image* moved : {&images().first_moved, &images().second_moved}) {
    const auto held = process.store().show_instance(moved->sop_instance_uid);
    ASSERT_TRUE(held.ok()) << held.status().message();
    const bool answered = hospital.answers().contains(moved->name);
    const bool is_moved = held->study_instance_uid.str() == kOtherStudy;
    EXPECT_TRUE(is_moved || !answered) << "moved in vain: " << moved->name;
    EXPECT_EQ(held->version, is_moved ? 2 : 1);
    EXPECT_TRUE(!is_moved || held->purged_at ||
                fakes::read_bytes(process.spool().path(held->file.key)) == moved->bytes);
  }
  EXPECT_LE(withdrawals(hospital).size(), 2u);
}

void check_end(Process& process, Hospital& hospital, int faults) {
  check(process, hospital);
  const auto before = process.store().find_study(Uid::parse(kStudy).value());
  const auto after = process.store().find_study(Uid::parse(kOtherStudy).value());
  ASSERT_TRUE(before.ok() && after.ok());
  EXPECT_EQ(before->state, storage::StudyState::kFinished);
  EXPECT_EQ(after->state, storage::StudyState::kFinished);
  EXPECT_EQ(before->revision, 3) << "each image that left made one";
  EXPECT_EQ(before->instances, 0);
  EXPECT_EQ(after->revision, 2) << "the second came late";
  EXPECT_EQ(after->analysed, 2);
  EXPECT_EQ(withdrawals(hospital).size(), 2u) << "said once of one image, and once of both";
  std::set<std::string> results, originals;
  for (const Sent& object : hospital.sent())
    (object.destination == "pacs" ? results : originals)
        .insert(object.destination == "pacs" ? object.sop_instance_uid : object.bytes);
  EXPECT_EQ(results.size(), 9u) << "an overlay for each version, three reports and two";
  EXPECT_EQ(originals.size(), 4u);
  EXPECT_LE(hospital.sent().size(), static_cast<std::size_t>(9 + 4 + faults));
  EXPECT_TRUE(process.spool().list_keys()->empty()) << "all is deleted";
  EXPECT_TRUE(process.store().health().ok());
}

Stage images_that_move() {
  return {"images that move to another study", [] { return after(&live_until_reported); }, &live, &check, &check_end};
}

INSTANTIATE_TEST_SUITE_P(Move, EveryCall, testing::Values(&images_that_move));

}  // namespace
}  // namespace node::crash
