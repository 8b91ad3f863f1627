// The contract of study_store.h. Every implementation runs it: add a line to the INSTANTIATE at the end.
#include "storage/sqlite_study_store.h"
#include "tests/storage/study_store_contract.h"

namespace node::storage {
namespace {

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
  ASSERT_THAT(*store_->list_studies({.conflicts = true, .limit = 10}), SizeIs(1));
  const std::int64_t key = (*store_->list_studies({.conflicts = true}))[0].key;
  EXPECT_EQ((*store_->list_studies({.conflicts = true, .limit = 10}))[0].study_instance_uid, "1.2.1");
  EXPECT_THAT(*store_->list_studies({.conflicts = true, .before = key}), IsEmpty());
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

TEST_P(StudyStoreContract, AcceptedLossesAreKeptUntilOthersTakeTheirPlace) {
  EXPECT_THAT(*store_->accepted_losses(), IsEmpty());
  ASSERT_TRUE(store_->set_accepted_losses({"ab/2.dcm", "ab/1.dcm"}).ok());
  restart();
  EXPECT_THAT(*store_->accepted_losses(), ElementsAre("ab/1.dcm", "ab/2.dcm"));
  ASSERT_TRUE(store_->set_accepted_losses({"ab/2.dcm"}).ok());
  ASSERT_TRUE(store_->set_accepted_losses({"ab/2.dcm"}).ok());
  EXPECT_THAT(*store_->accepted_losses(), ElementsAre("ab/2.dcm"));
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

TEST_P(StudyStoreContract, StudiesThatFailedWhollyOrInOneImageAreListedTogether) {
  for (int study = 1; study <= 3; ++study) {
    add(image(study, 1));
    add(image(study, 2));
  }
  for (const ClaimedInstance& claim : claim_instances()) {
    const bool fails = claim.instance.study_instance_uid == uid("1.2.1") &&
                       claim.instance.sop_instance_uid == image(1, 1).sop_instance_uid;
    ASSERT_TRUE(fails ? store_->end_instance(claim.token, InstanceState::kFailed, "why").ok()
                      : store_->finish_instance(claim.token, predictions()).ok());
  }
  clock_.advance(seconds(10));
  for (int i = 0; i < 3; ++i) {
    const auto ready = *store_->claim_ready_study(milliseconds(0));
    ASSERT_TRUE(ready);
    ASSERT_TRUE(ready->study_instance_uid == uid("1.2.2") ? store_->fail_study(ready->token, "no report").ok()
                                                          : store_->finish_study(ready->token, {}, {}).ok());
  }
  const auto listed = *store_->list_studies({.failures = true});
  ASSERT_THAT(listed, SizeIs(2));
  EXPECT_EQ(listed[0].study_instance_uid, "1.2.2");
  EXPECT_EQ(listed[1].study_instance_uid, "1.2.1");
  EXPECT_EQ(listed[1].state, StudyState::kFinished);
  EXPECT_THAT(*store_->list_studies({.failures = true, .search = "1.2.3"}), IsEmpty());
  EXPECT_THAT(*store_->list_studies({.failures = true, .before = listed[0].key}), SizeIs(1));
  ASSERT_TRUE(store_->retry_study(uid("1.2.1")).ok());
  EXPECT_THAT(*store_->list_studies({.failures = true}), SizeIs(1));
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

TEST_P(StudyStoreContract, AWaitingReportIsWokenByTheEndOfAStudyOfWhichNothingIsAnalysed) {
  for (const bool reportable : {true, false}) {
    const int study = reportable ? 1 : 2;
    auto waiting = std::async(std::launch::async, [&] { return store_->claim_ready_study(std::chrono::hours(1)); });
    clock_.await_wait();  // It has seen that there is nothing, and knows of no time at which there will be.
    NewInstance image = unrouted(study, 1);
    image.reportable = reportable;
    add(image);
    EXPECT_EQ(waiting.wait_for(milliseconds(20)), std::future_status::timeout);
    EXPECT_EQ(summary(study).state, StudyState::kOpen);
    clock_.advance(seconds(10));
    for (int ms = 0; ms < 5000 && summary(study).state == StudyState::kOpen; ++ms) waiting.wait_for(milliseconds(1));
    EXPECT_EQ(summary(study).state, reportable ? StudyState::kClosed : StudyState::kNotRouted);
    clock_.advance(std::chrono::hours(1));
    EXPECT_EQ(waiting.get()->has_value(), reportable);
  }
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

TEST_P(StudyStoreContract, AStudyIsFoundByWhatItsNumbersBeginWith) {
  for (int study : {1, 2, 12}) add(image(study, 1));
  const auto found = [&](const std::string& text) {
    std::vector<std::string> uids;
    const auto studies = store_->list_studies({.search = text});
    for (const auto& study : *studies) uids.push_back(study.study_instance_uid);
    return uids;
  };
  EXPECT_THAT(found("A1"), ElementsAre("1.2.12", "1.2.1"));
  EXPECT_THAT(found("A12"), ElementsAre("1.2.12"));
  EXPECT_THAT(found("1.2.2"), ElementsAre("1.2.2"));
  EXPECT_THAT(found("1.2."), ElementsAre("1.2.12", "1.2.2", "1.2.1"));
  EXPECT_THAT(found(image(2, 1).sop_instance_uid.str()), ElementsAre("1.2.2"));
  EXPECT_THAT(found("2"), IsEmpty());
  EXPECT_THAT(found("%"), IsEmpty());
  EXPECT_THAT(*store_->list_studies({.state = StudyState::kFinished, .search = "A1"}), IsEmpty());
}

TEST_P(StudyStoreContract, AListingsVersionChangesWithWhatItShows) {
  const std::int64_t before = store_->data_version().value();
  EXPECT_EQ(store_->data_version().value(), before);
  add(image(1, 1));
  EXPECT_NE(store_->data_version().value(), before);
}

TEST_P(StudyStoreContract, StudiesAreListedNewestFirstByStateAndPage) {
  for (int study = 1; study <= 3; ++study) add(image(study, 1));
  add(unrouted(4, 1));
  analyse_all();
  clock_.advance(seconds(10));
  for (auto ready = claim_study(); ready; ready = claim_study()) report(*ready);
  std::vector<std::string> all, finished;
  const auto listed = *store_->list_studies({.limit = 100});
  for (const auto& study : listed) all.push_back(study.study_instance_uid);
  const auto page = *store_->list_studies({.state = StudyState::kFinished, .before = listed[1].key, .limit = 1});
  for (const auto& study : page) {
    finished.push_back(study.study_instance_uid);
  }
  EXPECT_THAT(all, ElementsAre("1.2.4", "1.2.3", "1.2.2", "1.2.1"));
  EXPECT_THAT(finished, ElementsAre("1.2.2"));
  EXPECT_EQ(summary(1).accession_number, "A1");
  EXPECT_EQ(summary(1).deliveries_pending, 2);
  EXPECT_EQ(store_->find_study(uid("1.2.77")).status().code(), StatusCode::kNotFound);
  EXPECT_THAT(*store_->list_deliveries({.study = uid("1.2.2")}), SizeIs(2));
  EXPECT_THAT(*store_->list_deliveries({.study = uid("1.2.77")}), IsEmpty());
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
