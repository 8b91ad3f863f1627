#include "config/router_section.h"

#include <fstream>
#include <sstream>

#include "config/body_parts_yaml.h"
#include "tests/config/node_config_fixture.h"

namespace node::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

TEST_F(NodeConfigTest, TheBodyPartTableOfTheBuildIsTheFile) {
  std::ifstream file(kSource + "/config/body_parts.yaml", std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(std::string(kBodyPartsYaml), text.str());
}

TEST_F(NodeConfigTest, OwnBodyPartsComeOverTheBuiltInOnes) {
  const auto config = read(kStore + R"(body_parts:
  KNEE: {aliases: [gonarthrose, HD], codes: ["K1|99X"], procedure_codes: ["P1|99X|Knee, two views"], descriptions: ['\bGONARTHR']}
  NONE: {aliases: [MAIN], codes: ["85562004|SCT"], descriptions: ['\bHANDS?\b']}
  RACHIAL: {groups: [spine], aliases: [RCH]}
)");
  ASSERT_TRUE(config.ok()) << config.status().message();
  const BodyPartTable& table = config->router.body_parts;
  EXPECT_EQ(table.terms.at("GONARTHROSE"), "KNEE");
  EXPECT_EQ(table.terms.at("HD"), "KNEE");
  EXPECT_EQ(table.terms.at("KNIE"), "KNEE");
  EXPECT_EQ(table.terms.at("RCH"), "RACHIAL");
  EXPECT_FALSE(table.terms.contains("MAIN"));
  EXPECT_FALSE(table.terms.contains("NONE"));
  EXPECT_EQ(table.codes.at("99X|K1"), "KNEE");
  EXPECT_FALSE(table.codes.contains("SCT|85562004"));
  EXPECT_EQ(table.codes.at("SRT|T-D8700"), "HAND");
  EXPECT_EQ(table.procedure_codes.at("99X|P1"), "KNEE");
  EXPECT_EQ(table.description_patterns.front().first, "\\bGONARTHR");
  for (const auto& [pattern, term] : table.description_patterns) EXPECT_NE(pattern, "\\bHANDS?\\b");
}

TEST_F(NodeConfigTest, ABoneIsHeldAgainstAHeaderAsTheJointBesideItAndRoutesByItsName) {
  const auto config = read(kStore + "body_parts: {KNEE: {bones: [femur piece]}, ANKLE: {aliases: [Femur Piece]}}\n");
  ASSERT_TRUE(config.ok()) << config.status().message();
  const RegionHead& head = config->router.region_head;
  EXPECT_EQ(head.term_of("femur_piece"), "KNEE");
  EXPECT_EQ(head.term_of("proximal tibia"), "KNEE");
  EXPECT_EQ(head.term_of("patella"), "PATELLA");
  EXPECT_EQ(config->router.body_parts.terms.at("FEMUR PIECE"), "ANKLE");
  EXPECT_EQ(config->router.body_parts.terms.at("PROXIMAL TIBIA"), "TIBIA");
}

TEST_F(NodeConfigTest, OwnBodyPartsMayBeAFileOfTheirOwn) {
  write("parts.yaml", "KNEE: {aliases: [KN_STAND]}\n");
  const auto config = read(kStore + "body_parts: parts.yaml\n");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->router.body_parts.terms.at("KN_STAND"), "KNEE");

  write("parts.yaml", "KNEE:\n  alias: [KN_STAND]\n");
  EXPECT_EQ(mistakes(kStore + "body_parts: parts.yaml\n"),
            "parts.yaml:2: KNEE.alias: unknown key; did you mean 'aliases'?");
}

TEST_F(NodeConfigTest, ARouteReadsEveryCriterion) {
  const auto config = read(kBase + R"(routes:
  - name: all
    tasks: [anomaly]
    match: {modality: dx, sop_class: 1.2.3, body_part: knee, laterality: l, view: ap, sex: f, from: xray1,
            ae_title: Room1, station: Bucky 1, institution: [A, B], procedure_code: "24721-3|LN|XR Hand 2 Views",
            description: ['\bpostop'], age: {years_min: 2, years_max: 17}}
)");
  ASSERT_TRUE(config.ok()) << config.status().message();
  const RouteMatch& match = config->router.routes[0].match;
  EXPECT_THAT(match.modality, ElementsAre("DX"));
  EXPECT_THAT(match.sop_class, ElementsAre("1.2.3"));
  EXPECT_THAT(match.body_part, ElementsAre("KNEE"));
  EXPECT_THAT(match.laterality, ElementsAre("L"));
  EXPECT_THAT(match.view, ElementsAre("AP"));
  EXPECT_THAT(match.sex, ElementsAre("F"));
  EXPECT_THAT(match.from, ElementsAre("xray1"));
  EXPECT_THAT(match.ae_title, ElementsAre("Room1"));
  EXPECT_THAT(match.station, ElementsAre("Bucky 1"));
  EXPECT_THAT(match.institution, ElementsAre("A", "B"));
  EXPECT_THAT(match.procedure_code, ElementsAre("LN|24721-3"));
  EXPECT_THAT(match.description, ElementsAre("\\bpostop"));
  EXPECT_EQ(match.age_years_min, 2);
  EXPECT_EQ(match.age_years_max, 17);
  EXPECT_THAT(config->router.routes[0].origin, HasSubstr("node.yaml:11: routes[0]"));
  EXPECT_EQ(config->router.ae_titles.at("xray1"), "XRAY1");
}

