#include "dicom_node/receive/store_scp.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmnet/scu.h>

#include "dicom_node/receive/association_acceptor.h"
#include "tests/dicom_node/receive/store_scp_fixture.h"

// DCMTK 3.6.7 loses a list head of 32 bytes in some malformed association requests.
extern "C" const char* __lsan_default_suppressions() { return "leak:LST_Create"; }

namespace node::receive {
namespace {

TEST_F(StoreScpTest, AnswersAnEcho) {
  open();
  EXPECT_TRUE(echo());
  const StoreScpStats stats = stats_after_stop();
  EXPECT_EQ(stats.echoes_total, 1u);
  EXPECT_EQ(stats.associations_total, 1u);
  EXPECT_EQ(stats.associations_open, 0);
  EXPECT_EQ(stats.aborted_total, 0u);
}

TEST_F(StoreScpTest, AnAssociationHoldsItsStudyOpenUntilItsEnd) {
  // Every image is reported; a study is quiet after 10 s.
  config_.report_skipped = true;
  config_.peers[0].study_quiet_period = seconds(10);
  for (const bool whole_study : {false, true}) {
    config_.peers[0].whole_study_per_association = whole_study;
    open();
    const std::string instance = whole_study ? "1.2.826.0.1.1.77" : "1.2.826.0.1.1.78";
    RawPeer peer = associated({{kDx, {kExplicit}}});
    const auto stored = store(peer, kDx, instance, image(instance));
    ASSERT_TRUE(stored && stored->status == kSuccess);
    stored_.clock().advance(seconds(60));
    EXPECT_FALSE(*stored_.store().claim_ready_study(milliseconds(0)));
    peer.send(big_endian(0x0500, 2) + big_endian(4, 4) + big_endian(0, 4));
    const auto released = peer.receive();
    ASSERT_TRUE(released && released->type == 0x06);
    if (!whole_study) {
      EXPECT_FALSE(*stored_.store().claim_ready_study(milliseconds(0))) << "its quiet period begins";
      stored_.clock().advance(seconds(10));
    }
    const auto ready = *stored_.store().claim_ready_study(milliseconds(0));
    ASSERT_TRUE(ready) << (whole_study ? "closed with its association" : "closed a quiet period after its association");
    ASSERT_TRUE(stored_.store().finish_study(ready->token, {}, {}).ok());
    scp_->stop();
  }
}

TEST_F(StoreScpTest, AnAssociationThatBreaksOffWasNoWholeStudy) {
  config_.report_skipped = true;
  config_.peers[0].study_quiet_period = seconds(10);
  config_.peers[0].whole_study_per_association = true;
  open();
  {
    RawPeer peer = associated({{kDx, {kExplicit}}});
    const auto stored = store(peer, kDx, "1.2.826.0.1.1.79", image("1.2.826.0.1.1.79"));
    ASSERT_TRUE(stored && stored->status == kSuccess);
  }
  scp_->stop();
  EXPECT_FALSE(*stored_.store().claim_ready_study(milliseconds(0))) << "its sender has a quiet period to come back";
  stored_.clock().advance(seconds(10));
  EXPECT_TRUE(*stored_.store().claim_ready_study(milliseconds(0)));
}

TEST_F(StoreScpTest, KeepsEveryRadiographBitForBit) {
  open();
  int sent = 0;
  for (const auto& entry : std::filesystem::directory_iterator(radiographs())) {
    DcmFileFormat file;
    ASSERT_TRUE(file.loadFile(entry.path().c_str()).good());
    OFString sop_class, sop_instance;
    file.getDataset()->findAndGetOFString(DCM_SOPClassUID, sop_class);
    file.getDataset()->findAndGetOFString(DCM_SOPInstanceUID, sop_instance);
    const std::string syntax = DcmXfer(file.getDataset()->getOriginalXfer()).getXferID();
    const std::string data_set = data_set_of(object::read_bytes(entry.path()));
    RawPeer peer = associated({{sop_class.c_str(), {syntax}}});
    const auto response = store(peer, sop_class.c_str(), sop_instance.c_str(), data_set);
    ASSERT_TRUE(response) << entry.path();
    EXPECT_EQ(response->status, kSuccess) << entry.path() << response->error_comment;
    EXPECT_TRUE(data_set_of(kept(sop_instance.c_str())) == data_set) << entry.path();
    ++sent;
  }
  EXPECT_EQ(sent, 22);
  const StoreScpStats stats = stats_after_stop();
  EXPECT_EQ(stats.received_total, 22u);
  EXPECT_TRUE(stats.refused_by_status.empty());
}

TEST_F(StoreScpTest, TakesWhatDcmtkSendsAndKnowsAResend) {
  open();
  DcmSCU scu;
  scu.setAETitle("XRAY1");
  scu.setPeerAETitle("SKELEX");
  scu.setPeerHostName("127.0.0.1");
  scu.setPeerPort(scp_->port());
  OFList<OFString> syntaxes;
  syntaxes.push_back(kImplicit);
  ASSERT_TRUE(scu.addPresentationContext(kVerification, syntaxes).good());
  ASSERT_TRUE(scu.addPresentationContext(kDx, syntaxes).good());
  ASSERT_TRUE(scu.initNetwork().good());
  ASSERT_TRUE(scu.negotiateAssociation().good());
  EXPECT_TRUE(scu.sendECHORequest(0).good());
  for (int attempt = 0; attempt < 2; ++attempt) {
    DcmFileFormat made = object::make_image({}), file;
    object::must(file.loadFile(object::write(folder_, made, EXS_LittleEndianImplicit).c_str()));
    Uint16 status = 0xFFFF;
    EXPECT_TRUE(scu.sendSTORERequest(0, "", file.getDataset(), status).good());
    EXPECT_EQ(status, kSuccess);
  }
  EXPECT_TRUE(scu.releaseAssociation().good());
  const StoreScpStats stats = stats_after_stop();
  EXPECT_EQ(stats.received_total, 1u);
  EXPECT_EQ(stats.resends_total, 1u);
}

// --- Who may come -------------------------------------------------------------------------------------------------

// Result, source and reason of a rejection.
std::vector<int> rejection(const RawPeer& peer) {
  if (peer.last_body().size() != 4) return {};
  return {peer.last_body()[1], peer.last_body()[2], peer.last_body()[3]};
}

TEST_F(StoreScpTest, RejectsAnUnknownCallingAeTitle) {
  open();
  RawPeer peer = connect();
  EXPECT_EQ(peer.associate(associate_request("NOBODY", "SKELEX", {{kVerification, {kImplicit}}})), kRejected);
  EXPECT_THAT(rejection(peer), ::testing::ElementsAre(1, 1, 3));
  peer.close();
  EXPECT_EQ(stats_after_stop().rejected_calling_ae_total, 1u);
}

TEST_F(StoreScpTest, AcceptsAnUnknownCallingAeTitleIfTold) {
  config_.accept_unknown = true;
  open();
  RawPeer peer = connect();
  EXPECT_EQ(peer.associate(associate_request("NOBODY", "SKELEX", {{kDx, {kExplicit}}})), kAccepted);
  const auto response = store(peer, kDx, "1.2.3", image("1.2.3"));
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, kSuccess);
  const auto held = stored_.store().list_instances(Uid::parse("1.2.826.0.1.1").value());
  ASSERT_TRUE(held.ok() && held->size() == 1);
  EXPECT_EQ(held->front().peer, "NOBODY");
}

// Routes name peers by their names: a title that is one must not pass for it.
TEST_F(StoreScpTest, RejectsAStrangerWhoseTitleIsAPeersName) {
  config_.accept_unknown = true;
  config_.peers[0].name = "ROOM1";
  open();
  RawPeer peer = connect();
  EXPECT_EQ(peer.associate(associate_request("ROOM1", "SKELEX", {{kVerification, {kImplicit}}})), kRejected);
  EXPECT_THAT(rejection(peer), ::testing::ElementsAre(1, 1, 3));
}

TEST_F(StoreScpTest, RejectsAnotherCalledAeTitleAndApplicationContext) {
  open();
  RawPeer peer = connect();
  EXPECT_EQ(peer.associate(associate_request("XRAY1", "OTHER", {{kVerification, {kImplicit}}})), kRejected);
  EXPECT_THAT(rejection(peer), ::testing::ElementsAre(1, 1, 7));
  peer.close();
  RawPeer odd = connect();
  EXPECT_EQ(odd.associate(associate_request("XRAY1", "SKELEX", {{kVerification, {kImplicit}}}, "1.2.3")), kRejected);
  EXPECT_THAT(rejection(odd), ::testing::ElementsAre(1, 1, 2));
  odd.close();
  EXPECT_EQ(stats_after_stop().rejected_called_ae_total, 1u);
}

TEST_F(StoreScpTest, RejectsABlankAeTitleAsWhatItIs) {
  config_.accept_unknown = true;
  open();
  RawPeer nameless = connect();
  EXPECT_EQ(nameless.associate(associate_request("", "SKELEX", {{kVerification, {kImplicit}}})), kRejected);
  EXPECT_THAT(rejection(nameless), ::testing::ElementsAre(1, 1, 3));
  nameless.close();
  RawPeer aimless = connect();
  EXPECT_EQ(aimless.associate(associate_request("XRAY1", "", {{kVerification, {kImplicit}}})), kRejected);
  EXPECT_THAT(rejection(aimless), ::testing::ElementsAre(1, 1, 7));
  aimless.close();
  EXPECT_TRUE(echo());
  const StoreScpStats stats = stats_after_stop();
  EXPECT_EQ(stats.rejected_calling_ae_total, 1u);
  EXPECT_EQ(stats.rejected_called_ae_total, 1u);
}

TEST_F(StoreScpTest, TellsPeersWithOneAeTitleApartByTheirAddress) {
  config_.peers = {{.name = "one", .ae_title = "XRAY1", .host = "127.0.0.2"},
                   {.name = "two", .ae_title = "XRAY1", .host = "127.0.0.1"}};
  open();
  RawPeer peer = associated({{kDx, {kExplicit}}});
  ASSERT_TRUE(store(peer, kDx, "1.2.3", image("1.2.3")));
  const auto held = stored_.store().list_instances(Uid::parse("1.2.826.0.1.1").value());
  ASSERT_TRUE(held.ok() && held->size() == 1);
  EXPECT_EQ(held->front().peer, "two");
  EXPECT_TRUE(echo("127.0.0.2"));
  EXPECT_FALSE(echo("127.0.0.3"));
}

// Result of a presentation context in the A-ASSOCIATE-AC, and its transfer syntax; PS3.8 9.3.3.2.
std::pair<int, std::string> context_answer(const RawPeer& peer, int id) {
  const std::string& body = peer.last_body();
  const auto number = [&body](std::size_t at) {
    return static_cast<std::size_t>(static_cast<unsigned char>(body[at]) << 8 |
                                    static_cast<unsigned char>(body[at + 1]));
  };
  for (std::size_t at = 68; at + 8 <= body.size(); at += 4 + number(at + 2)) {
    if (body[at] != 0x21 || body[at + 4] != id) continue;
    return {body[at + 6], body.substr(at + 12, number(at + 10))};
  }
  return {-1, ""};
}

TEST_F(StoreScpTest, AnswersEachPresentationContext) {
  open();
  RawPeer peer = connect();
  // Accepted with the second syntax; class refused (3); syntax refused (4): HTJ2K would break the association.
  ASSERT_EQ(peer.associate(associate_request("XRAY1", "SKELEX",
                                             {{kDx, {"1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.70", kExplicit}},
                                              {kCt, {kExplicit}},
                                              {kCr, {"1.2.840.10008.1.2.4.202"}}})),
            kAccepted);
  EXPECT_EQ(context_answer(peer, 1), std::pair(0, std::string("1.2.840.10008.1.2.4.70")));
  EXPECT_EQ(context_answer(peer, 3).first, 3);
  EXPECT_EQ(context_answer(peer, 5).first, 4);
}

TEST_F(StoreScpTest, TakesTheSendersFirstSyntaxUnlessAnotherIsPreferred) {
  const std::string request = associate_request(
      "XRAY1", "SKELEX", {{kDx, {kExplicit, "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.70", kImplicit}}});
  for (const bool preferred : {false, true}) {
    if (preferred) config_.transfer_syntaxes = {"1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.70"};
    open();
    RawPeer peer = connect();
    ASSERT_EQ(peer.associate(request), kAccepted);
    EXPECT_EQ(context_answer(peer, 1), std::pair(0, std::string(preferred ? "1.2.840.10008.1.2.4.70" : kExplicit)));
    scp_->stop();
  }
}

TEST_F(StoreScpTest, APreferredSyntaxThatCanNeverComeIsRefusedByName) {
  config_.transfer_syntaxes = {kExplicit, "1.2.840.10008.1.2.4.94"};  // JPIP: its pixels lie elsewhere.
  const auto opened = StoreScp::open(config_, stored_.spool(), stored_.store(), *router_);
  ASSERT_EQ(opened.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(opened.status().message(), ::testing::HasSubstr("node.transfer_syntaxes: 1.2.840.10008.1.2.4.94"));
}

TEST_F(StoreScpTest, TakesFurtherClassesOnlyIfConfigured) {
  const char* const kXa = "1.2.840.10008.5.1.4.1.1.12.1";
  for (const bool configured : {false, true}) {
    if (configured) config_.more_sop_classes = {kXa};
    open();
    RawPeer peer = connect();
    ASSERT_EQ(peer.associate(associate_request("XRAY1", "SKELEX", {{kXa, {kExplicit}}, {kDx, {kExplicit}}})),
              kAccepted);
    EXPECT_EQ(context_answer(peer, 1).first, configured ? 0 : 3);
    if (configured) {
      DcmFileFormat file = object::make_image({});
      object::must(file.getDataset()->putAndInsertString(DCM_SOPClassUID, kXa));
      object::must(file.getDataset()->putAndInsertString(DCM_SOPInstanceUID, "1.2.7"));
      const std::string data_set = data_set_of(object::read_bytes(object::write(folder_, file)));
      const auto response = store(peer, kXa, "1.2.7", data_set);
      ASSERT_TRUE(response);
      EXPECT_EQ(response->status, kSuccess) << response->error_comment;
      EXPECT_TRUE(data_set_of(kept("1.2.7")) == data_set);
    }
    peer.close();
    scp_->stop();
  }
}

TEST_F(StoreScpTest, AnswersWhatASenderNegotiatesBesideItsContexts) {
  open();
  // Asynchronous window of 5 and 5, SCU role, extended negotiation of a storage class (twice) and of another, user
  // identity without a wish for an answer, and an item that PS3.7 does not know.
  const auto extended = [](const std::string& uid, const std::string& information) {
    return item(0x56, big_endian(uid.size(), 2) + uid + information);
  };
  const std::string uid(kDx);
  const std::string more = item(0x53, big_endian(5, 2) + big_endian(5, 2)) +
                           item(0x54, big_endian(uid.size(), 2) + uid + std::string("\x01\x00", 2)) +
                           extended(uid, std::string("\x02\0\0\0\x01\0", 6)) + extended(uid, "") +
                           extended("1.2.840.10008.5.1.4.1.1.2", std::string(6, '\0')) +
                           item(0x58, std::string("\x01\x00", 2) + big_endian(4, 2) + "user" + big_endian(0, 2)) +
                           item(0x5B, "odd");
  RawPeer peer = connect();
  ASSERT_EQ(peer.associate(associate_request("XRAY1", "SKELEX", {{kDx, {kExplicit}}}, kApplicationContext, more)),
            kAccepted);
  const std::string& answer = peer.last_body();
  EXPECT_EQ(answer.find(item(0x53, big_endian(5, 2) + big_endian(5, 2))), std::string::npos) << "one at a time";
  const std::string level_2 = extended(uid, std::string("\x02\0\x03\0\0\0", 6));
  const auto at = answer.find(level_2);
  ASSERT_NE(at, std::string::npos);
  EXPECT_EQ(answer.find(level_2, at + 1), std::string::npos) << "once";
  EXPECT_EQ(answer.find("1.2.840.10008.5.1.4.1.1.2\0"), std::string::npos);
  const auto response = store(peer, kDx, "1.2.3", image("1.2.3"));
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, kSuccess);
}

TEST_F(StoreScpTest, RequestsSentWithoutWaitingAreAnsweredInOrder) {
  open();
  RawPeer peer = associated({{kDx, {kExplicit}}, {kVerification, {kImplicit}}});
  const std::string data_set = image("1.2.3");
  peer.send(data_pdu(presentation_data(3, echo_command(), true, true)) +
            data_pdu(presentation_data(1, store_command(kDx, "1.2.4"), true, true) +
                     presentation_data(1, data_set, false, true) + presentation_data(3, echo_command(), true, true)) +
            data_pdu(presentation_data(1, store_command(kDx, "1.2.3"), true, true)) +
            data_pdu(presentation_data(1, data_set, false, true)));
  for (const std::uint16_t expected : {kSuccess, kDataSetMismatch, kSuccess, kSuccess}) {
    const auto response = peer.receive_response();
    ASSERT_TRUE(response);
    EXPECT_EQ(response->status, expected);
  }
}

TEST_F(StoreScpTest, FragmentsOfAnySizeThatTheStandardAllowsAreTaken) {
  open();
  for (const std::size_t fragment : {2u, 6u, 250u, 16'376u}) {
    RawPeer peer = associated({{kDx, {kExplicit}}});
    const std::string instance = "1.2.3." + std::to_string(fragment);
    const std::string data_set = image(instance);
    const auto response = store(peer, kDx, instance, data_set, 1, fragment);
    ASSERT_TRUE(response) << fragment;
    EXPECT_EQ(response->status, kSuccess) << fragment;
    EXPECT_TRUE(data_set_of(kept(instance)) == data_set) << fragment;
  }
  RawPeer odd = associated({{kDx, {kExplicit}}});  // PS3.8 Annex E: an even number of bytes.
  odd.send(data_pdu(presentation_data(1, store_command(kDx, "1.2.9"), true, true)) +
           data_pdu(presentation_data(1, image("1.2.9").substr(0, 101), false, false)));
  const auto answer = odd.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->type, kAborted);
}

TEST_F(StoreScpTest, ASenderThatTakesSmallPdusOnlyIsAnsweredInThem) {
  open();
  RawPeer peer = connect();
  std::string request = associate_request("XRAY1", "SKELEX", {{kVerification, {kImplicit}}});
  const auto at = request.find(item(0x51, big_endian(16384, 4)));
  ASSERT_NE(at, std::string::npos);
  request.replace(at + 4, 4, big_endian(129, 4));
  ASSERT_EQ(peer.associate(request), kAccepted);
  peer.send(data_pdu(presentation_data(1, echo_command(), true, true)));
  const auto first = peer.receive();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->type, 0x04);
  EXPECT_LE(first->body.size(), 129u);
}

