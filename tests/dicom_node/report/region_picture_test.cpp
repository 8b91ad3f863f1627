#include "dicom_node/report/region_picture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

namespace node::report {
namespace {

using inference::Box;
using inference::Prediction;
using inference::Region;
using inference::RegionSource;
using testing::ElementsAre;
using testing::HasSubstr;

object::GrayImage grey(int rows, int columns) {
  return {rows, columns, std::vector<std::uint8_t>(static_cast<std::size_t>(rows) * columns, 60)};
}

Region region(Box box, std::string label, double tumour) {
  Region one;
  one.source = label == "whole image" ? RegionSource::kWholeImage : RegionSource::kDetector;
  one.label = one.bone = std::move(label);
  one.detector_score = 0.9;
  one.bone_probability = 0.8;
  one.box = box;
  one.scores = {{"Abnormal", 0.2}, {"Bone tumour", tumour}};
  return one;
}

// Of an image of 400 x 200: the whole, and two boxes, of which the second decides.
Prediction found() {
  Prediction prediction;
  prediction.regions = {region({0, 0, 200, 400}, "whole image", 0.1), region({20, 40, 80, 160}, "patella", 0.3),
                        region({100, 200, 180, 380}, "distal femur", 0.7)};
  prediction.scores = {{"Abnormal", 0.2, "1", 0}, {"Bone tumour", 0.7, "1", 2}};
  return prediction;
}

config::TaskConfig task() {
  config::TaskConfig task;
  task.threshold_doubtful = 0.5;
  task.threshold_certain = 0.8;
  return task;
}

OverlayText text() { return {"AI result - not for clinical use", {{"Bone tumour 0.70 certain", Level::kCertain}}, {}}; }

TEST(RegionPicture, BoxesLieWhereTheyAreInTheImageAtAnyScale) {
  for (const int scale : {1, 2, 3}) {  // The preview is as large as the image, or smaller by these.
    const auto picture = draw_regions(grey(1200 / scale, 600 / scale), 400, 200, task(), found(), text());
    ASSERT_TRUE(picture.ok()) << picture.status().message();
    const double to = 3.0 / scale;
    const auto at = [&](double x, double y) {
      return picture->image.at(static_cast<int>(y * to), static_cast<int>(x * to));
    };
    // The lower edges, away from the numbers.
    EXPECT_EQ(at(50, 160 - 1 / to), kRegionColour) << scale;
    EXPECT_EQ(at(140, 380 - 1 / to), kDecidingColour) << scale;
    EXPECT_EQ(at(50, 100), (Colour{60, 60, 60})) << scale;   // Inside nothing is drawn.
    EXPECT_EQ(at(190, 100), (Colour{60, 60, 60})) << scale;  // Nor outside, and no box around the whole image.
    EXPECT_EQ(picture->image.at(0, 0), (Colour{60, 60, 60}));
  }
}

TEST(RegionPicture, TheLineBetweenHalvesIsDrawnWhereAFilmIsReadByHalves) {
  OverlayText halves = text();
  halves.halves = true;
  Prediction prediction = found();
  const auto plain = draw_regions(grey(400, 200), 400, 200, task(), prediction, halves);
  EXPECT_NE(plain->image.at(5, 100), (Colour{60, 60, 60}));
  // A number does not stand on a letter, 32 pixels above the foot beside the middle.
  prediction.regions[1].box = {102, 368, 180, 398};
  const auto covered = draw_regions(grey(400, 200), 400, 200, task(), prediction, halves);
  EXPECT_EQ(covered->image.at(380, 106), plain->image.at(380, 106));
  EXPECT_NE(plain->image.at(380, 106), (Colour{60, 60, 60}));
}

TEST(RegionPicture, TheRegionOfTheTumourScoreIsHighlighted) {
  Prediction prediction = found();
  prediction.scores[1].region = 1;
  const auto picture = draw_regions(grey(400, 200), 400, 200, task(), prediction, text());
  ASSERT_TRUE(picture.ok());
  EXPECT_EQ(picture->image.at(159, 50), kDecidingColour);
  EXPECT_EQ(picture->image.at(379, 140), kRegionColour);
}

TEST(RegionPicture, TheWholeImageIsFramedWhereItDecides) {
  Prediction prediction = found();
  prediction.scores[1].region = 0;
  const auto picture = draw_regions(grey(400, 200), 400, 200, task(), prediction, text());
  ASSERT_TRUE(picture.ok());
  EXPECT_EQ(picture->image.at(399, 100), kDecidingColour);
  EXPECT_EQ(picture->image.at(379, 140), kRegionColour);
}

TEST(RegionPicture, NumbersOfBoxesThatShareACornerStandBesideEachOther) {
  Prediction prediction = found();
  prediction.regions[2].box = {20, 40, 180, 380};
  const auto picture = draw_regions(grey(400, 200), 400, 200, task(), prediction, text());
  ASSERT_TRUE(picture.ok());
  int own = 0, deciding = 0;
  for (int x = 24; x < 70; ++x) {  // Along the tags, below the edges.
    own += picture->image.at(47, x) == kRegionColour;
    deciding += picture->image.at(47, x) == kDecidingColour;
  }
  EXPECT_GT(own, 5);
  EXPECT_GT(deciding, 5);
}

TEST(RegionPicture, ANoteIsDrawnAndMakesThePictureHigher) {
  Prediction prediction = found();
  const auto without = draw_regions(grey(400, 200), 400, 200, task(), prediction, text());
  prediction.regions_note = "no regions found, whole image only";
  const auto with = draw_regions(grey(400, 200), 400, 200, task(), prediction, text());
  ASSERT_TRUE(without.ok() && with.ok());
  EXPECT_GT(with->image.rows, without->image.rows);
  EXPECT_EQ(with->image.rows % 2, 0);
}

TEST(RegionPicture, FindingsStandBesideASmallRadiographAndBelowALargeOne) {
  OverlayText long_text = text();
  long_text.details = {"a: one", "b: two", "c: three"};
  const auto bright = [](const OverlayPicture& picture, int left, int bottom) {
    int count = 0;
    for (int y = 0; y < bottom; ++y)
      for (int x = left; x < picture.image.columns; ++x) count += picture.image.at(y, x)[0] > 200 ? 1 : 0;
    return count;
  };
  Prediction prediction = found();  // Whose table is wide.
  for (const char* label : {"Malignant", "Intermediate", "Benign", "Neoplastic pathologic fracture"}) {
    prediction.scores.push_back({label, 0.2, "1", 0});
    for (Region& region : prediction.regions) region.scores.push_back({label, 0.2});
  }
  const auto small = draw_regions(grey(400, 200), 400, 200, task(), prediction, long_text);
  const auto low = draw_regions(grey(20, 200), 400, 200, task(), prediction, long_text);  // Too low for them.
  ASSERT_TRUE(small.ok() && low.ok());
  EXPECT_GT(bright(*small, 210, 390), 50);
  EXPECT_EQ(bright(*low, 210, 18), 0);
  EXPECT_GT(low->image.rows - 20, small->image.rows - 400) << "what does not fit beside stands below";
}

TEST(RegionPicture, ALineSaysWhatTheTableSays) {
  Prediction prediction = found();
  EXPECT_EQ(region_line(task(), prediction, 2),
            "2 distal femur 0.90: Abnormal 0.20, Bone tumour 0.70; taken for distal femur 0.80");
  EXPECT_EQ(region_line(task(), prediction, 0),
            "0 whole image: Abnormal 0.20, Bone tumour 0.10; taken for whole image 0.80");
  prediction.regions[0].scores[1].value = 0.4982;  // What the findings call negative is not 0.50 here.
  EXPECT_THAT(region_line(task(), prediction, 0), HasSubstr("Bone tumour 0.498;"));
}

TEST(RegionPicture, OtherNotesStandBelowThoseOfTheRegionsAndNoneTwice) {
  Prediction prediction = found();
  prediction.regions_note = "no regions found, whole image only";
  OverlayText noted = text();
  const auto rows = [&] { return draw_regions(grey(400, 200), 400, 200, task(), prediction, noted)->image.rows; };
  const int own = rows();
  noted.notes = {"Regions: no regions found, whole image only"};
  EXPECT_EQ(rows(), own);
  noted.notes.push_back("out of scope: pes-planus: view is AP, not LL");
  EXPECT_GT(rows(), own);
}

TEST(RegionPicture, WhatCannotBeDrawnIsRefused) {
  Prediction prediction = found();
  EXPECT_FALSE(draw_regions({}, 400, 200, task(), prediction, text()).ok());
  EXPECT_FALSE(draw_regions(grey(400, 200), 400, 200, task(), {}, text()).ok());
  for (const Box box : {Box{0, 0, 201, 10}, Box{-1, 0, 10, 10}, Box{5, 5, 5, 10}}) {
    prediction.regions[1].box = box;
    EXPECT_THAT(draw_regions(grey(400, 200), 400, 200, task(), prediction, text()).status().message(),
                HasSubstr("does not lie in the image"));
  }
}

}  // namespace
}  // namespace node::report
