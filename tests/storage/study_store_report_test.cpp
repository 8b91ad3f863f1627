// The contract of study_store.h: when a study closes, and what its report becomes.
#include "tests/storage/study_store_contract.h"

namespace node::storage {
namespace {

// --- close and report -------------------------------------------------------------------------------------------

TEST_P(StudyStoreContract, AStudyIsReadyAfterItsQuietPeriodWithAllInstancesEnded) {
  add(image(1, 1));
  clock_.advance(seconds(9));
  add(image(1, 2));
  clock_.advance(seconds(9));
  EXPECT_FALSE(claim_study());
  EXPECT_EQ(summary(1).state, StudyState::kOpen);
  clock_.advance(seconds(1));
  EXPECT_FALSE(claim_study()) << "two instances wait for analysis";
  EXPECT_EQ(summary(1).state, StudyState::kClosed);
  const WallTime closed_at = clock_.now();
  clock_.advance(seconds(5));
  analyse_all();
  const auto ready = claim_study();
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->closed_at, closed_at);
  EXPECT_EQ(ready->revision, 1);
  ASSERT_THAT(ready->instances, SizeIs(2));
  EXPECT_THAT(ready->instances[0].predictions, SizeIs(2));
  EXPECT_THAT(ready->earlier_results, IsEmpty());
  EXPECT_FALSE(claim_study()) << "it is claimed";
}

TEST_P(StudyStoreContract, AnUnroutedInstanceNeitherHoldsAStudyOpenNorReopensIt) {
  add(image(1, 1));
  analyse_all();
  clock_.advance(seconds(9));
  add(unrouted(1, 2));
  clock_.advance(seconds(1));
  const auto ready = claim_study();
  ASSERT_TRUE(ready);
  add(unrouted(1, 3));
  report(*ready);
  add(unrouted(1, 4));
  EXPECT_EQ(summary(1).state, StudyState::kFinished);
  EXPECT_EQ(summary(1).revision, 1);
}

TEST_P(StudyStoreContract, AStudyWithoutAReportableInstanceEndsAsNotRoutedUntilOneComes) {
  add(unrouted(1, 1));
  EXPECT_FALSE(close_and_claim());
  EXPECT_EQ(summary(1).state, StudyState::kNotRouted);
  add(image(1, 2));
  EXPECT_EQ(summary(1).state, StudyState::kOpen);
  analyse_all();
  const auto ready = close_and_claim();
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->revision, 1);
}

TEST_P(StudyStoreContract, ASkippedImageThatIsReportedOpensAReport) {
  NewInstance skipped = unrouted(1, 1);
  skipped.reportable = true;
  add(skipped);
  EXPECT_TRUE(close_and_claim());
}

TEST_P(StudyStoreContract, AClosedStudyReturnsToOpenWithTheSameRevisionAndItsReportIsVoid) {
  add(image(1, 1));
  analyse_all();
  const auto first = close_and_claim();
  ASSERT_TRUE(first);
  add(image(1, 2));
  EXPECT_EQ(summary(1).state, StudyState::kOpen);
  EXPECT_EQ(store_->finish_study(first->token, {result("1.2.8.1", "sr", *first)}, {}).code(), StatusCode::kNotFound);
  EXPECT_EQ(store_->fail_study(first->token, "").code(), StatusCode::kNotFound);
  EXPECT_EQ(store_->release_study(first->token, kNoWait).code(), StatusCode::kNotFound);
  EXPECT_FALSE(*store_->is_own_result(uid("1.2.8.1")));
  analyse_all();
  const auto second = close_and_claim();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->revision, 1);
  EXPECT_THAT(second->instances, SizeIs(2));
  EXPECT_EQ(second->closed_at, clock_.now());
}