TEST_F(StoreScpTest, RejectsAnotherProtocolVersion) {
  open();
  std::string request = associate_request("XRAY1", "SKELEX", {{kVerification, {kImplicit}}});
  request.replace(6, 2, big_endian(2, 2));
  RawPeer peer = connect();
  EXPECT_EQ(peer.associate(request), kRejected);
  EXPECT_THAT(rejection(peer), ::testing::ElementsAre(1, 2, 2));
}

TEST_F(StoreScpTest, APeerMayHaveAsManyAssociationsAsItsLimitSays) {
  config_.peers = {{.name = "xray", .ae_title = "XRAY1", .host = "127.0.0.1", .associations_max = 2},
                   {.name = "pacs", .ae_title = "PACS", .host = "127.0.0.1"}};
  open();
  const auto ask = [this](RawPeer& peer, const std::string& calling) {
    return peer.associate(associate_request(calling, "SKELEX", {{kVerification, {kImplicit}}}));
  };
  RawPeer first = connect(), second = connect(), third = connect(), other = connect();
  EXPECT_EQ(ask(first, "XRAY1"), kAccepted);
  EXPECT_EQ(ask(second, "XRAY1"), kAccepted);
  EXPECT_EQ(ask(third, "XRAY1"), kRejected);
  EXPECT_THAT(rejection(third), ::testing::ElementsAre(2, 3, 2));
  EXPECT_EQ(ask(other, "PACS"), kAccepted);
  first.send(big_endian(0x0500, 2) + big_endian(4, 4) + big_endian(0, 4));
  EXPECT_TRUE(first.receive());
  first.close();
  const auto end = steady_clock::now() + seconds(10);
  int again = kRejected;
  while (again == kRejected && steady_clock::now() < end) {  // Its thread ends a moment later.
    RawPeer peer = connect();
    again = ask(peer, "XRAY1");
  }
  EXPECT_EQ(again, kAccepted);
}

