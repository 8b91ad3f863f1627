#include "dicom_node/analyze/urgency.h"

#include <gtest/gtest.h>

namespace node::analyze {
namespace {

object::FindingRecord finding(const std::string& task, std::vector<inference::Score> scores) {
  object::FindingRecord record;
  record.prediction.task = task;
  record.prediction.scores = std::move(scores);
  return record;
}

const UrgentWhen kRules = {{"limbs", {{"fracture", "", 0.7}, {"knee-oa", "KL 4", 0.5}}}};

TEST(Urgency, AScoreAtTheThresholdIsUrgentAndSaysWhy) {
  EXPECT_EQ(why_urgent(kRules, "limbs", {finding("fracture", {{"Fracture", 0.7}})}),
            "fracture 0.70, urgent from 0.7 (route limbs)");
  EXPECT_EQ(why_urgent(kRules, "limbs", {finding("fracture", {{"Fracture", 0.69}})}), "");
  EXPECT_EQ(why_urgent({{"limbs", {{"fracture", "", 0.703}}}}, "limbs", {finding("fracture", {{"Fracture", 0.7034}})}),
            "fracture 0.703, urgent from 0.703 (route limbs)");
}

TEST(Urgency, OfSeveralLabelsTheNamedOneDecides) {
  EXPECT_EQ(why_urgent(kRules, "limbs", {finding("knee-oa", {{"KL 3", 0.9}, {"KL 4", 0.1}})}), "");
  EXPECT_EQ(why_urgent(kRules, "limbs", {finding("knee-oa", {{"KL 3", 0.4}, {"KL 4", 0.6}})}),
            "knee-oa KL 4 0.60, urgent from 0.5 (route limbs)");
}

TEST(Urgency, AnotherRouteAndATaskThatWasNotAskedAreNoReason) {
  EXPECT_EQ(why_urgent(kRules, "trial", {finding("fracture", {{"Fracture", 1}})}), "");
  object::FindingRecord not_asked = finding("fracture", {{"Fracture", 1}});
  not_asked.prediction.not_asked = "tumour 0.1 below 0.5";
  EXPECT_EQ(why_urgent(kRules, "limbs", {not_asked}), "");
}

}  // namespace
}  // namespace node::analyze