TEST_P(StudyStoreContract, ALateImageOpensTheNextRevisionWithTheEarlierResultsAtHand) {
  finish_one(1);
  add(image(1, 2));
  EXPECT_EQ(summary(1).state, StudyState::kOpen);
  EXPECT_EQ(summary(1).revision, 2);
  EXPECT_FALSE(summary(1).closed_at);
  analyse_all();
  const auto ready = close_and_claim();
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->revision, 2);
  EXPECT_THAT(ready->instances, SizeIs(2));
  ASSERT_THAT(ready->earlier_results, SizeIs(2));
  EXPECT_EQ(ready->earlier_results[0].kind, "sc");
  EXPECT_EQ(ready->earlier_results[1].kind, "sr");
  EXPECT_EQ(ready->earlier_results[1].sop_instance_uid, uid("1.2.8.1.1"));
  EXPECT_EQ(ready->earlier_results[1].revision, 1);
  EXPECT_EQ(ready->earlier_results[1].series_instance_uid, "1.2.8.1.1.0");
  EXPECT_EQ(ready->earlier_results[1].file.key, "cd/1.2.8.1.1.dcm");
}

TEST_P(StudyStoreContract, ACorrectionSupersedesItsOlderVersionAndReopens) {
  finish_one(1);
  NewInstance corrected = image(1, 1);
  corrected.header_digest = "corrected";
  corrected.file.key = "ab/corrected.dcm";
  ASSERT_TRUE(add(corrected, Arrival::kCorrection, 1));
  EXPECT_EQ(summary(1).state, StudyState::kOpen);
  EXPECT_EQ(summary(1).instances, 1);
  EXPECT_EQ((*store_->find_instance(corrected.sop_instance_uid))->header_digest, "corrected");
  EXPECT_EQ((*store_->find_instance(corrected.sop_instance_uid))->version, 2);
  analyse_all();
  const auto ready = close_and_claim();
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->revision, 2);
  ASSERT_THAT(ready->instances, SizeIs(1));
  EXPECT_EQ(ready->instances[0].version, 2);
  EXPECT_EQ(ready->instances[0].file.key, "ab/corrected.dcm");
  ASSERT_THAT(instances(1), SizeIs(2));
  EXPECT_EQ(instances(1)[0].version, 1);
}

TEST_P(StudyStoreContract, ACorrectionVoidsTheAnalysisOfTheOlderVersion) {
  add(image(1, 1));
  const ClaimToken old = claim_instances()[0].token;
  ASSERT_TRUE(add(image(1, 1), Arrival::kCorrection, 1));
  EXPECT_EQ(store_->finish_instance(old, predictions()).code(), StatusCode::kNotFound);
  const auto claims = claim_instances();
  ASSERT_THAT(claims, SizeIs(1));
  EXPECT_EQ(claims[0].instance.version, 2);
  EXPECT_EQ(instances(1)[0].state, InstanceState::kSkipped);
  EXPECT_EQ(instances(1)[0].reason, "superseded by version 2");
}

TEST_P(StudyStoreContract, ACorrectionThatMovesAnImageReopensBothStudies) {
  add(image(1, 1));
  finish_one(1);
  NewInstance moved = image(2, 9);
  moved.sop_instance_uid = uid("1.2.1.1");
  ASSERT_TRUE(add(moved, Arrival::kCorrection, 1));
  EXPECT_EQ(summary(1).state, StudyState::kOpen);
  EXPECT_EQ(summary(1).revision, 2);
  EXPECT_EQ(summary(1).instances, 0);
  EXPECT_EQ(summary(2).state, StudyState::kOpen);
  EXPECT_EQ(summary(2).instances, 1);
}

TEST_P(StudyStoreContract, AFinishedStudyIsNotOfferedAgainAndFinishingTwiceChangesNothing) {
  add(image(1, 1));
  analyse_all();
  const auto ready = close_and_claim();
  ASSERT_TRUE(ready);
  report(*ready);
  EXPECT_EQ(summary(1).state, StudyState::kFinished);
  EXPECT_EQ(summary(1).finished_at, clock_.now());
  EXPECT_EQ(store_->finish_study(ready->token, {}, {}).code(), StatusCode::kNotFound);
  EXPECT_EQ(summary(1).deliveries_pending, 2);
  restart();
  EXPECT_FALSE(claim_study());
  EXPECT_EQ(summary(1).state, StudyState::kFinished);
  EXPECT_EQ(claim_deliveries().size(), 1u);
}

