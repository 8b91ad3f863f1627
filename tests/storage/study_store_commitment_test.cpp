// The contract of study_store.h: storage commitment.
#include "storage/sqlite_study_store.h"
#include "tests/storage/study_store_contract.h"

namespace node::storage {
namespace {

constexpr milliseconds kDay{24 * 3600 * 1000};
constexpr milliseconds kWeek{7 * kDay};

class StudyStoreCommitment : public StudyStoreContract {
 protected:
  // One original, delivered to the archive and to be committed.
  void deliver_one() {
    NewInstance given = unrouted(1, 1);
    given.route.forward_to = {"archive"};
    add(given);
    EXPECT_FALSE(close_and_claim());
    deliver();
  }
  void deliver() {
    const auto claims = claim_deliveries("archive");
    ASSERT_THAT(claims, SizeIs(1));
    DeliveryOutcome outcome;
    outcome.to_be_committed = true;
    ASSERT_TRUE(store_->finish_delivery(claims[0].token, outcome).ok());
    clock_.advance(seconds(2));  // So that one request speaks of a whole study.
  }
  BegunCommitment begin() {
    const auto begun = store_->begin_commitment("archive", 100, kDay, kWeek);
    EXPECT_TRUE(begun.ok()) << begun.status().message();
    return begun.ok() ? *begun : BegunCommitment();
  }
  bool end(const std::string& transaction_uid, std::uint16_t failure = 0, const std::string& destination = "archive") {
    std::vector<SopReference> committed;
    std::vector<CommitmentFailure> failed;
    const SopReference reference{"1.2.840.10008.5.1.4.1.1.1", "1.2.1.1"};
    if (failure == 0) committed.push_back(reference);
    if (failure != 0) failed.push_back({reference, failure});
    const auto ended = store_->end_commitment(destination, transaction_uid, committed, failed);
    EXPECT_TRUE(ended.ok()) << ended.status().message();
    return ended.ok() && *ended;
  }
  bool purgeable() { return !purged({kNoWait, std::nullopt}).empty(); }
  DeliveryRecord delivery() { return store_->list_deliveries({.limit = 10}).value().at(0); }
};

TEST_P(StudyStoreCommitment, NothingIsPurgedBeforeTheDestinationHasCommitted) {
  deliver_one();
  EXPECT_EQ(delivery().commitment, "due");
  EXPECT_FALSE(purgeable());
  const BegunCommitment begun = begin();
  ASSERT_THAT(begun.references, SizeIs(1));
  EXPECT_EQ(begun.references[0].sop_instance_uid, "1.2.1.1");
  EXPECT_THAT(begin().references, IsEmpty()) << "asked already";
  restart();
  EXPECT_EQ(delivery().commitment, "asked");
  EXPECT_FALSE(purgeable());
  EXPECT_TRUE(end(begun.transaction_uid));
  EXPECT_EQ(delivery().commitment, "committed");
  EXPECT_TRUE(purgeable());
}

TEST_P(StudyStoreCommitment, WithoutItWhatWasDeliveredMayBePurged) {
  NewInstance given = unrouted(1, 1);
  given.route.forward_to = {"archive"};
  add(given);
  EXPECT_FALSE(close_and_claim());
  deliver_all("archive");
  EXPECT_THAT(begin().references, IsEmpty());
  EXPECT_TRUE(purgeable());
}

TEST_P(StudyStoreCommitment, NoAnswerIsAskedAgainUnderAnotherUidAndTheOldOneCountsNoMore) {
  deliver_one();
  const std::string first = begin().transaction_uid;
  clock_.advance(kDay);
  const BegunCommitment second = begin();
  ASSERT_THAT(second.references, SizeIs(1));
  EXPECT_NE(second.transaction_uid, first);
  EXPECT_FALSE(end(first)) << "late";
  EXPECT_FALSE(purgeable());
  EXPECT_TRUE(end(second.transaction_uid));
  EXPECT_TRUE(end(second.transaction_uid, 0x0112)) << "twice: known, and nothing changes";
  EXPECT_EQ(delivery().commitment, "committed");
}

TEST_P(StudyStoreCommitment, WhatCouldNotBeAskedIsAskedLater) {
  deliver_one();
  const BegunCommitment begun = begin();
  EXPECT_EQ(store_->release_commitment(begun.transaction_uid, seconds(30), kWeek, "refused").value(), 0);
  EXPECT_EQ(delivery().text, "refused");
  EXPECT_THAT(begin().references, IsEmpty());
  clock_.advance(seconds(30));
  EXPECT_THAT(begin().references, SizeIs(1));
}

TEST_P(StudyStoreCommitment, WhatCannotBeAskedForTooLongIsForAPersonAndAReleaseTriesAgain) {
  deliver_one();
  clock_.advance(kWeek);
  EXPECT_EQ(store_->release_commitment(begin().transaction_uid, seconds(30), std::nullopt, "down").value(), 0);
  EXPECT_EQ(delivery().state, DeliveryState::kDelivered);
  clock_.advance(seconds(30));
  EXPECT_EQ(store_->release_commitment(begin().transaction_uid, seconds(30), kWeek, "down for a week").value(), 1);
  EXPECT_EQ(delivery().state, DeliveryState::kParked);
  EXPECT_EQ(delivery().text, "down for a week");
  EXPECT_FALSE(purgeable());
  clock_.advance(kDay);
  EXPECT_THAT(begin().references, IsEmpty());
  ASSERT_TRUE(store_->release_delivery(delivery().id).ok());
  deliver();
  EXPECT_TRUE(end(begin().transaction_uid));
  EXPECT_EQ(delivery().commitment, "committed");
  EXPECT_TRUE(purgeable());
}

TEST_P(StudyStoreCommitment, ARequestThatIsNeverAnsweredIsForAPersonAfterAWeek) {
  deliver_one();
  for (int day = 0; day < 7; ++day) {
    EXPECT_THAT(begin().references, SizeIs(1)) << "asked again, day " << day;
    clock_.advance(kDay);
  }
  const BegunCommitment last = begin();
  EXPECT_THAT(last.references, IsEmpty());
  EXPECT_EQ(last.given_up, 1);
  EXPECT_EQ(delivery().state, DeliveryState::kParked);
  EXPECT_THAT(delivery().text, testing::StartsWith("not committed: no report in time"));
  EXPECT_EQ(begin().given_up, 0);
  EXPECT_FALSE(purgeable());
}

TEST_P(StudyStoreCommitment, WhatNoReportCameForWhileTheNodeWasOffIsAskedForAgainAtFirst) {
  deliver_one();
  begin();
  clock_.advance(kWeek);
  restart();
  EXPECT_THAT(begin().references, SizeIs(1));
}

TEST_P(StudyStoreCommitment, ADestinationThatIsAskedNoMoreFreesWhatWaitedForIt) {
  enum { kDue, kAsked, kRefused };
  for (const int how : {kDue, kAsked, kRefused}) {
    SCOPED_TRACE(how);
    NewInstance given = unrouted(1 + how, 1);
    given.route.forward_to = {"archive"};
    add(given);
    EXPECT_FALSE(close_and_claim());
    deliver();
    if (how != kDue) {
      const std::string asked = begin().transaction_uid;
      if (how == kRefused) {
        EXPECT_EQ(store_->release_commitment(asked, seconds(1), milliseconds(0), "").value(), 1);
      }
    }
    restart();
    EXPECT_THAT(store_->set_commitment_peers({"archive"}, {"archive"}).value(), IsEmpty());
    EXPECT_FALSE(purgeable()) << "it is asked still";
    const auto freed = store_->set_commitment_peers({"pacs"}, {"archive"}).value();
    EXPECT_EQ(freed, (std::map<std::string, int>{{"archive", 1}}));
    EXPECT_EQ(delivery().state, DeliveryState::kDelivered);
    EXPECT_EQ(delivery().commitment, "");
    EXPECT_TRUE(purgeable());
  }
}

TEST_P(StudyStoreCommitment, WhatTheDestinationSaysItHasNotStaysParkedThough) {
  deliver_one();
  EXPECT_TRUE(end(begin().transaction_uid, 0x0122));
  EXPECT_THAT(store_->set_commitment_peers({}, {}).value(), IsEmpty());
  EXPECT_EQ(delivery().state, DeliveryState::kParked);
  EXPECT_FALSE(purgeable());
}

TEST_P(StudyStoreCommitment, WhatWasGivenUpIsAskedForNoMoreIsNotSafeAndFreesItsStudy) {
  deliver_one();
  const std::string asked = begin().transaction_uid;
  ASSERT_EQ(store_->release_commitment(asked, seconds(30), milliseconds(0), "refused").value(), 1);
  EXPECT_FALSE(purgeable());
  ASSERT_TRUE(store_->give_up_delivery(delivery().id).ok());
  const SopReference reference{"1.2.840.10008.5.1.4.1.1.1", "1.2.1.1"};
  EXPECT_EQ(store_->safety_of(reference, true).value().safety, Safety::kGivenUp);
  EXPECT_EQ(store_->safety_of(reference, false).value().safety, Safety::kSafe) << "it lies here still";
  clock_.advance(kDay);
  EXPECT_THAT(begin().references, IsEmpty());
  EXPECT_TRUE(end(asked)) << "a report that comes late";
  EXPECT_THAT(store_->set_commitment_peers({}, {}).value(), IsEmpty());
  restart();
  EXPECT_EQ(delivery().state, DeliveryState::kGivenUp);
  EXPECT_TRUE(purgeable());
  EXPECT_EQ(store_->safety_of(reference, true).value().safety, Safety::kGivenUp);
  EXPECT_EQ(store_->safety_of(reference, false).value().safety, Safety::kUnknown) << "nor here any more";
}

TEST_P(StudyStoreCommitment, AClockThatWasSetBackDelaysNothingAfterARestart) {
  deliver_one();
  ASSERT_TRUE(store_->add_commitment_request("xray1", "1.2.99", {{"1.2.3", "1.2.1.1"}}).ok());
  const BegunCommitment begun = begin();
  ASSERT_TRUE(store_->release_commitment(begun.transaction_uid, seconds(30), std::nullopt, "").ok());
  clock_.set_wall(clock_.now() - std::chrono::hours(24 * 10));
  restart();
  EXPECT_THAT(begin().references, SizeIs(1));
  const auto due = store_->due_commitment_requests("xray1", 10).value();
  ASSERT_THAT(due, SizeIs(1));
  EXPECT_EQ(due[0].pending_for.count(), 0);
  clock_.set_wall(clock_.now() - std::chrono::hours(24 * 10));  // Now it is asked, and an answer is waited for.
  restart();
  EXPECT_THAT(begin().references, IsEmpty());
  clock_.advance(kDay);
  EXPECT_THAT(begin().references, SizeIs(1)) << "one period later, not ten days";
}

TEST_P(StudyStoreCommitment, OneReportCommitsSomeAndFailsSome) {
  for (int i = 1; i <= 3; ++i) {
    NewInstance given = unrouted(1, i);
    given.route.forward_to = {"archive"};
    add(given);
  }
  EXPECT_FALSE(close_and_claim());
  for (const auto& claim : claim_deliveries("archive")) {
    DeliveryOutcome outcome;
    outcome.to_be_committed = true;
    ASSERT_TRUE(store_->finish_delivery(claim.token, outcome).ok());
  }
  clock_.advance(seconds(2));
  const BegunCommitment begun = begin();
  ASSERT_THAT(begun.references, SizeIs(3));
  // With one that was never asked for, and one that is not held at all.
  const SopReference foreign{"1.2.840.10008.5.1.4.1.1.1", "1.2.99.1"};
  const auto known = store_->end_commitment("archive", begun.transaction_uid, {begun.references[0], foreign},
                                            {{begun.references[1], 0x0122}, {{"1.2.3", "1.2.99.2"}, 0x0112}});
  ASSERT_TRUE(known.ok() && *known);
  std::map<std::string, std::pair<DeliveryState, std::string>> states;
  const auto listed = store_->list_deliveries({.limit = 10});
  for (const auto& one : listed.value()) {
    states[one.sop_instance_uid] = {one.state, one.commitment};
  }
  ASSERT_THAT(states, SizeIs(3));
  EXPECT_EQ(states[begun.references[0].sop_instance_uid],
            std::pair(DeliveryState::kDelivered, std::string("committed")));
  EXPECT_EQ(states[begun.references[1].sop_instance_uid], std::pair(DeliveryState::kParked, std::string()));
  EXPECT_EQ(states[begun.references[2].sop_instance_uid], std::pair(DeliveryState::kDelivered, std::string("asked")))
      << "what the report does not name is waited for";
  EXPECT_FALSE(purgeable());
}

TEST_P(StudyStoreCommitment, WhatTheDestinationHasNotIsSentAgainAFewTimesThenParked) {
  deliver_one();
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(end(begin().transaction_uid, 0x0112));
    EXPECT_EQ(delivery().state, DeliveryState::kPending);
    deliver();
  }
  EXPECT_TRUE(end(begin().transaction_uid, 0x0112));
  EXPECT_EQ(delivery().state, DeliveryState::kParked);
  EXPECT_EQ(delivery().text, "not committed: 0112H");
  EXPECT_FALSE(purgeable());
  ASSERT_TRUE(store_->release_delivery(delivery().id).ok());
  deliver();
  EXPECT_TRUE(end(begin().transaction_uid));
  EXPECT_TRUE(purgeable());
}

TEST_P(StudyStoreCommitment, AFailureOfTheMomentIsAskedAgainAndAnyOtherIsForAPerson) {
  deliver_one();
  EXPECT_TRUE(end(begin().transaction_uid, 0x0213));
  EXPECT_EQ(delivery().state, DeliveryState::kDelivered);
  clock_.advance(seconds(60));
  EXPECT_TRUE(end(begin().transaction_uid, 0x0122));
  EXPECT_EQ(delivery().state, DeliveryState::kParked);
}

TEST_P(StudyStoreCommitment, AReportOfAnotherDestinationChangesNothing) {
  deliver_one();
  EXPECT_FALSE(end(begin().transaction_uid, 0, "pacs"));
  EXPECT_FALSE(purgeable());
}

TEST_P(StudyStoreCommitment, ARequestOfAPeerIsKeptUntilItIsAnswered) {
  const std::vector<SopReference> references = {{"1.2.3", "1.2.1.1"}, {"1.2.3", "1.2.1.2"}};
  ASSERT_TRUE(store_->add_commitment_request("xray1", "1.2.99", references).ok());
  restart();
  auto due = store_->due_commitment_requests("xray1", 10).value();
  ASSERT_THAT(due, SizeIs(1));
  EXPECT_EQ(due[0].peer, "xray1");
  ASSERT_THAT(due[0].references, SizeIs(2));
  EXPECT_EQ(due[0].references[1].sop_instance_uid, "1.2.1.2");
  EXPECT_THAT(store_->due_commitment_requests("xray2", 10).value(), IsEmpty());
  ASSERT_TRUE(store_->end_commitment_request(due[0].id, seconds(5), "down").ok());
  EXPECT_THAT(store_->due_commitment_requests("xray1", 10).value(), IsEmpty());
  clock_.advance(seconds(5));
  due = store_->due_commitment_requests("xray1", 10).value();
  ASSERT_THAT(due, SizeIs(1));
  EXPECT_EQ(due[0].attempts, 1);
  ASSERT_TRUE(store_->end_commitment_request(due[0].id, std::nullopt, "").ok());
  EXPECT_THAT(store_->due_commitment_requests("xray1", 10).value(), IsEmpty());
  ASSERT_TRUE(store_->add_commitment_request("xray1", "1.2.99", references).ok());
  EXPECT_THAT(store_->due_commitment_requests("xray1", 10).value(), SizeIs(1)) << "asked again";
  ASSERT_TRUE(store_->set_commitment_peers({}, {"archive"}).ok());
  EXPECT_THAT(store_->due_commitment_requests("xray1", 10).value(), IsEmpty()) << "it cannot be called any more";
}

TEST_P(StudyStoreCommitment, SafeIsWhatIsDurableHereOrWasDelivered) {
  const SopReference reference{"1.2.840.10008.5.1.4.1.1.1", "1.2.1.1"};
  const auto safety = [&](bool after_delivery) { return store_->safety_of(reference, after_delivery).value().safety; };
  const auto file = [&](bool after_delivery) { return store_->safety_of(reference, after_delivery).value().file; };
  EXPECT_EQ(safety(false), Safety::kUnknown);
  NewInstance given = unrouted(1, 1);
  given.route.forward_to = {"archive"};
  add(given);
  EXPECT_EQ(safety(false), Safety::kSafe);
  ASSERT_TRUE(file(false)) << "to be read before anybody is told";
  EXPECT_EQ(file(false)->key, given.file.key);
  EXPECT_EQ(file(false)->sha256_hex, given.file.sha256_hex);
  EXPECT_EQ(safety(true), Safety::kWaits);
  EXPECT_EQ(store_->safety_of({"1.2.3", "1.2.1.1"}, false).value().safety, Safety::kOtherClass);
  EXPECT_FALSE(close_and_claim());
  deliver();
  EXPECT_EQ(safety(true), Safety::kWaits) << "the archive has not committed yet";
  EXPECT_TRUE(end(begin().transaction_uid));
  EXPECT_EQ(safety(true), Safety::kSafe);
  EXPECT_FALSE(file(true)) << "it is the archive's copy that counts";
  EXPECT_TRUE(purgeable());
  EXPECT_EQ(safety(false), Safety::kSafe) << "where it went";
  EXPECT_FALSE(file(false));
}

INSTANTIATE_TEST_SUITE_P(Implementations, StudyStoreCommitment,
                         testing::Values(Implementation{"Sqlite",
                                                        [](const config::StorageConfig& config, Clock& clock) {
                                                          return open_sqlite_study_store(config, clock);
                                                        }}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace node::storage
