#include "dicom_node/route/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "config/node_config.h"

namespace node::route {
namespace {

using config::Code;
using config::ForProcessing;
using config::ForwardRule;
using config::RouterConfig;
using config::RouteRule;
using object::InstanceHeader;
using testing::ElementsAre;
using testing::IsEmpty;

// A readable DX of 4 x 4 pixels that says nothing of its body part.
InstanceHeader radiograph() {
  InstanceHeader header;
  header.sop_class_uid = "1.2.840.10008.5.1.4.1.1.1.1";
  header.modality = "DX";
  header.presentation_intent_type = "FOR PRESENTATION";
  header.rows = header.columns = 4;
  header.samples_per_pixel = 1;
  header.bits_allocated = header.bits_stored = 16;
  header.has_pixel_data = true;
  header.pixel_data_bytes = 32;
  return header;
}

InstanceHeader radiograph_of(const std::string& body_part) {
  InstanceHeader header = radiograph();
  header.body_part_examined = body_part;
  return header;
}

RouteRule rule(const std::string& name, const std::vector<std::string>& body_parts,
               const std::vector<std::string>& tasks = {"anomaly"}) {
  RouteRule rule;
  rule.name = name;
  rule.match.modality = {"CR", "DX"};
  rule.match.body_part = body_parts;
  rule.tasks = tasks;
  rule.send_to = {"pacs"};
  return rule;
}

class RouterTest : public testing::Test {
 protected:
  // The table that ships, so that these tests are also its tests.
  static void SetUpTestSuite() {
    auto demo = config::read_node_config(NODE_SOURCE_DIR "/config/demo.yaml", {}, {});
    ASSERT_TRUE(demo.ok()) << demo.status().message();
    shipped_ = new RouterConfig(demo->router);
  }
  static void TearDownTestSuite() { delete shipped_; }

  RouterTest() {
    config_.body_parts = shipped_->body_parts;
    config_.routes = {rule("knee", {"KNEE"}, {"knee-oa", "anomaly"}), rule("hand", {"HAND", "WRIST"}),
                      rule("limb", {"EXTREMITY"})};
  }
  Router router() const {
    auto router = Router::create(config_, {"anomaly", "knee-oa"});
    EXPECT_TRUE(router.ok()) << router.status().message();
    return *std::move(router);
  }
  RouteDecision route(const InstanceHeader& header, std::string_view from = "") const {
    return router().route(header, from);
  }
  std::string body_part(const std::string& written) const { return route(radiograph_of(written)).body_part; }