TEST_F(NodeConfigTest, TheLabelsOfARegionHeadAreBodyPartsByCodeOrName) {
  const std::string task = R"(region_head: {task: region, probability_min: 0.9}
tasks:
  region: {model: skelex, output: softmax, labels: [Knie, sole], label_codes: ["1|99X|Knie", "56459004|SCT|Foot"]}
models:
  skelex: {path: models/skelex}
storage: {directory: store}
)";
  const auto config = read(task);
  ASSERT_TRUE(config.ok()) << config.status().message();
  const RegionHead& head = config->router.region_head;
  EXPECT_EQ(head.task, "region");
  EXPECT_EQ(head.probability_min, 0.9);
  EXPECT_THAT(head.terms, ElementsAre(Pair("Knie", "KNEE"), Pair("sole", "FOOT")));
  EXPECT_TRUE(head.contradict("KNEE", "FOOT"));
  EXPECT_FALSE(head.contradict("KNEE", "PATELLA"));
  EXPECT_FALSE(head.contradict("KNEE", ""));
  EXPECT_EQ(config->report.region_head.task, "region");

  std::string wrong = task;
  wrong.replace(wrong.find("56459004"), 8, "56459005");
  EXPECT_THAT(mistakes(wrong), HasSubstr("node.yaml:1: region_head.task: label 'sole' of 'region' is no body part"));
}

TEST_F(NodeConfigTest, WhatADetectorFindsIsABodyPartWithoutARegionHead) {
  const auto config = read(kBase + "body_parts: {KNEE: {aliases: [knee joint]}}\n");
  ASSERT_TRUE(config.ok()) << config.status().message();
  const RegionHead& head = config->report.region_head;
  EXPECT_EQ(head.task, "");
  EXPECT_EQ(head.term_of("distal femur"), "KNEE");
  EXPECT_EQ(head.term_of("Knee_joint"), "KNEE");
  EXPECT_EQ(head.term_of("no such bone"), "");
  EXPECT_TRUE(head.contradict(head.term_of("distal femur"), "HAND"));
  EXPECT_FALSE(head.contradict(head.term_of("distal humerus"), "FOREARM"));
}

TEST_F(NodeConfigTest, ARouteMayNameABodyPartOfItsOwn) {
  const std::string route = "routes:\n  - {name: a, tasks: [anomaly], match: {body_part: [Knie, LEG, RACHIAL]}}\n";
  EXPECT_THAT(mistakes(kBase + route), HasSubstr("no body part 'RACHIAL'"));
  EXPECT_EQ(mistakes(kBase + route + "body_parts: {RACHIAL: {groups: [spine]}}\n"), "");
}

TEST_F(NodeConfigTest, WhatIsUrgentIsSaidOfTheRoutesOwnTasks) {
  const std::string base = kBase + R"(  knee-oa: {model: skelex, output: softmax, labels: [KL 0, KL 4]}
routes:
  - {name: all, tasks: [knee-oa], urgent_when: [)";
  const auto config = read(base + "{task: knee-oa, label: KL 4, at_least: 0.9}]}\n");
  ASSERT_TRUE(config.ok()) << config.status().message();
  ASSERT_EQ(config->router.routes[0].urgent_when.size(), 1u);
  EXPECT_EQ(config->router.routes[0].urgent_when[0].label, "KL 4");
  EXPECT_EQ(config->router.routes[0].urgent_when[0].at_least, 0.9);
  EXPECT_THAT(mistakes(base + "{task: knee-oa, at_least: 0.9}]}\n"), HasSubstr("urgent_when[0].label: is wanted"));
  EXPECT_THAT(mistakes(base + "{task: knee-oa, label: KL 4}]}\n"), HasSubstr("urgent_when[0].at_least: is missing"));
  EXPECT_THAT(mistakes(base + "{task: knee-oa, label: KL 4, at_least: 1.5}]}\n"),
              HasSubstr("node.yaml:12: routes[0].urgent_when[0].at_least: is above 1, which is never reached"));
  EXPECT_THAT(mistakes(base + "{task: anomaly, at_least: 0.9}]}\n"),
              HasSubstr("urgent_when[0].task: 'anomaly' is none of this route's tasks"));
}

TEST_F(NodeConfigTest, OriginalsLeaveAtOnceOrAfterTheResults) {
  const auto config = read(kBase + "forward:\n  - {send_to: [pacs]}\n  - {send_to: [pacs], when: after_results}\n");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_FALSE(config->router.forward[0].after_results);
  EXPECT_TRUE(config->router.forward[1].after_results);
  EXPECT_THAT(mistakes(kBase + "forward: [{send_to: [pacs], when: later}]\n"),
              HasSubstr("at_once or after_results is wanted"));
}

}  // namespace
}  // namespace node::config
