#include "dicom_node/report/finding_summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dicom_node/report/codes.h"
#include "tests/dicom_node/report/made_study.h"

namespace node::report {
namespace {

using testing::ElementsAre;

std::vector<std::string> words(const std::vector<FindingLine>& lines) {
  std::vector<std::string> words;
  for (const FindingLine& line : lines) words.push_back(line.text);
  return words;
}

std::vector<std::string> lines(const config::TaskConfig& task, std::vector<double> values) {
  return words(finding_lines(task, made::finding(task, std::move(values)).prediction));
}

TEST(FindingSummary, ThresholdsDecideTheLevel) {
  const config::TaskConfig task = made::fracture_task();  // 0.3 and 0.7
  EXPECT_EQ(level_of(task, 0.29), Level::kNegative);
  EXPECT_EQ(level_of(task, 0.3), Level::kDoubtful);
  EXPECT_EQ(level_of(task, 0.69), Level::kDoubtful);
  EXPECT_EQ(level_of(task, 0.7), Level::kCertain);
}

TEST(FindingSummary, OutcomeIsWhetherSomethingWasFoundByATaskThatLooked) {
  const auto outcome = [](const config::TaskConfig& task, std::vector<double> values) {
    return outcome_of(task, made::finding(task, std::move(values)).prediction);
  };
  EXPECT_EQ(outcome(made::fracture_task(), {0.31}), Outcome::kFound);  // Doubtful is found.
  EXPECT_EQ(outcome(made::fracture_task(), {0.29}), Outcome::kNothingFound);
  EXPECT_EQ(outcome(made::finds_task(), {0.1, 0.9}), Outcome::kFound);
  config::TaskConfig knee = made::knee_task();
  EXPECT_EQ(outcome(knee, {0.1, 0.1, 0.6, 0.1, 0.1}), Outcome::kNeither);  // It only classifies.
  knee.negative_labels = {"KL 0", "KL 1"};
  EXPECT_EQ(outcome(knee, {0.1, 0.1, 0.6, 0.1, 0.1}), Outcome::kFound);
  EXPECT_EQ(outcome(knee, {0.1, 0.6, 0.1, 0.1, 0.1}), Outcome::kNothingFound);
  EXPECT_EQ(outcome(made::age_task(), {132}), Outcome::kNeither);
  EXPECT_EQ(outcome_of(made::anomaly_task(), made::anomaly().prediction), Outcome::kNeither);
  object::FindingRecord not_asked = made::finding(made::fracture_task(), {});
  not_asked.prediction.not_asked = "tumour 0.1 below 0.5";
  EXPECT_EQ(outcome_of(made::fracture_task(), not_asked.prediction), Outcome::kNeither);
  const std::vector<config::TaskConfig> tasks{made::fracture_task(), made::age_task()};
  EXPECT_EQ(outcome_of(tasks, {made::finding(made::fracture_task(), {0.1}), made::finding(made::age_task(), {9})}),
            Outcome::kNothingFound);
  EXPECT_EQ(outcome_of(tasks, {}), Outcome::kNeither);
}

TEST(FindingSummary, WhatOnlyClassifiesIsNoFindingHoweverSure) {
  inference::Prediction prediction;
  prediction.task = "knee-oa";
  prediction.scores = {{"KL 0", 0.1}, {"KL 3", 0.9}};
  config::TaskConfig task = made::knee_task();
  EXPECT_EQ(finding_lines(task, prediction).at(0).level, std::nullopt);
  task.negative_labels = {"KL 0"};
  EXPECT_EQ(finding_lines(task, prediction).at(0).level, Level::kCertain);
}

TEST(FindingSummary, WordsForAPerson) {
  EXPECT_THAT(lines(made::fracture_task(), {0.83f}), ElementsAre("Fracture 0.83 certain"));
  EXPECT_THAT(lines(made::finds_task(), {0.2, 0.6}), ElementsAre("Implant 0.20 negative", "Tumour 0.60 certain"));
  EXPECT_THAT(lines(made::knee_task(), {0.1, 0.1, 0.6, 0.1, 0.1}), ElementsAre("KL 2 0.60 certain"));
  EXPECT_THAT(lines(made::age_task(), {132.04}), ElementsAre("Bone age 132 mo"));
  EXPECT_THAT(words(finding_lines(made::anomaly_task(), made::anomaly().prediction)),
              ElementsAre("Anomaly score 0.0005 (uncalibrated)"));
}

TEST(FindingSummary, ATaskThatWasNotAskedSaysWhy) {
  inference::Prediction prediction = made::finding(made::fracture_task(), {0.83f}).prediction;
  prediction.scores.clear();
  prediction.not_asked = "tumour 0.12 below 0.5";
  EXPECT_THAT(words(finding_lines(made::fracture_task(), prediction)),
              ElementsAre("fracture not asked: tumour 0.12 below 0.5"));
}

TEST(FindingSummary, LinesOfTwoTasksWithOneLabelSayWhoseTheyAre) {
  config::TaskConfig other = made::finds_task();
  other.name = "other";
  const std::vector<config::TaskConfig> tasks{made::finds_task(), other, made::fracture_task()};
  std::vector<object::FindingRecord> findings{made::finding(made::finds_task(), {0.2, 0.6}),
                                              made::finding(other, {0.9, 0.1}),
                                              made::finding(made::fracture_task(), {0.83})};
  findings[1].prediction.scores.pop_back();
  const auto lines_of = [&](std::size_t i) { return words(finding_lines(tasks, findings[i], findings)); };
  EXPECT_THAT(lines_of(0), ElementsAre("Implant 0.20 negative (finds)", "Tumour 0.60 certain"));
  EXPECT_THAT(lines_of(1), ElementsAre("Implant 0.90 certain (other)"));
  EXPECT_THAT(lines_of(2), ElementsAre("Fracture 0.83 certain"));
  findings.push_back(findings[0]);  // Another frame of the same task is no other task.
  findings.back().frame = 2;
  EXPECT_THAT(lines_of(0), ElementsAre("Implant 0.20 negative (finds)", "Tumour 0.60 certain"));
}

TEST(FindingSummary, TheClassOfASoftmaxNamesItsQuestion) {
  config::TaskConfig right = made::knee_task();
  right.half = config::Half::kRight;
  right.name = config::half_name(right.name, right.half);
  const std::vector<config::TaskConfig> tasks{made::knee_task(), right};
  object::FindingRecord finding = made::finding(made::knee_task(), {0.1, 0.1, 0.6, 0.1, 0.1});
  EXPECT_THAT(words(finding_lines(tasks, finding, {finding})), ElementsAre("KL 2 0.60 certain (knee-oa)"));
  finding.prediction.part = {"R", {0, 0, 9, 9}};
  finding.prediction.task = right.name;
  EXPECT_THAT(words(finding_lines(tasks, finding, {finding})), ElementsAre("Right half: KL 2 0.60 certain (knee-oa)"));
}

TEST(FindingSummary, APrivateMeaningEndsBetweenCharacters) {
  std::string label;
  for (int i = 0; i < 40; ++i) label += "\u043a";  // Two bytes each.
  EXPECT_EQ(label_code(made::age_task(), 0, label).meaning, label);
  EXPECT_EQ(label_code(made::age_task(), 0, label + label).meaning.size(), 128U);
}

TEST(FindingSummary, HowSureOneIsOfABoneIsNotRoundedAcrossItsLimit) {
  EXPECT_EQ(share_text(0.498), "0.498");
  EXPECT_EQ(share_text(0.5), "0.50");
  EXPECT_EQ(share_text(0.875), "0.88");
  EXPECT_EQ(share_text(0.9999), ">0.99");
  config::RegionHead head{"", 0.799, {}, {{"HAND", {"hand"}}, {"FOOT", {"foot"}}}, {{"TOE PHALANGES", "FOOT"}}};
  storage::RouteDecision route;
  route.body_part = "HAND";
  object::FindingRecord finding = made::finding(made::knee_task(), {0.8041});
  finding.prediction.regions.resize(1);
  inference::Region& region = finding.prediction.regions[0];
  region.source = inference::RegionSource::kDetector;
  region.label = "toe phalanges";
  const auto said = [&](double score) {
    region.detector_score = score;
    return body_part_disagreement(head, route, {finding});
  };
  EXPECT_EQ(said(0.4999), "");
  EXPECT_THAT(said(0.5), testing::EndsWith("toe phalanges 0.50)"));
  head.task = "knee-oa";
  head.terms["KL 0"] = "FOOT";
  head.probability_min = 0.802;
  EXPECT_THAT(said(0.3), testing::EndsWith("(knee-oa: KL 0 0.804)"));
}

TEST(FindingSummary, AFindingOfAHalfSaysOfWhich) {
  inference::Prediction half = made::finding(made::knee_task(), {0.1, 0.1, 0.6, 0.1, 0.1}).prediction;
  half.part = {"R", {0, 0, 9, 9}};
  EXPECT_EQ(finding_lines(made::knee_task(), half).at(0).text, "Right half: KL 2 0.60 certain");
  inference::Prediction age = made::finding(made::age_task(), {132}).prediction;
  age.part = {"L", {9, 0, 18, 9}};
  EXPECT_EQ(finding_lines(made::age_task(), age).at(0).text, "Left half: Bone age 132 mo");
}

TEST(FindingSummary, OnlyWhatAThresholdJudgesHasALevel) {
  const auto found = finding_lines(made::finds_task(), made::finding(made::finds_task(), {0.2, 0.6}).prediction);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].level, Level::kNegative);
  EXPECT_EQ(found[1].level, Level::kCertain);
  EXPECT_EQ(finding_lines(made::age_task(), made::finding(made::age_task(), {132}).prediction).at(0).level,
            std::nullopt);
  EXPECT_EQ(finding_lines(made::anomaly_task(), made::anomaly().prediction).at(0).level, std::nullopt);
}

