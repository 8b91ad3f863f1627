// The contract of study_store.h. Every implementation runs it: add a line to the INSTANTIATE at the end.
#include "storage/study_store.h"

#include <future>
#include <thread>

#include "storage/sqlite_study_store.h"
#include "tests/storage/study_store_fixture.h"

namespace node::storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

struct Implementation {
  std::string name;
  std::function<Result<std::unique_ptr<StudyStore>>(const config::StorageConfig&, Clock&)> open;
};

class StudyStoreContract : public StudyStoreFixture, public testing::WithParamInterface<Implementation> {
 protected:
  Result<std::unique_ptr<StudyStore>> open_store() override {
    config::StorageConfig config;
    config.directory = directory_.path().string();
    return GetParam().open(config, clock_);
  }

  static NewInstance over(std::uint64_t association, NewInstance instance) {
    instance.association = association;
    return instance;
  }
  void deliver_all(const std::string& destination = "pacs") {
    for (auto claims = claim_deliveries(destination); !claims.empty(); claims = claim_deliveries(destination)) {
      for (const auto& claim : claims) EXPECT_TRUE(store_->finish_delivery(claim.token, {}).ok());
    }
  }
  std::vector<std::string> purged(const PurgeLimits& limits, int files_max = 100) {
    const auto purged = store_->purge(limits, files_max);
    EXPECT_TRUE(purged.ok()) << purged.status().message();
    std::vector<std::string> keys;
    for (const auto& file : purged->originals) keys.push_back(file.key);
    for (const auto& file : purged->results) keys.push_back(file.key);
    return keys;
  }
  static std::vector<std::string> uids(const std::vector<ClaimedInstance>& claims) {
    std::vector<std::string> found;
    for (const auto& claim : claims) found.push_back(claim.instance.sop_instance_uid.str());
    return found;
  }
  static std::vector<std::string> uids(const std::vector<ClaimedDelivery>& claims) {
    std::vector<std::string> found;
    for (const auto& claim : claims) found.push_back(claim.sop_instance_uid.str());
    return found;
  }
};

// --- receive ----------------------------------------------------------------------------------------------------

TEST_P(StudyStoreContract, AnAddedInstanceIsHeldWithAllThatWasSaid) {
  NewInstance given = image(1, 1, 5);
  given.route.shadow = true;
  ASSERT_TRUE(add(given));
  const auto held = store_->find_instance(given.sop_instance_uid);
  ASSERT_TRUE(held.ok() && *held);
  EXPECT_EQ((*held)->version, 1);
  EXPECT_EQ((*held)->header_digest, "digest");
  EXPECT_EQ((*held)->file.key, given.file.key);
  EXPECT_EQ((*held)->file.size_bytes, given.file.size_bytes);
  const auto found = instances(1);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].state, InstanceState::kReceived);
  EXPECT_EQ(found[0].study_instance_uid, given.study_instance_uid);
  EXPECT_EQ(found[0].series_instance_uid, given.series_instance_uid);
  EXPECT_EQ(found[0].sop_class_uid, given.sop_class_uid);
  EXPECT_EQ(found[0].transfer_syntax_uid, given.transfer_syntax_uid);
  EXPECT_EQ(found[0].modality, "CR");
  EXPECT_EQ(found[0].accession_number, "A1");
  EXPECT_EQ(found[0].peer, "xray1");
  EXPECT_EQ(found[0].file.sha256_hex, given.file.sha256_hex);
  EXPECT_EQ(found[0].route.rule, "knee");
  EXPECT_EQ(found[0].route.body_part, "KNEE");
  EXPECT_EQ(found[0].route.body_part_evidence, "Body Part Examined");
  EXPECT_THAT(found[0].route.tasks, ElementsAre("fracture", "anomaly"));
  EXPECT_THAT(found[0].route.results_to, ElementsAre("pacs"));
  EXPECT_EQ(found[0].route.priority, 5);
  EXPECT_TRUE(found[0].route.shadow);
  EXPECT_TRUE(found[0].reportable);
  EXPECT_EQ(found[0].received_at, clock_.now());
  EXPECT_FALSE(found[0].predicted_at);
}

