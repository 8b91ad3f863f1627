// The contract of study_store.h: retention and delivery.
#include <numeric>

#include "tests/storage/study_store_contract.h"

namespace node::storage {
namespace {

// --- retention ----------------------------------------------------------------------------------------------------

TEST_P(StudyStoreContract, AStudyThatFailedIsAtRestOnceItsOriginalsHaveLeft) {
  NewInstance forwarded = image(1, 1);
  forwarded.route.forward_to = {"archive"};
  add(forwarded);
  analyse_all();
  ASSERT_TRUE(store_->fail_study(close_and_claim()->token, "no").ok());
  EXPECT_THAT(store_->purge({seconds(0), {}}, 10)->originals, IsEmpty());
  ASSERT_TRUE(store_->finish_delivery(claim_deliveries("archive")[0].token, {}).ok());
  clock_.advance(seconds(60));
  EXPECT_THAT(store_->purge({seconds(61), {}}, 10)->originals, IsEmpty()) << "a person has its days to look";
  EXPECT_THAT(store_->purge({seconds(60), {}}, 10)->originals, SizeIs(1));
}

TEST_P(StudyStoreContract, OneStartWithAWrongClockMakesNothingOld) {
  add(image(1, 1));
  analyse_all();
  ASSERT_TRUE(store_->fail_study(close_and_claim()->token, "no").ok());
  const WallTime right = clock_.now();
  for (const WallTime wrong : {WallTime(seconds(86'400)), right - std::chrono::days(10)}) {
    clock_.set_wall(wrong);
    restart();
    clock_.set_wall(right + seconds(60));
    restart();
    EXPECT_THAT(store_->purge({std::chrono::days(7), {}}, 10)->originals, IsEmpty());
  }
  clock_.set_wall(right - std::chrono::days(10));
  restart();
  EXPECT_THAT(store_->purge({seconds(0), {}}, 10)->originals, SizeIs(1)) << "the disk waits for no clock";
}

// A clock that is years ahead, at a start or between two, and comes back: as of a battery that is empty.
TEST_P(StudyStoreContract, AClockThatIsAheadMakesNothingOld) {
  add(image(1, 1));
  analyse_all();
  ASSERT_TRUE(store_->fail_study(close_and_claim()->token, "no").ok());
  const PurgeLimits kept{std::chrono::days(7), {}};
  WallTime right = clock_.now();
  const auto pass = [&](milliseconds time) {
    clock_.advance(time);
    right += time;
  };
  clock_.set_wall(right + std::chrono::days(5000));
  for (int start = 0; start < 5; ++start) {
    restart();
    EXPECT_THAT(store_->purge(kept, 10)->originals, IsEmpty()) << start;
    pass(seconds(10));
  }
  EXPECT_EQ(store_->stats().stop_not_counted, milliseconds(0)) << "the last stop was short";
  clock_.set_wall(right);  // Set right while it runs.
  EXPECT_THAT(store_->purge(kept, 10)->originals, IsEmpty());
  restart();
  clock_.set_wall(right + std::chrono::days(5000));  // And wrong again, and right, before the next start.
  EXPECT_THAT(store_->purge(kept, 10)->originals, IsEmpty());
  clock_.set_wall(right);
  restart();
  EXPECT_THAT(store_->purge(kept, 10)->originals, IsEmpty());
  for (int boot = 0; boot < 5; ++boot) {  // An empty battery: 1970, until the network tells the time.
    clock_.set_wall(WallTime(seconds(86'400)));
    restart();
    clock_.set_wall(right);
    EXPECT_THAT(store_->purge(kept, 10)->originals, IsEmpty());
    restart();
    EXPECT_THAT(store_->purge(kept, 10)->originals, IsEmpty()) << boot;
  }
  for (int day = 0; day < 3; ++day) {
    pass(std::chrono::days(1));
    EXPECT_THAT(store_->purge(kept, 10)->originals, IsEmpty()) << day;
  }
  pass(std::chrono::days(4));
  EXPECT_THAT(store_->purge(kept, 10)->originals, SizeIs(1)) << "its days are over all the same";
}

TEST_P(StudyStoreContract, AStopCountsAsTimeAtRestButNotMoreThanThreeDaysOfIt) {
  add(image(1, 1));
  analyse_all();
  ASSERT_TRUE(store_->fail_study(close_and_claim()->token, "no").ok());
  const auto stop_for = [&](milliseconds time) {
    store_.reset();
    clock_.set_wall(clock_.now() + time);
    open();
  };
  stop_for(std::chrono::days(2));
  EXPECT_EQ(store_->stats().stop_not_counted, milliseconds(0));
  EXPECT_THAT(store_->purge({std::chrono::hours(49), {}}, 10)->originals, IsEmpty());
  stop_for(std::chrono::days(10));
  EXPECT_EQ(store_->stats().stop_not_counted, milliseconds(std::chrono::days(7)));
  EXPECT_THAT(store_->purge({std::chrono::hours(5 * 24 + 1), {}}, 10)->originals, IsEmpty());
  EXPECT_THAT(store_->purge({std::chrono::days(5), {}}, 10)->originals, SizeIs(1));
}

TEST_P(StudyStoreContract, ThePauseOfOneDestinationDelaysNoOther) {
  NewInstance forwarded = image(1, 1);
  forwarded.route.forward_to = {"archive", "pacs"};
  add(forwarded);
  const auto claims = claim_deliveries("archive");
  ASSERT_THAT(claims, SizeIs(1));
  ASSERT_TRUE(store_->postpone_deliveries("archive", {claims[0].token}, seconds(60), "down").ok());
  EXPECT_THAT(claim_deliveries("pacs"), SizeIs(1));
  EXPECT_THAT(claim_deliveries("archive"), IsEmpty());
  clock_.advance(seconds(60));
  EXPECT_THAT(claim_deliveries("archive"), SizeIs(1));
}

TEST_P(StudyStoreContract, AReleaseThatIsAskedForTwiceIsOne) {
  finish_one(1);
  auto overlay = claim_deliveries("pacs", 1);
  ASSERT_TRUE(store_->finish_delivery(overlay[0].token, {.state = DeliveryState::kParked}).ok());
  EXPECT_EQ(*store_->release_delivery(overlay[0].id), DeliveryState::kParked);
  overlay = claim_deliveries("pacs", 1);
  EXPECT_EQ(*store_->release_delivery(overlay[0].id), DeliveryState::kPending) << "due already";
  EXPECT_THAT(claim_deliveries("pacs", 1), IsEmpty()) << "and in hand";
  ASSERT_TRUE(
      store_->finish_delivery(overlay[0].token, {.state = DeliveryState::kPending, .retry_in = seconds(60)}).ok());
  EXPECT_EQ(*store_->release_delivery(overlay[0].id), DeliveryState::kPending);
  overlay = claim_deliveries("pacs", 1);
  ASSERT_THAT(overlay, SizeIs(1)) << "it waits for its next attempt no longer";
  EXPECT_EQ(overlay[0].attempts, 1) << "but goes on counting";
  ASSERT_TRUE(store_->finish_delivery(overlay[0].token, {}).ok());
  EXPECT_EQ(*store_->release_delivery(overlay[0].id), DeliveryState::kDelivered) << "since it was released";
  EXPECT_EQ(summary(1).deliveries_done, 1);
}

TEST_P(StudyStoreContract, NothingIsPurgedBeforeItsStudyIsAtRestForSoLong) {
  NewInstance given = image(1, 1);
  given.route.forward_to = {"archive"};
  add(given);
  EXPECT_THAT(purged({kNoWait, kNoWait}), IsEmpty()) << "the study is open";
  analyse_all();
  const auto ready = close_and_claim();
  EXPECT_THAT(purged({kNoWait, kNoWait}), IsEmpty()) << "it is closed";
  report(*ready);
  EXPECT_THAT(purged({kNoWait, kNoWait}), IsEmpty()) << "its results are due";
  deliver_all();
  const auto original = claim_deliveries("archive");
  ASSERT_TRUE(store_->finish_delivery(original[0].token, {DeliveryState::kParked, kNoWait, 0xA900, "no"}).ok());
  EXPECT_THAT(purged({kNoWait, kNoWait}), IsEmpty()) << "its original is parked";
  ASSERT_TRUE(store_->release_delivery(original[0].id).ok());
  EXPECT_THAT(purged({kNoWait, kNoWait}), IsEmpty()) << "and due again";
  deliver_all("archive");
  clock_.advance(seconds(59));
  EXPECT_THAT(purged({seconds(60), seconds(61)}), IsEmpty());
  clock_.advance(seconds(1));
  restart();
  EXPECT_THAT(purged({seconds(60), seconds(61)}), ElementsAre("ab/1.2.1.1.dcm"));
  EXPECT_THAT(purged({seconds(60), std::nullopt}), IsEmpty()) << "once";
  EXPECT_THAT(purged({std::nullopt, seconds(60)}), ElementsAre("cd/1.2.9.1.1.dcm", "cd/1.2.8.1.1.dcm"));
  EXPECT_THAT(*store_->known_files(), IsEmpty());
}

// An archive keeps what comes last under a UID.
TEST_P(StudyStoreContract, ACorrectedOriginalWaitsForTheVersionThatItReplaces) {
  NewInstance wrong = image(1, 1), right = image(1, 1);
  wrong.route.forward_to = right.route.forward_to = {"archive"};
  right.route.priority = 5;
  add(wrong);
  auto first = claim_deliveries("archive");
  ASSERT_THAT(first, SizeIs(1));
  ASSERT_TRUE(add(right, Arrival::kCorrection, 1));
  EXPECT_THAT(claim_deliveries("archive"), IsEmpty()) << "the first is on its way";
  ASSERT_TRUE(store_->finish_delivery(first[0].token, {DeliveryState::kPending, seconds(60), 0xA700, "later"}).ok());
  EXPECT_THAT(claim_deliveries("archive"), IsEmpty()) << "it goes again";
  clock_.advance(seconds(60));
  first = claim_deliveries("archive");
  ASSERT_THAT(first, SizeIs(1));
  ASSERT_TRUE(store_->finish_delivery(first[0].token, {DeliveryState::kParked, kNoWait, 0xA900, "no"}).ok());
  const auto second = claim_deliveries("archive");
  ASSERT_THAT(second, SizeIs(1)) << "what is parked holds nothing";
  EXPECT_NE(second[0].id, first[0].id);
  EXPECT_EQ(store_->release_delivery(first[0].id).status().code(), StatusCode::kInvalidArgument)
      << "it must not come last";
  EXPECT_TRUE(store_->give_up_delivery(first[0].id).ok());
}

TEST_P(StudyStoreContract, AReportWaitsForThatOfTheEarlierRevision) {
  add(image(1, 1));
  analyse_all();
  report(*close_and_claim());
  auto old = claim_deliveries();
  while (!old.empty() && old[0].stage != DeliveryStage::kReport) {
    for (const ClaimedDelivery& each : old)
      ASSERT_TRUE(store_->finish_delivery(each.token, {DeliveryState::kDelivered, kNoWait, 0, ""}).ok());
    old = claim_deliveries();
  }
  ASSERT_THAT(old, SizeIs(1));
  ASSERT_TRUE(store_->finish_delivery(old[0].token, {DeliveryState::kPending, seconds(60), 0xA700, "later"}).ok());
  add(image(1, 2));  // Late.
  analyse_all();
  report(*close_and_claim());
  for (const ClaimedDelivery& each : claim_deliveries()) {
    EXPECT_NE(each.stage, DeliveryStage::kReport) << "the old one is not there yet";
    ASSERT_TRUE(store_->finish_delivery(each.token, {DeliveryState::kDelivered, kNoWait, 0, ""}).ok());
  }
  EXPECT_THAT(claim_deliveries(), IsEmpty());
  clock_.advance(seconds(60));
  auto next = claim_deliveries();
  ASSERT_THAT(next, SizeIs(1));
  EXPECT_EQ(next[0].id, old[0].id);
  ASSERT_TRUE(store_->finish_delivery(next[0].token, {DeliveryState::kDelivered, kNoWait, 0, ""}).ok());
  next = claim_deliveries();
  ASSERT_THAT(next, SizeIs(1));
  EXPECT_EQ(next[0].stage, DeliveryStage::kReport);
}

TEST_P(StudyStoreContract, WhatAPersonGaveUpKeepsNothingFromRetentionAndComesDueAgainOnlyWhenReleased) {
  NewInstance given = image(1, 1);
  given.route.forward_to = {"gone"};
  add(given);
  ASSERT_TRUE(store_->set_destinations({"pacs"}).ok());
  analyse_all();
  report(*close_and_claim());
  deliver_all();
  const auto id = store_->list_deliveries({.state = DeliveryState::kParked}).value().at(0).id;
  EXPECT_THAT(purged({kNoWait, kNoWait}), IsEmpty()) << "one waits for a person";

  ASSERT_TRUE(store_->give_up_delivery(id).ok());
  EXPECT_TRUE(store_->give_up_delivery(id).ok()) << "twice: nothing changes";
  const auto given_up = *store_->list_deliveries({.state = DeliveryState::kGivenUp});
  ASSERT_THAT(given_up, SizeIs(1));
  EXPECT_EQ(given_up[0].text, kNoSuchDestination) << "why it was parked stays";
  EXPECT_EQ(given_up[0].given_up_at, clock_.now());
  EXPECT_EQ(store_->stats().deliveries_given_up, 1);
  EXPECT_EQ(store_->stats().deliveries_parked, 0);
  EXPECT_EQ(summary(1).deliveries_given_up, 1);
  restart();
  EXPECT_THAT(*store_->set_destinations({"pacs", "gone"}), SizeIs(0));
  EXPECT_FALSE(add(given)) << "a resend";
  EXPECT_THAT(claim_deliveries("gone"), IsEmpty()) << "its destination is back, and it stays given up";

  ASSERT_TRUE(store_->release_delivery(id).ok());
  EXPECT_THAT(purged({kNoWait, kNoWait}), IsEmpty()) << "it is due again";
  const auto again = claim_deliveries("gone");
  ASSERT_THAT(uids(again), ElementsAre("1.2.1.1"));
  EXPECT_EQ(again[0].attempts, 0);
  EXPECT_EQ(store_->give_up_delivery(id).code(), StatusCode::kInvalidArgument) << "it is not parked";
  ASSERT_TRUE(store_->finish_delivery(again[0].token, {DeliveryState::kParked, kNoWait, 0xA900, "no"}).ok());
  ASSERT_TRUE(store_->give_up_delivery(id).ok());
  restart();
  EXPECT_THAT(purged({kNoWait, kNoWait}), SizeIs(3));
  EXPECT_EQ(store_->release_delivery(id).status().code(), StatusCode::kInvalidArgument) << "there is nothing to send";
  EXPECT_EQ(store_->stats().deliveries_given_up, 1);
}

TEST_P(StudyStoreContract, OnlyWhatIsParkedIsGivenUpAndTheStudyGoesOnWithoutIt) {
  finish_one(1);
  EXPECT_EQ(store_->give_up_delivery(4711).code(), StatusCode::kNotFound);
  const auto overlay = claim_deliveries();
  EXPECT_EQ(store_->give_up_delivery(overlay[0].id).code(), StatusCode::kInvalidArgument) << "it is on its way";
  ASSERT_TRUE(store_->finish_delivery(overlay[0].token, {DeliveryState::kParked, kNoWait, 0xA900, "no"}).ok());
  ASSERT_TRUE(store_->give_up_delivery(overlay[0].id).ok());
  const auto sent = claim_deliveries();
  ASSERT_THAT(uids(sent), ElementsAre("1.2.8.1.1")) << "the report does not wait for it";
  EXPECT_THAT(purged({kNoWait, kNoWait}), IsEmpty()) << "but the study is not at rest before it has left";
  ASSERT_TRUE(store_->finish_delivery(sent[0].token, {}).ok());
  EXPECT_EQ(store_->give_up_delivery(sent[0].id).code(), StatusCode::kInvalidArgument) << "it has left";
  ASSERT_TRUE(store_->retry_study(uid("1.2.1")).ok());
  analyse_all();
  report(*claim_study());
  EXPECT_THAT(uids(claim_deliveries()), ElementsAre("1.2.9.1.2")) << "what is made anew is sent";
  EXPECT_EQ(summary(1).deliveries_given_up, 1);
}

TEST_P(StudyStoreContract, WhatIsAtRestLongestIsPurgedFirstAndNoMoreThanAskedFor) {
  for (int study = 1; study <= 2; ++study) {
    finish_one(study);
    deliver_all();
    clock_.advance(seconds(1));
  }
  add(unrouted(3, 1));
  add(unrouted(3, 2));
  add(unrouted(3, 3));
  EXPECT_FALSE(close_and_claim());
  EXPECT_EQ(summary(3).state, StudyState::kNotRouted);
  EXPECT_THAT(purged({kNoWait, kNoWait}, 2), ElementsAre("ab/1.2.1.1.dcm", "cd/1.2.9.1.1.dcm"));
  EXPECT_THAT(purged({kNoWait, kNoWait}, 2), ElementsAre("ab/1.2.2.1.dcm", "cd/1.2.8.1.1.dcm"));
  EXPECT_THAT(purged({kNoWait, std::nullopt}, 2), ElementsAre("ab/1.2.3.1.dcm", "ab/1.2.3.2.dcm"));
  EXPECT_THAT(purged({kNoWait, kNoWait}, 100), ElementsAre("ab/1.2.3.3.dcm", "cd/1.2.9.2.1.dcm", "cd/1.2.8.2.1.dcm"));
}

TEST_P(StudyStoreContract, WhatIsPurgedIsStillKnown) {
  finish_one(1);
  deliver_all();
  ASSERT_THAT(purged({kNoWait, kNoWait}), SizeIs(3));
  const auto held = *store_->find_instance(uid("1.2.1.1"));
  ASSERT_TRUE(held);
  EXPECT_TRUE(held->purged);
  EXPECT_EQ(held->header_digest, "digest");
  EXPECT_TRUE(*store_->is_own_result(uid("1.2.8.1.1")));
  EXPECT_EQ(instances(1)[0].purged_at, clock_.now());
  EXPECT_EQ(instances(1)[0].file.sha256_hex, image(1, 1).file.sha256_hex);
  EXPECT_THAT(instances(1)[0].predictions, SizeIs(2));
  EXPECT_FALSE(add(image(1, 1))) << "a resend";
  EXPECT_EQ(store_->retry_study(uid("1.2.1")).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(summary(1).state, StudyState::kFinished);
}

TEST_P(StudyStoreContract, ALateImageAfterAPurgeIsReportedWithWhatWasFoundAndStartsTheTimeAnew) {
  finish_one(1);
  deliver_all();
  ASSERT_THAT(purged({kNoWait, kNoWait}), SizeIs(3));
  add(image(1, 2));
  EXPECT_THAT(purged({kNoWait, kNoWait}), IsEmpty());
  analyse_all();
  const auto ready = close_and_claim();
  ASSERT_TRUE(ready);
  ASSERT_THAT(ready->instances, SizeIs(2));
  EXPECT_TRUE(ready->instances[0].purged_at);
  EXPECT_THAT(ready->instances[0].predictions, SizeIs(2));
  EXPECT_FALSE(ready->instances[1].purged_at);
  report(*ready);
  deliver_all();
  ASSERT_TRUE(store_->retry_study(uid("1.2.1")).ok()) << "of what is there";
  EXPECT_THAT(uids(claim_instances()), ElementsAre("1.2.1.2"));
}

TEST_P(StudyStoreContract, AConflictAndAnOlderVersionArePurgedWithTheirStudy) {
  finish_one(1);
  NewInstance other = image(1, 1);
  other.file = {"ef/other.dcm", 5, std::string(64, 'c')};
  ASSERT_TRUE(add(other, Arrival::kConflict, 1));
  deliver_all();
  EXPECT_THAT(purged({kNoWait, std::nullopt}), ElementsAre("ab/1.2.1.1.dcm", "ef/other.dcm"));
  EXPECT_TRUE(store_->add_instance(other, Arrival::kConflict, 1)->known_conflict) << "it fills no disk a second time";
}

// --- deliver ----------------------------------------------------------------------------------------------------

TEST_P(StudyStoreContract, AReportWaitsForTheImageObjectsOfItsStudyAtItsDestination) {
  finish_one(1);
  const auto first = claim_deliveries();
  ASSERT_THAT(uids(first), ElementsAre("1.2.9.1.1"));
  EXPECT_EQ(first[0].stage, DeliveryStage::kImageObject);
  EXPECT_THAT(claim_deliveries(), IsEmpty());
  ASSERT_TRUE(store_->finish_delivery(first[0].token, {DeliveryState::kPending, seconds(60), {}, "refused"}).ok());
  EXPECT_THAT(claim_deliveries(), IsEmpty());
  clock_.advance(seconds(60));
  const auto again = claim_deliveries();
  ASSERT_THAT(uids(again), ElementsAre("1.2.9.1.1"));
  EXPECT_EQ(again[0].attempts, 1);
  ASSERT_TRUE(store_->finish_delivery(again[0].token, {DeliveryState::kDelivered, kNoWait, 0, ""}).ok());
  EXPECT_THAT(uids(claim_deliveries()), ElementsAre("1.2.8.1.1"));
}

TEST_P(StudyStoreContract, AParkedImageObjectHoldsNoReportBackAndAReleasedOneDoes) {
  finish_one(1);
  const auto overlay = claim_deliveries();
  ASSERT_TRUE(store_->finish_delivery(overlay[0].token, {DeliveryState::kParked, kNoWait, 0xA900, "no"}).ok());
  EXPECT_EQ(store_->stats().deliveries_parked, 1);
  EXPECT_EQ(summary(1).deliveries_parked, 1);
  ASSERT_TRUE(store_->release_delivery(overlay[0].id).ok());
  EXPECT_THAT(uids(claim_deliveries()), ElementsAre("1.2.9.1.1"));
}

TEST_P(StudyStoreContract, WhatIsForADestinationThatIsGoneIsParkedInWordsUntilItIsBack) {
  NewInstance given = image(1, 1);
  given.route.forward_to = {"gone"};
  add(given);
  EXPECT_EQ(*store_->set_destinations({"pacs"}), (std::map<std::string, int>{{"gone", 1}}));
  EXPECT_THAT(claim_deliveries("gone"), SizeIs(0));
  const auto parked = *store_->list_deliveries({.state = DeliveryState::kParked, .limit = 10});
  ASSERT_THAT(parked, SizeIs(1));
  EXPECT_EQ(parked[0].text, kNoSuchDestination);

  analyse_all();  // Routed before its destination was taken out.
  const auto ready = close_and_claim();
  ASSERT_TRUE(store_
                  ->finish_study(ready->token, {result("1.2.5", "sc", *ready), result("1.2.8", "sr", *ready)},
                                 {{"gone", uid("1.2.5"), DeliveryStage::kImageObject},
                                  {"gone", uid("1.2.8"), DeliveryStage::kReport},
                                  {"pacs", uid("1.2.5"), DeliveryStage::kImageObject}})
                  .ok());
  EXPECT_EQ(store_->stats().deliveries_parked, 3);
  EXPECT_THAT(uids(claim_deliveries()), ElementsAre("1.2.5"));

  restart();
  EXPECT_THAT(*store_->set_destinations({"pacs", "gone"}), SizeIs(0));
  EXPECT_THAT(uids(claim_deliveries("gone")), ElementsAre("1.2.1.1", "1.2.5")) << "the report waits for the overlay";
  EXPECT_EQ(store_->stats().deliveries_parked, 0);
}

TEST_P(StudyStoreContract, WhatIsForADestinationThatIsGoneIsNotReleasedAndCanBeGivenUp) {
  NewInstance given = image(1, 1);
  given.route.forward_to = {"gone"};
  add(given);
  ASSERT_TRUE(store_->set_destinations({"pacs", "gone too"}).ok());
  const auto id = store_->list_deliveries({.state = DeliveryState::kParked}).value().at(0).id;
  const auto refused = [&] {
    const Status answer = store_->release_delivery(id).status();
    EXPECT_EQ(answer.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(answer.message(), testing::HasSubstr("gone is not in the configuration"));
    EXPECT_EQ(store_->stats().deliveries_pending, 0) << "nobody would ever send it";
  };
  refused();
  EXPECT_EQ(store_->stats().deliveries_parked, 1);
  ASSERT_TRUE(store_->give_up_delivery(id).ok());
  refused();
  EXPECT_EQ(store_->stats().deliveries_given_up, 1);
  EXPECT_THAT(*store_->set_destinations({"pacs", "gone"}), SizeIs(0));
  ASSERT_TRUE(store_->release_delivery(id).ok());
  EXPECT_THAT(uids(claim_deliveries("gone")), ElementsAre("1.2.1.1"));
}

TEST_P(StudyStoreContract, WhatAPersonMustSeeStaysParkedWhenDestinationsAreSaid) {
  finish_one(1);
  ASSERT_TRUE(
      store_->finish_delivery(claim_deliveries()[0].token, {DeliveryState::kParked, kNoWait, 0xA900, "no"}).ok());
  EXPECT_THAT(*store_->set_destinations({"pacs"}), SizeIs(0));
  EXPECT_EQ(store_->stats().deliveries_parked, 1);
}

TEST_P(StudyStoreContract, AKeyObjectWaitsForTheReport) {
  add(image(1, 1));
  analyse_all();
  const auto ready = close_and_claim();
  ASSERT_TRUE(store_
                  ->finish_study(ready->token, {result("1.2.5", "ko", *ready), result("1.2.8", "sr", *ready)},
                                 {{"pacs", uid("1.2.5"), DeliveryStage::kKeyObject},
                                  {"pacs", uid("1.2.8"), DeliveryStage::kReport},
                                  {"archive", uid("1.2.5"), DeliveryStage::kKeyObject}})
                  .ok());
  const auto report = claim_deliveries();
  ASSERT_THAT(uids(report), ElementsAre("1.2.8"));
  EXPECT_THAT(uids(claim_deliveries("archive")), ElementsAre("1.2.5")) << "another destination waits for nothing";
  ASSERT_TRUE(store_->finish_delivery(report[0].token, {DeliveryState::kParked, kNoWait, {}, ""}).ok());
  EXPECT_THAT(uids(claim_deliveries()), ElementsAre("1.2.5"));
}

TEST_P(StudyStoreContract, OriginalsHoldNoResultBack) {
  NewInstance given = image(1, 1);
  given.route.forward_to = {"pacs"};
  add(given);
  analyse_all();
  report(*close_and_claim());
  EXPECT_THAT(uids(claim_deliveries()), ElementsAre("1.2.1.1", "1.2.9.1.1"));
}

TEST_P(StudyStoreContract, DeliveriesAreClaimedByUrgencyThenAgeAndEachDestinationAlone) {
  for (int study = 1; study <= 3; ++study) {
    NewInstance given = image(study, 1, study == 3 ? 5 : 0);
    given.route.forward_to = {"pacs", "down"};
    add(given);
  }
  for (const auto& claim : claim_deliveries("down")) {
    EXPECT_TRUE(store_->finish_delivery(claim.token, {DeliveryState::kPending, seconds(60), {}, "down"}).ok());
  }
  EXPECT_THAT(uids(claim_deliveries("pacs", 2)), ElementsAre("1.2.3.1", "1.2.1.1"));
  EXPECT_THAT(uids(claim_deliveries("pacs", 2)), ElementsAre("1.2.2.1"));
  EXPECT_THAT(claim_deliveries("down"), IsEmpty());
}

TEST_P(StudyStoreContract, TheOutcomeOfADeliveryIsWrittenDown) {
  finish_one(1);
  const auto overlay = claim_deliveries();
  clock_.advance(seconds(2));
  ASSERT_TRUE(store_->finish_delivery(overlay[0].token, {DeliveryState::kDelivered, kNoWait, 0xB000, "coerced"}).ok());
  EXPECT_EQ(store_->finish_delivery(overlay[0].token, {DeliveryState::kParked, kNoWait, {}, ""}).code(),
            StatusCode::kNotFound);
  const auto delivered = *store_->list_deliveries({.state = DeliveryState::kDelivered, .limit = 10});
  ASSERT_THAT(delivered, SizeIs(1));
  const HistogramSnapshot after = store_->stats().delivered_after;
  EXPECT_EQ(std::accumulate(after.counts.begin(), after.counts.end(), std::uint64_t{0}), 1u)
      << "a result that is there";
  EXPECT_GE(after.sum, 2);
  EXPECT_EQ(delivered[0].destination, "pacs");
  EXPECT_EQ(delivered[0].kind, "sc");
  EXPECT_EQ(delivered[0].study_instance_uid, "1.2.1");
  EXPECT_EQ(delivered[0].peer_status, 0xB000);
  EXPECT_EQ(delivered[0].text, "coerced");
  EXPECT_EQ(delivered[0].attempts, 1);
  EXPECT_EQ(delivered[0].delivered_at, clock_.now());
  EXPECT_EQ(store_->release_delivery(delivered[0].id).status().code(), StatusCode::kInvalidArgument) << "never parked";
  EXPECT_EQ(store_->release_delivery(4711).status().code(), StatusCode::kNotFound);
  restart();
  EXPECT_EQ(summary(1).deliveries_done, 1);
}

TEST_P(StudyStoreContract, APostponedDestinationOffersNothingUntilItsTimeAndCountsNoAttempt) {
  finish_one(1);
  finish_one(2);
  add(image(3, 1));
  const auto first = claim_deliveries("pacs", 1);
  ASSERT_THAT(uids(first), ElementsAre("1.2.9.1.1"));
  ASSERT_TRUE(store_->postpone_deliveries("pacs", {first[0].token, 4711}, seconds(60), "refused").ok());
  EXPECT_THAT(claim_deliveries(), IsEmpty()) << "the second study waits as well: the destination is down";
  EXPECT_EQ(store_->finish_delivery(first[0].token, {}).code(), StatusCode::kNotFound) << "the claim was given back";
  EXPECT_EQ(store_->list_deliveries({.state = DeliveryState::kPending})->at(3).text, "") << "2.8 was not claimed";
  clock_.advance(seconds(59));
  EXPECT_THAT(claim_deliveries(), IsEmpty());
  auto waiting =
      std::async(std::launch::async, [&] { return store_->claim_due_deliveries("pacs", 100, std::chrono::hours(1)); });
  clock_.advance(seconds(1));
  const auto again = *waiting.get();
  EXPECT_THAT(uids(again), ElementsAre("1.2.9.1.1", "1.2.9.2.1"));
  EXPECT_EQ(again[0].attempts, 0);
  EXPECT_EQ(again[0].pending_for, seconds(70)) << "10 s more than 60 s: the second study's quiet period";
  ASSERT_TRUE(store_->postpone_deliveries("pacs", {again[0].token}, seconds(60), "").ok());
  restart();
  EXPECT_THAT(claim_deliveries(), SizeIs(2)) << "a new process asks for itself";
  const auto listed = *store_->list_deliveries({.state = DeliveryState::kPending, .limit = 10});
  EXPECT_EQ(listed.back().text + listed[listed.size() - 2].text, "refused");
}

TEST_P(StudyStoreContract, WhoeverIsOnCallSeesWhenADeliveryWasTriedAndWhenItIsTriedNext) {
  finish_one(1);
  auto claims = claim_deliveries("pacs", 1);
  const auto seen = [&, id = claims.at(0).id] {
    const auto all = *store_->list_deliveries({.limit = 10});
    return *std::find_if(all.begin(), all.end(), [&](const DeliveryRecord& one) { return one.id == id; });
  };
  const WallTime first_due = seen().created_at;
  EXPECT_FALSE(seen().tried_at);
  clock_.advance(seconds(5));
  ASSERT_TRUE(store_->finish_delivery(claims[0].token, {DeliveryState::kPending, seconds(60), 0xA700, "later"}).ok());
  EXPECT_EQ(seen().tried_at, clock_.now());
  EXPECT_EQ(seen().due_at, clock_.now() + seconds(60));

  clock_.advance(seconds(60));
  while ((claims = claim_deliveries("pacs", 1)).at(0).id != seen().id) {
  }
  ASSERT_TRUE(store_->postpone_deliveries("pacs", {claims[0].token}, seconds(30), "down").ok());
  const WallTime called = clock_.now();
  EXPECT_EQ(seen().tried_at, called) << "its destination was called for it";
  EXPECT_EQ(seen().due_at, called + seconds(30));
  EXPECT_THAT(claim_deliveries("pacs"), IsEmpty());
  clock_.advance(seconds(3));
  ASSERT_TRUE(store_->release_delivery(seen().id).ok());
  EXPECT_EQ(seen().due_at, clock_.now()) << "not when the pause would have ended";
  EXPECT_EQ(seen().tried_at, called);

  while ((claims = claim_deliveries("pacs", 1)).at(0).id != seen().id) {
  }
  ASSERT_TRUE(store_->finish_delivery(claims[0].token, {DeliveryState::kParked, kNoWait, 0xA900, "no"}).ok());
  const WallTime refused = clock_.now();
  EXPECT_EQ(seen().tried_at, refused);
  clock_.advance(seconds(7));
  ASSERT_TRUE(store_->release_delivery(seen().id).ok());
  EXPECT_EQ(seen().released_at, clock_.now());
  EXPECT_EQ(seen().tried_at, refused);
  EXPECT_EQ(seen().created_at, first_due);
}

TEST_P(StudyStoreContract, AReleaseByAPersonEndsThePauseAndCountsAnew) {
  finish_one(1);
  finish_one(2);
  const auto overlays = claim_deliveries();
  ASSERT_THAT(overlays, SizeIs(2));
  ASSERT_TRUE(store_->finish_delivery(overlays[0].token, {DeliveryState::kParked, kNoWait, 0xA900, "no"}).ok());
  ASSERT_TRUE(store_->postpone_deliveries("pacs", {overlays[1].token}, seconds(300), "down").ok());
  clock_.advance(seconds(100));
  ASSERT_TRUE(store_->release_delivery(overlays[0].id).ok());
  const auto now = claim_deliveries();
  EXPECT_THAT(uids(now), ElementsAre("1.2.9.1.1", "1.2.9.2.1"));
  EXPECT_EQ(now[0].pending_for, seconds(0));
  EXPECT_EQ(now[0].attempts, 0);
  EXPECT_EQ(now[1].pending_for, seconds(100));
}

TEST_P(StudyStoreContract, ADeliveryThatWasOfferedBeforeLetsOthersGoFirst) {
  add(image(1, 1, 100)), add(image(2, 1, 0));
  analyse_all();
  clock_.advance(seconds(10));
  for (auto ready = claim_study(); ready; ready = claim_study()) report(*ready);
  const auto urgent = claim_deliveries("pacs", 1);
  ASSERT_THAT(uids(urgent), ElementsAre("1.2.9.1.1")) << "urgent is first";
  ASSERT_TRUE(store_->finish_delivery(urgent[0].token, {DeliveryState::kPending, kNoWait, {}, "aborted"}).ok());
  EXPECT_THAT(uids(claim_deliveries()), ElementsAre("1.2.9.2.1", "1.2.9.1.1"));
}

TEST_P(StudyStoreContract, ARetryOfADeliverySurvivesARestartAndAClockThatJumpsBack) {
  finish_one(1);
  const auto overlay = claim_deliveries();
  ASSERT_TRUE(store_->finish_delivery(overlay[0].token, {DeliveryState::kPending, seconds(60), {}, ""}).ok());
  clock_.set_wall(clock_.now() - std::chrono::hours(1));
  restart();
  EXPECT_THAT(claim_deliveries(), IsEmpty());
  clock_.advance(seconds(60));
  EXPECT_THAT(uids(claim_deliveries()), ElementsAre("1.2.9.1.1"));
}

}  // namespace
}  // namespace node::storage