TEST(FindingSummary, ACalibratedScoreIsSaidWithItsPercentileAndAmongWhat) {
  object::FindingRecord finding = made::anomaly();  // Score 0.00051.
  made::calibrate(finding, "KNEE");
  EXPECT_THAT(words(finding_lines(made::anomaly_task(), finding.prediction)),
              ElementsAre("Anomaly score 0.0005, percentile 45.9 of 214 normal images, KNEE"));
  EXPECT_EQ(model_line(finding.prediction),
            "anomaly: demo-anomaly 0f1e2d3c, partition, 8 passes, seed 185372638192, calibration feedbeef");
}

TEST(FindingSummary, APercentileIsNeverRoundedToNoneOrAll) {
  EXPECT_EQ(percentile_text(0), "<0.1");
  EXPECT_EQ(percentile_text(0.1), "0.1");
  EXPECT_EQ(percentile_text(97.46), "97.5");
  EXPECT_EQ(percentile_text(99.9), "99.9");
  EXPECT_EQ(percentile_text(99.96), ">99.9");
  EXPECT_EQ(percentile_text(100), ">99.9");
}

TEST(FindingSummary, RoundingNeverContradictsTheLevelBesideIt) {
  EXPECT_THAT(lines(made::fracture_task(), {0.698}), ElementsAre("Fracture 0.698 doubtful"));
  EXPECT_THAT(lines(made::fracture_task(), {0.6999999}), ElementsAre("Fracture 0.6999999 doubtful"));
  EXPECT_THAT(lines(made::fracture_task(), {0.7}), ElementsAre("Fracture 0.70 certain"));
  config::TaskConfig odd = made::fracture_task();
  odd.threshold_certain = 0.702;
  EXPECT_THAT(lines(odd, {0.7034}), ElementsAre("Fracture 0.703 certain"));
  EXPECT_THAT(lines(made::fracture_task(), {0.9999}), ElementsAre("Fracture >0.99 certain"));
  EXPECT_THAT(lines(made::fracture_task(), {0.0001}), ElementsAre("Fracture <0.01 negative"));
}