TEST_F(StoreScpTest, APeerCallsFromItsOwnHostOnlyIfHostsAreChecked) {
  config_.peers = {{.name = "xray", .ae_title = "XRAY1", .host = "127.0.0.1"}};
  open();
  EXPECT_TRUE(echo("127.0.0.2"));
  scp_->stop();
  config_.check_hosts = true;
  open();
  RawPeer peer = connect("127.0.0.2");
  EXPECT_EQ(peer.associate(associate_request("XRAY1", "SKELEX", {{kVerification, {kImplicit}}})), kRejected);
  EXPECT_THAT(rejection(peer), ::testing::ElementsAre(1, 1, 3));
  EXPECT_TRUE(echo("127.0.0.1"));
}

TEST_F(StoreScpTest, AThreadThatAcceptsNoMoreIsToldFromOneThatHasNothingToDo) {
  std::promise<void> reached, go_on;
  auto acceptor = AssociationAcceptor::open("127.0.0.1", 0, {}, [&](int, const Caller&) {
                    reached.set_value();
                    go_on.get_future().wait();
                    return false;
                  }).value();
  EXPECT_TRUE(acceptor->turns(seconds(30)));
  RawPeer peer(acceptor->port(), "127.0.0.1");
  peer.send(associate_request("XRAY1", "SKELEX", {{kVerification, {kImplicit}}}));
  reached.get_future().wait();
  EXPECT_FALSE(acceptor->turns(milliseconds(50)));
  go_on.set_value();
  EXPECT_TRUE(acceptor->turns(seconds(30)));
  open();
  EXPECT_TRUE(scp_->turns(seconds(30)));
}

