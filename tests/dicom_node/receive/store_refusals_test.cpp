// What a C-STORE is answered that is not taken.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include "tests/dicom_node/receive/store_scp_fixture.h"

namespace node::receive {
namespace {

using namespace std::string_literals;

TEST_F(StoreScpTest, RefusesAClassThatWasNotAcceptedAndGoesOn) {
  open();
  RawPeer peer = associated({{kDx, {kExplicit}}, {kVerification, {kImplicit}}});
  const auto in_other_context = store(peer, kCr, "1.2.3", image("1.2.3"));
  ASSERT_TRUE(in_other_context);
  EXPECT_EQ(in_other_context->status, kSopClassNotSupported);
  const auto in_verification = store(peer, kVerification, "1.2.3", image("1.2.3"), 3);
  ASSERT_TRUE(in_verification);
  EXPECT_EQ(in_verification->status, kSopClassNotSupported);
  const auto right = store(peer, kDx, "1.2.3", image("1.2.3"));
  ASSERT_TRUE(right);
  EXPECT_EQ(right->status, kSuccess);
}

TEST_F(StoreScpTest, SaysWhyItRefuses) {
  open();
  RawPeer peer = associated({{kDx, {kExplicit}}});
  const auto response = store(peer, kDx, "1.2.4", image("1.2.3"));
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, kDataSetMismatch);
  EXPECT_THAT(response->error_comment, ::testing::HasSubstr("SOP Instance UID of command and data set differ"));
  EXPECT_THAT(stats_after_stop().refused_by_status, ::testing::ElementsAre(std::pair(kDataSetMismatch, 1u)));
}

TEST_F(StoreScpTest, ARequestThatNamesNoInstanceOrNoClassIsRefusedAndTheAssociationGoesOn) {
  open();
  RawPeer peer = associated({{kDx, {kExplicit}}});
  const std::string rest = command_element(0x0100, little_endian(0x0001, 2)) +
                           command_element(0x0110, little_endian(1, 2)) + command_element(0x0700, little_endian(0, 2)) +
                           command_element(0x0800, little_endian(0, 2));
  const std::string names_class = command_element(0x0002, kDx), names_instance = command_element(0x1000, "1.2.3");
  for (const auto& [command, status] : {std::pair(names_class + rest, kDataSetMismatch),
                                        {names_class + rest + command_element(0x1000, ""), kDataSetMismatch},
                                        {rest + names_instance, kSopClassNotSupported}}) {
    peer.send(data_pdu(presentation_data(1, command, true, true)));
    peer.send(data_pdu(presentation_data(1, image("1.2.3"), false, true)));
    const auto response = peer.receive_response();
    ASSERT_TRUE(response);
    EXPECT_EQ(response->status, status) << response->error_comment;
  }
  const auto good = store(peer, kDx, "1.2.3", image("1.2.3"));
  ASSERT_TRUE(good);
  EXPECT_EQ(good->status, kSuccess) << good->error_comment;
}

TEST_F(StoreScpTest, RefusesADataSetWithAGroupThatNoneMayHave) {
  open();
  RawPeer peer = associated({{kDx, {kExplicit}}, {kDx, {"1.2.840.10008.1.2.2"}}, {kDx, {"1.2.840.10008.1.2.1.99"}}});
  DcmFileFormat file = object::make_image({});
  object::must(file.getDataset()->putAndInsertString(DCM_SOPInstanceUID, "1.2.3"));
  const std::string little = image("1.2.3"),
                    big = data_set_of(object::read_bytes(object::write(folder_, file, EXS_BigEndianExplicit)));
  const auto element = [](int group, int number, const std::string& value) {  // UI, in Explicit VR Little Endian.
    return little_endian(static_cast<std::uint64_t>(group), 2) + little_endian(static_cast<std::uint64_t>(number), 2) +
           "UI" + little_endian(value.size(), 2) + value;
  };
  const std::string jpeg = element(0x0002, 0x0010, std::string("1.2.840.10008.1.2.4.70"));
  const auto refused = [&](const std::string& data_set, int context) {
    const auto response = store(peer, kDx, "1.2.3", data_set, context);
    ASSERT_TRUE(response);
    EXPECT_EQ(response->status, kCannotUnderstand);
    EXPECT_THAT(response->error_comment, ::testing::HasSubstr("group"));
  };
  refused(jpeg + little, 1);
  refused(element(0x0000, 0x0002, "1.2.") + little, 1);
  refused(element(0x0004, 0x1511, "1.2.") + little, 1);
  refused(element(0x0006, 0x0010, "1.2.") + little, 1);
  refused(little.substr(0, little.find("\x08\x00\x18\x00"s)) + jpeg + little.substr(little.find("\x08\x00\x18\x00"s)),
          1);
  refused("\x00\x02\x00\x10UI\x00\x04"s + "1.2." + big, 3);
  refused(object::deflated(jpeg + little), 5);
  const auto good = store(peer, kDx, "1.2.3", little);
  ASSERT_TRUE(good);
  EXPECT_EQ(good->status, kSuccess) << good->error_comment;
}

TEST_F(StoreScpTest, AnInstanceUidThatIsAPathTouchesNoFile) {
  open();
  RawPeer peer = associated({{kDx, {kExplicit}}});
  const auto response = store(peer, kDx, "../../x", image("../../x"));
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, kDataSetMismatch);
  EXPECT_EQ(stored_.spool().list_keys().value().size(), 0u);
}

TEST_F(StoreScpTest, RefusesBelowTheDiskReserveAndStillReadsTheObject) {
  config::StorageConfig full;
  full.directory = (stored_.directory() / "full").string();
  full.free_bytes_min = ~0ull;
  std::filesystem::create_directories(full.directory);
  auto spool = storage::Spool::open(full, storage::posix_file_system());
  ASSERT_TRUE(spool.ok()) << spool.status().message();
  auto opened = StoreScp::open(config_, **spool, stored_.store(), *router_);
  ASSERT_TRUE(opened.ok());
  scp_ = std::move(opened).value();
  RawPeer peer = associated({{kDx, {kExplicit}}});
  for (int attempt = 0; attempt < 2; ++attempt) {  // The association goes on.
    const auto response = store(peer, kDx, "1.2.3", image("1.2.3"), 1, 100);
    ASSERT_TRUE(response);
    EXPECT_EQ(response->status, kOutOfResources);
  }
  peer.close();
  scp_.reset();
}

TEST_F(StoreScpTest, RefusesAnObjectOverTheLimitAndCutsAnEndlessOne) {
  config_.object_bytes_max = 4'000;
  open();
  RawPeer peer = associated({{kDx, {kExplicit}}});
  object::TestImage large{.rows = 50, .columns = 50, .values = std::vector<int>(2500, 7)};
  DcmFileFormat file = object::make_image(large);
  const std::string data_set = data_set_of(object::read_bytes(object::write(folder_, file)));
  const auto response = store(peer, kDx, "1.2.826.0.1.1.1", data_set, 1, 1'000);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, kOutOfResources);
  peer.send(data_pdu(presentation_data(1, store_command(kDx, "1.2.3"), true, true)));
  bool cut = false;
  for (int i = 0; i < 10'000 && !cut; ++i) {
    cut = !peer.send(data_pdu(presentation_data(1, std::string(1'000, '\0'), false, false)));
  }
  EXPECT_TRUE(cut);
  EXPECT_EQ(stored_.spool().list_keys().value().size(), 0u);
}

}  // namespace
}  // namespace node::receive
