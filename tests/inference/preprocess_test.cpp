// Cases small enough to work out by hand; preprocess_parity_test.py compares with PIL and transformers themselves.
#include "inference/preprocess.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace node::inference {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Pixels = std::vector<std::uint8_t>;

Pixels resized(GreyImage image, std::int32_t height, std::int32_t width, Resample resample) {
  const GreyImage out = resize(image, height, width, resample);
  EXPECT_EQ(out.rows, height);
  EXPECT_EQ(out.columns, width);
  EXPECT_EQ(out.pixels.size(), static_cast<std::size_t>(height) * width);
  return out.pixels;
}

TEST(To8Bit, StretchesTheWholeRangeAndTruncates) {
  const Result<GreyImage> image = to_8_bit({2, 2, {-2, -1, 0, 2}});
  ASSERT_TRUE(image.ok());
  EXPECT_EQ(image->rows, 2);
  EXPECT_EQ(image->columns, 2);
  EXPECT_THAT(image->pixels, ElementsAre(0, 63, 127, 255));  // 63.75 and 127.5: cut, not rounded.
}

TEST(To8Bit, FindsExtremesWhereverTheyAre) {
  for (std::size_t count : {1u, 2u, 15u, 16u, 17u, 100u}) {
    for (std::size_t at = 0; at < count; ++at) {
      Radiograph image{1, static_cast<std::int32_t>(count), std::vector<float>(count, 100)};
      image.pixels[at] = 50;
      Pixels expected(count, count > 1 ? 255 : 0);
      expected[at] = 0;
      EXPECT_EQ(to_8_bit(image)->pixels, expected) << at << " of " << count;
      image.pixels[at] = 150;
      expected.assign(count, 0);
      expected[at] = count > 1 ? 255 : 0;
      EXPECT_EQ(to_8_bit(image)->pixels, expected) << at << " of " << count;
    }
  }
}

TEST(To8Bit, MakesAConstantImageBlack) {
  EXPECT_THAT(to_8_bit({3, 7, std::vector<float>(21, 1234.5f)})->pixels, Each(0));
  EXPECT_THAT(to_8_bit({1, 1, {-7}})->pixels, ElementsAre(0));
}

TEST(To8Bit, RefusesPixelsThatAreNoNumbers) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    for (std::size_t at : {0u, 1u, 16u, 31u, 32u, 34u}) {
      Radiograph image{5, 7, std::vector<float>(35, 1)};
      image.pixels[5] = 2;
      image.pixels[at] = bad;
      EXPECT_EQ(to_8_bit(image).status().code(), StatusCode::kInvalidArgument) << bad << " at " << at;
    }
  }
  const float huge = std::numeric_limits<float>::max();
  EXPECT_EQ(to_8_bit({1, 2, {-huge, huge}}).status().code(), StatusCode::kInvalidArgument);
}

