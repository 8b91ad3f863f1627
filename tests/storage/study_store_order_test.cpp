// The contract of study_store.h: what a finding makes urgent goes first, and in which order one destination gets a
// study.
#include "tests/storage/study_store_contract.h"

namespace node::storage {
namespace {

// --- urgent -------------------------------------------------------------------------------------------------------

TEST_P(StudyStoreContract, AnUrgentFindingMovesUpTheRestOfItsStudyAtEveryStage) {
  for (int study = 1; study <= 2; ++study) {
    for (int number = 1; number <= 2; ++number) {
      NewInstance given = image(study, number, /*priority=*/study == 1 ? 1000 : 0);
      given.route.forward_to = {"archive"};
      add(given);
      clock_.advance(seconds(1));
    }
  }
  auto first = claim_instances(4);  // 1.2.1.1, 1.2.1.2, 1.2.2.1, 1.2.2.2
  ASSERT_THAT(first, SizeIs(4));
  for (std::size_t i : {0u, 1u, 3u}) ASSERT_TRUE(store_->release_instance(first[i].token).ok());
  ASSERT_TRUE(store_->finish_instance(first[2].token, predictions(), "fracture 0.91").ok());
  EXPECT_EQ(summary(2).urgent, "fracture 0.91");
  EXPECT_EQ(summary(1).urgent, "");
  EXPECT_THAT(uids(claim_deliveries("archive")), ElementsAre("1.2.2.1", "1.2.2.2", "1.2.1.1", "1.2.1.2"));
  add(image(2, 3));
  restart();
  const auto claimed = claim_instances();
  ASSERT_THAT(claimed, SizeIs(4));
  EXPECT_EQ(claimed[0].instance.sop_instance_uid.str(), "1.2.2.2");
  EXPECT_EQ(claimed[1].instance.sop_instance_uid.str(), "1.2.2.3") << "what comes later, too";
  for (const auto& claim : claimed) ASSERT_TRUE(store_->finish_instance(claim.token, predictions(), "").ok());
  const auto ready = close_and_claim();
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->study_instance_uid.str(), "1.2.2") << "reported before a study that is older and of a higher route";
  EXPECT_EQ(ready->urgent, "fracture 0.91");
  const auto other = claim_study();
  report(*other);
  report(*ready);
  EXPECT_THAT(uids(claim_deliveries()), ElementsAre("1.2.9.2.1", "1.2.9.1.1"));
}

TEST_P(StudyStoreContract, TheFirstUrgentFindingStandsUntilTheStudyIsRunAgain) {
  add(image(1, 1));
  add(image(1, 2));
  const auto claimed = claim_instances();
  ASSERT_TRUE(store_->finish_instance(claimed[0].token, predictions(), "first").ok());
  ASSERT_TRUE(store_->finish_instance(claimed[1].token, predictions(), "second").ok());
  EXPECT_EQ(summary(1).urgent, "first");
  report(*close_and_claim());
  ASSERT_TRUE(store_->retry_study(uid("1.2.1")).ok());
  EXPECT_EQ(summary(1).urgent, "");
}

TEST_P(StudyStoreContract, AStudyThatIsRunAgainIsUrgentOnlyWhereItIsFoundSoAgain) {
  add(image(1, 1, /*priority=*/5));
  add(image(1, 2, /*priority=*/3));
  const auto first = claim_instances();
  ASSERT_TRUE(store_->finish_instance(first[0].token, predictions(), "fracture 0.91").ok());
  ASSERT_TRUE(store_->finish_instance(first[1].token, predictions()).ok());
  add(image(1, 3, /*priority=*/4));  // Comes while it is urgent.
  analyse_all();
  report(*close_and_claim());
  add(image(2, 1, /*priority=*/6));
  ASSERT_TRUE(store_->retry_study(uid("1.2.1")).ok());
  restart();
  auto again = claim_instances();
  EXPECT_THAT(uids(again), ElementsAre("1.2.2.1", "1.2.1.1", "1.2.1.3", "1.2.1.2")) << "as their routes say";
  EXPECT_EQ(again[1].instance.route.priority, 5);
  for (const auto& claim : again) ASSERT_TRUE(store_->finish_instance(claim.token, predictions()).ok());
  clock_.advance(seconds(10));
  const auto other = claim_study(), retried = claim_study();
  EXPECT_EQ(other->study_instance_uid, uid("1.2.2"));
  EXPECT_EQ(retried->priority, 5) << "the highest of its routes";
  EXPECT_EQ(retried->urgent, "");
  report(*retried);
  report(*other);
  EXPECT_THAT(uids(claim_deliveries()), ElementsAre("1.2.9.1.1", "1.2.9.2.1", "1.2.9.1.2"))
      << "what the first revision found is still the most urgent";

  ASSERT_TRUE(store_->retry_study(uid("1.2.1"), 2).ok());
  again = claim_instances();
  ASSERT_TRUE(store_->finish_instance(again[0].token, predictions(), "fracture 0.92").ok());
  EXPECT_EQ(summary(1).urgent, "fracture 0.92");
  for (std::size_t i : {1u, 2u}) ASSERT_TRUE(store_->release_instance(again[i].token).ok());
  add(image(3, 1, /*priority=*/1000));
  again = claim_instances();
  EXPECT_THAT(uids(again), ElementsAre("1.2.1.2", "1.2.1.3", "1.2.3.1"));
  RouteDecision settled = again[1].instance.route;
  settled.priority = 1;
  ASSERT_TRUE(store_->settle_route(again[1].token, settled).ok());
  for (const auto& claim : again) ASSERT_TRUE(store_->release_instance(claim.token).ok());
  EXPECT_THAT(uids(claim_instances()), ElementsAre("1.2.1.2", "1.2.1.3", "1.2.3.1")) << "whatever its pixels decide";
}

TEST_P(StudyStoreContract, AStudyIsUrgentNoMoreOnceTheImageThatMadeItSoIsMovedOrReplaced) {
  for (const bool moved : {true, false}) {
    const int study = moved ? 1 : 2;
    for (int number = 1; number <= 3; ++number) add(image(study, number, /*priority=*/number));
    for (const auto& claim : claim_instances()) {  // The first, then the second; nothing in the third.
      const std::string& one = claim.instance.sop_instance_uid.str();
      const std::string found = one.ends_with("1") ? "first" : one.ends_with("2") ? "second" : "";
      ASSERT_TRUE(store_->finish_instance(claim.token, predictions(), found).ok());
      clock_.advance(seconds(1));
    }
    const std::string kept = summary(study).urgent;
    report(*close_and_claim());
    const int other = kept == "first" ? 2 : 1;
    const auto correct = [&](int number) {
      NewInstance corrected = moved ? image(7, number) : unrouted(study, number);
      corrected.sop_instance_uid = image(study, number).sop_instance_uid;
      ASSERT_TRUE(add(corrected, Arrival::kCorrection, 1));
    };
    correct(other);
    EXPECT_EQ(summary(study).urgent, kept) << "by what is left";
    correct(3 - other);
    EXPECT_EQ(summary(study).urgent, "") << moved;
    restart();
    EXPECT_EQ(summary(7).urgent, "") << "what was moved is analysed again";
    add(image(study, 4, /*priority=*/4));
    for (const auto& claim : claim_instances()) {
      EXPECT_LT(claim.instance.route.priority, 1000);
      ASSERT_TRUE(store_->finish_instance(claim.token, predictions()).ok());
    }
    clock_.advance(seconds(10));
    for (auto ready = claim_study(); ready; ready = claim_study()) {
      EXPECT_EQ(ready->urgent, "");
      EXPECT_LE(ready->priority, 4);
      report(*ready);
    }
  }
}

TEST_P(StudyStoreContract, AFindingOfAnImageThatStaysKeepsItsStudyUrgentInItsOwnWords) {
  add(image(1, 1));
  add(image(1, 2));
  const auto claims = claim_instances();
  ASSERT_TRUE(store_->finish_instance(claims[0].token, predictions(), "first").ok());
  ASSERT_TRUE(store_->finish_instance(claims[1].token, predictions(), "second").ok());
  NewInstance moved = image(2, 1);
  moved.sop_instance_uid = claims[0].instance.sop_instance_uid;
  ASSERT_TRUE(add(moved, Arrival::kCorrection, 1));
  EXPECT_EQ(summary(1).urgent, "second");
  const auto ready = close_and_claim();
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->urgent, "second");
  EXPECT_EQ(ready->priority, kUrgentPriority);
}