TEST_P(StudyStoreContract, AnInstanceIsAddedOnceHoweverOftenItIsSaid) {
  NewInstance given = image(1, 1);
  given.route.forward_to = {"archive"};
  ASSERT_TRUE(add(given));
  EXPECT_FALSE(add(given));  // The same call after an unknown outcome.
  EXPECT_THAT(instances(1), SizeIs(1));
  EXPECT_THAT(claim_deliveries("archive"), SizeIs(1));
}

TEST_P(StudyStoreContract, AnOlderSeenVersionAddsNothing) {
  ASSERT_TRUE(add(image(1, 1)));
  ASSERT_TRUE(add(image(1, 1), Arrival::kCorrection, 1));
  EXPECT_FALSE(add(image(1, 1), Arrival::kCorrection, 1));
  EXPECT_FALSE(add(image(1, 1), Arrival::kConflict, 1));
  EXPECT_FALSE(add(image(1, 2), Arrival::kCorrection, 1));  // Nothing is held.
  EXPECT_THAT(instances(1), SizeIs(2));
}

TEST_P(StudyStoreContract, AnUnroutedInstanceIsSkippedWithItsReason) {
  ASSERT_TRUE(add(unrouted(1, 1)));
  EXPECT_EQ(instances(1)[0].state, InstanceState::kSkipped);
  EXPECT_EQ(instances(1)[0].reason, "no rule for SR");
  EXPECT_THAT(claim_instances(), IsEmpty());
}

TEST_P(StudyStoreContract, OriginalsAreForwardedAtOnceEvenOfAStudyThatIsNotRouted) {
  NewInstance given = unrouted(1, 1);
  given.route.forward_to = {"archive", "pacs"};
  ASSERT_TRUE(add(given));
  for (const char* destination : {"archive", "pacs"}) {
    const auto claims = claim_deliveries(destination);
    ASSERT_THAT(claims, SizeIs(1));
    EXPECT_EQ(claims[0].stage, DeliveryStage::kOriginal);
    EXPECT_EQ(claims[0].sop_instance_uid, given.sop_instance_uid);
    EXPECT_EQ(claims[0].sop_class_uid, given.sop_class_uid);
    EXPECT_EQ(claims[0].transfer_syntax_uid, given.transfer_syntax_uid);
    EXPECT_EQ(claims[0].file.key, given.file.key);
    EXPECT_EQ(claims[0].file.sha256_hex, given.file.sha256_hex);
  }
}

TEST_P(StudyStoreContract, AConflictIsKeptAsideAndChangesNothingElse) {
  NewInstance other = image(1, 1);
  other.file = {"ef/other.dcm", 5, std::string(64, 'c')};
  other.route.forward_to = {"archive"};
  finish_one(1);
  ASSERT_TRUE(add(other, Arrival::kConflict, 1));
  EXPECT_EQ(summary(1).state, StudyState::kFinished);
  EXPECT_EQ(summary(1).conflicts, 1);
  EXPECT_EQ(summary(1).instances, 1);
  EXPECT_EQ(store_->stats().conflicts, 1);
  add(unrouted(2, 1));
  ASSERT_THAT(*store_->list_conflicts(0, 10), SizeIs(1));
  EXPECT_EQ((*store_->list_conflicts(0, 10))[0].study_instance_uid, "1.2.1");
  EXPECT_THAT(*store_->list_conflicts(1, 10), IsEmpty());
  EXPECT_EQ(instances(1)[1].state, InstanceState::kConflict);
  EXPECT_THAT(claim_instances(), IsEmpty());
  EXPECT_THAT(claim_deliveries("archive"), IsEmpty());
  EXPECT_EQ((*store_->find_instance(other.sop_instance_uid))->file.key, image(1, 1).file.key);
  EXPECT_FALSE(close_and_claim());

  const auto again = store_->add_instance(other, Arrival::kConflict, 1);
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->known_conflict);
  EXPECT_EQ(summary(1).conflicts, 1);
}

