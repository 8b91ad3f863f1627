// StoreScp and peers that are slow, silent or hostile.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmnet/scu.h>

#include "tests/dicom_node/receive/store_scp_fixture.h"

namespace node::receive {
namespace {

TEST_F(StoreScpTest, TwentySilentConnectionsCostNobodyElseAnything) {
  open();
  std::vector<RawPeer> silent;
  for (int i = 0; i < 20; ++i) {
    silent.push_back(connect());
    ASSERT_TRUE(silent.back().connected());
    if (i % 2 == 1)
      silent.back().send(associate_request("XRAY1", "SKELEX", {{kVerification, {kImplicit}}}).substr(0, 50));
  }
  const auto begun = steady_clock::now();
  EXPECT_TRUE(echo());
  EXPECT_LT(steady_clock::now() - begun, seconds(1));
}

TEST_F(StoreScpTest, AHostWithTooManySilentConnectionsLosesItsOldest) {
  open();
  std::vector<RawPeer> silent;
  for (int i = 0; i < 65; ++i) silent.push_back(connect());
  EXPECT_FALSE(silent.front().receive());
  EXPECT_TRUE(silent.front().closed());
  EXPECT_TRUE(echo());
}

TEST_F(StoreScpTest, ClosesHalfARequestAtItsDeadline) {
  config_.acse_timeout = seconds(1);
  open();
  RawPeer peer = connect();
  peer.send(associate_request("XRAY1", "SKELEX", {{kVerification, {kImplicit}}}).substr(0, 100));
  EXPECT_FALSE(peer.receive());
  EXPECT_TRUE(peer.closed());
  EXPECT_EQ(stats_after_stop().requests_expired_total, 1u);
}

TEST_F(StoreScpTest, ClosesWhatIsNoAssociationRequestAtOnce) {
  open();
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), big_endian(0x0100, 2) + big_endian(0x7FFFFFFF, 4),
        big_endian(0x0100, 2) + big_endian(3, 4), data_pdu(presentation_data(1, echo_command(), true, true))}) {
    RawPeer peer = connect();
    peer.send(bytes);
    EXPECT_FALSE(peer.receive());
    EXPECT_TRUE(peer.closed());
  }
  EXPECT_TRUE(echo());
  EXPECT_EQ(stats_after_stop().rejected_other_total, 4u);
}

TEST_F(StoreScpTest, AMalformedRequestHoldsUpNobody) {
  open();
  std::string request = associate_request("XRAY1", "SKELEX", {{kVerification, {kImplicit}}});
  for (std::size_t at = 74; at < request.size(); at += 7) {
    std::string broken = request;
    broken[at] = static_cast<char>(0xEE);
    RawPeer peer = connect();
    peer.send(broken);
  }
  const auto begun = steady_clock::now();
  EXPECT_TRUE(echo("127.0.0.2"));
  EXPECT_LT(steady_clock::now() - begun, seconds(5));
}

TEST_F(StoreScpTest, TakesARequestThatComesInPiecesAndALargeOne) {
  open();
  std::vector<ProposedContext> contexts(128, {kDx, {}});
  for (ProposedContext& context : contexts) context.transfer_syntaxes.assign(30, "1.2.840.10008.1.2.4.70");
  contexts.front().abstract_syntax = kVerification;
  const std::string request = associate_request("XRAY1", "SKELEX", contexts);
  EXPECT_GT(request.size(), 100'000u);
  RawPeer peer = connect();
  for (std::size_t at = 0; at < request.size(); at += 9'000) ASSERT_TRUE(peer.send(request.substr(at, 9'000)));
  const auto answer = peer.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->type, kAccepted);
}

TEST_F(StoreScpTest, ANestedSequenceInACommandEndsItsAssociationOnly) {
  open();
  RawPeer peer = associated({{kDx, {kExplicit}}});
  std::string bomb;
  for (int i = 0; i < 1900; ++i) bomb += little_endian(0, 2) + little_endian(0x1111, 2) + little_endian(0xFFFFFFFF, 4);
  peer.send(data_pdu(presentation_data(1, bomb, true, true)));
  const auto answer = peer.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->type, kAborted);
  peer.close();
  EXPECT_TRUE(echo());
  EXPECT_EQ(stats_after_stop().aborted_total, 1u);
}

TEST_F(StoreScpTest, ACommandMayComeInSeveralFragments) {
  open();
  RawPeer peer = associated({{kDx, {kExplicit}}});
  const std::string command = store_command(kDx, "1.2.3"), data_set = image("1.2.3");
  // Split, and together with the data set in one PDU.
  peer.send(data_pdu(presentation_data(1, command.substr(0, 30), true, false)));
  peer.send(
      data_pdu(presentation_data(1, command.substr(30), true, true) + presentation_data(1, data_set, false, true)));
  const auto response = peer.receive_response();
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, kSuccess);
  EXPECT_EQ(data_set_of(kept("1.2.3")), data_set);
}

TEST_F(StoreScpTest, APeerThatVanishesInAnObjectLeavesNothing) {
  open();
  RawPeer peer = associated({{kDx, {kExplicit}}});
  peer.send(data_pdu(presentation_data(1, store_command(kDx, "1.2.3"), true, true)));
  peer.send(data_pdu(presentation_data(1, image("1.2.3").substr(0, 100), false, false)));
  peer.close();
  EXPECT_EQ(stats_after_stop().aborted_total, 1u);
  EXPECT_EQ(stored_.spool().list_keys().value().size(), 0u);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(stored_.directory())) {
    EXPECT_NE(entry.path().extension(), ".part");
  }
}

