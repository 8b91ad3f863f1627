#include "dicom_node/receive/orphans.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "dicom_node/receive/dcmtk_setup.h"
#include "storage/spool_check.h"
#include "tests/dicom_node/object/test_files.h"
#include "tests/fakes/temporary_store.h"

namespace node::receive {
namespace {

using object::must;
using storage::StoredFile;
using storage::Uid;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const Uid kSop = Uid::parse("1.2.826.0.1.1.1").value();
const Uid kStudy = Uid::parse("1.2.826.0.1.1").value();
constexpr const char* kMessage = "MSH|^~\\&|SKELEX";

route::Router make_router() {
  config::RouterConfig config;
  config::RouteRule rule;
  rule.name = "knee";
  rule.match.modality = {"CR", "DX"};
  rule.match.body_part = {"KNEE"};
  rule.tasks = {"knee-oa"};
  rule.send_to = {"pacs"};
  config.routes = {rule};
  config.body_parts.terms = {{"KNEE", "KNEE"}};
  return route::Router::create(config, {"knee-oa"}).value();
}

class OrphansTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { configure_dcmtk(); }
  OrphansTest() {
    config::PeerConfig room;
    room.name = "xray1";
    room.ae_title = "XRAY1";
    room.study_quiet_period = std::chrono::seconds(7);
    config_.peers = {room};
  }

  // As the node keeps what XRAY1 sent.
  static std::string image(const char* laterality = "L", const std::string& creator = "") {
    object::TestImage pixels{.rows = 16, .columns = 16, .bits_allocated = 8, .bits_stored = 8, .values = {}};
    for (int i = 0; i < 16 * 16; ++i) pixels.values.push_back(i % 200);
    DcmFileFormat file = object::make_image(pixels);
    must(file.getDataset()->putAndInsertString(DCM_ImageLaterality, laterality));
    if (!creator.empty()) must(file.getDataset()->putAndInsertString(DCM_InstanceCreatorUID, creator.c_str()));
    must(file.getMetaInfo()->putAndInsertString(DCM_SourceApplicationEntityTitle, "XRAY1"));
    object::TemporaryFolder folder;
    const std::filesystem::path path = folder.fresh();
    must(file.saveFile(path.c_str(), EXS_LittleEndianExplicit, EET_UndefinedLength, EGL_recalcGL, EPD_noChange, 0, 0,
                       EWM_updateMeta));
    return object::read_bytes(path);
  }
  // A file without a row, written `age` ago.
  StoredFile leave(const std::string& bytes, std::chrono::seconds age = std::chrono::seconds(0)) {
    auto file = stored_.spool().store(bytes, kSop).value();
    std::filesystem::last_write_time(stored_.spool().path(file.key),
                                     std::filesystem::file_time_type::clock::now() - age);
    return file;
  }
  Orphans take_in(int at_most = 1000) {
    const auto check =
        storage::check_spool((stored_.directory() / "store").string(), storage::posix_file_system(), stored_.store());
    EXPECT_TRUE(check.ok());
    Intake intake(config_, stored_.spool(), stored_.store(), router_);
    auto orphans = take_in_orphans(check->orphans, config_, stored_.spool(), stored_.store(), intake,
                                   [&](int done) { return done < at_most; });
    EXPECT_TRUE(orphans.ok()) << orphans.status().message();
    return orphans.ok() ? std::move(orphans).value() : Orphans{};
  }
  std::vector<storage::InstanceRecord> held() {
    auto instances = stored_.store().list_instances(kStudy);
    return instances.ok() ? std::move(instances).value() : std::vector<storage::InstanceRecord>();
  }
  std::string bytes_of(const StoredFile& file) { return object::read_bytes(stored_.spool().path(file.key)); }
  std::size_t files() { return stored_.spool().list_keys()->size(); }