TEST_P(StudyStoreContract, OurOwnResultsAreKnownByTheirUid) {
  finish_one(1);
  EXPECT_TRUE(*store_->is_own_result(uid("1.2.8.1.1")));
  EXPECT_FALSE(*store_->is_own_result(uid("1.2.8.1.2")));
}

// --- analyze ----------------------------------------------------------------------------------------------------

TEST_P(StudyStoreContract, InstancesAreClaimedByUrgencyThenAge) {
  for (int number = 1; number <= 3; ++number) {
    add(image(1, number, 0));
    clock_.advance(seconds(1));
  }
  add(image(2, 1, 7));
  EXPECT_THAT(uids(claim_instances(2)), ElementsAre("1.2.2.1", "1.2.1.1"));
  EXPECT_THAT(uids(claim_instances(2)), ElementsAre("1.2.1.2", "1.2.1.3"));
  EXPECT_THAT(claim_instances(), IsEmpty());
}

TEST_P(StudyStoreContract, LongWaitingRaisesUrgencySoThatNothingWaitsForEver) {
  add(image(1, 1, 0));
  clock_.advance(std::chrono::minutes(29));
  add(image(2, 1, 3));
  EXPECT_THAT(uids(claim_instances(1)), ElementsAre("1.2.2.1")) << "three steps are worth half an hour";
  clock_.advance(std::chrono::minutes(2));
  add(image(3, 1, 3));
  EXPECT_THAT(uids(claim_instances(2)), ElementsAre("1.2.1.1", "1.2.3.1"));
}

TEST_P(StudyStoreContract, PredictionsAreKeptInTheOrderOfTheTasks) {
  add(image(1, 1));
  const auto claims = claim_instances();
  ASSERT_THAT(claims, SizeIs(1));
  EXPECT_EQ(claims[0].instance.attempts, 1);
  clock_.advance(seconds(3));
  ASSERT_TRUE(store_->finish_instance(claims[0].token, predictions("{\"p\":1}")).ok());
  const auto found = instances(1)[0];
  EXPECT_EQ(found.state, InstanceState::kAnalysed);
  EXPECT_EQ(found.predicted_at, clock_.now());
  ASSERT_THAT(found.predictions, SizeIs(2));
  EXPECT_EQ(found.predictions[0].task, "fracture");
  EXPECT_EQ(found.predictions[1].task, "anomaly");
  EXPECT_EQ(found.predictions[1].model_version, "skelex@1");
  EXPECT_EQ(found.predictions[1].content, "{\"p\":1}");
  EXPECT_EQ(found.predictions[1].blob, std::string("\0map", 4));
}

TEST_P(StudyStoreContract, ARouteThatThePixelsSettleTakesThePlaceOfThePendingOneUntilARetry) {
  NewInstance instance = image(1, 1);
  instance.route.pending = "{\"what\": \"the pixels decide\"}";
  instance.route.forward_to = {"archive"};
  add(instance);
  ClaimedInstance claimed = claim_instances()[0];
  EXPECT_EQ(claimed.instance.route.pending, instance.route.pending);

  RouteDecision settled;
  settled.rule = "knee";
  settled.body_part = "KNEE";
  settled.body_part_evidence = "the pixels";
  settled.tasks = {"anomaly"};
  settled.reason = "some";
  settled.priority = 3;
  settled.results_to = {"other"};
  settled.shadow = true;
  ASSERT_TRUE(store_->settle_route(claimed.token, settled).ok());
  EXPECT_EQ(instances(1)[0].state, InstanceState::kReceived);
  ASSERT_TRUE(store_->end_instance(claimed.token, InstanceState::kFailed, "why").ok());
  EXPECT_EQ(store_->settle_route(claimed.token, {}).code(), StatusCode::kNotFound);

  const RouteDecision found = instances(1)[0].route;
  EXPECT_EQ(found.rule, "knee");
  EXPECT_EQ(found.body_part, "KNEE");
  EXPECT_EQ(found.body_part_evidence, "the pixels");
  EXPECT_THAT(found.tasks, ElementsAre("anomaly"));
  EXPECT_EQ(found.reason, "some");
  EXPECT_EQ(found.priority, 3);
  EXPECT_THAT(found.results_to, ElementsAre("other"));
  EXPECT_TRUE(found.shadow);
  EXPECT_THAT(found.forward_to, ElementsAre("archive"));
  EXPECT_EQ(found.pending, instance.route.pending);
}