TEST_F(StoreScpTest, ADataPduOfFourGigabytesEndsItsAssociationAtOnce) {
  open();
  for (const std::uint64_t length : {0xFFFFFFFFull, 0x80000000ull, 200'000ull}) {
    RawPeer peer = associated({{kDx, {kExplicit}}});
    peer.send(big_endian(0x0400, 2) + big_endian(length, 4) + std::string(100, '\0'));
    const auto answer = peer.receive();
    ASSERT_TRUE(answer) << length;
    EXPECT_EQ(answer->type, kAborted) << length;
  }
  EXPECT_TRUE(echo());
}

TEST_F(StoreScpTest, AnyPduOfFourGigabytesInAnAssociationIsAbortedAtOnce) {
  open();
  for (const std::uint64_t type : {0x01, 0x02, 0x03, 0x05, 0x06, 0x07, 0x55}) {
    RawPeer peer = associated({{kDx, {kExplicit}}});
    peer.send(big_endian(type << 8, 2) + big_endian(0xFFFFFFFF, 4) + std::string(100, '\0'));
    const auto begun = steady_clock::now();
    while (peer.receive()) {
    }
    EXPECT_TRUE(peer.closed()) << type;
    EXPECT_LT(steady_clock::now() - begun, seconds(8)) << type;
  }
  EXPECT_TRUE(echo());
}

// What a peer may do for ever without being silent: a byte at a time, in the middle of a PDU; nothing but empty
// fragments; commands that never end.
TEST_F(StoreScpTest, AMessageThatNeverEndsIsCutAfterItsTimeHoweverBusyItsPeer) {
  config_.message_timeout = seconds(1);
  open();
  const std::string command = data_pdu(presentation_data(1, store_command(kDx, "1.2.3"), true, true));
  const struct {
    std::string start, more;
  } kinds[] = {{command + data_pdu(presentation_data(1, std::string(10'000, 'x'), false, true)).substr(0, 12), "x"},
               {command, data_pdu(presentation_data(1, "", false, false))},
               {"", data_pdu(presentation_data(1, "", true, false))},
               {data_pdu(presentation_data(1, std::string(10'000, 'x'), true, true)).substr(0, 12), "x"}};
  for (const auto& [start, more] : kinds) {
    RawPeer peer = associated({{kDx, {kExplicit}}});
    peer.send(start);
    const auto begun = steady_clock::now();
    while (peer.send(more) && !peer.hears_within(milliseconds(20)) && steady_clock::now() - begun < seconds(20)) {
    }
    EXPECT_GE(steady_clock::now() - begun, milliseconds(900));
    EXPECT_LT(steady_clock::now() - begun, seconds(5));
    peer.close();
  }
  const StoreScpStats stats = stats_after_stop();
  EXPECT_EQ(stats.aborted_total, 4u);
  EXPECT_EQ(stats.associations_open, 0);
  EXPECT_EQ(stored_.spool().list_keys().value().size(), 0u);
}

TEST_F(StoreScpTest, ManyMessagesMayTakeLongerThanOneMay) {
  config_.message_timeout = seconds(1);
  open();
  RawPeer peer = associated({{kVerification, {kImplicit}}});
  const auto begun = steady_clock::now();
  while (steady_clock::now() - begun < milliseconds(1'500)) {
    peer.send(data_pdu(presentation_data(1, echo_command(), true, true)));
    const auto response = peer.receive_response();
    ASSERT_TRUE(response);
    EXPECT_EQ(response->status, kSuccess);
  }
}

TEST_F(StoreScpTest, APeerThatReadsNoAnswersIsCut) {
  config_.dimse_timeout = seconds(1);
  open();
  RawPeer peer = associated({{kVerification, {kImplicit}}});
  std::string echoes;
  for (int i = 0; i < 500; ++i) echoes += data_pdu(presentation_data(1, echo_command(), true, true));
  const auto begun = steady_clock::now();
  while (peer.send(echoes) && steady_clock::now() - begun < seconds(60)) {  // Until both sides' buffers are full.
  }
  EXPECT_LT(steady_clock::now() - begun, seconds(60));
  peer.close();
  EXPECT_EQ(stats_after_stop().aborted_total, 1u);
}

TEST_F(StoreScpTest, AnAbortInTheMiddleOfAPduLeavesNothing) {
  open();
  const std::string abort = big_endian(0x0700, 2) + big_endian(4, 4) + big_endian(0, 4);
  {
    RawPeer peer = associated({{kDx, {kExplicit}}});
    const std::string data = data_pdu(presentation_data(1, image("1.2.3"), false, true));
    peer.send(data_pdu(presentation_data(1, store_command(kDx, "1.2.3"), true, true)) + data.substr(0, 200) + abort);
  }
  {
    RawPeer peer = associated({{kDx, {kExplicit}}});
    peer.send(data_pdu(presentation_data(1, store_command(kDx, "1.2.3"), true, true)) +
              data_pdu(presentation_data(1, image("1.2.3").substr(0, 200), false, false)) + abort);
    EXPECT_FALSE(peer.receive());
    EXPECT_TRUE(peer.closed());
  }
  EXPECT_EQ(stats_after_stop().aborted_total, 2u);
  EXPECT_EQ(stored_.spool().list_keys().value().size(), 0u);
}

TEST_F(StoreScpTest, AbortsAnIdleAssociationAfterTheDimseTimeout) {
  config_.dimse_timeout = seconds(1);
  open();
  RawPeer peer = associated({{kVerification, {kImplicit}}});
  const auto answer = peer.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->type, kAborted);
}

}  // namespace
}  // namespace node::receive