  fakes::TemporaryStore stored_;
  route::Router router_ = make_router();
  config::ReceiveConfig config_;
};

TEST_F(OrphansTest, AnImageWhoseRowIsLostIsTakenInAsIfItsSenderSentItAgain) {
  leave(image());
  EXPECT_EQ(take_in().taken_in, 1);
  ASSERT_THAT(held(), SizeIs(1));
  EXPECT_EQ(held()[0].sop_instance_uid, kSop);
  EXPECT_EQ(held()[0].peer, "xray1");
  EXPECT_THAT(held()[0].route.tasks, ElementsAre("knee-oa"));
  EXPECT_EQ(held()[0].state, storage::InstanceState::kReceived);
  EXPECT_EQ(bytes_of(held()[0].file), image()) << "bit for bit";
  EXPECT_EQ(files(), 1u);
  stored_.clock().advance(std::chrono::seconds(8));
  EXPECT_FALSE(*stored_.store().claim_ready_study(std::chrono::milliseconds(0)));
  EXPECT_EQ(stored_.store().find_study(kStudy)->state, storage::StudyState::kClosed) << "after its peer's quiet period";
  const Orphans again = take_in();
  EXPECT_EQ(again.taken_in + again.deleted, 0);
}

class OrphansOfTwoVersions : public OrphansTest, public ::testing::WithParamInterface<bool> {};

TEST_P(OrphansOfTwoVersions, TheLaterStands) {
  const std::string later = image(GetParam() ? "L" : "R"), earlier = image(GetParam() ? "R" : "L");
  leave(later);
  leave(earlier, std::chrono::seconds(60));
  EXPECT_EQ(take_in().taken_in, 2);
  ASSERT_THAT(held(), SizeIs(2));
  EXPECT_EQ(bytes_of((*stored_.store().find_instance(kSop))->file), later);
}

INSTANTIATE_TEST_SUITE_P(WhateverTheOrderOfTheirKeys, OrphansOfTwoVersions, ::testing::Bool());

TEST_F(OrphansTest, WhatTheStoreHasHadIsDeletedAndUndoesNothing) {
  leave(image("L"), std::chrono::seconds(60));
  leave(image("R"));
  ASSERT_EQ(take_in().taken_in, 2);
  leave(image("R"));  // As a resend that a crash left.
  leave(image("L"));  // An earlier version, though it was written last.
  EXPECT_EQ(take_in().deleted, 2);
  EXPECT_THAT(held(), SizeIs(2));

  // Marked as purged, and killed before the file was deleted.
  const auto claims = stored_.store().claim_instances(1, std::chrono::milliseconds(0));
  ASSERT_TRUE(stored_.store().finish_instance(claims->at(0).token, {}).ok());
  stored_.clock().advance(std::chrono::seconds(10));
  const auto ready = stored_.store().claim_ready_study(std::chrono::milliseconds(0));
  ASSERT_TRUE(stored_.store().finish_study((*ready)->token, {}, {}).ok());
  ASSERT_THAT(stored_.store().purge({std::chrono::milliseconds(0), {}}, 10)->originals, SizeIs(2));
  EXPECT_EQ(take_in().deleted, 2);
  EXPECT_EQ(files(), 0u);
  EXPECT_THAT(held(), SizeIs(2));
}

TEST_F(OrphansTest, ALostFileGetsItsBytesBack) {
  leave(image());
  take_in();
  const StoredFile file = held()[0].file;
  ASSERT_TRUE(std::filesystem::remove(stored_.spool().path(file.key)));
  leave(image());
  EXPECT_EQ(take_in().deleted, 1);
  EXPECT_TRUE(stored_.spool().verify(file).ok());
  EXPECT_THAT(stored_.spool().lost(), IsEmpty());
  EXPECT_EQ(files(), 1u);
}

TEST_F(OrphansTest, WhatTheNodeMadeItselfIsDeletedSinceItIsMadeAgain) {
  leave(image("L", stored_.store().node_uid().str()));
  leave(kMessage);
  leave(R"({"study_instance_uid":"1.2.3"})");
  EXPECT_EQ(take_in().deleted, 3);
  EXPECT_EQ(files(), 0u);
  EXPECT_THAT(held(), IsEmpty());
}

TEST_F(OrphansTest, WhatCannotBeReadIsKept) {
  const StoredFile zeros = leave(std::string(5000, '\0'));
  const StoredFile cut = leave(image().substr(0, 200));
  const Orphans orphans = take_in();
  EXPECT_EQ(orphans.taken_in + orphans.deleted, 0);
  EXPECT_THAT(orphans.kept, ::testing::UnorderedElementsAre(zeros.key, cut.key));
  EXPECT_EQ(files(), 2u);
}

TEST_F(OrphansTest, WhatIsHeldStandsAgainstWhatIsOlder) {
  const std::string refused = image("R"), held_now = image("L");
  leave(held_now);
  take_in();
  const StoredFile older = leave(refused, std::chrono::seconds(60));  // Its commit failed; it was corrected since.
  EXPECT_THAT(take_in().kept, ElementsAre(older.key));
  EXPECT_EQ(bytes_of((*stored_.store().find_instance(kSop))->file), held_now);
  ASSERT_THAT(held(), SizeIs(1));

  std::filesystem::remove(stored_.spool().path(older.key));
  leave(refused);
  EXPECT_EQ(take_in().taken_in, 1) << "that came later";
}

TEST_F(OrphansTest, WhatIsHeldOnceStandsAlsoWhereItsFileIsPurged) {
  leave(image("L"));
  take_in();
  const auto claims = stored_.store().claim_instances(1, std::chrono::milliseconds(0));
  ASSERT_TRUE(stored_.store().finish_instance(claims->at(0).token, {}).ok());
  stored_.clock().advance(std::chrono::seconds(10));
  const auto ready = stored_.store().claim_ready_study(std::chrono::milliseconds(0));
  ASSERT_TRUE(stored_.store().finish_study((*ready)->token, {}, {}).ok());
  const auto purged = stored_.store().purge({std::chrono::milliseconds(0), {}}, 10);
  ASSERT_THAT(purged->originals, SizeIs(1));
  ASSERT_TRUE(stored_.spool().remove(purged->originals[0].key).ok());
  const StoredFile older = leave(image("R"));
  std::filesystem::last_write_time(stored_.spool().path(older.key),
                                   std::chrono::file_clock::from_sys(held()[0].received_at - std::chrono::seconds(1)));
  EXPECT_THAT(take_in().kept, ElementsAre(older.key));
  EXPECT_THAT(held(), SizeIs(1));
}

TEST_F(OrphansTest, WhatIsDamagedIsKept) {
  std::string bytes = image();
  const StoredFile file = leave(bytes);
  bytes[bytes.size() - 9] ^= 1;
  std::ofstream(stored_.spool().path(file.key), std::ios::binary) << bytes;
  EXPECT_THAT(take_in().kept, ElementsAre(file.key));
  EXPECT_THAT(held(), IsEmpty());
}

TEST_F(OrphansTest, WhereTheDiskFailsTheRestIsLeftForTheNextStart) {
  const std::string earlier = image("R"), later = image("L");
  leave(earlier, std::chrono::seconds(60));
  leave(later);
  const std::filesystem::path incoming = stored_.directory() / "store/incoming";
  std::filesystem::remove_all(incoming);
  const Orphans none = take_in();
  EXPECT_EQ(none.left, 2);
  EXPECT_FALSE(none.left_because.empty());
  EXPECT_THAT(none.kept, IsEmpty());
  EXPECT_THAT(held(), IsEmpty());
  std::filesystem::create_directory(incoming);
  EXPECT_EQ(take_in().taken_in, 2);
  EXPECT_EQ(bytes_of((*stored_.store().find_instance(kSop))->file), later);
}

TEST_F(OrphansTest, ANodeThatIsToldToStopLeavesTheRestInOrder) {
  const std::string earlier = image("R"), later = image("L");
  leave(earlier, std::chrono::seconds(60));
  leave(later, std::chrono::seconds(30));
  const Orphans one = take_in(/*at_most=*/1);
  EXPECT_EQ(one.taken_in, 1);
  EXPECT_EQ(one.left, 1);
  EXPECT_EQ(take_in().taken_in, 1);
  EXPECT_EQ(bytes_of((*stored_.store().find_instance(kSop))->file), later);
}

}  // namespace
}  // namespace node::receive
