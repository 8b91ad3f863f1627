#include "dicom_node/route/router.h"

#include <algorithm>
#include <set>

#include "tests/dicom_node/route/router_fixture.h"

namespace node::route {
namespace {

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

// Each criterion alone: an image that meets it, one that does not, one that does not say.
struct CriterionCase {
  const char* name;
  void (*want)(config::RouteMatch&);
  void (*meet)(InstanceHeader&);
  void (*miss)(InstanceHeader&);
  const char* why_missed;
  const char* why_unknown;
};

class RouterCriterion : public RouterTest, public testing::WithParamInterface<CriterionCase> {};

TEST_P(RouterCriterion, DecidesAlone) {
  config_.routes = {rule("only", {})};
  GetParam().want(config_.routes[0].match);
  InstanceHeader meets = radiograph(), misses = radiograph(), unknown = radiograph();
  GetParam().meet(meets);
  GetParam().miss(misses);
  EXPECT_EQ(route(meets).rule, "only") << router().explain(meets, "").rules[0].why_not;
  EXPECT_EQ(router().explain(misses, "").rules[0].why_not, GetParam().why_missed);
  EXPECT_EQ(route(misses).rule, "");
  EXPECT_EQ(router().explain(unknown, "").rules[0].why_not, GetParam().why_unknown);
}

using Match = config::RouteMatch;
using Header = InstanceHeader;
INSTANTIATE_TEST_SUITE_P(
    Each, RouterCriterion,
    testing::Values(
        CriterionCase{"SopClass", [](Match& m) { m.sop_class = {"1.2.840.10008.5.1.4.1.1.1"}; },
                      [](Header& h) { h.sop_class_uid = "1.2.840.10008.5.1.4.1.1.1"; },
                      [](Header& h) { h.sop_class_uid = "1.2.840.10008.5.1.4.1.1.1.1"; },
                      "SOP class is 1.2.840.10008.5.1.4.1.1.1.1, not 1.2.840.10008.5.1.4.1.1.1",
                      "SOP class is 1.2.840.10008.5.1.4.1.1.1.1, not 1.2.840.10008.5.1.4.1.1.1"},
        CriterionCase{"Sex", [](Match& m) { m.sex = {"f"}; }, [](Header& h) { h.patient_sex = "F"; },
                      [](Header& h) { h.patient_sex = "M"; }, "sex is M, not F", "sex is unknown, not F"},
        CriterionCase{"Age",
                      [](Match& m) {
                        m.age_years_min = 5;
                        m.age_years_max = 18;
                      },
                      [](Header& h) { h.age_years = 18; }, [](Header& h) { h.age_years = 4; }, "age is 4, not 5 to 18",
                      "age is unknown, not 5 to 18"},
        CriterionCase{"AgeAtLeast", [](Match& m) { m.age_years_min = 19; }, [](Header& h) { h.age_years = 19; },
                      [](Header& h) { h.age_years = 18; }, "age is 18, not at least 19",
                      "age is unknown, not at least 19"},
        CriterionCase{"Station", [](Match& m) { m.station = {"Röntgen 2"}; },
                      [](Header& h) { h.station_name = "R\xD6NTGEN-2"; },
                      [](Header& h) { h.station_name = "ROENTGEN3"; }, "station is ROENTGEN3, not RONTGEN 2",
                      "station is unknown, not RONTGEN 2"},
        CriterionCase{"Institution", [](Match& m) { m.institution = {"St. Elsewhere"}; },
                      [](Header& h) { h.institution_name = "ST ELSEWHERE"; },
                      [](Header& h) { h.institution_name = "Elsewhere"; }, "institution is ELSEWHERE, not ST ELSEWHERE",
                      "institution is unknown, not ST ELSEWHERE"},
        CriterionCase{"ProcedureCode",
                      [](Match& m) {
                        m.procedure_code = {"99SITE|RX1", "LN|24721-3"};
                      },
                      [](Header& h) {
                        h.procedure_codes = {{"9", "99SITE", ""}};
                        h.performed_codes = {{"rx1", "99Site", ""}};
                      },
                      [](Header& h) {
                        h.procedure_codes = {{"RX1", "99OTHER", ""}};
                      },
                      "no procedure code is 99SITE|RX1 or LN|24721-3", "no procedure code is 99SITE|RX1 or LN|24721-3"},
        CriterionCase{"Description",
                      [](Match& m) {
                        m.description = {"\\bVERLAUF", "\\bpostop\\b"};
                      },
                      [](Header& h) { h.study_description = "Knie, post-op / Postop."; },
                      [](Header& h) { h.study_description = "Postoperativ"; },
                      "no description fits \\bVERLAUF or \\bpostop\\b",
                      "no description fits \\bVERLAUF or \\bpostop\\b"},
        CriterionCase{"AeTitle", [](Match& m) { m.ae_title = {"XRAY9"}; },
                      [](Header& h) { h.source_ae_title = "XRAY9"; }, [](Header& h) { h.source_ae_title = "XRAY1"; },
                      "AE title is XRAY1, not XRAY9", "AE title is unknown, not XRAY9"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(RouterTest, TheAeTitleIsThatOfThePeerOrOfWhoeverCalls) {
  config_.ae_titles = {{"xray1", "ROOM1"}};
  config_.routes = {rule("room1", {}), rule("stranger", {})};
  config_.routes[0].match.ae_title = {"ROOM1"};
  config_.routes[1].match.ae_title = {"ROOM2"};
  EXPECT_EQ(route(radiograph(), "xray1").rule, "room1");
  EXPECT_EQ(route(radiograph(), "ROOM2").rule, "stranger") << "a sender that is no peer goes by its AE title";
  EXPECT_EQ(route(radiograph(), "ROOM3").rule, "");
  InstanceHeader header = radiograph();
  header.source_ae_title = "ROOM1";
  EXPECT_EQ(route(header, "ROOM2").rule, "stranger") << "who sends counts, not what a file says";
}

TEST_F(RouterTest, EveryCriterionThatFailsIsNamed) {
  config_.routes[0].match.view = {"AP"};
  config_.routes[0].match.sex = {"F"};
  InstanceHeader header = radiograph_of("HAND");
  header.view_position = "LL";
  EXPECT_EQ(router().explain(header, "").rules[0].why_not,
            "body part is HAND, not KNEE; view is LL, not AP; sex is unknown, not F");
}

TEST_F(RouterTest, PatternsAndDescriptionsInAnyAlphabet) {
  config_.body_parts.description_patterns = {
      {"Łokie[ćc]", "ELBOW"}, {"(^| )КОЛЕН", "KNEE"}, {"ΓΌΝΑΤΟ|ΓΟΝΑΤ", "KNEE"}, {"füße", "FOOT"}};
  const std::pair<const char*, const char*> kDescriptions[] = {{"RTG łokieć lewy", "ELBOW"},
                                                               {"Рентген коленного сустава", "KNEE"},
                                                               {"γονατο", "KNEE"},
                                                               {"Füße bds.", "FOOT"},
                                                               {"F\xFC\xDF"
                                                                "e bds.",
                                                                "FOOT"},
                                                               {"околен", ""}};
  for (const auto& [text, term] : kDescriptions) {
    InstanceHeader header = radiograph();
    header.study_description = text;
    EXPECT_EQ(route(header).body_part, term) << text;
  }
}

TEST_F(RouterTest, FluoroscopyAngiographyAndMammographyNeedARuleThatNamesTheirModality) {
  InstanceHeader header = radiograph_of("KNEE");
  header.modality = "RF";
  header.sop_class_uid = "1.2.840.10008.5.1.4.1.1.12.2";
  EXPECT_EQ(route(header).reason, "no rule for RF, KNEE");
  config_.routes[0].match.modality = {};
  EXPECT_EQ(route(header).rule, "");
  config_.routes[0].match.modality = {"RF"};
  EXPECT_EQ(route(header).rule, "knee");
  header.modality = "XA";
  header.sop_class_uid = "1.2.840.10008.5.1.4.1.1.12.1";
  EXPECT_EQ(route(header).rule, "");
  header.modality = "RF";
  header.number_of_frames = 12;
  header.pixel_data_bytes *= 12;
  EXPECT_EQ(route(header).reason, "several frames: 12");
}

TEST_F(RouterTest, APatternWithPunctuationFitsWhatIsWrittenSo) {
  const auto fits = [this](const std::string& pattern, const std::string& text) {
    config_.routes = {rule("one", {})};
    config_.routes[0].match.description = {pattern};
    InstanceHeader header = radiograph();
    header.series_description = text;
    return route(header).rule == "one";
  };
  EXPECT_TRUE(fits("knie/re", "KNIE/RE ap"));
  EXPECT_TRUE(fits("Fuß_li", "fuss_li"));
  EXPECT_TRUE(fits("^l-wirbel", "L-Wirbelsäule"));
  EXPECT_TRUE(fits("knie\\.re", "Knie.re"));
  EXPECT_TRUE(fits("knie (-|_) re", "Knie - re"));
  EXPECT_TRUE(fits("knie–re", "Knie–re"));
  EXPECT_TRUE(fits("knie[-_ ]re", "Knie_re"));
  EXPECT_TRUE(fits("knie re", "Knie_re")) << "in folded text, as ever";
  EXPECT_FALSE(fits("knie/re", "Knie_re"));
  EXPECT_FALSE(fits("knie(?! re)", "Knie_re")) << "a pattern without punctuation sees none";
  EXPECT_FALSE(fits("knie.{2,3}re", "Knie_re"));
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
  EXPECT_EQ(route(radiograph_of("annoon")).reason, "no rule for DX, body part unknown: 'ANNOON'");
  InstanceHeader header = radiograph_of("KNEE");
  header.modality = "";
  EXPECT_EQ(route(header).reason, "no rule for no modality, KNEE");
  EXPECT_THAT(route(radiograph_of("ABDOMEN")).tasks, IsEmpty());
  EXPECT_EQ(route(radiograph_of("ABDOMEN")).rule, "");
}

TEST_F(RouterTest, AReasonRepeatsNoModalityThatIsNone) {
  InstanceHeader header = radiograph_of("CHEST");
  for (const char* modality : {"DX\nevent=x", "SECRET^BERTA", "DXDXDXDXDXDXDXDXDX"}) {
    header.modality = modality;
    EXPECT_EQ(route(header).reason.substr(0, 34), "no rule for a modality that is non") << modality;
  }
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
    testing::Values(Unreadable{"NoPixelData",
                               [](InstanceHeader& h) {
                                 h.has_pixel_data = false;
                                 h.pixel_data_bytes = 0;
                               },
                               "no pixel data"},
                    Unreadable{"OneLine", [](InstanceHeader& h) { h.rows = 15; },
                               "too small to be analysed: 40 x 15 pixels, fewer than 16 on a side"},
                    Unreadable{"ShortPixelData", [](InstanceHeader& h) { h.pixel_data_bytes = 3199; },
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

TEST_F(RouterTest, SeveralFramesAreSkippedUnlessTheirRuleTakesEach) {
  InstanceHeader header = radiograph_of("KNEE");
  header.number_of_frames = 3;
  header.pixel_data_bytes *= 3;
  EXPECT_EQ(route(header).reason, "several frames: 3");
  EXPECT_EQ(route(header).rule, "knee");
  EXPECT_THAT(route(header).tasks, IsEmpty());
  config_.routes[0].frames = config::Frames::kEach;
  EXPECT_THAT(route(header).tasks, ElementsAre("knee-oa", "anomaly"));
  header.pixel_data_bytes -= 1;
  EXPECT_THAT(route(header).reason, testing::StartsWith("pixel data shorter than"));
}

TEST_F(RouterTest, ASecondaryCaptureNeedsARuleThatNamesItsModality) {
  InstanceHeader header = radiograph_of("KNEE");
  header.sop_class_uid = "1.2.840.10008.5.1.4.1.1.7";
  EXPECT_EQ(route(header).rule, "knee") << "modality DX is named";
  header.modality = "OT";
  EXPECT_EQ(route(header).rule, "");
  config_.routes[0].match.modality = {};
  EXPECT_EQ(route(header).rule, "");
  EXPECT_EQ(router().explain(header, "").rules[0].why_not,
            "an image of its SOP class needs a rule that names its modality");
  config_.routes[0].match.modality = {"OT"};
  EXPECT_EQ(route(header).rule, "knee");
}

// The recipe of README.md: what a vendor captures from its screen under Modality DX is no radiograph.
TEST_F(RouterTest, ARouteByItsSopClassKeepsSecondaryCapturesFromTheModels) {
  InstanceHeader capture = radiograph_of("KNEE");
  capture.sop_class_uid = "1.2.840.10008.5.1.4.1.1.7";
  RouteRule captures = rule("captures", {}, {});
  captures.match.sop_class = {capture.sop_class_uid, "1.2.840.10008.5.1.4.1.1.7.2"};
  config_.routes.insert(config_.routes.begin(), captures);
  EXPECT_EQ(route(capture).rule, "captures");
  EXPECT_EQ(route(capture).reason, "rule captures has no tasks");
  EXPECT_THAT(route(capture).tasks, IsEmpty());
  EXPECT_EQ(route(radiograph_of("KNEE")).rule, "knee");
  EXPECT_THAT(router().unreachable(), IsEmpty());
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

TEST_F(RouterTest, ATaskOfOneSideOrOfSomeBodyPartsIsNotAskedOfOthers) {
  config_.scopes["knee-oa"].laterality = {"R", "L"};
  config_.scopes["anomaly"].body_parts = {"WRIST", "HAND"};
  InstanceHeader header = radiograph_of("KNEE");
  header.laterality = "B";
  EXPECT_THAT(route(header).tasks, IsEmpty());
  EXPECT_EQ(route(header).reason,
            "out of scope: knee-oa: laterality is B, not R or L; anomaly: body part is KNEE, not WRIST or HAND");
  config_.scopes["anomaly"].body_parts = {"WRIST", "HAND", "ELBOW", "FOOT", "ANKLE", "HIP", "TOE"};  // No sentence.
  EXPECT_THAT(route(header).reason, testing::EndsWith("; anomaly: body part is KNEE, none of the 7 that it is for"));
  header.laterality = "l";
  EXPECT_THAT(route(header).tasks, ElementsAre("knee-oa"));
  header.laterality = "";
  EXPECT_THAT(route(header).reason, testing::HasSubstr("laterality is unknown, not R or L"));
  config_.scopes["knee-oa"].laterality = {"R", "L", "U"};
  EXPECT_THAT(route(header).tasks, ElementsAre("knee-oa")) << "of both sides alone it is not";
  header.laterality = "B";
  EXPECT_THAT(route(header).tasks, IsEmpty());
}

TEST_F(RouterTest, AFilmOfBothSidesIsSplitWhereTheHeaderAllowsIt) {
  config_.scopes["knee-oa"].laterality = {"R", "L"};
  config_.scopes["knee-oa"].age_years_min = 19;
  config_.scopes["knee-oa"].split = true;
  InstanceHeader header = radiograph_of("KNEE");
  header.laterality = "b";
  header.view_position = "AP";
  header.orientation = "L\\F";
  header.columns = 60;
  header.rows = 50;
  header.age_years = 60;
  header.bits_allocated = header.bits_stored = 8;
  EXPECT_THAT(route(header).tasks, ElementsAre("knee-oa right half", "knee-oa left half", "anomaly"));
  EXPECT_EQ(route(header).reason,
            "split: knee-oa read each half of the film by itself, the patient's right at the left of the image");

  const auto whole = [&](auto change) {
    InstanceHeader other = header;
    change(other);
    const RouteDecision decision = route(other);
    EXPECT_THAT(decision.tasks, ElementsAre("anomaly"));
    return decision.reason;
  };
  const std::string outside = "out of scope: knee-oa: laterality is B, not R or L, and not split: ";
  EXPECT_EQ(whole([](auto& h) { h.view_position = "LL"; }), outside + "view is LL, not AP or PA");
  EXPECT_EQ(whole([](auto& h) { h.view_position = ""; }), outside + "view is unknown, not AP or PA");
  EXPECT_EQ(whole([](auto& h) { h.rows = h.columns = 40; }), outside + "the film is not wider than high by a fifth");
  EXPECT_EQ(whole([](auto& h) { h.orientation = ""; }), outside + "Patient Orientation is unknown, not L\\F");
  // Mirrored, upside down, both, and oblique in either direction.
  for (const char* orientation : {"R\\F", "L\\H", "R\\H", "LP\\F", "L\\FP"}) {
    EXPECT_EQ(whole([&](auto& h) { h.orientation = orientation; }),
              outside + "Patient Orientation is " + orientation + ", not L\\F");
  }
  // What would be out of scope as a film of one side is so as two halves.
  EXPECT_EQ(whole([](auto& h) { h.age_years = 9; }), "out of scope: knee-oa: age is outside its limits");
  header.laterality = "R";
  EXPECT_THAT(route(header).tasks, ElementsAre("knee-oa", "anomaly"));
  header.laterality = "";
  EXPECT_EQ(route(header).reason, "out of scope: knee-oa: laterality is unknown, not R or L");
  header.laterality = "B";
  config_.scopes["knee-oa"].laterality = {"L"};
  EXPECT_THAT(route(header).tasks, ElementsAre("knee-oa left half", "anomaly"));
  config_.scopes["knee-oa"].split = false;
  EXPECT_EQ(route(header).reason, "out of scope: knee-oa: laterality is B, not L");
}

TEST_F(RouterTest, WhatWaitsForATaskOutOfScopeIsOutOfScopeToo) {
  config_.scopes["knee-oa"] = {{"AP", "PA"}, {}, {}};
  config_.scopes["anomaly"] = {{}, {}, {}, "knee-oa"};
  InstanceHeader header = radiograph_of("KNEE");
  header.view_position = "LL";
  EXPECT_THAT(route(header).tasks, IsEmpty());
  EXPECT_EQ(route(header).reason, "out of scope: knee-oa: view is LL, not AP or PA; anomaly: knee-oa is out of scope");
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
  const auto outcomes = router().explain(radiograph_of("HAND"), "").rules;
  ASSERT_EQ(outcomes.size(), 3u);
  EXPECT_EQ(outcomes[0].rule, "knee");
  EXPECT_FALSE(outcomes[0].matched);
  EXPECT_EQ(outcomes[0].why_not, "body part is HAND, not KNEE");
  EXPECT_EQ(outcomes[1].rule, "hand");
  EXPECT_TRUE(outcomes[1].matched);
  EXPECT_EQ(outcomes[1].why_not, "");
  EXPECT_FALSE(outcomes[2].matched);
  EXPECT_EQ(outcomes[2].why_not, "not asked, since hand matches");
}

TEST_F(RouterTest, ExplainsWhatIsMissing) {
  config_.routes[0].match.laterality = {"L", "R"};
  config_.routes[1].match.from = {"xray1"};
  const auto why_not = [this](const std::string& body_part, std::size_t rule) {
    return router().explain(radiograph_of(body_part), "").rules[rule].why_not;
  };
  EXPECT_EQ(why_not("", 0), "body part is unknown, not KNEE; laterality is unknown, not L or R");
  EXPECT_EQ(why_not("KNEE", 0), "laterality is unknown, not L or R");
  EXPECT_EQ(why_not("HAND", 1), "sender is nobody (a file), not xray1");
  InstanceHeader report = radiograph_of("KNEE");
  report.modality = "SR";
  EXPECT_EQ(router().explain(report, "").rules.size(), 3u);
}

TEST_F(RouterTest, ExplainsWhatEachSourceSaysOfTheBodyPart) {
  InstanceHeader header = radiograph_of("Knie re.");
  header.anatomic_region = {{"999", "SCT", "Hand"}};
  header.procedure_codes = {{"24541-5", "LN", "XR Ankle Views"}};
  header.series_description = "Kniegelenk ap";
  const auto sources = router().explain(header, "").sources;
  std::vector<std::string> said;
  for (const auto& source : sources) said.push_back(source.attribute + ": " + source.says);
  EXPECT_THAT(said, ElementsAre("Anatomic Region Sequence: names no body part known here",
                                "Body Part Examined: KNIE RE, which is KNEE", "performed protocol code: absent",
                                "procedure code: 24541-5 (LN), which is ANKLE", "Protocol Name: absent",
                                "Series Description: KNEE", "Study Description: absent",
                                "Requested Procedure Description: absent"));
}

// --- The rules of the example and of the demo ----------------------------------------------------------------------

TEST_F(RouterTest, TheExampleGivesLimbsThatNobodyNamesTheTasksOfEveryLimb) {
  auto example = config::read_node_config(NODE_SOURCE_DIR "/config/node.example.yaml", {}, {});
  ASSERT_TRUE(example.ok()) << example.status().message();
  std::vector<std::string> tasks;
  for (const config::TaskConfig& task : example->inference.tasks) tasks.push_back(task.name);
  auto router = Router::create(example->router, tasks);
  ASSERT_TRUE(router.ok()) << router.status().message();
  EXPECT_THAT(router->unreachable(), IsEmpty());
  const auto tasks_of = [&](const char* body_part) { return router->route(radiograph_of(body_part), "").tasks; };
  for (const char* limb : {"HAND", "FOREARM", "SHOULDER", "HIP", "KNEE", "ANKLE", "FOOT"}) {
    const auto of_limb = tasks_of(limb);
    for (const char* general : {"EXTREMITY", "JOINT", "UP_EXM", "LOWER EXTREMITY"}) {
      EXPECT_THAT(tasks_of(general), testing::SizeIs(10)) << general;
      EXPECT_THAT(of_limb, testing::IsSupersetOf(tasks_of(general))) << general << " and " << limb;
    }
  }
  for (const auto& [label, term] : example->router.region_head.terms) {
    EXPECT_FALSE(tasks_of(term.c_str()).empty()) << label << " is " << term;
  }
}

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