TEST_F(StoreScpTest, ThePeersChangeWhileOthersCall) {
  open();
  auto calling = std::async(std::launch::async, [this] {
    int answered = 0;
    for (int i = 0; i < 50; ++i) answered += echo() ? 1 : 0;
    return answered;
  });
  config::ReceiveConfig fresh = config_;
  for (int i = 0; i < 200; ++i) {
    fresh.peers.push_back({.name = "new" + std::to_string(i), .ae_title = "NEW" + std::to_string(i), .host = ""});
    scp_->set_callers(fresh);
  }
  EXPECT_EQ(calling.get(), 50) << "who was known all the time";
  fresh.peers.clear();
  scp_->set_callers(fresh);
  EXPECT_FALSE(echo());
  while (scp_->stats().rejected_calling_ae_total == 0) std::this_thread::yield();  // Counted after it was answered.
}

TEST_F(StoreScpTest, RejectsARequestWithNothingToAccept) {
  open();
  RawPeer peer = connect();
  EXPECT_EQ(peer.associate(associate_request("XRAY1", "SKELEX", {{kCt, {kExplicit}}})), kRejected);
  EXPECT_THAT(rejection(peer), ::testing::ElementsAre(1, 1, 1));
}

TEST_F(StoreScpTest, RejectsWhatIsOverTheLimitWithATransientReason) {
  config_.associations_max = 1;
  open();
  RawPeer first = associated({{kVerification, {kImplicit}}});
  RawPeer second = connect();
  EXPECT_EQ(second.associate(associate_request("XRAY1", "SKELEX", {{kVerification, {kImplicit}}})), kRejected);
  EXPECT_THAT(rejection(second), ::testing::ElementsAre(2, 3, 2));
  second.close();
  EXPECT_EQ(stats_after_stop().rejected_limit_total, 1u);
}