// --- order at one destination -------------------------------------------------------------------------------------

TEST_P(StudyStoreContract, AMessageMayWaitUntilAnotherDestinationHasTheResults) {
  NewInstance given = image(1, 1);
  given.route.forward_to = {"pacs"};  // Originals are not waited for.
  add(given);
  analyse_all();
  const auto ready = close_and_claim();
  ASSERT_TRUE(store_
                  ->finish_study(ready->token,
                                 {result("1.2.7.1", "oru", *ready), result("1.2.7.2", "sr", *ready),
                                  result("1.2.7.3", "sc", *ready), result("1.2.7.4", "webhook", *ready)},
                                 {{"ris", uid("1.2.7.1"), DeliveryStage::kMessage, "pacs"},
                                  {"pacs", uid("1.2.7.2"), DeliveryStage::kReport},
                                  {"pacs", uid("1.2.7.3"), DeliveryStage::kImageObject},
                                  {"board", uid("1.2.7.4"), DeliveryStage::kMessage}})
                  .ok());
  EXPECT_THAT(uids(claim_deliveries("board")), ElementsAre("1.2.7.4")) << "waits for nobody";
  EXPECT_THAT(claim_deliveries("ris"), IsEmpty());
  const auto both = claim_deliveries();  // The original and the overlay.
  ASSERT_THAT(uids(both), ElementsAre("1.2.1.1", "1.2.7.3"));
  ASSERT_TRUE(store_->finish_delivery(both[1].token, {}).ok());
  EXPECT_THAT(claim_deliveries("ris"), IsEmpty()) << "the report is due";
  const auto report = claim_deliveries();
  ASSERT_THAT(uids(report), ElementsAre("1.2.7.2"));
  DeliveryOutcome parked;
  parked.state = DeliveryState::kParked;
  ASSERT_TRUE(store_->finish_delivery(report[0].token, parked).ok());
  EXPECT_THAT(uids(claim_deliveries("ris")), ElementsAre("1.2.7.1")) << "nothing waits for a person";
}