  RouterConfig config_;
  static RouterConfig* shipped_;
};

RouterConfig* RouterTest::shipped_ = nullptr;

// --- Rules -----------------------------------------------------------------------------------------------------------

TEST_F(RouterTest, TheFirstRuleThatMatchesDecides) {
  config_.routes.insert(config_.routes.begin() + 1, rule("knee again", {"KNEE"}));
  config_.routes[0].priority = 5;
  const RouteDecision decision = route(radiograph_of("KNEE"));
  EXPECT_EQ(decision.rule, "knee");
  EXPECT_THAT(decision.tasks, ElementsAre("knee-oa", "anomaly"));
  EXPECT_THAT(decision.results_to, ElementsAre("pacs"));
  EXPECT_EQ(decision.priority, 5);
  EXPECT_EQ(decision.body_part, "KNEE");
  EXPECT_EQ(decision.body_part_evidence, "Body Part Examined");
  EXPECT_EQ(decision.reason, "");
  EXPECT_FALSE(decision.shadow);
}

TEST_F(RouterTest, EveryKeyOfAMatchMustHold) {
  RouteRule& knee = config_.routes[0];
  knee.match.laterality = {"L"};
  knee.match.view = {"ap", "PA"};
  knee.match.from = {"xray1"};
  InstanceHeader header = radiograph_of("KNEE");
  header.laterality = "L";
  header.view_position = "AP";
  EXPECT_EQ(route(header, "xray1").rule, "knee");
  EXPECT_EQ(route(header, "pacs").rule, "");
  EXPECT_EQ(route(header, "").rule, "");
  header.view_position = "LL";
  EXPECT_EQ(route(header, "xray1").rule, "");
  header.view_position = "PA";
  header.laterality = "R";
  EXPECT_EQ(route(header, "xray1").rule, "");
  header.laterality = "";
  EXPECT_EQ(route(header, "xray1").rule, "");
  header.laterality = "L";
  header.modality = "OT";
  EXPECT_EQ(route(header, "xray1").rule, "");
}

TEST_F(RouterTest, ShadowIsCarriedOn) {
  config_.routes[0].shadow = true;
  EXPECT_TRUE(route(radiograph_of("KNEE")).shadow);
}

TEST_F(RouterTest, ARuleMayNameABodyPartByAnAlias) {
  config_.routes[0].match.body_part = {"Knie"};
  EXPECT_EQ(route(radiograph_of("KNEE")).rule, "knee");
}

TEST_F(RouterTest, NoRuleIsAnAnswerWithItsReason) {
  EXPECT_EQ(route(radiograph_of("ABDOMEN")).reason, "no rule for DX, ABDOMEN");
  EXPECT_EQ(route(radiograph()).reason, "no rule for DX, body part unknown");
  EXPECT_EQ(route(radiograph_of("annoon")).reason, "no rule for DX, body part unknown: \"ANNOON\"");
  InstanceHeader header = radiograph_of("KNEE");
  header.modality = "";
  EXPECT_EQ(route(header).reason, "no rule for no modality, KNEE");
  EXPECT_THAT(route(radiograph_of("ABDOMEN")).tasks, IsEmpty());
  EXPECT_EQ(route(radiograph_of("ABDOMEN")).rule, "");
}

TEST_F(RouterTest, ARuleWithoutTasksLeavesImagesAlone) {
  config_.routes[0].tasks = {};
  const RouteDecision decision = route(radiograph_of("KNEE"));
  EXPECT_EQ(decision.rule, "knee");
  EXPECT_EQ(decision.reason, "rule knee has no tasks");
}

TEST_F(RouterTest, CreateRefusesUnknownTasksAndRepeatedNames) {
  const auto unknown = Router::create(config_, {"anomaly"});
  EXPECT_EQ(unknown.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(unknown.status().message(), "route knee: no task named knee-oa");
  config_.routes[1].name = "knee";
  EXPECT_EQ(Router::create(config_, {"anomaly", "knee-oa"}).status().message(), "route knee: the name repeats");
  config_.routes.clear();
  config_.body_parts.description_patterns.emplace_back("(", "KNEE");
  EXPECT_EQ(Router::create(config_, {}).status().code(), StatusCode::kInvalidArgument);
}

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

TEST_F(RouterTest, EveryTermHasAGroup) {
  for (const auto& [alias, term] : config_.body_parts.terms) {
    EXPECT_TRUE(config_.body_parts.groups.contains(term)) << term;
  }
}

// --- Images that no model may read -----------------------------------------------------------------------------------

struct Unreadable {
  const char* name;
  void (*change)(InstanceHeader&);
  const char* reason;
};

class RouterUnreadable : public RouterTest, public testing::WithParamInterface<Unreadable> {};

TEST_P(RouterUnreadable, HasNoTasksWhateverTheRulesSay) {
  RouteRule everything = rule("everything", {});
  everything.match = {};
  everything.for_processing = ForProcessing::kRender;
  config_.routes = {everything};
  config_.forward = {ForwardRule{{}, {"archive"}}};
  InstanceHeader header = radiograph_of("KNEE");
  GetParam().change(header);
  const RouteDecision decision = route(header);
  EXPECT_THAT(decision.tasks, IsEmpty());
  EXPECT_THAT(decision.reason, testing::StartsWith(GetParam().reason));
  EXPECT_THAT(decision.forward_to, ElementsAre("archive")) << "forwarded all the same";
}

INSTANTIATE_TEST_SUITE_P(
    Each, RouterUnreadable,
    testing::Values(Unreadable{"Frames", [](InstanceHeader& h) { h.number_of_frames = 3; }, "several frames: 3"},
                    Unreadable{"NoPixelData",
                               [](InstanceHeader& h) {
                                 h.has_pixel_data = false;
                                 h.pixel_data_bytes = 0;
                               },
                               "no pixel data"},
                    Unreadable{"ShortPixelData", [](InstanceHeader& h) { h.pixel_data_bytes = 31; },
                               "pixel data shorter than"},
                    Unreadable{"Report",
                               [](InstanceHeader& h) {
                                 h.modality = "SR";
                                 h.sop_class_uid = "1.2.840.10008.5.1.4.1.1.88.33";
                               },
                               "not a radiograph: SR, SOP class 1.2.840.10008.5.1.4.1.1.88.33"},
                    Unreadable{"PresentationState",
                               [](InstanceHeader& h) {
                                 h.modality = "PR";
                                 h.sop_class_uid = "1.2.840.10008.5.1.4.1.1.11.1";
                               },
                               "not a radiograph: PR"},
                    Unreadable{"KeyObject",
                               [](InstanceHeader& h) {
                                 h.modality = "KO";
                                 h.sop_class_uid = "1.2.840.10008.5.1.4.1.1.88.59";
                               },
                               "not a radiograph: KO"},
                    Unreadable{"Pdf",
                               [](InstanceHeader& h) {
                                 h.modality = "DOC";
                                 h.sop_class_uid = "1.2.840.10008.5.1.4.1.1.104.1";
                               },
                               "not a radiograph: DOC"},
                    Unreadable{"Ct",
                               [](InstanceHeader& h) {
                                 h.modality = "CT";
                                 h.sop_class_uid = "1.2.840.10008.5.1.4.1.1.2";
                               },
                               "not a radiograph: CT"},
                    Unreadable{"ReportModalityUnderAnImageClass", [](InstanceHeader& h) { h.modality = "SR"; },
                               "not a radiograph: SR"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(RouterTest, ForProcessingIsSkippedUnlessItsRuleRendersIt) {
  InstanceHeader header = radiograph_of("KNEE");
  header.presentation_intent_type = "FOR PROCESSING";
  EXPECT_EQ(route(header).reason, "FOR PROCESSING");
  EXPECT_EQ(route(header).rule, "knee");
  EXPECT_THAT(route(header).tasks, IsEmpty());
  header.presentation_intent_type = "";
  header.sop_class_uid = "1.2.840.10008.5.1.4.1.1.1.1.1";
  EXPECT_EQ(route(header).reason, "FOR PROCESSING");
  config_.routes[0].for_processing = ForProcessing::kRender;
  EXPECT_THAT(route(header).tasks, ElementsAre("knee-oa", "anomaly"));
}

TEST_F(RouterTest, ASecondaryCaptureNeedsARuleThatNamesItsModality) {
  InstanceHeader header = radiograph_of("KNEE");
  header.sop_class_uid = "1.2.840.10008.5.1.4.1.1.7";
  EXPECT_EQ(route(header).rule, "knee") << "modality DX is named";
  header.modality = "OT";
  EXPECT_EQ(route(header).rule, "");
  config_.routes[0].match.modality = {};
  EXPECT_EQ(route(header).rule, "");
  EXPECT_EQ(router().explain(header, "")[0].why_not, "a Secondary Capture needs a rule that names its modality");
  config_.routes[0].match.modality = {"OT"};
  EXPECT_EQ(route(header).rule, "knee");
}

TEST_F(RouterTest, ColourIsNotTheRoutersMatter) {
  InstanceHeader header = radiograph_of("KNEE");
  header.photometric_interpretation = "RGB";
  EXPECT_EQ(route(header).rule, "knee");
}

TEST_F(RouterTest, ATaskOutOfItsScopeIsLeftOutAndSaid) {
  config_.scopes["knee-oa"] = {{"AP", "PA"}, {}, {}};
  InstanceHeader header = radiograph_of("KNEE");
  header.view_position = "LL";
  EXPECT_THAT(route(header).tasks, ElementsAre("anomaly"));
  EXPECT_EQ(route(header).reason, "out of scope: knee-oa: view is LL, not AP or PA");
  header.view_position = "PA";
  EXPECT_THAT(route(header).tasks, ElementsAre("knee-oa", "anomaly"));
  EXPECT_EQ(route(header).reason, "");
}

TEST_F(RouterTest, AnUnknownAgeIsOutsideAnyLimit) {
  config_.scopes["knee-oa"] = config_.scopes["anomaly"] = {{}, {}, 18};
  InstanceHeader header = radiograph_of("KNEE");
  EXPECT_THAT(route(header).tasks, IsEmpty());
  EXPECT_EQ(route(header).reason, "out of scope: knee-oa: age is unknown; anomaly: age is unknown");
  header.age_years = 18;
  EXPECT_THAT(route(header).tasks, ElementsAre("knee-oa", "anomaly"));
  header.age_years = 19;
  EXPECT_THAT(route(header).tasks, IsEmpty());
}

// --- Forwarding ------------------------------------------------------------------------------------------------------

TEST_F(RouterTest, EveryForwardRuleThatMatchesCountsButNothingGoesBack) {
  ForwardRule from_xray{{}, {"pacs", "archive"}}, knees{{}, {"pacs", "knees"}};
  from_xray.match.from = {"xray1", "archive"};
  knees.match.body_part = {"KNEE"};
  config_.forward = {from_xray, knees};
  EXPECT_THAT(route(radiograph_of("KNEE"), "xray1").forward_to, ElementsAre("pacs", "archive", "knees"));
  EXPECT_THAT(route(radiograph_of("CHEST"), "xray1").forward_to, ElementsAre("pacs", "archive"));
  EXPECT_THAT(route(radiograph_of("KNEE"), "archive").forward_to, ElementsAre("pacs", "knees"));
  EXPECT_THAT(route(radiograph_of("CHEST"), "").forward_to, IsEmpty());
}

// --- Explaining ------------------------------------------------------------------------------------------------------

TEST_F(RouterTest, ExplainsEachRuleUpToTheOneThatMatched) {
  const auto outcomes = router().explain(radiograph_of("HAND"), "");
  ASSERT_EQ(outcomes.size(), 2u);
  EXPECT_EQ(outcomes[0].rule, "knee");
  EXPECT_FALSE(outcomes[0].matched);
  EXPECT_EQ(outcomes[0].why_not, "body part is HAND, not KNEE");
  EXPECT_EQ(outcomes[1].rule, "hand");
  EXPECT_TRUE(outcomes[1].matched);
  EXPECT_EQ(outcomes[1].why_not, "");
}

TEST_F(RouterTest, ExplainsWhatIsMissing) {
  config_.routes[0].match.laterality = {"L", "R"};
  config_.routes[1].match.from = {"xray1"};
  EXPECT_EQ(router().explain(radiograph(), "")[0].why_not, "body part is unknown, not KNEE");
  EXPECT_EQ(router().explain(radiograph_of("KNEE"), "")[0].why_not, "laterality is unknown, not L or R");
  EXPECT_EQ(router().explain(radiograph_of("HAND"), "")[1].why_not, "sent by nobody (a file), not xray1");
  InstanceHeader report = radiograph_of("KNEE");
  report.modality = "SR";
  EXPECT_EQ(router().explain(report, "").size(), 3u);
}

// --- The demo's own rules --------------------------------------------------------------------------------------------

TEST_F(RouterTest, TheDemoRoutesEveryMusculoskeletalTermAndNoOther) {
  config_ = *shipped_;
  auto demo = Router::create(config_, {"anomaly", "fracture", "implant", "region"});
  ASSERT_TRUE(demo.ok()) << demo.status().message();
  const std::set<std::string> kLimbs = {"hand", "forearm", "upper arm", "shoulder", "pelvis",
                                        "hip",  "thigh",   "knee",      "leg",      "foot"};
  const std::set<std::string> kElsewhere = {"chest", "abdomen", "head", "spine", "phantom"};
  for (const auto& [term, groups] : config_.body_parts.groups) {
    const bool elsewhere =
        std::any_of(groups.begin(), groups.end(), [&](const auto& g) { return kElsewhere.contains(g); });
    const bool expected = !elsewhere || term == "SCJOINT" || term == "JOINT";
    EXPECT_EQ(!demo->route(radiograph_of(term), "").tasks.empty(), expected) << term;
    for (const std::string& group : groups) EXPECT_TRUE(kLimbs.contains(group) || kElsewhere.contains(group)) << group;
  }
}

}  // namespace
}  // namespace node::route