TEST_P(StudyStoreContract, AResultThatIsKnownIsLeftAsItIsAndSentToNobodyTwice) {
  finish_one(1);
  for (const auto& claim : claim_deliveries()) EXPECT_TRUE(store_->finish_delivery(claim.token, {}).ok());
  add(image(1, 2));
  analyse_all();
  const auto ready = close_and_claim();
  ASSERT_TRUE(ready);
  ResultRecord same = result("1.2.9.1.1", "sc", *ready);
  same.file.key = "ff/other.dcm";
  ASSERT_TRUE(store_
                  ->finish_study(ready->token, {same},
                                 {{"pacs", same.sop_instance_uid, DeliveryStage::kImageObject},
                                  {"pacs", same.sop_instance_uid, DeliveryStage::kImageObject}})
                  .ok());
  std::vector<std::string> keys;
  const auto files = *store_->known_files();
  for (const auto& file : files) keys.push_back(file.key);
  EXPECT_THAT(
      keys, testing::UnorderedElementsAre("ab/1.2.1.1.dcm", "ab/1.2.1.2.dcm", "cd/1.2.9.1.1.dcm", "cd/1.2.8.1.1.dcm"));
  EXPECT_THAT(*store_->list_deliveries({.limit = 100}), SizeIs(2));
  EXPECT_THAT(uids(claim_deliveries()), ElementsAre("1.2.8.1.1")) << "the overlay has left before";
}

TEST_P(StudyStoreContract, ADeliveryOfAnUnknownResultRefusesTheWholeCall) {
  add(image(1, 1));
  analyse_all();
  const auto ready = close_and_claim();
  ASSERT_TRUE(ready);
  EXPECT_EQ(store_
                ->finish_study(ready->token, {result("1.2.8.1", "sr", *ready)},
                               {{"pacs", uid("1.2.7"), DeliveryStage::kReport}})
                .code(),
            StatusCode::kInvalidArgument);
  EXPECT_FALSE(*store_->is_own_result(uid("1.2.8.1")));
  EXPECT_EQ(summary(1).state, StudyState::kClosed);
  report(*ready);  // The claim is still held.
}

TEST_P(StudyStoreContract, AStudyThatCannotBeReportedIsFailedWithItsReason) {
  add(image(1, 1));
  analyse_all();
  const auto ready = close_and_claim();
  ASSERT_TRUE(store_->fail_study(ready->token, "no such template").ok());
  EXPECT_EQ(summary(1).state, StudyState::kFailed);
  EXPECT_EQ(summary(1).reason, "no such template");
  EXPECT_FALSE(claim_study());
  add(image(1, 2));
  EXPECT_EQ(summary(1).revision, 2);
  EXPECT_EQ(summary(1).reason, "");
}

TEST_P(StudyStoreContract, AReleasedStudyIsOfferedAgainAfterItsPause) {
  add(image(1, 1));
  analyse_all();
  const auto ready = close_and_claim();
  ASSERT_TRUE(store_->release_study(ready->token, seconds(30)).ok());
  clock_.advance(seconds(29));
  EXPECT_FALSE(claim_study());
  clock_.advance(seconds(1));
  EXPECT_TRUE(claim_study());
}

TEST_P(StudyStoreContract, TheMostUrgentReadyStudyComesFirst) {
  add(image(1, 1, 0));
  add(image(2, 1, 0));
  add(image(3, 1, 9));
  analyse_all();
  EXPECT_EQ(close_and_claim()->study_instance_uid, uid("1.2.3"));
  EXPECT_EQ(claim_study()->study_instance_uid, uid("1.2.1"));
  EXPECT_EQ(claim_study()->study_instance_uid, uid("1.2.2"));
}

TEST_P(StudyStoreContract, AnUnfinishedReportIsOfferedAgainAfterARestart) {
  add(image(1, 1));
  analyse_all();
  const auto before = close_and_claim();
  ASSERT_TRUE(before);
  restart();
  clock_.advance(seconds(5));
  const auto after = claim_study();
  ASSERT_TRUE(after);
  EXPECT_EQ(after->closed_at, before->closed_at);
  EXPECT_EQ(after->instances[0].predicted_at, before->instances[0].predicted_at);
}

