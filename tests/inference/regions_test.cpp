#include "inference/regions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <utility>

#include "inference/readable.h"
#include "inference/region_head.h"

namespace node::inference {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const std::vector<std::string> kLabels{"patella", "distal femur", "left", "abnormal bone lesion"};

ChosenRegions choose(std::vector<DetectedBox> boxes, config::RegionSelection selection = {}) {
  return choose_regions(std::move(boxes), kLabels, selection, 100, 200);
}

TEST(Regions, CornersAreTruncatedAndClampedAndTheSurestComesFirst) {
  const ChosenRegions chosen = choose({{10.9F, 20.9F, 30.9F, 40.9F, 0.5F, 0}, {-5, -0.5F, 250, 101, 0.9F, 1}});
  ASSERT_EQ(chosen.regions.size(), 2u);
  EXPECT_EQ(chosen.regions[0].box, (Box{0, 0, 200, 100}));
  EXPECT_EQ(chosen.regions[0].label, "distal femur");
  EXPECT_EQ(chosen.regions[1].box, (Box{10, 20, 30, 40}));
  EXPECT_FLOAT_EQ(static_cast<float>(chosen.regions[1].detector_score), 0.5F);
  EXPECT_EQ(chosen.note, "");
}

TEST(Regions, OverlapsOfOneLabelAreOneRegion) {
  const DetectedBox box{0, 0, 100, 100, 0.9F, 0};
  EXPECT_EQ(choose({box, {0, 0, 100, 71, 0.8F, 0}}).regions.size(), 1u);  // 0.71 of their union.
  EXPECT_EQ(choose({box, {0, 0, 100, 69, 0.8F, 0}}).regions.size(), 2u);
  EXPECT_EQ(choose({box, {0, 0, 100, 71, 0.8F, 1}}).regions.size(), 2u);  // Of another label.
}

TEST(Regions, ClassesThatBecameOneLabelAreSuppressedAsOne) {
  const std::vector<std::string> labels{"patella", "distal femur", "patella"};
  const std::vector<DetectedBox> boxes{
      {0, 0, 100, 100, 0.9F, 2}, {0, 0, 100, 99, 0.8F, 0}, {0, 0, 100, 98, 0.7F, 1}, {150, 0, 200, 90, 0.6F, 0}};
  const ChosenRegions chosen = choose_regions(boxes, labels, {}, 100, 200);
  ASSERT_EQ(chosen.regions.size(), 3u);
  EXPECT_EQ(chosen.regions[0].label, "patella");
  EXPECT_FLOAT_EQ(static_cast<float>(chosen.regions[0].detector_score), 0.9F);
  EXPECT_EQ(chosen.regions[1].label, "distal femur");
  EXPECT_EQ(chosen.regions[2].box, (Box{150, 0, 200, 90}));
}

TEST(Regions, WhatNamesNoBoneIsNoRegion) {
  const ChosenRegions chosen = choose({{0, 0, 9, 9, 0.9F, 2}, {0, 0, 9, 9, 0.9F, 3}, {0, 0, 9, 9, 0.9F, 0}});
  EXPECT_EQ(chosen.regions.size(), 1u);
  EXPECT_EQ(chosen.note, "left out: 2 boxes of a side marker or lesion");
}

TEST(Regions, NamesOfClassesAreComparedWithoutCaseAndWhatStandsBetweenWords) {
  EXPECT_EQ(region_label("Distal_Femur"), "distal femur");
  EXPECT_EQ(region_label("finger-phalanges"), "finger phalanges");
  EXPECT_EQ(region_label("UlnaDiaphysis"), "ulna diaphysis");
  EXPECT_EQ(region_label("RIGHT"), "right");
  EXPECT_EQ(region_label("Abnormal_bone_lesion"), "abnormal bone lesion");
  EXPECT_EQ(region_label("Knee joint"), "Knee joint");
  for (const char* name : {"L", "l", "Left Marker", "marker_left", "L-marker", "LeftSideMarker"}) {
    EXPECT_EQ(region_label(name), "left") << name;
  }
  for (const char* name : {"R", "right marker", "Marker R"}) EXPECT_EQ(region_label(name), "right") << name;
  for (const char* name : {"Side_Marker", "marker"}) EXPECT_EQ(region_label(name), "side marker") << name;
  EXPECT_EQ(unknown_labels({"L", "Right Marker", "marker"}), "");
  for (const std::string& bone : bone_labels()) EXPECT_EQ(region_label(bone), bone);
  EXPECT_EQ(bone_labels().size(), 29u);
}

TEST(Regions, ClassesThatAreNoBoneAndNoMarkerAreListed) {
  EXPECT_EQ(unknown_labels({"Patella", "LEFT", "abnormal bone lesion"}), "");
  EXPECT_EQ(unknown_labels({"knee", "patella", "no finding"}), "'knee', 'no finding'");
  EXPECT_EQ(unknown_labels({"a", "b", "c", "d", "e", "f", "g"}), "'a', 'b', 'c', 'd', 'e' and 2 more");
  const std::string e_acute = "\xC3\xA9";
  EXPECT_EQ(unknown_labels({std::string(39, 'a') + e_acute}), "'" + std::string(39, 'a') + e_acute + "'");
  EXPECT_EQ(unknown_labels({std::string(39, 'a') + e_acute + "b"}), "'" + std::string(39, 'a') + e_acute + "...'");
  EXPECT_EQ(unknown_labels({"knee\n\x1b[31mFAIL\x7f\xC2\x9B"}), "'knee\\n\\x1b[31mFAIL\\x7f\\x9b'");
  EXPECT_EQ(unknown_labels({"a\xC3",
                            "\xE2\x82"
                            "b",
                            "\xED\xA0"}),
            "'a?', '?"
            "?b', '?"
            "?'");
  EXPECT_EQ(unknown_labels({"malignant"}), "'malignant'");  // A label of the head, but no bone.
}

TEST(Regions, ALabelMustFitAReport) {
  for (const char* good : {"patella", "f\xC3\xA9mur", "a b", "L"}) EXPECT_EQ(why_no_label(good), "") << good;
  EXPECT_EQ(why_no_label(""), "is blank");
  EXPECT_EQ(why_no_label("  "), "is blank");
  EXPECT_EQ(why_no_label("femur\\shaft"), "holds a backslash, which separates values in DICOM");
  EXPECT_EQ(why_no_label("femur\nshaft"), "holds a control character, \\n");
  EXPECT_EQ(why_no_label("femur\xC2\x85"), "holds a control character, \\x85");
  EXPECT_EQ(why_no_label("femur\xC3"), "is no UTF-8");
}

TEST(Regions, NoBoxLeavesTheWholeImageAndSaysSo) {
  EXPECT_THAT(choose({}).regions, IsEmpty());
  EXPECT_EQ(choose({}).note, "no regions found, whole image only");
  EXPECT_EQ(choose({{0, 0, 9, 9, 0.2F, 0}}).note, "no regions found, whole image only");  // Below score_min.
}

TEST(Regions, BoxesOutsideOrEmptyAreLeftOutAndSaid) {
  const ChosenRegions chosen = choose({{300, 10, 400, 20, 0.9F, 0},
                                       {10, 10, 10, 20, 0.9F, 0},
                                       {10.1F, 10, 10.9F, 20, 0.9F, 0},
                                       {20, 10, 10, 20, 0.9F, 0},
                                       {-1e30F, 10, -10, 20, 0.9F, 0}});
  EXPECT_THAT(chosen.regions, IsEmpty());
  EXPECT_EQ(chosen.note, "no regions found, whole image only; left out: 5 boxes outside the image or empty");
}

TEST(Regions, ADetectorThatAnswersNonsenseIsNotBelieved) {
  const DetectedBox good{0, 0, 9, 9, 0.9F, 0};
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    EXPECT_EQ(choose({good, {0, 0, 9, 9, bad, 0}}).note, "the detector's boxes are not numbers, whole image only");
    EXPECT_EQ(choose({good, {0, bad, 9, 9, 0.9F, 0}}).note, "the detector's boxes are not numbers, whole image only");
    EXPECT_THAT(choose({good, {0, bad, 9, 9, 0.9F, 0}}).regions, IsEmpty());
  }
  for (const auto& [label, text] : {std::pair(-1.0F, "-1"), {4.0F, "4"}, {1.5F, "1.5"}, {1e9F, "1e+09"}}) {
    const ChosenRegions chosen = choose({good, {0, 0, 9, 9, 0.9F, label}});
    EXPECT_EQ(chosen.note, "the detector answers label " + std::string(text) + " of 4, whole image only");
    EXPECT_THAT(chosen.regions, IsEmpty());
  }
}

