#include "dicom_node/object/image_loader.h"

#include <cmath>
#include <tuple>

#include "tests/dicom_node/object/image_loader_fixture.h"

namespace node::object {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

TestImage colours(std::vector<int> values) {
  TestImage image;
  image.samples = 3;
  image.bits_allocated = image.bits_stored = 8;
  image.photometric = "RGB";
  image.rows = 1;
  image.columns = 4;
  image.values = std::move(values);
  return image;
}

TEST_F(ImageLoader, ColourBecomesLuma) {
  const LoadedImage loaded = load(colours({255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30}));
  EXPECT_THAT(pixels(loaded), ElementsAre(76, 150, 29, 18));
  EXPECT_THAT(loaded.rendering, ElementsAre("colour=luma"));
}

TEST_F(ImageLoader, ColourByPlaneIsTheSameAsColourByPixel) {
  const auto by_plane = [](DcmDataset& d) { must(d.putAndInsertUint16(DCM_PlanarConfiguration, 1)); };
  EXPECT_THAT(pixels(load(colours({255, 0, 0, 10, 0, 255, 0, 20, 0, 0, 255, 30}), by_plane)),
              ElementsAre(76, 150, 29, 18));
}

TEST_F(ImageLoader, ForProcessingIsRenderedOnlyWhereAskedFor) {
  const auto change = [](DcmDataset& d) {
    must(d.putAndInsertString(DCM_PresentationIntentType, "FOR PROCESSING"));
    window(d, "10", "5");  // Not allowed in such an object, and not used.
  };
  EXPECT_EQ(refusal(ramp(), change).code(), StatusCode::kUnsupported);
  LoadOptions options;
  options.render_for_processing = true;
  const LoadedImage image = load(ramp(), change, EXS_LittleEndianExplicit, options);
  EXPECT_THAT(image.rendering, ElementsAre(testing::StartsWith("rendering=auto ")));
  EXPECT_EQ(pixels(image)[0], 0);
  EXPECT_EQ(pixels(image)[50], 500);
}

TEST_F(ImageLoader, PixelDigestTellsShapesAndValuesApart) {
  const auto digest = [&](const TestImage& image) {
    DcmFileFormat file = make_image(image);
    return digest_pixels(write(folder_, file)).value().sha256_hex;
  };
  TestImage turned;
  std::swap(turned.rows, turned.columns);
  TestImage other;
  other.values.back() = 4094;
  EXPECT_EQ(digest(TestImage{}), digest(TestImage{}));
  EXPECT_NE(digest(TestImage{}), digest(turned));
  EXPECT_NE(digest(TestImage{}), digest(other));
}

TEST_F(ImageLoader, ForProcessingIsKnownByItsSopClassToo) {
  const auto change = [](DcmDataset& d) {
    must(d.putAndInsertString(DCM_SOPClassUID, "1.2.840.10008.5.1.4.1.1.1.1.1"));
    d.findAndDeleteElement(DCM_PresentationIntentType);
  };
  EXPECT_EQ(refusal(ramp(), change).code(), StatusCode::kUnsupported);
  LoadOptions options;
  options.render_for_processing = true;
  EXPECT_THAT(load(ramp(), change, EXS_LittleEndianExplicit, options).rendering,
              Contains(testing::StartsWith("rendering=auto ")));
}

TEST_F(ImageLoader, WhatIsNotAsTheHeaderSaysIsNoted) {
  EXPECT_THAT(quality_notes({"voi=window 1", "inverted"}), testing::IsEmpty());
  EXPECT_THAT(quality_notes({"bits stored=14, header says 12", "voi=fallback"}),
              ElementsAre(HasSubstr("Bits Stored"), HasSubstr("its whole")));
  const LoadedImage image = load(ramp(), [](DcmDataset& d) {
    window(d, "60000", "100");
    must(d.putAndInsertString(DCM_PixelAspectRatio, "1\\2"));
    must(d.putAndInsertString(DCM_ShutterShape, "CIRCULAR\\made up"));
  });
  EXPECT_THAT(image.rendering,
              ElementsAre("voi=fallback 0 to 990", "pixel aspect=0.5", "shutter=CIRCULAR not applied"));
  EXPECT_THAT(quality_notes(image.rendering),
              ElementsAre(HasSubstr("black or white"), HasSubstr("not square"), HasSubstr("shutter")));
}

TEST_F(ImageLoader, MissingFileIsNotFound) {
  EXPECT_EQ(load_image(folder_.fresh()).status().code(), StatusCode::kNotFound);
}

TEST_F(ImageLoader, PixelAspectIsHeightOverWidth) {
  const auto aspect = [&](const DcmTagKey& tag, const char* value) {
    return load(TestImage{}, [&](DcmDataset& d) { must(d.putAndInsertString(tag, value)); }).pixel_aspect;
  };
  EXPECT_EQ(load(TestImage{}).pixel_aspect, 1);
  EXPECT_EQ(aspect(DCM_PixelAspectRatio, "2\\1"), 2);
  EXPECT_EQ(aspect(DCM_ImagerPixelSpacing, "0.1\\0.2"), 0.5);
  EXPECT_EQ(aspect(DCM_PixelAspectRatio, "0\\0"), 1);
}

TEST_F(ImageLoader, LossyHistoryIsKnown) {
  EXPECT_FALSE(load(TestImage{}).lossy);
  EXPECT_TRUE(
      load(TestImage{}, [](DcmDataset& d) { must(d.putAndInsertString(DCM_LossyImageCompression, "01")); }).lossy);
}

LoadedImage loaded(int rows, int columns, std::vector<float> values) {
  LoadedImage image;
  image.radiograph = {rows, columns, std::move(values)};
  return image;
}

TEST(Preview, IsMinMaxOfTheImageTruncated) {
  const GrayImage preview = make_preview(loaded(1, 4, {-10, 0, 9.9F, 10}), 100);
  EXPECT_EQ(preview.rows, 1);
  EXPECT_EQ(preview.columns, 4);
  EXPECT_THAT(preview.pixels, ElementsAre(0, 127, 253, 255));
}

TEST(Preview, ConstantImageIsBlack) { EXPECT_THAT(make_preview(loaded(1, 2, {7, 7}), 9).pixels, ElementsAre(0, 0)); }

TEST(Preview, IsReducedByAveragingAndNeverEnlarged) {
  const GrayImage preview = make_preview(loaded(2, 4, {0, 100, 255, 255, 100, 0, 255, 255}), 2);
  EXPECT_EQ(preview.rows, 1);
  EXPECT_EQ(preview.columns, 2);
  EXPECT_THAT(preview.pixels, ElementsAre(50, 255));
  const GrayImage same = make_preview(loaded(2, 4, {0, 100, 255, 255, 100, 0, 255, 255}), 1000);
  EXPECT_EQ(same.columns, 4);
}

TEST(Preview, TakesTheMeanOfWholePixelsWhereItsSidesCanBeDividedSo) {
  const std::vector<float> greys = {0, 100, 255, 255, 100, 0, 255, 255, 9, 9, 9, 9, 9, 9, 9, 9, 4, 8, 0, 0, 4, 8, 0, 0};
  const GrayImage preview = make_preview(loaded(6, 4, greys), 4);  // 4 rows would be allowed: 1.5 pixels each.
  EXPECT_EQ(preview.rows, 3);
  EXPECT_EQ(preview.columns, 2);
  EXPECT_THAT(preview.pixels, ElementsAre(50, 255, 9, 9, 6, 0));
  EXPECT_EQ(make_preview(loaded(5, 4, std::vector<float>(20)), 4).rows, 4) << "cannot be divided";
  EXPECT_EQ(make_preview(loaded(10, 2, std::vector<float>(20)), 8).rows, 8) << "half of it is too small";
}

// At least 1024 pixels on the long side where the source has them, as much as 1536 where its sides cannot be divided.
TEST(Preview, OfADetectorsImageIsLargeEnoughToRead) {
  for (const auto& [rows, columns, long_side] : {std::tuple(3000, 2500, 1500),
                                                 {4280, 3520, 1070},
                                                 {2022, 2022, 1536},
                                                 {1537, 1000, 1536},
                                                 {1024, 800, 1024},
                                                 {4267, 4267, 1536}}) {
    LoadedImage image;
    image.radiograph = {rows, columns, {}, std::vector<std::uint8_t>(static_cast<std::size_t>(rows * columns), 7)};
    const GrayImage preview = make_preview(image, 1536);
    EXPECT_EQ(preview.rows, long_side) << rows;
    EXPECT_NEAR(preview.columns, static_cast<double>(long_side) * columns / rows, 0.5);
    EXPECT_EQ(preview.pixels.size(), static_cast<std::size_t>(preview.rows * preview.columns));
  }
}

TEST(Preview, HasSquarePixels) {
  LoadedImage tall = loaded(4, 4, std::vector<float>(16, 0.F));
  tall.pixel_aspect = 2;
  EXPECT_EQ(make_preview(tall, 100).rows, 4);
  EXPECT_EQ(make_preview(tall, 100).columns, 2);
  tall.pixel_aspect = 0.5;
  EXPECT_EQ(make_preview(tall, 100).rows, 2);
  EXPECT_EQ(make_preview(tall, 100).columns, 4);
}

}  // namespace
}  // namespace node::object