TEST_P(StudyStoreContract, AnOldMessageIsNeverTheLastThatAWorklistHears) {
  add(image(1, 1));
  analyse_all();
  auto ready = close_and_claim();
  ASSERT_TRUE(store_
                  ->finish_study(ready->token, {result("1.2.7.1", "oru", *ready)},
                                 {{"ris", uid("1.2.7.1"), DeliveryStage::kMessage}})
                  .ok());
  auto due = claim_deliveries("ris");
  ASSERT_THAT(uids(due), ElementsAre("1.2.7.1"));
  ASSERT_TRUE(store_->finish_delivery(due[0].token, {DeliveryState::kPending, seconds(600), {}, "AE"}).ok());
  add(image(1, 2));  // A late image: the next revision.
  analyse_all();
  ready = close_and_claim();
  ASSERT_TRUE(store_
                  ->finish_study(ready->token, {result("1.2.7.2", "oru", *ready)},
                                 {{"ris", uid("1.2.7.2"), DeliveryStage::kMessage}})
                  .ok());
  EXPECT_THAT(claim_deliveries("ris"), IsEmpty()) << "the older one is to be sent again first";
  clock_.advance(seconds(600));
  due = claim_deliveries("ris");
  ASSERT_THAT(uids(due), ElementsAre("1.2.7.1"));
  ASSERT_TRUE(store_->finish_delivery(due[0].token, {}).ok());
  EXPECT_THAT(uids(claim_deliveries("ris")), ElementsAre("1.2.7.2"));
}

