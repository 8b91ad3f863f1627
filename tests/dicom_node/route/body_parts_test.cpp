#include "dicom_node/route/body_parts.h"

#include <algorithm>
#include <set>

#include "tests/dicom_node/route/router_fixture.h"

namespace node::route {
namespace {

// --- Where the body part comes from ----------------------------------------------------------------------------------

TEST_F(RouterTest, TheFirstSourceThatNamesABodyPartIsTheEvidence) {
  InstanceHeader header = radiograph();
  header.study_description = "XR Hand left";
  EXPECT_EQ(route(header).body_part_evidence, "Study Description");
  header.series_description = "Hand PA";
  EXPECT_EQ(route(header).body_part_evidence, "Series Description");
  header.protocol_name = "HAND 2 VIEWS";
  EXPECT_EQ(route(header).body_part_evidence, "Protocol Name");
  header.procedure_codes = {{"24705", "99SITE", "anything"}, {"24721-3", "LN", "XR Hand 2 Views"}};
  EXPECT_EQ(route(header).body_part_evidence, "procedure code");
  header.body_part_examined = "HAND";
  EXPECT_EQ(route(header).body_part_evidence, "Body Part Examined");
  header.anatomic_region = {{"85562004", "SCT", "Hand"}};
  EXPECT_EQ(route(header).body_part_evidence, "Anatomic Region Sequence");
  EXPECT_EQ(route(header).body_part, "HAND");
  EXPECT_EQ(route(header).rule, "hand");
}

TEST_F(RouterTest, AnEarlierSourceOverrulesALaterOne) {
  InstanceHeader header = radiograph();
  header.study_description = "XR Knee";
  header.procedure_codes = {{"24541-5", "LN", "XR Ankle Views"}};
  EXPECT_EQ(route(header).body_part, "ANKLE");
  header.body_part_examined = "HAND";
  EXPECT_EQ(route(header).body_part, "HAND");
  header.anatomic_region = {{"74670003", "SCT", "Wrist joint"}};
  EXPECT_EQ(route(header).body_part, "WRIST");
}

TEST_F(RouterTest, AValueThatNamesNothingIsPassedOver) {
  InstanceHeader header = radiograph_of("UNKNOWN");
  header.anatomic_region = {{"999", "SCT", "Hand"}};  // By its value, never its meaning.
  header.procedure_codes = {{"1", "99SITE", "Hand"}};
  EXPECT_EQ(route(header).body_part, "");
  header.protocol_name = "Knee";
  EXPECT_EQ(route(header).body_part, "KNEE");
  EXPECT_EQ(route(header).body_part_evidence, "Protocol Name");
}

TEST_F(RouterTest, OldSnomedCodesCountUnderAllTheirDesignators) {
  for (const char* scheme : {"SRT", "SNM3", "99SDM", "srt"}) {
    InstanceHeader header = radiograph();
    header.anatomic_region = {{"T-D8700", scheme, ""}};
    EXPECT_EQ(route(header).body_part, "HAND") << scheme;
  }
  InstanceHeader header = radiograph();
  header.anatomic_region = {{"T-D8700", "SCT", ""}};
  EXPECT_EQ(route(header).body_part, "");
}

TEST_F(RouterTest, SpellingsOfBodyPartExamined) {
  const std::pair<const char*, const char*> kSpellings[] = {{"hand", "HAND"},
                                                            {" HAND ", "HAND"},
                                                            {"LEFT HAND", "HAND"},
                                                            {"HAND^PA", "HAND"},
                                                            {"MAIN", "HAND"},
                                                            {"Mano", "HAND"},
                                                            {"HD", "HAND"},
                                                            {"LT KNEE", "KNEE"},
                                                            {"KNEE_L", "KNEE"},
                                                            {"KNEE_AP", "KNEE"},
                                                            {"Knie re.", "KNEE"},
                                                            {"L KNEE", "KNEE"},
                                                            {"Genou droit", "KNEE"},
                                                            {"RODILLA IZQ", "KNEE"},
                                                            {"KNEE 2 VIEWS", "KNEE"},
                                                            {"UP_EXM", "UPPERLIMB"},
                                                            {"LOW_EXM", "LOWERLIMB"},
                                                            {"EXTREMITY", "EXTREMITY"},
                                                            {"LEG", "LOWERLEG"},
                                                            {"ARM", "UPPERARM"},
                                                            {"TIB/FIB", "TIBIAFIBULA"},
                                                            {"C-SPINE", "CSPINE"},
                                                            {"L SPINE", "LSPINE"},
                                                            {"LSPINE LAT", "LSPINE"},
                                                            {"Thorax", "CHEST"},
                                                            {"Schädel", "SKULL"},
                                                            {"SCHAEDEL", "SKULL"},
                                                            {"Sch\xE4"
                                                             "del",
                                                             "SKULL"},
                                                            {"Épaule", "SHOULDER"},
                                                            {"Fuß", "FOOT"},
                                                            {"FUSS LI", "FOOT"},
                                                            {"Hüfte", "HIP"},
                                                            {"HUEFTE", "HIP"},
                                                            {"MUÑECA", "WRIST"},
                                                            {"AVANT-BRAS G", "FOREARM"},
                                                            {"OSG rechts", "ANKLE"},
                                                            {"ULNA", "ULNA"},
                                                            {"MANUS SINISTRA", "HAND"},
                                                            {"SIJOINT", "SIJOINT"},
                                                            {"", ""},
                                                            {"UNKNOWN", ""},
                                                            {"SKELETON", ""},
                                                            {"L", ""},
                                                            {"AP", ""},
                                                            {"CHESTHAND", ""},
                                                            {"\xFF\xFE\x80", ""}};
  for (const auto& [written, term] : kSpellings) EXPECT_EQ(body_part(written), term) << written;
}

TEST_F(RouterTest, DescriptionsInFiveLanguages) {
  const std::pair<const char*, const char*> kDescriptions[] = {{"XR HAND LEFT 2 VIEWS", "HAND"},
                                                               {"Kniegelenk rechts in 2 Ebenen", "KNEE"},
                                                               {"RX MAIN GAUCHE", "HAND"},
                                                               {"Rodilla derecha", "KNEE"},
                                                               {"Fuß links dp/schräg", "FOOT"},
                                                               {"Epaule droite face", "SHOULDER"},
                                                               {"Thorax pa", "CHEST"},
                                                               {"HWS 2 Ebenen", "CSPINE"},
                                                               {"RX TOBILLO", "ANKLE"},
                                                               {"XR", ""},
                                                               {"main series", ""},
                                                               {"HANDOVER", ""}};
  for (const auto& [text, term] : kDescriptions) {
    InstanceHeader header = radiograph();
    header.study_description = text;
    EXPECT_EQ(route(header).body_part, term) << text;
  }
}

TEST_F(RouterTest, ADescriptionOfSeveralExamsNamesNone) {
  InstanceHeader header = radiograph();
  header.study_description = "XR CHEST, XR HAND LEFT";
  EXPECT_EQ(route(header).body_part, "");
  header.study_description = "XR HAND AND WRIST";
  EXPECT_EQ(route(header).body_part, "HAND");
}

TEST_F(RouterTest, AHugeDescriptionCostsNothing) {
  InstanceHeader header = radiograph();
  header.study_description = std::string(1 << 20, 'a');
  header.body_part_examined = std::string(1 << 20, 'L');
  EXPECT_EQ(route(header).body_part, "");
  EXPECT_LT(route(header).reason.size(), 100u);
}

// --- Contradictions --------------------------------------------------------------------------------------------------

TEST_F(RouterTest, ACodeAndABodyPartOfOtherGroupsContradict) {
  InstanceHeader header = radiograph_of("CHEST");
  header.anatomic_region = {{"85562004", "SCT", "Hand"}};
  RouteRule everything = rule("everything", {});
  config_.routes.push_back(everything);
  const RouteDecision decision = route(header);
  EXPECT_EQ(decision.reason, "body part contradictory: HAND (code), CHEST");
  EXPECT_THAT(decision.tasks, IsEmpty());
  EXPECT_EQ(decision.rule, "");
  EXPECT_EQ(decision.body_part, "");
}

TEST_F(RouterTest, NeighboursAndGeneralTermsDoNotContradict) {
  const std::pair<const char*, const char*> kAgree[] = {
      {"85562004", "WRIST"},   {"74670003", "FOREARM"},   {"85562004", "EXTREMITY"}, {"85562004", "UP_EXM"},
      {"24136001", "PELVIS"},  {"71341001", "HIP"},       {"72696002", "LEG"},       {"70258002", "FOOT"},
      {"66019005", "KNEE"},    {"72696002", "EXTREMITY"}, {"61685007", "HIP"},       {"85562004", "UNKNOWN"},
      {"71341001", "LOWERLEG"}};
  const std::pair<const char*, const char*> kContradict[] = {
      {"85562004", "FOOT"},  {"72696002", "HAND"},    {"16982005", "KNEE"}, {"85562004", "LOWERLIMB"},
      {"66019005", "CHEST"}, {"72696002", "ABDOMEN"}, {"89546000", "HAND"}, {"85562004", "PELVIS"}};
  const auto contradictory = [this](const char* code, const char* examined) {
    InstanceHeader header = radiograph_of(examined);
    header.anatomic_region = {{code, "SCT", ""}};
    return route(header).reason.starts_with("body part contradictory");
  };
  for (const auto& [code, examined] : kAgree) EXPECT_FALSE(contradictory(code, examined)) << code << ' ' << examined;
  for (const auto& [code, examined] : kContradict)
    EXPECT_TRUE(contradictory(code, examined)) << code << ' ' << examined;
}

TEST_F(RouterTest, TwoCodesCanContradictEachOther) {
  InstanceHeader header = radiograph();
  header.anatomic_region = {{"85562004", "SCT", "Hand"}, {"56459004", "SCT", "Foot"}};
  EXPECT_EQ(route(header).reason, "body part contradictory: HAND (code), FOOT (code)");
}

TEST_F(RouterTest, ProcedureCodesOfSeveralExamsNameNone) {
  InstanceHeader header = radiograph();
  header.procedure_codes = {{"24721-3", "LN", "XR Hand 2 Views"}, {"36643-5", "LN", "XR Chest 2 Views"}};
  EXPECT_EQ(route(header).body_part, "");
  header.series_description = "Chest PA";
  EXPECT_EQ(route(header).body_part, "CHEST");
  EXPECT_EQ(route(header).body_part_evidence, "Series Description");
}

TEST_F(RouterTest, WhatWasDoneInItsSeriesOutranksWhatTheStudyIsFor) {
  InstanceHeader header = radiograph();
  header.procedure_codes = {{"36643-5", "LN", "XR Chest 2 Views"}};
  header.performed_codes = {{"24721-3", "LN", "XR Hand 2 Views"}};
  EXPECT_EQ(route(header).body_part, "HAND");
  EXPECT_EQ(route(header).body_part_evidence, "performed protocol code");
  header.performed_codes = {{"1", "99SITE", "of the site"}};
  EXPECT_EQ(route(header).body_part, "CHEST");
  EXPECT_EQ(route(header).body_part_evidence, "procedure code");
}

TEST_F(RouterTest, WordsOfASiteInAnyScriptMeanWhatTheySay) {
  config_.body_parts.terms["手"] = "HAND";
  config_.body_parts.description_patterns = {{"手関節?", "WRIST"}, {"[膝脚]", "KNEE"}, {"ΓΌΝΑΤΟ", "KNEE"},
                                             {"б[её]дро", "HIP"},  {"무릎", "KNEE"},   {"ＦＯＯＴ", "FOOT"}};
  const auto of_description = [this](const std::string& text) {
    InstanceHeader header = radiograph();
    header.series_description = text;
    return route(header).body_part;
  };
  EXPECT_EQ(body_part("手"), "HAND");
  EXPECT_EQ(body_part(""), "");
  EXPECT_EQ(body_part("胸"), "");
  EXPECT_EQ(of_description("左 手関節 2方向"), "WRIST");
  EXPECT_EQ(of_description("手関"), "WRIST");
  EXPECT_EQ(of_description("手"), "");
  EXPECT_EQ(of_description("右膝"), "KNEE");
  EXPECT_EQ(of_description("胸部"), "");
  EXPECT_EQ(of_description("Γόνατο δεξί"), "KNEE");
  EXPECT_EQ(of_description("бёдро"), "HIP");
  EXPECT_EQ(of_description("왼쪽 무릎"), "KNEE");
  EXPECT_EQ(of_description("foot"), "FOOT");
  EXPECT_EQ(of_description("CHEST"), "");
  EXPECT_EQ(of_description(""), "");
}

TEST_F(RouterTest, AWordWithoutALetterIsAMistake) {
  const auto refused = [this](const std::string& why) {
    const auto router = Router::create(config_, {"anomaly", "knee-oa"});
    return !router.ok() && router.status().message().find(why) != std::string::npos;
  };
  const RouterConfig good = config_;
  config_.body_parts.terms["。"] = "HAND";
  EXPECT_TRUE(refused("alias '。' has no letter or digit"));
  config_ = good;
  config_.body_parts.description_patterns.emplace_back("、", "HAND");
  EXPECT_TRUE(refused("pattern '、' has no letter"));
  config_ = good;
  config_.routes[0].match.station = {"--"};
  EXPECT_TRUE(refused("'--' has no letter or digit"));
  config_ = good;
  config_.routes[0].match.institution = {"☢"};
  EXPECT_TRUE(refused("'☢' has no letter or digit"));
}

TEST_F(RouterTest, EveryTermHasAGroup) {
  for (const auto& [alias, term] : config_.body_parts.terms) {
    EXPECT_TRUE(config_.body_parts.groups.contains(term)) << term;
  }
}

}  // namespace
}  // namespace node::route
