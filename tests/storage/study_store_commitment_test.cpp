// The contract of study_store.h: storage commitment.
#include "storage/sqlite_study_store.h"
#include "tests/storage/study_store_contract.h"

namespace node::storage {
namespace {

constexpr milliseconds kDay{24 * 3600 * 1000};

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
    const auto begun = store_->begin_commitment("archive", 100, kDay);
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
  ASSERT_TRUE(store_->release_commitment(begun.transaction_uid, seconds(30), "refused").ok());
  EXPECT_EQ(delivery().text, "refused");
  EXPECT_THAT(begin().references, IsEmpty());
  clock_.advance(seconds(30));
  EXPECT_THAT(begin().references, SizeIs(1));
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
  auto due = store_->due_commitment_requests(10).value();
  ASSERT_THAT(due, SizeIs(1));
  EXPECT_EQ(due[0].peer, "xray1");
  ASSERT_THAT(due[0].references, SizeIs(2));
  EXPECT_EQ(due[0].references[1].sop_instance_uid, "1.2.1.2");
  ASSERT_TRUE(store_->end_commitment_request(due[0].id, seconds(5), "down").ok());
  EXPECT_THAT(store_->due_commitment_requests(10).value(), IsEmpty());
  clock_.advance(seconds(5));
  due = store_->due_commitment_requests(10).value();
  ASSERT_THAT(due, SizeIs(1));
  EXPECT_EQ(due[0].attempts, 1);
  ASSERT_TRUE(store_->end_commitment_request(due[0].id, std::nullopt, "").ok());
  EXPECT_THAT(store_->due_commitment_requests(10).value(), IsEmpty());
  ASSERT_TRUE(store_->add_commitment_request("xray1", "1.2.99", references).ok());
  EXPECT_THAT(store_->due_commitment_requests(10).value(), SizeIs(1)) << "asked again";
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
