#include "dicom_node/report/region_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace node::report {
namespace {

using inference::Prediction;
using inference::Region;
using inference::RegionSource;
using testing::HasSubstr;
using testing::Not;

config::TaskConfig task() {
  config::TaskConfig task;
  task.threshold_doubtful = 0.5;
  task.threshold_certain = 0.8;
  return task;
}

Region region(std::string label, double tumour) {
  Region one;
  one.source = label == "whole image" ? RegionSource::kWholeImage : RegionSource::kDetector;
  one.label = std::move(label);
  one.bone = "patella";
  one.bone_probability = 0.8;
  one.detector_score = 0.9;
  one.scores = {{"Abnormal", 0.2}, {"Bone tumour", tumour}};
  return one;
}

// The whole image and `count` regions, of which the last decides.
Prediction found(int count) {
  Prediction prediction;
  prediction.regions = {region("whole image", 0.1)};
  for (int i = 1; i <= count; ++i) prediction.regions.push_back(region("bone " + std::to_string(i), 0.4 + i / 100.0));
  prediction.scores = {{"Abnormal", 0.2, "1", 0}, {"Bone tumour", 0.4 + count / 100.0, "1", count}};
  return prediction;
}

int count(const RgbImage& image, Colour colour) {
  int found = 0;
  for (int y = 0; y < image.rows; ++y)
    for (int x = 0; x < image.columns; ++x) found += image.at(y, x) == colour;
  return found;
}

RgbImage drawn(const RegionTable& table, int more = 0) {
  Canvas canvas(table.height() + more, table.width() + more, kBackground);
  table.draw(canvas, 0, 0);
  return canvas.image();
}

TEST(RegionTable, HasARowForEachRegionUnderItsNumberAndMarksTheDecidingOne) {
  EXPECT_EQ(RegionTable(task(), found(2), {}).words(),
            "No. | Region | Found | Taken for | Abnormal | Bone tumour\n"
            "0 | whole image |  | patella 0.80 | 0.20 | 0.10\n"
            "1 | bone 1 | 0.90 | patella 0.80 | 0.20 | 0.41\n"
            "> 2 | bone 2 | 0.90 | patella 0.80 | 0.20 | 0.42\n"
            "Marked: decides Bone tumour. Bold: the greatest of its column.");
}

TEST(RegionTable, TheSideIsTheFilmsAndOfAFilmOfBothABoxIsOfEither) {
  const auto words = [](const char* side) { return RegionTable(task(), found(1), {.side = side}).words(); };
  EXPECT_THAT(words("R"), HasSubstr("No. | Region | Side | Found"));
  EXPECT_THAT(words("R"), HasSubstr("1 | bone 1 | right | 0.90"));
  EXPECT_THAT(words("L"), HasSubstr("0 | whole image | left |"));
  EXPECT_THAT(words("B"), HasSubstr("0 | whole image | both |"));
  EXPECT_THAT(words("B"), HasSubstr("1 | bone 1 | \u2013 | 0.90"));
  EXPECT_THAT(words(""), HasSubstr("0 | whole image | \u2013 |"));
}

TEST(RegionTable, OfManyTheSurestAndThoseWithAGreatestScoreHaveARow) {
  const std::string words = RegionTable(task(), found(30), {.rows_max = 5}).words();
  for (const char* row : {"\n0 | whole image", "\n1 | bone 1 ", "\n3 | bone 3 ", "\n> 30 | bone 30 "})
    EXPECT_THAT(words, HasSubstr(row));
  EXPECT_THAT(words, Not(HasSubstr("\n4 | ")));
  EXPECT_THAT(words, HasSubstr("\nand 26 more regions, of which none is the greatest in a column\n"));
  const std::string least = RegionTable(task(), found(30), {.rows_max = 0}).words();  // These never go.
  EXPECT_THAT(least, testing::AllOf(HasSubstr("\n0 | "), HasSubstr("\n> 30 | "), HasSubstr("\nand 29 more")));
  EXPECT_THAT(RegionTable(task(), found(4), {.rows_max = 5}).words(), Not(HasSubstr("more")));
}

TEST(RegionTable, AScoreIsNotRoundedAcrossAThreshold) {
  Prediction prediction = found(1);
  prediction.regions[1].scores[1].value = 0.4982;
  EXPECT_THAT(RegionTable(task(), prediction, {}).words(), HasSubstr("| 0.498\n"));
}

TEST(RegionTable, StaysInItsSizeAndDrawsTagsAsTheBoxesAre) {
  Prediction prediction = found(3);
  prediction.regions[1].label = "a very long name that some detector has for a bone of the hand or the foot";
  const RegionTable table(task(), prediction, {});
  EXPECT_LT(table.width(), 700) << "a long name wraps";
  const RgbImage picture = drawn(table, 50);
  const int inside = count(picture, kBackground) - 50 * (table.width() + 50) - 50 * table.height();
  EXPECT_EQ(inside, count(drawn(table), kBackground)) << "nothing is drawn outside";
  const int boxed = count(picture, kRegionColour), deciding = count(picture, kDecidingColour);
  EXPECT_GT(boxed, 100);
  EXPECT_GT(deciding, 100);
  prediction.scores[1].region = 0;
  const RgbImage whole = drawn(RegionTable(task(), prediction, {}));
  EXPECT_GT(count(whole, kRegionColour), boxed);  // Three now.
}

}  // namespace
}  // namespace node::report