TEST(FindingSummary, ASoftmaxNamesItsLikeliestLabelUnlessToldFromWhereOn) {
  config::TaskConfig task = made::knee_task();
  EXPECT_THAT(lines(task, {0.1, 0.2, 0.3, 0.2, 0.2}), ElementsAre("KL 2 0.30 doubtful"));
  task.threshold_doubtful = 0.4;
  task.threshold_certain = 0.6;
  EXPECT_THAT(lines(task, {0.1, 0.2, 0.3, 0.2, 0.2}), ElementsAre("KL 2 0.30 negative"));
  EXPECT_THAT(lines(task, {0.1, 0.1, 0.4, 0.2, 0.2}), ElementsAre("KL 2 0.40 doubtful"));
  EXPECT_THAT(lines(task, {0.1, 0.1, 0.6, 0.1, 0.1}), ElementsAre("KL 2 0.60 certain"));
}

TEST(FindingSummary, ModelLineHasNameShortDigestAndHowAMapWasMade) {
  EXPECT_EQ(model_line(made::finding(made::fracture_task(), {0.5}).prediction), "fracture: demo-fracture 0f1e2d3c");
  EXPECT_EQ(model_line(made::anomaly().prediction),
            "anomaly: demo-anomaly 0f1e2d3c, partition, 8 passes, seed 185372638192");
}