TEST_P(StudyStoreContract, WhatIsUrgentStaysBeforeTheRestThoughItFailedOnce) {
  for (int study = 1; study <= 3; ++study) add(image(study, 1));
  const auto claimed = claim_instances(3);
  for (const auto& claim : claimed) {
    const bool is_urgent = claim.instance.study_instance_uid == uid("1.2.3");
    ASSERT_TRUE(store_->finish_instance(claim.token, predictions(), is_urgent ? "fracture 0.91" : "").ok());
  }
  clock_.advance(seconds(60));
  while (const auto ready = claim_study()) report(*ready);
  auto due = claim_deliveries("pacs", 1);
  ASSERT_THAT(due, SizeIs(1));
  const auto urgent = due[0].sop_instance_uid;
  EXPECT_EQ(due[0].study_instance_uid, uid("1.2.3"));
  ASSERT_TRUE(store_->finish_delivery(due[0].token, {DeliveryState::kPending, seconds(1), 0xA700, "full"}).ok());
  due = claim_deliveries("pacs", 1);
  ASSERT_THAT(due, SizeIs(1)) << "while it pauses, others go";
  ASSERT_TRUE(store_->finish_delivery(due[0].token, {DeliveryState::kPending, seconds(1), 0xA700, "full"}).ok());
  clock_.advance(seconds(1));
  due = claim_deliveries("pacs", 3);
  ASSERT_THAT(due, SizeIs(3));
  EXPECT_EQ(due[0].sop_instance_uid, urgent);
  EXPECT_EQ(due[1].attempts, 0) << "of the rest, what never failed first";
}

TEST_P(StudyStoreContract, AMessageDoesNotWaitForADestinationThatIsGone) {
  add(image(1, 1));
  analyse_all();
  const auto ready = close_and_claim();
  ASSERT_TRUE(store_
                  ->finish_study(ready->token, {result("1.2.7.1", "oru", *ready), result("1.2.7.2", "sr", *ready)},
                                 {{"ris", uid("1.2.7.1"), DeliveryStage::kMessage, "pacs"},
                                  {"pacs", uid("1.2.7.2"), DeliveryStage::kReport}})
                  .ok());
  EXPECT_THAT(claim_deliveries("ris"), IsEmpty());
  ASSERT_TRUE(store_->set_destinations({"ris"}).ok());
  EXPECT_THAT(uids(claim_deliveries("ris")), ElementsAre("1.2.7.1"));
}

TEST_P(StudyStoreContract, LateOriginalsComeAfterTheResultsAndAMessageLast) {
  NewInstance given = image(1, 1);
  given.route.forward_to = {"archive", "pacs"};
  given.route.forward_after_results = {"pacs"};
  add(given);
  EXPECT_THAT(uids(claim_deliveries("archive")), ElementsAre("1.2.1.1")) << "at once";
  EXPECT_THAT(claim_deliveries(), IsEmpty()) << "the study is open";
  analyse_all();
  const auto ready = close_and_claim();
  EXPECT_THAT(claim_deliveries(), IsEmpty()) << "it is closed, not reported";
  ASSERT_TRUE(store_
                  ->finish_study(ready->token,
                                 {result("1.2.7.1", "oru", *ready), result("1.2.7.2", "sr", *ready),
                                  result("1.2.7.3", "sc", *ready)},
                                 {{"pacs", uid("1.2.7.1"), DeliveryStage::kMessage},
                                  {"pacs", uid("1.2.7.2"), DeliveryStage::kReport},
                                  {"pacs", uid("1.2.7.3"), DeliveryStage::kImageObject}})
                  .ok());
  for (const char* expected : {"1.2.7.3", "1.2.7.2", "1.2.1.1", "1.2.7.1"}) {
    const auto due = claim_deliveries();
    ASSERT_THAT(uids(due), ElementsAre(expected));
    ASSERT_TRUE(store_->finish_delivery(due[0].token, {}).ok());
  }
}

TEST_P(StudyStoreContract, LateOriginalsOfAStudyWithoutResultsGoWhenItEnds) {
  NewInstance sr = unrouted(1, 1);
  sr.route.forward_to = sr.route.forward_after_results = {"pacs"};
  add(sr);
  EXPECT_THAT(claim_deliveries(), IsEmpty());
  EXPECT_FALSE(close_and_claim());
  EXPECT_THAT(uids(claim_deliveries()), ElementsAre("1.2.1.1")) << "nothing of it is routed";

  NewInstance failing = image(2, 1);
  failing.route.forward_to = failing.route.forward_after_results = {"pacs"};
  add(failing);
  analyse_all();
  const auto ready = close_and_claim();
  ASSERT_TRUE(store_->fail_study(ready->token, "no font").ok());
  EXPECT_THAT(uids(claim_deliveries()), ElementsAre("1.2.2.1")) << "its report failed";
}

}  // namespace
}  // namespace node::storage
