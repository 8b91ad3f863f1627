// What the files of store_scp_test share: an SCP on a free port, and peers that speak by hand.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dicom_node/receive/dcmtk_setup.h"
#include "dicom_node/receive/intake.h"
#include "dicom_node/receive/store_scp.h"
#include "tests/dicom_node/object/test_files.h"
#include "tests/dicom_node/receive/raw_peer.h"
#include "tests/fakes/temporary_store.h"

namespace node::receive {
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using storage::Uid;

inline constexpr const char* kVerification = "1.2.840.10008.1.1";
inline constexpr const char* kDx = "1.2.840.10008.5.1.4.1.1.1.1";
inline constexpr const char* kCr = "1.2.840.10008.5.1.4.1.1.1";
inline constexpr const char* kCt = "1.2.840.10008.5.1.4.1.1.2";
inline constexpr const char* kImplicit = "1.2.840.10008.1.2";
inline constexpr const char* kExplicit = "1.2.840.10008.1.2.1";
inline constexpr const char* kApplicationContext = "1.2.840.10008.3.1.1.1";
inline constexpr int kAccepted = 2, kRejected = 3, kAborted = 7;

inline std::filesystem::path radiographs() { return std::filesystem::path(NODE_TEST_DATA) / "radiographs"; }

// What follows the meta group.
inline std::string data_set_of(const std::string& part10) {
  std::uint32_t group_length = 0;
  for (std::size_t i = 4; i > 0; --i) group_length = group_length << 8 | static_cast<unsigned char>(part10[139 + i]);
  return part10.substr(144 + group_length);
}

class StoreScpTest : public ::testing::Test {
 protected:
  StoreScpTest() {
    config_.bind = "127.0.0.1";
    config_.port = 0;
    config_.acse_timeout = seconds(30);
    config_.dimse_timeout = seconds(30);
    config_.peers = {{.name = "xray", .ae_title = "XRAY1", .host = "127.0.0.1"}};
    auto router = route::Router::create({}, {});
    EXPECT_TRUE(router.ok());
    router_ = std::make_unique<route::Router>(std::move(router).value());
  }
  static void SetUpTestSuite() { configure_dcmtk(seconds(30)); }

  void open() {
    auto opened = StoreScp::open(config_, stored_.spool(), stored_.store(), *router_);
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    scp_ = std::move(opened).value();
  }

  RawPeer connect(const std::string& source = "127.0.0.1") { return RawPeer(scp_->port(), source); }
  RawPeer associated(const std::vector<ProposedContext>& contexts) {
    RawPeer peer = connect();
    EXPECT_EQ(peer.associate(associate_request("XRAY1", "SKELEX", contexts)), kAccepted);
    return peer;
  }

  bool echo(const std::string& source = "127.0.0.1") {
    RawPeer peer = connect(source);
    if (peer.associate(associate_request("XRAY1", "SKELEX", {{kVerification, {kImplicit}}})) != kAccepted) return false;
    peer.send(data_pdu(presentation_data(1, echo_command(), true, true)));
    const auto response = peer.receive_response();
    peer.send(big_endian(0x0500, 2) + big_endian(4, 4) + big_endian(0, 4));
    const auto released = peer.receive();
    return response && response->status == 0 && released && released->type == 0x06;
  }

  std::optional<StoreResponse> store(RawPeer& peer, const std::string& sop_class, const std::string& sop_instance,
                                     const std::string& data_set, int context = 1, std::size_t fragment = 15'000) {
    peer.send(data_pdu(presentation_data(context, store_command(sop_class, sop_instance), true, true)));
    for (std::size_t at = 0; at < data_set.size(); at += fragment) {
      peer.send(
          data_pdu(presentation_data(context, data_set.substr(at, fragment), false, at + fragment >= data_set.size())));
    }
    return peer.receive_response();
  }

  std::string image(const std::string& sop_instance) {
    DcmFileFormat file = object::make_image({});
    object::must(file.getDataset()->putAndInsertString(DCM_SOPInstanceUID, sop_instance.c_str()));
    return data_set_of(object::read_bytes(object::write(folder_, file)));
  }

  std::string kept(const std::string& sop_instance) {
    const auto held = stored_.store().find_instance(Uid::parse(sop_instance).value());
    if (!held.ok() || !held->has_value()) return "";
    return object::read_bytes(stored_.spool().path((*held)->file.key));
  }

  // Association threads end a moment after their peer has seen the end.
  StoreScpStats stats_after_stop() {
    scp_->stop();
    return scp_->stats();
  }

  object::TemporaryFolder folder_;
  fakes::TemporaryStore stored_;
  config::ReceiveConfig config_;
  std::unique_ptr<route::Router> router_;
  std::unique_ptr<StoreScp> scp_;
};

}  // namespace node::receive