TEST(To8Bit, RefusesASizeThatDoesNotFitItsPixels) {
  EXPECT_THAT(to_8_bit({2, 3, std::vector<float>(5)}).status().message(), HasSubstr("2 x 3 holds 5 pixels"));
  EXPECT_EQ(to_8_bit({0, 0, {}}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(to_8_bit({2, 2, {}, {1, 2, 3}}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(to_8_bit({-1, -2, {1, 2}}).status().code(), StatusCode::kInvalidArgument);
}

TEST(Resize, BilinearReducesWithAWiderFilter) {
  // Twice smaller: weights (3, 3, 1) / 7 and (1, 3, 3) / 7. Without antialias it were 105 and 105.
  EXPECT_THAT(resized({1, 4, {70, 140, 210, 0}}, 1, 2, Resample::kBilinear), ElementsAre(120, 110));
  EXPECT_THAT(resized({4, 1, {70, 140, 210, 0}}, 2, 1, Resample::kBilinear), ElementsAre(120, 110));
}

TEST(Resize, BilinearEnlarges) {
  EXPECT_THAT(resized({1, 2, {0, 100}}, 1, 4, Resample::kBilinear), ElementsAre(0, 25, 75, 100));
  EXPECT_THAT(resized({1, 1, {77}}, 3, 5, Resample::kBilinear), Each(77));
}

TEST(Resize, BicubicOvershootsAndIsClipped) {
  // Weights at a quarter pixel: -0.0234375, 0.2265625, 0.8671875, -0.0703125.
  EXPECT_THAT(resized({1, 4, {0, 0, 255, 255}}, 1, 8, Resample::kBicubic),
              ElementsAre(0, 0, 0, 52, 203, 255, 255, 255));
}

TEST(Resize, BoxAverages) {
  EXPECT_THAT(resized({2, 4, {1, 3, 10, 20, 5, 7, 30, 40}}, 1, 2, Resample::kBox), ElementsAre(4, 25));
}

TEST(Resize, RoundsHalvesUpAfterRowsAndAgainAfterColumns) {
  EXPECT_THAT(resized({1, 2, {10, 21}}, 1, 1, Resample::kBilinear), ElementsAre(16));
  // Rows give 0 and 2, then 1. Columns first would give 1 and 2, then 2.
  EXPECT_THAT(resized({2, 2, {0, 0, 1, 3}}, 1, 1, Resample::kBilinear), ElementsAre(1));
}

TEST(Resize, GoesAlongTheColumnsFirstWhereTheHeightShrinksMuchMore) {
  // Columns give 0 and 0. Rows first would give 1, 1, 0 and 0, then 1.
  EXPECT_THAT(resized({4, 2, {1, 0, 0, 1, 0, 0, 0, 0}}, 1, 1, Resample::kBox), ElementsAre(0));
}

TEST(Resize, LeavesAnAxisOfTheRightSizeAlone) {
  const Pixels noise{3, 250, 0, 17, 90, 255, 1, 128, 64};
  for (const Resample resample : {Resample::kLanczos, Resample::kBilinear, Resample::kBicubic, Resample::kBox}) {
    EXPECT_EQ(resized({3, 3, noise}, 3, 3, resample), noise);
  }
  EXPECT_THAT(resized({3, 2, {1, 1, 50, 50, 9, 9}}, 3, 1, Resample::kBicubic), ElementsAre(1, 50, 9));
}

TEST(Resize, KeepsAConstantImageWhateverItsShape) {
  const struct { std::int32_t rows, columns; } shapes[] = {{1, 1}, {3000, 7}, {7, 3000}, {223, 225}, {1, 1000}};
  for (const auto& shape : shapes) {
    const std::size_t count = static_cast<std::size_t>(shape.rows) * shape.columns;
    for (const Resample resample :
         {Resample::kLanczos, Resample::kBilinear, Resample::kBicubic, Resample::kBox, Resample::kHamming}) {
      EXPECT_THAT(resized({shape.rows, shape.columns, Pixels(count, 201)}, 224, 224, resample), Each(201))
          << shape.rows << " x " << shape.columns << " by " << static_cast<int>(resample);
    }
  }
}

TEST(Resize, RowsTogetherGiveWhatEachGivesAlone) {  // Eight at once where the CPU can, and one by one.
  std::uint32_t noise = 1;
  for (const std::int32_t columns : {1, 2, 3, 31, 500, 1001}) {
    for (const std::int32_t width : {1, 2, 17, 224, 1003}) {
      if (width == columns) continue;
      GreyImage image{19, columns, Pixels(static_cast<std::size_t>(19 * columns))};
      for (std::uint8_t& pixel : image.pixels) pixel = (noise = noise * 1664525 + 1013904223) >> 30 ? noise >> 24 : 255;
      for (const Resample resample :
           {Resample::kLanczos, Resample::kBilinear, Resample::kBicubic, Resample::kBox, Resample::kHamming}) {
        Pixels alone;
        for (std::int32_t y = 0; y < image.rows; ++y) {
          const auto row = image.pixels.begin() + static_cast<std::ptrdiff_t>(y) * columns;
          const Pixels one = resized({1, columns, Pixels(row, row + columns)}, 1, width, resample);
          alone.insert(alone.end(), one.begin(), one.end());
        }
        EXPECT_EQ(resized(image, image.rows, width, resample), alone)
            << columns << " to " << width << " by " << static_cast<int>(resample);
      }
    }
  }
}

TEST(Resample, KnowsPilsNumbersAndRefusesOthersByName) {
  EXPECT_EQ(*resample_from_pil(1), Resample::kLanczos);
  EXPECT_EQ(*resample_from_pil(2), Resample::kBilinear);
  EXPECT_EQ(*resample_from_pil(3), Resample::kBicubic);
  EXPECT_EQ(resample_from_pil(0).status().code(), StatusCode::kUnsupported);
  EXPECT_THAT(resample_from_pil(0).status().message(), HasSubstr("nearest"));
  EXPECT_THAT(resample_from_pil(6).status().message(), HasSubstr("resample 6"));
  EXPECT_EQ(resample_from_pil(-1).status().code(), StatusCode::kUnsupported);
}

PreprocessConfig two_pixels() {
  PreprocessConfig config;
  config.height = 1;
  config.width = 2;
  return config;
}

std::vector<float> input_of(const PreprocessConfig& config, const Radiograph& image) {
  const Preprocessor preprocessor = *Preprocessor::create(config);
  std::vector<float> input(preprocessor.input_size());
  EXPECT_TRUE(preprocessor.run(image, input).ok());
  return input;
}

TEST(Preprocessor, NormalizesEachChannelWithItsOwnMeanAndDeviation) {
  // As numpy float32 gives them for 0 and 255 with ImageNet's values.
  EXPECT_THAT(input_of(two_pixels(), {1, 2, {7, 9}}), ElementsAre(-0x1.0f177ap+1f, 0x1.1fdc3ap+1f, -0x1.049248p+1f,
                                                                  0x1.36db6ep+1f, -0x1.cdf012p+0f, 0x1.51eb86p+1f));
}

TEST(Preprocessor, ObeysItsSwitches) {
  const Radiograph image{1, 2, {7, 9}};
  PreprocessConfig config = two_pixels();
  config.mean = config.std = {0.5, 0.5, 0.5};
  EXPECT_THAT(input_of(config, image), ElementsAre(-1, 1, -1, 1, -1, 1));
  config.do_normalize = false;
  EXPECT_THAT(input_of(config, image), ElementsAre(0, 1, 0, 1, 0, 1));
  config.rescale_factor = 1.0 / 127.5;
  EXPECT_THAT(input_of(config, image), ElementsAre(0, 2, 0, 2, 0, 2));
  config.do_rescale = false;
  EXPECT_THAT(input_of(config, image), ElementsAre(0, 255, 0, 255, 0, 255));
}

TEST(Preprocessor, WithoutResizeTakesImagesOfItsSizeOnly) {
  PreprocessConfig config = two_pixels();
  config.do_resize = false;
  const Preprocessor preprocessor = *Preprocessor::create(config);
  std::vector<float> input(preprocessor.input_size());
  EXPECT_TRUE(preprocessor.run({1, 2, {0, 1}}, input).ok());
  const Status status = preprocessor.run({2, 1, {0, 1}}, input);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("2 x 1 for a model of 1 x 2"));
}

TEST(Preprocessor, RefusesAConfigurationThatCannotBeRight) {
  const auto message_of = [](auto change) {
    PreprocessConfig config;
    change(config);
    return Preprocessor::create(config).status().message();
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(message_of([](PreprocessConfig&) {}), "");
  EXPECT_THAT(message_of([](PreprocessConfig& config) { config.height = 0; }), HasSubstr("size 0 x 224"));
  EXPECT_THAT(message_of([](PreprocessConfig& config) { config.width = 1 << 20; }), HasSubstr("size"));
  EXPECT_THAT(message_of([&](PreprocessConfig& config) { config.rescale_factor = nan; }), HasSubstr("rescale_factor"));
  EXPECT_THAT(message_of([&](PreprocessConfig& config) { config.mean[2] = nan; }), HasSubstr("image_mean"));
  EXPECT_THAT(message_of([](PreprocessConfig& config) { config.std[1] = 0; }), HasSubstr("image_std"));
}

}  // namespace
}  // namespace node::inference