TEST_P(StudyStoreContract, ARetryAsksThePixelsAgainEvenWhereTheySettledOnNoTask) {
  NewInstance instance = image(1, 1);
  instance.route.pending = "pending";
  add(instance);
  const ClaimToken token = claim_instances()[0].token;
  ASSERT_TRUE(store_->settle_route(token, {}).ok());
  ASSERT_TRUE(store_->end_instance(token, InstanceState::kSkipped, "no rule").ok());
  ASSERT_TRUE(store_->retry_study(uid("1.2.1")).ok());
  const auto claims = claim_instances();
  ASSERT_THAT(claims, SizeIs(1));
  EXPECT_EQ(claims[0].instance.route.pending, "pending");
}

TEST_P(StudyStoreContract, AStudySaysWhyImagesOfItWereNotAnalysedEachReasonOnce) {
  for (int number = 1; number <= 2; ++number) {
    NewInstance skipped = unrouted(1, number);
    skipped.route.reason = "no rule for DX, CHEST";
    add(skipped);
  }
  add(image(1, 3));
  const ClaimToken token = claim_instances()[0].token;
  EXPECT_EQ(store_->find_study(uid("1.2.1"))->not_analysed, "no rule for DX, CHEST");
  ASSERT_TRUE(store_->end_instance(token, InstanceState::kFailed, "one row").ok());
  EXPECT_THAT(store_->find_study(uid("1.2.1"))->not_analysed,
              testing::AnyOf("no rule for DX, CHEST; one row", "one row; no rule for DX, CHEST"));
}

TEST_P(StudyStoreContract, AStaleTokenChangesNothing) {
  add(image(1, 1));
  const ClaimToken token = claim_instances()[0].token;
  ASSERT_TRUE(store_->end_instance(token, InstanceState::kFailed, "why").ok());
  EXPECT_EQ(store_->finish_instance(token, predictions()).code(), StatusCode::kNotFound);
  EXPECT_EQ(store_->end_instance(token, InstanceState::kSkipped, "other").code(), StatusCode::kNotFound);
  EXPECT_EQ(store_->release_instance(token).code(), StatusCode::kNotFound);
  EXPECT_EQ(store_->finish_instance(token + 17, predictions()).code(), StatusCode::kNotFound);
  EXPECT_EQ(instances(1)[0].state, InstanceState::kFailed);
  EXPECT_EQ(instances(1)[0].reason, "why");
  EXPECT_THAT(instances(1)[0].predictions, IsEmpty());
}

TEST_P(StudyStoreContract, ATokenOfAnEarlierProcessChangesNothing) {
  add(image(1, 1));
  const ClaimToken token = claim_instances()[0].token;
  restart();
  const ClaimToken fresh = claim_instances()[0].token;
  EXPECT_EQ(store_->finish_instance(token, predictions()).code(), StatusCode::kNotFound);
  EXPECT_TRUE(store_->finish_instance(fresh, predictions()).ok());
}

TEST_P(StudyStoreContract, AnInstanceThatTookTheProcessDownThreeTimesIsFailedAndTheRestGoesOn) {
  for (int number = 1; number <= 4; ++number) add(image(1, number));
  EXPECT_THAT(claim_instances(), SizeIs(4));
  // Every process that touches 1.2.1.2 dies without a word.
  int starts = 1;
  while (true) {
    restart();
    ASSERT_LT(++starts, 10);
    auto claims = claim_instances();
    while (!claims.empty() && claims[0].instance.sop_instance_uid != uid("1.2.1.2")) {
      EXPECT_THAT(claims, SizeIs(1)) << "a suspect is tried alone";
      EXPECT_THAT(claim_instances(), IsEmpty());
      ASSERT_TRUE(store_->finish_instance(claims[0].token, predictions()).ok());
      claims = claim_instances();
    }
    if (claims.empty()) break;
  }
  EXPECT_EQ(starts, 4);
  EXPECT_EQ(summary(1).analysed, 3);
  EXPECT_EQ(summary(1).failed, 1);
  EXPECT_EQ(instances(1)[1].reason, "took the process down 3 times");
  EXPECT_TRUE(close_and_claim());
}

