#include "dicom_node/object/pending_route.h"

#include "tests/dicom_node/route/router_fixture.h"

namespace node::route {
namespace {

class RouterPixels : public RouterTest {
 protected:
  RouterPixels() {
    config_.region_head = {
        "region", 0.8, {{"hand", "HAND"}, {"leg", "LOWERLEG"}, {"knee", "KNEE"}}, config_.body_parts.groups};
  }
  RouteDecision route(const InstanceHeader& header) const {
    auto router = Router::create(config_, {"anomaly", "knee-oa", "region"});
    EXPECT_TRUE(router.ok()) << router.status().message();
    return router->route(header, "");
  }
  static object::SettledRoute settle(const RouteDecision& decision, const std::string& label, double probability) {
    inference::Prediction answer;
    answer.task = "region";
    answer.scores = {{"none of them", 0.01, "1"}, {label, probability, "1"}};
    auto settled = object::settle_route(decision, {object::FindingRecord{answer, {}}});
    EXPECT_TRUE(settled.ok()) << settled.status().message();
    return *std::move(settled);
  }
};

TEST_F(RouterPixels, DecideWhatNoHeaderSays) {
  config_.forward = {ForwardRule{{}, {"archive"}}};
  const RouteDecision decision = route(radiograph());
  EXPECT_THAT(decision.tasks, ElementsAre("region", "anomaly", "knee-oa"));
  EXPECT_EQ(decision.rule, "");
  EXPECT_EQ(decision.reason, "the body part is to be read from the pixels");
  EXPECT_THAT(decision.forward_to, ElementsAre("archive"));

  const object::SettledRoute knee = settle(decision, "knee", 0.93);
  EXPECT_EQ(knee.route.rule, "knee");
  EXPECT_EQ(knee.route.body_part, "KNEE");
  EXPECT_EQ(knee.route.body_part_evidence, "the pixels (region: knee 0.93)");
  EXPECT_THAT(knee.route.tasks, ElementsAre("knee-oa", "anomaly"));
  EXPECT_THAT(knee.still_to_ask, ElementsAre("knee-oa", "anomaly"));
  EXPECT_THAT(knee.route.results_to, ElementsAre("pacs"));
  EXPECT_THAT(knee.route.forward_to, ElementsAre("archive"));
  EXPECT_EQ(knee.route.reason, "");
}

TEST_F(RouterPixels, AnUnsureAnswerAndAPartOfNoRuleAreReasons) {
  const RouteDecision decision = route(radiograph());
  const object::SettledRoute unsure = settle(decision, "knee", 0.79);
  EXPECT_THAT(unsure.route.tasks, IsEmpty());
  EXPECT_EQ(unsure.route.reason,
            "no rule for DX, body part unknown; the pixels do not say the body part (region: knee 0.79)");
  EXPECT_THAT(settle(decision, "knee", 0.798).route.reason,
              testing::EndsWith("(region: knee 0.798)"));  // Not 0.80, which would do.
  const object::SettledRoute leg = settle(decision, "leg", 0.99);
  EXPECT_THAT(leg.route.tasks, IsEmpty());
  EXPECT_EQ(leg.route.reason, "no rule for DX, LOWERLEG");
  EXPECT_EQ(leg.route.body_part_evidence, "the pixels (region: leg 0.99)");
  EXPECT_EQ(settle(decision, "none of them", 0.99).route.rule, "");
}

TEST_F(RouterPixels, AreNotAskedWhereAHeaderSpeaksOrNothingDepends) {
  EXPECT_EQ(route(radiograph_of("KNEE")).pending, "");
  EXPECT_EQ(route(radiograph_of("EXTREMITY")).pending, "");
  InstanceHeader contradictory = radiograph_of("CHEST");
  contradictory.anatomic_region = {{"85562004", "SCT", "Hand"}};
  EXPECT_EQ(route(contradictory).pending, "");
  InstanceHeader frames = radiograph();
  frames.number_of_frames = 2;
  EXPECT_EQ(route(frames).pending, "");
  InstanceHeader ct = radiograph();
  ct.modality = "CT";
  EXPECT_EQ(route(ct).pending, "") << "no rule would take it whatever it shows";
  config_.routes.insert(config_.routes.begin(), rule("everything", {}));
  EXPECT_EQ(route(radiograph()).pending, "");
  EXPECT_EQ(route(radiograph()).rule, "everything");
}

TEST_F(RouterPixels, AnAnswerBelowTheLimitLeavesARouteThatNeedsNoBodyPart) {
  config_.routes.push_back(rule("the rest", {}));
  const RouteDecision decision = route(radiograph());
  EXPECT_EQ(settle(decision, "hand", 0.9).route.rule, "hand");
  EXPECT_EQ(settle(decision, "hand", 0.5).route.rule, "the rest");
}

TEST_F(RouterPixels, TheUrgencyIsThatOfTheMostUrgentRoute) {
  config_.routes[1].priority = 7;
  const RouteDecision decision = route(radiograph());
  EXPECT_EQ(decision.priority, 7);
  EXPECT_EQ(settle(decision, "knee", 0.9).route.priority, 0);
}

TEST_F(RouterPixels, FirstComeTheTasksOfTheHeadsOwnPass) {
  std::vector<inference::TaskInfo> infos(3);
  infos[0].task = "region", infos[0].pass = 4;
  infos[1].task = "knee-oa", infos[1].pass = 4;
  infos[2].task = "anomaly", infos[2].pass = 5;
  EXPECT_THAT(object::tasks_to_ask_first(route(radiograph()), infos).value(), ElementsAre("region", "knee-oa"));
  EXPECT_THAT(object::tasks_to_ask_first(route(radiograph_of("KNEE")), infos).value(),
              ElementsAre("knee-oa", "anomaly"));
}

TEST_F(RouterPixels, WhatWasStoredOtherwiseIsDataLoss) {
  RouteDecision decision = route(radiograph());
  decision.pending[0] = 'x';
  EXPECT_EQ(object::settle_route(decision, {}).status().code(), StatusCode::kDataLoss);
  EXPECT_EQ(object::tasks_to_ask_first(decision, {}).status().code(), StatusCode::kDataLoss);
}

}  // namespace
}  // namespace node::route