TEST_F(StoreScpTest, OneHostCannotTakeAllAssociations) {
  config_.associations_per_host_max = 2;
  open();
  RawPeer first = associated({{kVerification, {kImplicit}}});
  RawPeer second = associated({{kVerification, {kImplicit}}});
  EXPECT_FALSE(echo("127.0.0.1"));
  EXPECT_TRUE(echo("127.0.0.2"));
}

// --- Stopping -------------------------------------------------------------------------------------------------------

TEST_F(StoreScpTest, StopsAtOnceWithIdleAssociationsAndSilentConnections) {
  config_.stop_grace = seconds(60);
  open();
  RawPeer idle = associated({{kVerification, {kImplicit}}});
  RawPeer silent = connect();
  const auto begun = steady_clock::now();
  scp_->stop();
  EXPECT_LT(steady_clock::now() - begun, seconds(10));
  const auto answer = idle.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->type, kAborted);
  EXPECT_FALSE(silent.receive());
  EXPECT_TRUE(silent.closed());
  scp_->stop();  // Twice is fine.
  EXPECT_FALSE(connect().connected());
}

TEST_F(StoreScpTest, ARequestInProgressIsAnsweredBeforeTheStop) {
  config_.stop_grace = seconds(60);
  open();
  RawPeer peer = associated({{kDx, {kExplicit}}});
  const std::string data_set = image("1.2.3");
  ASSERT_TRUE(store(peer, kDx, "1.2.4", image("1.2.4")));
  peer.send(data_pdu(presentation_data(1, store_command(kDx, "1.2.3"), true, true)));
  peer.send(data_pdu(presentation_data(1, data_set.substr(0, 100), false, false)));
  // Until the object's file is there, the request has begun.
  const auto parts = [this] {
    int count = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(stored_.directory())) {
      if (entry.path().extension() == ".part") ++count;
    }
    return count;
  };
  while (parts() == 0) std::this_thread::yield();
  auto stopped = std::async(std::launch::async, [this] { scp_->stop(); });
  while (connect().connected()) std::this_thread::yield();  // It accepts no more.
  peer.send(data_pdu(presentation_data(1, data_set.substr(100), false, true)));
  const auto response = peer.receive_response();
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, kSuccess);
  stopped.get();
  EXPECT_EQ(data_set_of(kept("1.2.3")), data_set);
}

TEST_F(StoreScpTest, APeerThatNeverEndsItsRequestIsCutAfterTheGracePeriod) {
  config_.stop_grace = seconds(1);
  open();
  RawPeer peer = associated({{kDx, {kExplicit}}});
  peer.send(data_pdu(presentation_data(1, store_command(kDx, "1.2.3"), true, true)));
  peer.send(data_pdu(presentation_data(1, std::string(100, '\0'), false, false)));
  ASSERT_TRUE(echo());
  const auto begun = steady_clock::now();
  scp_->stop();
  EXPECT_LT(steady_clock::now() - begun, seconds(10));
  EXPECT_EQ(stored_.spool().list_keys().value().size(), 0u);
}

TEST_F(StoreScpTest, SaysThatAPortIsTaken) {
  open();
  config_.port = scp_->port();
  const auto second = StoreScp::open(config_, stored_.spool(), stored_.store(), *router_);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), StatusCode::kUnavailable);
  config_.bind = "no address";
  EXPECT_EQ(StoreScp::open(config_, stored_.spool(), stored_.store(), *router_).status().code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace node::receive