TEST_P(StudyStoreContract, WhoWaitsForASuspectIsWokenByItsEnd) {
  add(image(1, 1));
  claim_instances();
  restart();
  add(image(1, 2));
  const auto suspect = claim_instances();
  ASSERT_THAT(uids(suspect), ElementsAre("1.2.1.1"));
  auto waiting = std::async(std::launch::async, [&] { return store_->claim_instances(1, std::chrono::hours(1)); });
  ASSERT_TRUE(store_->finish_instance(suspect[0].token, predictions()).ok());
  EXPECT_THAT(uids(*waiting.get()), ElementsAre("1.2.1.2"));
}

TEST_P(StudyStoreContract, AReleasedClaimIsNoAttempt) {
  add(image(1, 1));
  for (int i = 0; i < 5; ++i) {
    const auto claims = claim_instances();
    ASSERT_THAT(claims, SizeIs(1));
    EXPECT_EQ(claims[0].instance.attempts, 1);
    ASSERT_TRUE(store_->release_instance(claims[0].token).ok());
  }
}

TEST_P(StudyStoreContract, OnlySkippedAndFailedEndAnInstance) {
  add(image(1, 1));
  const ClaimToken token = claim_instances()[0].token;
  EXPECT_EQ(store_->end_instance(token, InstanceState::kAnalysed, "").code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(store_->end_instance(token, InstanceState::kSkipped, "several frames").ok());
}

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
  EXPECT_THAT(*store_->list_deliveries(std::nullopt, 0, 100), SizeIs(2));
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
  EXPECT_EQ(store_->retry_study(uid("1.2.77")).code(), StatusCode::kNotFound);
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

// --- retention ----------------------------------------------------------------------------------------------------

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
  EXPECT_EQ(store_->retry_study(uid("1.2.1")).code(), StatusCode::kInvalidArgument);
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
  const auto parked = *store_->list_deliveries(DeliveryState::kParked, 0, 10);
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
  const auto delivered = *store_->list_deliveries(DeliveryState::kDelivered, 0, 10);
  ASSERT_THAT(delivered, SizeIs(1));
  EXPECT_EQ(delivered[0].destination, "pacs");
  EXPECT_EQ(delivered[0].kind, "sc");
  EXPECT_EQ(delivered[0].study_instance_uid, "1.2.1");
  EXPECT_EQ(delivered[0].peer_status, 0xB000);
  EXPECT_EQ(delivered[0].text, "coerced");
  EXPECT_EQ(delivered[0].attempts, 1);
  EXPECT_EQ(delivered[0].delivered_at, clock_.now());
  EXPECT_EQ(store_->release_delivery(delivered[0].id).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(store_->release_delivery(4711).code(), StatusCode::kNotFound);
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
  EXPECT_EQ(store_->list_deliveries(DeliveryState::kPending, 3, 1)->at(0).text, "") << "2.8 was not claimed";
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
  const auto listed = *store_->list_deliveries(DeliveryState::kPending, 0, 10);
  EXPECT_EQ(listed.back().text + listed[listed.size() - 2].text, "refused");
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

// --- waiting ----------------------------------------------------------------------------------------------------

TEST_P(StudyStoreContract, AWaitingClaimIsWokenByWork) {
  auto waiting = std::async(std::launch::async, [&] { return store_->claim_instances(1, std::chrono::hours(1)); });
  add(image(1, 1));
  EXPECT_THAT(uids(*waiting.get()), ElementsAre("1.2.1.1"));
}

TEST_P(StudyStoreContract, AWaitingReportIsWokenByTheEndOfTheQuietPeriod) {
  auto waiting = std::async(std::launch::async, [&] { return store_->claim_ready_study(std::chrono::hours(1)); });
  add(image(1, 1));
  analyse_all();
  EXPECT_EQ(waiting.wait_for(seconds(0)), std::future_status::timeout);
  clock_.advance(seconds(10));
  EXPECT_TRUE(*waiting.get());
}

TEST_P(StudyStoreContract, AWaitingDeliveryIsWokenWhenItsRetryIsDue) {
  finish_one(1);
  const auto overlay = claim_deliveries();
  ASSERT_TRUE(store_->finish_delivery(overlay[0].token, {DeliveryState::kPending, seconds(60), {}, ""}).ok());
  auto waiting =
      std::async(std::launch::async, [&] { return store_->claim_due_deliveries("pacs", 1, std::chrono::hours(1)); });
  clock_.advance(seconds(60));
  EXPECT_THAT(uids(*waiting.get()), ElementsAre("1.2.9.1.1"));
}

TEST_P(StudyStoreContract, AClaimReturnsNothingAfterItsTime) {
  auto waiting = std::async(std::launch::async, [&] { return store_->claim_instances(1, seconds(5)); });
  while (waiting.wait_for(milliseconds(1)) != std::future_status::ready) clock_.advance(seconds(1));
  EXPECT_THAT(*waiting.get(), IsEmpty());
}

TEST_P(StudyStoreContract, StopWakesEveryWaiterAndLeavesTheRestWorking) {
  add(image(9, 1));
  const auto claims = claim_instances();
  auto instances = std::async(std::launch::async, [&] { return store_->claim_instances(1, std::chrono::hours(1)); });
  auto study = std::async(std::launch::async, [&] { return store_->claim_ready_study(std::chrono::hours(1)); });
  auto deliveries =
      std::async(std::launch::async, [&] { return store_->claim_due_deliveries("pacs", 1, std::chrono::hours(1)); });
  store_->stop();
  EXPECT_EQ(instances.get().status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(study.get().status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(deliveries.get().status().code(), StatusCode::kUnavailable);
  store_->stop();
  EXPECT_TRUE(store_->finish_instance(claims[0].token, predictions()).ok());
  EXPECT_TRUE(add(image(1, 1)));
  EXPECT_EQ(store_->claim_instances(1, kNoWait).status().code(), StatusCode::kUnavailable)
      << "whoever gets nothing asks again at once, for ever";
}

// --- operate ----------------------------------------------------------------------------------------------------

TEST_P(StudyStoreContract, StudiesAreListedNewestFirstByStateAndPage) {
  for (int study = 1; study <= 3; ++study) add(image(study, 1));
  add(unrouted(4, 1));
  analyse_all();
  clock_.advance(seconds(10));
  for (auto ready = claim_study(); ready; ready = claim_study()) report(*ready);
  std::vector<std::string> all, finished;
  const auto listed = *store_->list_studies(std::nullopt, 0, 100);
  for (const auto& study : listed) all.push_back(study.study_instance_uid);
  const auto page = *store_->list_studies(StudyState::kFinished, 1, 1);
  for (const auto& study : page) {
    finished.push_back(study.study_instance_uid);
  }
  EXPECT_THAT(all, ElementsAre("1.2.4", "1.2.3", "1.2.2", "1.2.1"));
  EXPECT_THAT(finished, ElementsAre("1.2.2"));
  EXPECT_EQ(summary(1).accession_number, "A1");
  EXPECT_EQ(summary(1).deliveries_pending, 2);
  EXPECT_EQ(store_->find_study(uid("1.2.77")).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(store_->stats().instances_received, 4);
  EXPECT_EQ(store_->stats().deliveries_pending, 6);
}

TEST_P(StudyStoreContract, TheNodeUidStaysTheSame) {
  const Uid before = store_->node_uid();
  EXPECT_EQ(before.str().substr(0, 5), "2.25.");
  restart();
  EXPECT_EQ(store_->node_uid(), before);
}

INSTANTIATE_TEST_SUITE_P(Implementations, StudyStoreContract,
                         testing::Values(Implementation{"Sqlite",
                                                        [](const config::StorageConfig& config, Clock& clock) {
                                                          return open_sqlite_study_store(config, clock);
                                                        }}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace node::storage