TEST(Regions, TenThousandBoxesAreNoFinding) {
  std::vector<DetectedBox> boxes;
  for (int i = 0; i < 10'000; ++i) {
    const float left = static_cast<float>(i % 100), top = static_cast<float>(i / 100);
    boxes.push_back({left, top, left + 1, top + 1, 0.9F, 0});
  }
  EXPECT_EQ(choose(boxes).note, "the detector found 10000 regions, more than 1000, whole image only");
  EXPECT_EQ(choose(std::vector<DetectedBox>(30'001, {0, 0, 9, 9, 0.9F, 0})).note,
            "the detector answers 30001 boxes, more than 30000, whole image only");
  const std::vector<DetectedBox> unsure(10'000, {0, 0, 9, 9, 0.1F, 0});  // As a detector without a threshold answers.
  EXPECT_EQ(choose(unsure).note, "no regions found, whole image only");
}

TEST(Regions, EveryPlaceWhereADetectorMayHaveSeenOneBoneIsOneRegion) {
  std::vector<DetectedBox> boxes;
  for (int i = 0; i < 2000; ++i) boxes.push_back({0, 0, 50.0F, 50.0F + 0.001F * static_cast<float>(i), 0.9F, 0});
  const ChosenRegions chosen = choose(boxes);
  EXPECT_EQ(chosen.regions.size(), 1u);
  EXPECT_EQ(chosen.note, "");
}

TEST(Regions, ScoresAboveOneAreNoProbabilitiesAndFillersNeedNoLabel) {
  EXPECT_EQ(choose({{0, 0, 50, 50, 5.0F, 0}}).note, "the detector answers a score of 5.000000, whole image only");
  EXPECT_EQ(choose({{0, 0, 50, 50, 0.9F, 0}, {0, 0, 0, 0, 0, -1}}).regions.size(), 1u);
}

TEST(Regions, NoMoreThanTheSurestAreLookedAt) {
  std::vector<DetectedBox> boxes;
  for (int i = 0; i < 9; ++i) boxes.push_back({20.0F * i, 0, 20.0F * i + 10, 10, 0.3F + 0.05F * i, 0});
  const ChosenRegions chosen = choose(boxes, {"d", {}, {}, 8});
  ASSERT_EQ(chosen.regions.size(), 8u);
  EXPECT_EQ(chosen.regions.front().box.left, 160);
  EXPECT_EQ(chosen.note, "left out: 1 less sure region");
}

TEST(Regions, TilesCoverTheImageAndATinyOneHasFewer) {
  const ChosenRegions chosen = tiles(99, 201);
  ASSERT_EQ(chosen.regions.size(), 5u);
  EXPECT_EQ(chosen.regions[3].box, (Box{80, 39, 201, 99}));
  EXPECT_EQ(chosen.regions[4].box, (Box{50, 24, 150, 74}));
  EXPECT_EQ(tiles(1, 300).regions.size(), 2u);  // Without those that would be empty.
}

TEST(Regions, TwoHalvesAreTheImageWithNothingTwice) {
  EXPECT_EQ(half_of(3, 7, config::Half::kRight), (Box{0, 0, 3, 3}));
  EXPECT_EQ(half_of(3, 7, config::Half::kLeft), (Box{3, 0, 7, 3}));
}

TEST(Regions, ACropHasThePixelsOfItsBox) {
  const GreyImage image{2, 3, {1, 2, 3, 4, 5, 6}};
  const GreyImage cut = crop(image, {1, 0, 3, 2});
  EXPECT_EQ(cut.rows, 2);
  EXPECT_EQ(cut.columns, 2);
  EXPECT_THAT(cut.pixels, ElementsAre(2, 3, 5, 6));
}

TEST(RegionHead, AScoreIsTheGreatestOfAllRegionsAndSaysWhich) {
  std::vector<Region> regions(3);
  for (Region& region : regions) region.logits.assign(kRegionLogits, 0);
  regions[1].logits[1] = 3;  // Malignant.
  regions[2].logits[37] = 2;
  for (Region& region : regions) read_region(config::kRegionScores, region);
  const std::vector<Score> scores = greatest_scores(regions);
  ASSERT_EQ(scores.size(), 8u);
  EXPECT_EQ(scores[2].label, "Malignant");
  EXPECT_NEAR(scores[2].value, std::exp(3.0) / (std::exp(3.0) + 3), 1e-12);
  EXPECT_EQ(scores[2].region, 1);
  EXPECT_NEAR(scores[1].value, (std::exp(3.0) + 2) / (std::exp(3.0) + 3), 1e-12);
  EXPECT_EQ(scores[7].region, 2);
  EXPECT_EQ(scores[0].region, 0);  // All alike: the first.
}

}  // namespace
}  // namespace node::inference