TEST_P(StudyStoreContract, ARetryAnalysesAgainAsTheNextVersionAndRevision) {
  finish_one(1);
  add(unrouted(1, 2));
  const auto before = instances(1)[0];
  clock_.advance(seconds(60));
  ASSERT_TRUE(store_->retry_study(uid("1.2.1")).ok());
  EXPECT_EQ(summary(1).revision, 2);
  EXPECT_EQ(summary(1).waiting, 1);
  EXPECT_FALSE(claim_study());
  const auto claims = claim_instances();
  ASSERT_THAT(claims, SizeIs(1));
  EXPECT_EQ(claims[0].instance.version, 2) << "so that its image objects get UIDs of their own";
  EXPECT_EQ(claims[0].instance.attempts, 1);
  ASSERT_TRUE(store_->finish_instance(claims[0].token, {{"fracture", "fracture@2", "{}", ""}}).ok());
  const auto ready = claim_study();
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->revision, 2);
  ASSERT_THAT(ready->instances[0].predictions, SizeIs(1));
  EXPECT_EQ(ready->instances[0].predictions[0].model_version, "fracture@2");
  EXPECT_NE(ready->instances[0].predicted_at, before.predicted_at);
  EXPECT_EQ(store_->retry_study(uid("1.2.77")).status().code(), StatusCode::kNotFound);
}

TEST_P(StudyStoreContract, ARetryThatIsAskedForTwiceIsOne) {
  finish_one(1);
  add(image(1, 2));
  EXPECT_TRUE(*store_->retry_study(uid("1.2.1")));
  const auto claims = claim_instances(1);
  EXPECT_FALSE(*store_->retry_study(uid("1.2.1"))) << "all waits for it already";
  EXPECT_EQ(summary(1).revision, 3);
  for (const InstanceRecord& one : instances(1)) {
    EXPECT_EQ(one.version, one.sop_instance_uid == uid("1.2.1.1") ? 2 : 1) << "the new one was never analysed";
  }
  EXPECT_TRUE(store_->finish_instance(claims[0].token, predictions()).ok()) << "what is in hand goes on";
  EXPECT_FALSE(*store_->retry_study(uid("1.2.1"))) << "of it nothing failed";
  EXPECT_EQ(summary(1).waiting, 1);
  EXPECT_EQ(summary(1).revision, 3);
}

TEST_P(StudyStoreContract, ARetryThatIsRepeatedOnceItsStudyIsFinishedIsOne) {
  finish_one(1);
  ASSERT_TRUE(*store_->retry_study(uid("1.2.1")));
  analyse_all();
  report(*claim_study());
  restart();
  EXPECT_FALSE(*store_->retry_study(uid("1.2.1"))) << "by somebody who did not hear the first answer";
  EXPECT_EQ(summary(1).state, StudyState::kFinished);
  EXPECT_EQ(summary(1).revision, 2);
  add(image(1, 2));
  analyse_all();
  report(*close_and_claim());
  EXPECT_TRUE(*store_->retry_study(uid("1.2.1"))) << "a revision that no retry made";
  EXPECT_EQ(summary(1).revision, 4);
}

TEST_P(StudyStoreContract, WhatFailedOnceMoreIsRetriedOnceMore) {
  add(image(1, 1));
  add(image(1, 2));
  for (int revision = 1; revision <= 3; ++revision) {
    const auto claims = claim_instances();
    ASSERT_THAT(claims, SizeIs(2));
    ASSERT_TRUE(store_->finish_instance(claims[0].token, predictions()).ok());
    ASSERT_TRUE(store_->end_instance(claims[1].token, InstanceState::kFailed, "out of luck").ok());
    report(*close_and_claim());
    EXPECT_EQ(summary(1).revision, revision);
    EXPECT_TRUE(*store_->retry_study(uid("1.2.1"))) << "its image failed";
  }
  analyse_all();
  ASSERT_TRUE(store_->fail_study(claim_study()->token, "no report").ok());
  EXPECT_TRUE(*store_->retry_study(uid("1.2.1"))) << "it failed itself";
}

TEST_P(StudyStoreContract, ARetryOfANamedRevisionMakesOneMoreHoweverOftenItIsAsked) {
  add(image(1, 1));
  EXPECT_TRUE(*store_->retry_study(uid("1.2.1"), 1)) << "also of what waits";
  EXPECT_EQ(summary(1).revision, 2);
  for (int revision = 2; revision <= 3; ++revision) {
    analyse_all();
    EXPECT_FALSE(*store_->retry_study(uid("1.2.1"), revision - 1)) << "closed";
    report(*claim_study());
    EXPECT_FALSE(*store_->retry_study(uid("1.2.1"), revision - 1)) << "finished";
    EXPECT_TRUE(*store_->retry_study(uid("1.2.1"), revision)) << "though a retry made it";
    EXPECT_EQ(summary(1).revision, revision + 1);
    EXPECT_EQ(summary(1).waiting, 1);
  }
  EXPECT_EQ(store_->retry_study(uid("1.2.1"), 5).status().code(), StatusCode::kInvalidArgument);
}

