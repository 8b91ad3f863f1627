#include "config/base/rounding.h"

#include <gtest/gtest.h>

#include <limits>

namespace node {
namespace {

TEST(Rounding, KeepsANumberOnItsSideOfTheThresholdsBesideIt) {
  EXPECT_EQ(digits_beside(0.4982, 2, {0.5}), 3);
  EXPECT_EQ(digits_beside(0.49996, 2, {0.5}), 5);
  EXPECT_EQ(digits_beside(0.7049, 2, {0.3, 0.704}), 3);  // Up to a threshold, or down from one.
  EXPECT_EQ(digits_beside(0.4982, 2, {0.3, 0.7}), 2);
  EXPECT_EQ(digits_beside(0.5, 2, {0.5}), 2);
  EXPECT_EQ(digits_beside(0.4982, 4, {0.5}), 4);
  EXPECT_EQ(digits_beside(0.4982, 2, {}), 2);
}

TEST(Rounding, EndsWithWhatNoDigitsHelp) {
  EXPECT_EQ(digits_beside(0.5 - 1e-16, 2, {0.5}), 15);
  EXPECT_EQ(digits_beside(std::numeric_limits<double>::quiet_NaN(), 2, {0.5}), 2);
  EXPECT_EQ(digits_beside(std::numeric_limits<double>::infinity(), 2, {0.5}), 2);
}

TEST(Rounding, TextHasTheDigitsAskedForAndNoExponent) {
  EXPECT_EQ(fixed_text(0.4982, 3), "0.498");
  EXPECT_EQ(fixed_text(1, 2), "1.00");
  EXPECT_EQ(fixed_text(1e300, 1).size(), 303U);
}

}  // namespace
}  // namespace node
