// The masks' recipe is published: these are its properties; parity_test.py redraws the masks themselves in Python.
#include "inference/masks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace node::inference {
namespace {

using config::MaskMode;
using ::testing::HasSubstr;

TEST(Masks, SplitMix64IsThePublishedOne) {
  // The first keys of seed 1234567 are 6457827717110365317, 3203168211198807973, 9817491932198370423,
  // 4593380528125082431, 16408922859458223821, so the patches in the order of their keys are 1 3 0 2 4.
  const auto visible = visible_patches(MaskMode::kRandom, 1, 5, 0.2, 1234567);
  ASSERT_TRUE(visible.ok());
  EXPECT_EQ(visible->front(), (std::vector<std::int64_t>{1, 3, 0, 2}));
}

TEST(Masks, PartitionHidesEachPatchThreeTimesInFourPasses) {
  const auto visible = visible_patches(MaskMode::kPartition, 8, 196, 0.5, 42);
  ASSERT_TRUE(visible.ok());
  ASSERT_EQ(visible->size(), 8U);
  for (std::size_t group = 0; group < 8; group += 4) {
    std::multiset<std::int64_t> seen;
    for (std::size_t pass = group; pass < group + 4; ++pass) {
      EXPECT_EQ((*visible)[pass].size(), 49U);
      seen.insert((*visible)[pass].begin(), (*visible)[pass].end());
    }
    EXPECT_EQ(seen.size(), 196U);
    for (std::int64_t patch = 0; patch < 196; ++patch) EXPECT_EQ(seen.count(patch), 1U);
  }
  EXPECT_NE((*visible)[0], (*visible)[4]);
}

TEST(Masks, RandomKeepsItsShareAndDiffersFromPassToPassAndSeedToSeed) {
  const auto one = visible_patches(MaskMode::kRandom, 10, 196, 0.75, 1);
  const auto same = visible_patches(MaskMode::kRandom, 10, 196, 0.75, 1);
  const auto other = visible_patches(MaskMode::kRandom, 10, 196, 0.75, 2);
  ASSERT_TRUE(one.ok() && same.ok() && other.ok());
  EXPECT_EQ(*one, *same);
  EXPECT_NE(*one, *other);
  EXPECT_NE((*one)[0], (*one)[1]);
  for (const auto& pass : *one) {
    EXPECT_EQ(pass.size(), 49U);
    EXPECT_EQ(std::set(pass.begin(), pass.end()).size(), 49U);
  }
}

TEST(Masks, WhatCannotBeDrawnIsRefused) {
  const auto refused = [](MaskMode mode, int passes, int patches, double ratio) {
    return visible_patches(mode, passes, patches, ratio, 0).status();
  };
  EXPECT_THAT(refused(MaskMode::kPartition, 8, 49, 0.75).message(), HasSubstr("49 patches"));
  EXPECT_THAT(refused(MaskMode::kPartition, 10, 196, 0.75).message(), HasSubstr("not 10"));
  EXPECT_THAT(refused(MaskMode::kRandom, 0, 196, 0.75).message(), HasSubstr("not 0"));
  EXPECT_THAT(refused(MaskMode::kRandom, 4, 196, 0.999).message(), HasSubstr("nothing visible"));
  EXPECT_EQ(refused(MaskMode::kRandom, 4, 1, 0.5).code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace node::inference