TEST_P(StudyStoreContract, AStudyWhoseOnlyImageWasMovedTakesItsReportBack) {
  finish_one(1);
  NewInstance moved = image(2, 9);
  moved.sop_instance_uid = uid("1.2.1.1");
  ASSERT_TRUE(add(moved, Arrival::kCorrection, 1));
  const auto ready = close_and_claim();
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->study_instance_uid, uid("1.2.1"));
  EXPECT_EQ(ready->revision, 2);
  EXPECT_THAT(ready->instances, IsEmpty());
  EXPECT_THAT(ready->earlier_results, SizeIs(2));
  ASSERT_THAT(ready->taken_back, SizeIs(1));
  EXPECT_EQ(ready->taken_back[0].sop_instance_uid, uid("1.2.1.1"));
  EXPECT_EQ(ready->taken_back[0].version, 1);
  EXPECT_THAT(ready->taken_back[0].route.results_to, ElementsAre("pacs"));
  report(*ready);
  EXPECT_EQ(summary(1).state, StudyState::kFinished);
  analyse_all();
  EXPECT_EQ(claim_study()->study_instance_uid, uid("1.2.2"));
}

TEST_P(StudyStoreContract, AStudyWhoseImageIsReportedOnNoMoreTakesItsReportBack) {
  finish_one(1);
  NewInstance corrected = unrouted(1, 1);
  ASSERT_TRUE(add(corrected, Arrival::kCorrection, 1));
  const auto ready = close_and_claim();
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->revision, 2);
  ASSERT_THAT(ready->instances, SizeIs(1));
  ASSERT_THAT(ready->taken_back, SizeIs(1));
  EXPECT_THAT(ready->taken_back[0].route.results_to, ElementsAre("pacs")) << "who was told before";
}

TEST_P(StudyStoreContract, AStudyThatHasImagesToReportOnTakesBackWhatWasMovedAlone) {
  add(image(1, 2));
  finish_one(1);
  NewInstance moved = image(2, 9);
  moved.sop_instance_uid = uid("1.2.1.1");
  ASSERT_TRUE(add(moved, Arrival::kCorrection, 1));
  const auto ready = close_and_claim();
  ASSERT_TRUE(ready);
  EXPECT_THAT(ready->instances, SizeIs(1));
  ASSERT_THAT(ready->taken_back, SizeIs(1));
  EXPECT_EQ(ready->taken_back[0].sop_instance_uid, uid("1.2.1.1"));
  report(*ready);

  ASSERT_TRUE(add(image(1, 2), Arrival::kCorrection, 1));  // It stays.
  analyse_all();
  EXPECT_EQ(close_and_claim()->study_instance_uid, uid("1.2.2"));
  const auto next = claim_study();
  ASSERT_TRUE(next);
  ASSERT_THAT(next->taken_back, SizeIs(1));
  EXPECT_EQ(next->taken_back[0].sop_instance_uid, uid("1.2.1.1"));
}

TEST_P(StudyStoreContract, WhatWasMovedBeforeAnythingWasReportedIsNotTakenBack) {
  add(image(1, 1));
  add(image(1, 2));
  NewInstance moved = image(2, 9);
  moved.sop_instance_uid = uid("1.2.1.1");
  ASSERT_TRUE(add(moved, Arrival::kCorrection, 1));
  analyse_all();
  const auto ready = close_and_claim();
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->study_instance_uid, uid("1.2.1"));
  EXPECT_THAT(ready->taken_back, IsEmpty());
}

TEST_P(StudyStoreContract, AWallClockThatJumpsBackAnHourDelaysNothing) {
  add(image(1, 1));
  analyse_all();
  clock_.set_wall(clock_.now() - std::chrono::hours(1));
  EXPECT_TRUE(close_and_claim());

  add(image(2, 1));
  analyse_all();
  clock_.set_wall(clock_.now() - std::chrono::hours(1));
  restart();
  EXPECT_TRUE(close_and_claim()) << "and not across a restart either";
}

