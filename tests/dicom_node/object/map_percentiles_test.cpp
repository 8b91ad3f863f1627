#include "dicom_node/object/map_percentiles.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/fakes/seed.h"

namespace node::object {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::Pointwise;

const std::vector<double> kLevels = {0, 25, 50, 75, 100};

TEST(Percentile, IsLinearBetweenQuantilesAndItsEndsAreZeroAndAHundred) {
  const std::vector<double> quantiles = {1, 2, 4, 8, 16};
  for (const auto& [value, expected] : {std::pair{-5.0, 0.0},
                                        {0.999, 0.0},
                                        {1.0, 0.0},
                                        {1.5, 12.5},
                                        {2.0, 25.0},
                                        {3.0, 37.5},
                                        {12.0, 87.5},
                                        {16.0, 100.0},
                                        {16.001, 100.0},
                                        {1e9, 100.0}})
    EXPECT_DOUBLE_EQ(percentile(kLevels, quantiles, value), expected) << value;
}

TEST(Percentile, AValueOfSeveralQuantilesHasTheMiddleOfTheirLevels) {
  EXPECT_DOUBLE_EQ(percentile(kLevels, {0, 0, 0, 1, 2}, 0), 25);
  EXPECT_DOUBLE_EQ(percentile(kLevels, {0, 1, 1, 1, 2}, 1), 50);
  EXPECT_DOUBLE_EQ(percentile(kLevels, {0, 1, 2, 2, 2}, 2), 75);
  EXPECT_DOUBLE_EQ(percentile(kLevels, {3, 3, 3, 3, 3}, 3), 50);
  EXPECT_DOUBLE_EQ(percentile(kLevels, {3, 3, 3, 3, 3}, 2.9), 0);
  EXPECT_DOUBLE_EQ(percentile(kLevels, {3, 3, 3, 3, 3}, 3.1), 100);
}

TEST(Percentile, NeverFallsWhereTheValueRises) {
  const unsigned seed = test_seed();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 50; ++round) {
    std::vector<double> table(kLevels.size());
    std::generate(table.begin(), table.end(), [&] { return random() % 4; });  // With ties.
    std::sort(table.begin(), table.end());
    double before = -1;
    for (double value = -0.5; value < 4.5; value += 0.125) {
      const double now = percentile(kLevels, table, value);
      ASSERT_GE(now, before) << value;
      ASSERT_LE(now, 100);
      before = now;
    }
  }
}

TEST(Quantiles, AreThoseOfNumpy) {
  // numpy.quantile([5, 1, 4, 1, 3, 9], [0, .25, .5, .75, .999, 1])
  EXPECT_THAT(quantiles({5, 1, 4, 1, 3, 9}, {0, 25, 50, 75, 99.9, 100}),
              Pointwise(DoubleNear(1e-12), {1.0, 1.5, 3.5, 4.75, 8.98, 9.0}));
  EXPECT_THAT(quantiles({7}, {0, 50, 100}), ElementsAre(7, 7, 7));
}

TEST(Quantiles, OfTheirOwnSamplesComeBackAsTheirLevels) {
  std::vector<double> samples;
  for (int i = 0; i <= 2000; ++i) samples.push_back(i * i);
  const std::vector<double> levels = quantile_levels(), table = quantiles(samples, levels);
  EXPECT_EQ(levels.front(), 0);
  EXPECT_EQ(levels.back(), 100);
  EXPECT_TRUE(std::is_sorted(levels.begin(), levels.end()));
  for (std::size_t i = 0; i < levels.size(); ++i) EXPECT_DOUBLE_EQ(percentile(levels, table, table[i]), levels[i]);
}

inference::AnomalyMap map_of_two_by_two_patches() {
  inference::AnomalyMap map;
  map.size = 4;
  map.patch_size = 2;
  map.values = {0, 2, 5, 5,  //
                4, 2, 5, 5,  //
                1, 1, 0, 0,  //
                1, 1, 0, 8};
  map.score = 2.5;
  return map;
}

TEST(PatchErrors, AreTheMeansOfThePatchesRowByRow) {
  inference::AnomalyMap map = map_of_two_by_two_patches();
  EXPECT_THAT(patch_errors(map), ElementsAre(2, 5, 1, 2));
  map.patch_size = 3;
  EXPECT_TRUE(patch_errors(map).empty());
  map.patch_size = 0;
  EXPECT_TRUE(patch_errors(map).empty());
}

TEST(PatchErrors, HaveEachItsPercentileAndTheScoreItsOwn) {
  inference::AnomalyMap map = map_of_two_by_two_patches();
  EXPECT_FALSE(is_calibrated(map));
  map.reference = {"sha256:1", "KNEE", 200, kLevels, {0, 1, 2, 3, 4}, {0, 5, 10, 15, 20}};
  EXPECT_TRUE(is_calibrated(map));
  EXPECT_THAT(patch_percentiles(map), ElementsAre(50, 100, 25, 50));
  EXPECT_DOUBLE_EQ(score_percentile(map), 12.5);
}

}  // namespace
}  // namespace node::object