TEST(Codes, PrivateCodesFitTheirValueRepresentationAndDiffer) {
  config::TaskConfig task = made::fracture_task();
  task.code = {};
  task.name = "knee-oa";
  EXPECT_EQ(task_code(task).value, "SKX-KNEE-OA");
  EXPECT_EQ(task_code(task).scheme, "99SKELEX");
  task.name = "pediatric-fracture-a";
  const Code a = task_code(task);
  task.name = "pediatric-fracture-b";
  const Code b = task_code(task);
  EXPECT_LE(a.value.size(), 16u);
  EXPECT_NE(a.value, b.value);
  EXPECT_EQ(a.value.substr(0, 4), "SKX-");
}

TEST(Codes, LabelsHaveTheirOwnCodes) {
  EXPECT_EQ(label_code(made::finds_task(), 1, "Tumour").value, "126537000");
  EXPECT_EQ(label_code(made::fracture_task(), 0, "Fracture").value, "125605004");
  const Code kl2 = label_code(made::knee_task(), 2, "KL 2"), kl3 = label_code(made::knee_task(), 3, "KL 3");
  EXPECT_EQ(kl2.value, "SKX-KNEE-OA-KL-2");
  EXPECT_NE(kl2.value, kl3.value);
  EXPECT_EQ(kl2.meaning, "KL 2");
}

TEST(Codes, AHalfHasTheCodesOfItsTask) {
  config::TaskConfig whole;
  whole.name = "grade";
  config::TaskConfig half = whole;
  half.name = config::half_name(whole.name, half.half = config::Half::kLeft);
  EXPECT_EQ(task_code(half).value, task_code(whole).value);
  EXPECT_EQ(label_code(half, 0, "two").value, label_code(whole, 0, "two").value);
}

TEST(Codes, LateralityIsSaidOnlyWhereItIsKnown) {
  EXPECT_EQ(laterality_code("L")->value, "7771000");
  EXPECT_EQ(laterality_code("R")->value, "24028007");
  EXPECT_EQ(laterality_code("B")->value, "51440002");
  EXPECT_FALSE(laterality_code("U"));
  EXPECT_FALSE(laterality_code(""));
  EXPECT_EQ(region_code("KNEE")->value, "72696002");
  EXPECT_FALSE(region_code("CHEST"));
}

}  // namespace
}  // namespace node::report