// --- when a study closes ------------------------------------------------------------------------------------------

TEST_P(StudyStoreContract, AnAssociationHoldsItsStudyOpenAndTheQuietPeriodCountsFromItsEnd) {
  add(over(7, image(1, 1)));
  add(over(8, image(1, 2)));
  add(image(2, 1));
  analyse_all();
  clock_.advance(seconds(60));
  EXPECT_EQ(claim_study()->study_instance_uid, uid("1.2.2")) << "another study is not held";
  ASSERT_TRUE(store_->end_association(7, false).ok());
  clock_.advance(seconds(60));
  EXPECT_FALSE(claim_study()) << "the other association carries it too";
  ASSERT_TRUE(store_->end_association(8, false).ok());
  clock_.advance(seconds(9));
  EXPECT_FALSE(claim_study());
  ASSERT_TRUE(store_->end_association(8, false).ok()) << "twice changes nothing";
  ASSERT_TRUE(store_->end_association(9, true).ok()) << "one that brought nothing";
  clock_.advance(seconds(1));
  EXPECT_TRUE(claim_study());
}

TEST_P(StudyStoreContract, AnAssociationThatGoesOnToAnotherStudyLetsGoOfTheOneBefore) {
  for (int study = 1; study <= 3; ++study) {
    add(over(7, image(study, 1)));
    add(over(7, image(study, 2)));
  }
  analyse_all();
  clock_.advance(seconds(10));
  EXPECT_EQ(claim_study()->study_instance_uid, uid("1.2.1"));
  EXPECT_EQ(claim_study()->study_instance_uid, uid("1.2.2"));
  EXPECT_FALSE(claim_study()) << "the last one is held";
  ASSERT_TRUE(store_->end_association(7, true).ok());
  EXPECT_EQ(claim_study()->study_instance_uid, uid("1.2.3"));
}

TEST_P(StudyStoreContract, AWholeStudyClosesAtTheEndOfTheLastAssociationThatCarriesIt) {
  add(over(7, image(1, 1)));
  add(over(8, image(1, 2)));
  analyse_all();
  ASSERT_TRUE(store_->end_association(7, true).ok());
  EXPECT_FALSE(claim_study());
  auto waiting = std::async(std::launch::async, [&] { return store_->claim_ready_study(std::chrono::hours(1)); });
  ASSERT_TRUE(store_->end_association(8, true).ok());
  EXPECT_TRUE(*waiting.get()) << "at once, and who waits is woken";
}

TEST_P(StudyStoreContract, WhatIsNotReportedHoldsNoStudyOpen) {
  add(image(1, 1));
  add(over(7, unrouted(1, 2)));
  analyse_all();
  EXPECT_TRUE(close_and_claim());
}

TEST_P(StudyStoreContract, AStudyIsClosedAfterStudyOpenMaxAtTheLatest) {
  add(over(7, image(1, 1)));  // Held open for ever.
  for (int number = 1; number <= 7; ++number) {
    NewInstance given = image(2, number);  // Never quiet.
    given.study_quiet_period = std::chrono::minutes(10);
    add(given);
    analyse_all();
    EXPECT_FALSE(claim_study()) << number;
    clock_.advance(std::chrono::minutes(9));  // The default of study_open_max is an hour.
  }
  EXPECT_TRUE(claim_study());
  EXPECT_TRUE(claim_study());
  EXPECT_EQ(summary(1).state, StudyState::kClosed);
  EXPECT_EQ(summary(2).state, StudyState::kClosed);
}

TEST_P(StudyStoreContract, AHeldStudyGetsAQuietPeriodAfterARestart) {
  add(over(7, image(1, 1)));
  analyse_all();
  clock_.advance(seconds(60));
  restart();
  EXPECT_FALSE(claim_study()) << "its sender may come back";
  ASSERT_TRUE(store_->end_association(7, true).ok()) << "a number of the last process means nothing";
  clock_.advance(seconds(9));
  EXPECT_FALSE(claim_study());
  clock_.advance(seconds(1));
  EXPECT_TRUE(claim_study());
}

}  // namespace
}  // namespace node::storage
