#include "dicom_node/object/image_loader.h"

#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dcrleerg.h>
#include <dcmtk/dcmjpeg/djencode.h>
#include <dcmtk/dcmjpls/djencode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>

#include "dicom_node/object/rle.h"
#include "tests/dicom_node/object/test_files.h"

namespace node::object {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::FloatNear;
using testing::HasSubstr;
using testing::Pointwise;

class ImageLoader : public testing::Test {
 protected:
  // The pixels of an image that `change` has been at.
  LoadedImage load(
      const TestImage& image, const std::function<void(DcmDataset&)>& change = [](DcmDataset&) {},
      E_TransferSyntax syntax = EXS_LittleEndianExplicit, const LoadOptions& options = {}) {
    DcmFileFormat file = make_image(image);
    change(*file.getDataset());
    LoadOptions kept = options;
    kept.keep_pixels = true;
    const auto loaded = load_image(write(folder_, file, syntax), kept);
    if (!loaded.ok()) {
      ADD_FAILURE() << loaded.status().message();
      return {};
    }
    return *loaded;
  }
  Status refusal(
      const TestImage& image, const std::function<void(DcmDataset&)>& change = [](DcmDataset&) {},
      const LoadOptions& options = {}) {
    DcmFileFormat file = make_image(image);
    change(*file.getDataset());
    return load_image(write(folder_, file), options).status();
  }
  static void window(DcmDataset& data_set, const char* center, const char* width, const char* function = nullptr) {
    must(data_set.putAndInsertString(DCM_WindowCenter, center));
    must(data_set.putAndInsertString(DCM_WindowWidth, width));
    if (function != nullptr) must(data_set.putAndInsertString(DCM_VOILUTFunction, function));
  }
  static void lut(DcmDataset& data_set, const DcmTagKey& sequence, std::vector<Uint16> descriptor,
                  std::vector<Uint16> entries, unsigned long item_number = 0) {
    DcmItem* item = nullptr;
    must(data_set.findOrCreateSequenceItem(sequence, item, static_cast<signed long>(item_number)));
    must(item->putAndInsertUint16Array(DcmTag(DCM_LUTDescriptor, EVR_US), descriptor.data(), descriptor.size()));
    must(item->putAndInsertUint16Array(DcmTag(DCM_LUTData, EVR_OW), entries.data(), entries.size()));
  }
  static std::vector<float> pixels(const LoadedImage& image) { return image.radiograph.pixels; }

  TemporaryFolder folder_;
};

// A hundred values 0, 10, 20, ...: enough that no window of a test shows "nothing".
TestImage ramp() {
  TestImage image;
  image.rows = 10;
  image.columns = 10;
  image.values.clear();
  for (int i = 0; i < 100; ++i) image.values.push_back(i * 10);
  return image;
}

TEST_F(ImageLoader, WithoutWindowPixelsAreTheStoredValues) {
  const LoadedImage image = load(TestImage{});
  EXPECT_EQ(image.radiograph.rows, 2);
  EXPECT_EQ(image.radiograph.columns, 4);
  EXPECT_THAT(pixels(image), ElementsAre(0, 100, 200, 300, 400, 1000, 2000, 4095));
  EXPECT_THAT(image.rendering, ElementsAre("voi=value range"));
}

TEST_F(ImageLoader, WindowIsApplied) {
  const LoadedImage image = load(ramp(), [](DcmDataset& d) { window(d, "500.5", "401"); });
  for (int i = 0; i < 100; ++i) {  // PS3.3 C.11.2.1.2.1, by hand: 300 is the last black, 700 the first white.
    const double expected = std::clamp((i * 10 - 300) / 400.0, 0.0, 1.0) * 4095;
    EXPECT_NEAR(pixels(image)[static_cast<std::size_t>(i)], expected, 1e-3) << "stored value " << i * 10;
  }
  EXPECT_THAT(image.rendering, ElementsAre("voi=window 1"));
}

TEST_F(ImageLoader, LinearExactWindowDiffersFromLinear) {
  const LoadedImage image = load(ramp(), [](DcmDataset& d) { window(d, "500", "400", "LINEAR_EXACT"); });
  for (int i = 0; i < 100; ++i) {
    const double expected = std::clamp((i * 10 - 500) / 400.0 + 0.5, 0.0, 1.0) * 4095;
    EXPECT_NEAR(pixels(image)[static_cast<std::size_t>(i)], expected, 1e-3) << "stored value " << i * 10;
  }
  EXPECT_THAT(image.rendering, ElementsAre("voi=window 1 linear exact"));
}

TEST_F(ImageLoader, SigmoidWindowIsASigmoid) {
  const LoadedImage image = load(ramp(), [](DcmDataset& d) { window(d, "500", "400", "SIGMOID"); });
  for (int i = 0; i < 100; ++i) {
    const double expected = 4095 / (1 + std::exp(-4 * (i * 10 - 500) / 400.0));
    EXPECT_NEAR(pixels(image)[static_cast<std::size_t>(i)], expected, 1e-3) << "stored value " << i * 10;
  }
  EXPECT_THAT(image.rendering, ElementsAre("voi=window 1 sigmoid"));
}

TEST_F(ImageLoader, WindowOfWidthOneIsAThreshold) {
  const LoadedImage image = load(ramp(), [](DcmDataset& d) { window(d, "500", "1"); });
  EXPECT_EQ(pixels(image)[49], 0);
  EXPECT_EQ(pixels(image)[50], 4095);
}

TEST_F(ImageLoader, FirstReadableWindowOfSeveralIsUsed) {
  const LoadedImage image = load(ramp(), [](DcmDataset& d) { window(d, "NaN\\500.5\\10", "-1e999\\401\\20"); });
  EXPECT_THAT(image.rendering, ElementsAre("voi=window 2"));
  EXPECT_NEAR(pixels(image)[50], 2047.5, 1e-3);
}

TEST_F(ImageLoader, WindowThatMissesTheDataGivesWayToTheNext) {
  const LoadedImage image = load(ramp(), [](DcmDataset& d) { window(d, "60000\\500.5", "100\\401"); });
  EXPECT_THAT(image.rendering, ElementsAre("voi=window 2"));
  EXPECT_NEAR(pixels(image)[50], 2047.5, 1e-3);
}

TEST_F(ImageLoader, VoiLutThatShowsNothingGivesWayToTheNextAndThenToTheWindow) {
  const LoadedImage second = load(ramp(), [](DcmDataset& d) {
    lut(d, DCM_VOILUTSequence, {2, 5000, 12}, {7, 9});
    lut(d, DCM_VOILUTSequence, {1000, 0, 12}, std::vector<Uint16>(1000, 0), 1);
    window(d, "500.5", "401");
  });
  EXPECT_THAT(second.rendering, ElementsAre("voi=window 1"));
}

TEST_F(ImageLoader, GreyIsTheModelsLevelOfEachPixel) {
  for (const char* photometric : {"MONOCHROME1", "MONOCHROME2"}) {
    TestImage made = ramp();
    made.photometric = photometric;
    DcmFileFormat file = make_image(made);
    window(*file.getDataset(), "430", "377.7", "SIGMOID");
    const auto path = write(folder_, file);
    const auto kept = load_image(path, {.keep_pixels = true}), grey = load_image(path);
    ASSERT_TRUE(kept.ok() && grey.ok());
    EXPECT_TRUE(kept->radiograph.grey.empty());
    EXPECT_TRUE(grey->radiograph.pixels.empty());
    const std::vector<float>& values = kept->radiograph.pixels;
    const auto [least, greatest] = std::minmax_element(values.begin(), values.end());
    ASSERT_EQ(grey->radiograph.grey.size(), values.size());
    for (std::size_t i = 0; i < values.size(); ++i)
      EXPECT_EQ(grey->radiograph.grey[i], inference::grey_level(values[i], *least, *greatest - *least)) << i;
    EXPECT_EQ(make_preview(*kept, 100).pixels, make_preview(*grey, 100).pixels);
  }
}

TEST_F(ImageLoader, WindowsThatShowNothingGiveWayToTheValueRange) {
  for (const auto& [center, width] :
       {std::pair("60000", "100"), {"-5000", "100"}, {"500", "0"}, {"500", "-3"}, {"1,5", "100"}, {"500", ""}}) {
    const LoadedImage image = load(ramp(), [&](DcmDataset& d) { window(d, center, width); });
    EXPECT_THAT(image.rendering, ElementsAre("voi=fallback")) << center << " " << width;
    EXPECT_EQ(pixels(image), pixels(load(ramp()))) << center << " " << width;
  }
}

TEST_F(ImageLoader, Monochrome1IsInvertedOnce) {
  TestImage image = ramp();
  image.photometric = "MONOCHROME1";
  const LoadedImage inverted = load(image, [](DcmDataset& d) { window(d, "500.5", "401"); });
  const LoadedImage upright = load(ramp(), [](DcmDataset& d) { window(d, "500.5", "401"); });
  ASSERT_EQ(pixels(inverted).size(), pixels(upright).size());
  for (std::size_t i = 0; i < 100; ++i) EXPECT_NEAR(pixels(inverted)[i], 4095 - pixels(upright)[i], 1e-3);
  EXPECT_THAT(inverted.rendering, ElementsAre("voi=window 1", "inverted"));
  EXPECT_GT(pixels(inverted).front(), pixels(inverted).back());  // Low stored values are bright.
}

TEST_F(ImageLoader, Monochrome1WithoutWindowIsInvertedWithinItsRange) {
  TestImage image;
  image.photometric = "MONOCHROME1";
  EXPECT_THAT(pixels(load(image)), ElementsAre(4095, 3995, 3895, 3795, 3695, 3095, 2095, 0));
}

TEST_F(ImageLoader, PhotometricInterpretationOutranksPresentationLutShape) {
  TestImage image;
  image.photometric = "MONOCHROME1";
  for (const char* shape : {"IDENTITY", "INVERSE"}) {
    const auto loaded =
        load(image, [&](DcmDataset& d) { must(d.putAndInsertString(DCM_PresentationLUTShape, shape)); });
    EXPECT_EQ(pixels(loaded).front(), 4095) << shape;
  }
}

TEST_F(ImageLoader, WindowIsInUnitsOfTheRescaledValues) {
  const LoadedImage image = load(ramp(), [](DcmDataset& d) {
    must(d.putAndInsertString(DCM_RescaleSlope, "0.25"));
    must(d.putAndInsertString(DCM_RescaleIntercept, "-100"));
    window(d, "25.5", "101");  // -25 to 75 of rescaled, 300 to 700 of stored values.
  });
  for (int i = 0; i < 100; ++i) {
    const double expected = std::clamp((i * 10 - 300) / 400.0, 0.0, 1.0) * 4095;
    EXPECT_NEAR(pixels(image)[static_cast<std::size_t>(i)], expected, 1e-3);
  }
  EXPECT_THAT(image.rendering, ElementsAre("rescale=0.25,-100", "voi=window 1"));
}

TEST_F(ImageLoader, RescaleThatIsNoNumberIsIgnored) {
  for (const char* slope : {"0", "1e-400", "NaN", "abc"}) {
    const auto image = load(TestImage{}, [&](DcmDataset& d) { must(d.putAndInsertString(DCM_RescaleSlope, slope)); });
    EXPECT_THAT(image.rendering, ElementsAre("rescale=ignored", "voi=value range")) << slope;
    EXPECT_EQ(pixels(image), pixels(load(TestImage{})));
  }
}

TEST_F(ImageLoader, ModalityLutComesBeforeTheWindow) {
  const LoadedImage image = load(TestImage{}, [](DcmDataset& d) {
    lut(d, DCM_ModalityLUTSequence, {3, 100, 12}, {1000, 2000, 4000});
    window(d, "2000.5", "4001");
  });
  // 0 and 100 give the first entry, 200 and above the last (the LUT ends at 102).
  EXPECT_THAT(pixels(image),
              Pointwise(FloatNear(1e-2F), {1023.75F, 1023.75F, 4095.F, 4095.F, 4095.F, 4095.F, 4095.F, 4095.F}));
  EXPECT_THAT(image.rendering, ElementsAre("modality=lut", "voi=window 1"));
}

TEST_F(ImageLoader, FirstVoiLutIsUsedAndClampsAtItsEnds) {
  const LoadedImage image = load(TestImage{}, [](DcmDataset& d) {
    lut(d, DCM_VOILUTSequence, {301, 100, 16}, [] {
      std::vector<Uint16> entries;
      for (int i = 0; i <= 300; ++i) entries.push_back(static_cast<Uint16>(1000 + i * 200));
      return entries;
    }());
    lut(d, DCM_VOILUTSequence, {2, 0, 16}, {0, 65535}, 1);
    window(d, "1", "2");  // An alternative: not applied.
  });
  EXPECT_THAT(pixels(image), ElementsAre(1000, 1000, 21000, 41000, 61000, 61000, 61000, 61000));
  EXPECT_THAT(image.rendering, ElementsAre("voi=lut 1"));
}

TEST_F(ImageLoader, VoiLutOfSignedPixelsBeginsBelowZero) {
  TestImage image;
  image.is_signed = true;
  image.values = {-200, -100, 0, 100, -200, -100, 0, 100};
  const LoadedImage loaded = load(image, [](DcmDataset& d) {
    lut(d, DCM_VOILUTSequence, {201, static_cast<Uint16>(-100), 12}, [] {
      std::vector<Uint16> entries;
      for (int i = 0; i <= 200; ++i) entries.push_back(static_cast<Uint16>(i * 20));
      return entries;
    }());
  });
  EXPECT_THAT(pixels(loaded), ElementsAre(0, 0, 2000, 4000, 0, 0, 2000, 4000));
}

TEST_F(ImageLoader, EightBitLutPackedTwoInAWordIsRead) {
  const LoadedImage image = load(TestImage{}, [](DcmDataset& d) {
    lut(d, DCM_VOILUTSequence, {4, 0, 8}, {0x4000, 0xFF80});  // 0, 0x40, 0x80, 0xFF: low byte first.
  });
  EXPECT_EQ(pixels(image)[0], 0);
  EXPECT_EQ(pixels(image)[1], 255);
}

TEST_F(ImageLoader, LutThatLiesAboutItselfIsIgnored) {
  for (const std::vector<Uint16>& descriptor :
       {std::vector<Uint16>{0, 0, 16}, {4, 0, 77}, {4, 0, 0}, {4, 0}, {5000, 0, 16}}) {
    const LoadedImage image = load(TestImage{}, [&](DcmDataset& d) {
      lut(d, DCM_VOILUTSequence, descriptor, {1, 2, 3, 4});
    });
    EXPECT_THAT(image.rendering, ElementsAre("voi=fallback"));
    EXPECT_EQ(pixels(image), pixels(load(TestImage{})));
  }
}

TEST_F(ImageLoader, PaddingIsAsDarkAsTheDarkestPixel) {
  TestImage image;
  image.values = {0, 0, 500, 600, 700, 800, 0, 1000};
  const auto pad = [](DcmDataset& d) { must(d.putAndInsertUint16(DcmTag(DCM_PixelPaddingValue, EVR_US), 0)); };
  EXPECT_THAT(pixels(load(image, pad)), ElementsAre(500, 500, 500, 600, 700, 800, 500, 1000));
  image.photometric = "MONOCHROME1";  // Here padding of 0 would be the brightest.
  EXPECT_THAT(pixels(load(image, pad)), ElementsAre(500, 500, 1000, 900, 800, 700, 500, 500));
}

TEST_F(ImageLoader, PaddingRangeMayStandInEitherOrder) {
  TestImage image;
  image.values = {4090, 4095, 500, 600, 700, 800, 4093, 1000};
  for (const auto& [value, limit] : {std::pair(4090, 4095), std::pair(4095, 4090)}) {
    const LoadedImage loaded = load(image, [&](DcmDataset& d) {
      must(d.putAndInsertUint16(DcmTag(DCM_PixelPaddingValue, EVR_US), static_cast<Uint16>(value)));
      must(d.putAndInsertUint16(DcmTag(DCM_PixelPaddingRangeLimit, EVR_US), static_cast<Uint16>(limit)));
    });
    EXPECT_THAT(pixels(loaded), ElementsAre(500, 500, 500, 600, 700, 800, 500, 1000));
    EXPECT_THAT(loaded.rendering, ElementsAre("padding=4090..4095", "voi=value range"));
  }
}

TEST_F(ImageLoader, PaddingOfTheWholeImageIsIgnored) {
  TestImage image;
  image.values.assign(8, 7);
  const LoadedImage loaded =
      load(image, [](DcmDataset& d) { must(d.putAndInsertUint16(DcmTag(DCM_PixelPaddingValue, EVR_US), 7)); });
  EXPECT_THAT(loaded.rendering, Contains("padding=7 ignored"));
}

TEST_F(ImageLoader, SignedValuesAreSignExtendedFromBitsStored) {
  TestImage image;
  image.is_signed = true;
  image.values = {0x0800, 0x0FFF, 0, 1, 0x07FF, 0xF800, 0xFFFF, 5};  // With and without extension.
  EXPECT_THAT(pixels(load(image)), ElementsAre(-2048, -1, 0, 1, 2047, -2048, -1, 5));
}

TEST_F(ImageLoader, HighBitAboveBitsStoredShiftsDown) {
  TestImage image;
  image.high_bit = 15;
  for (int& value : image.values) value <<= 4;
  const LoadedImage loaded = load(image);
  EXPECT_THAT(pixels(loaded), ElementsAre(0, 100, 200, 300, 400, 1000, 2000, 4095));
  EXPECT_THAT(loaded.rendering, Contains("high bit=15"));
}

TEST_F(ImageLoader, BitsStoredThatLiesIsCorrectedInsteadOfWrapping) {
  TestImage image = ramp();
  for (int& value : image.values) value *= 4;  // Up to 3960: 12 bits.
  image.bits_stored = 10;
  const LoadedImage loaded = load(image);
  EXPECT_EQ(pixels(loaded).back(), 3960);
  EXPECT_THAT(loaded.rendering, Contains("bits stored=12, header says 10"));
}

TEST_F(ImageLoader, RubbishAboveBitsStoredIsMasked) {
  TestImage image = ramp();
  for (std::size_t i = 0; i < image.values.size(); ++i) image.values[i] |= static_cast<int>(i * 7 % 16) << 12;
  const LoadedImage loaded = load(image);
  EXPECT_EQ(pixels(loaded), pixels(load(ramp())));
  EXPECT_THAT(loaded.rendering, Contains("unused bits masked"));
}

TEST_F(ImageLoader, EightAndSixteenBitsAreRead) {
  TestImage eight;
  eight.bits_allocated = eight.bits_stored = 8;
  eight.values = {0, 1, 2, 127, 128, 200, 254, 255};
  EXPECT_THAT(pixels(load(eight)), ElementsAre(0, 1, 2, 127, 128, 200, 254, 255));
  TestImage sixteen;
  sixteen.bits_stored = 16;
  sixteen.values = {0, 1, 2, 32767, 32768, 40000, 65534, 65535};
  EXPECT_THAT(pixels(load(sixteen)), ElementsAre(0, 1, 2, 32767, 32768, 40000, 65534, 65535));
}

TEST_F(ImageLoader, OddNumberOfBytesIsRead) {
  TestImage image;
  image.bits_allocated = image.bits_stored = 8;
  image.rows = image.columns = 3;
  image.values = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  EXPECT_THAT(pixels(load(image)), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9));
}

TEST_F(ImageLoader, ColourBecomesLuma) {
  TestImage image;
  image.samples = 3;
  image.bits_allocated = image.bits_stored = 8;
  image.photometric = "RGB";
  image.rows = 1;
  image.columns = 4;
  image.values = {255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30};
  const LoadedImage loaded = load(image);
  EXPECT_THAT(pixels(loaded), ElementsAre(76, 150, 29, 18));
  EXPECT_THAT(loaded.rendering, ElementsAre("colour=luma"));
}

TEST_F(ImageLoader, ColourByPlaneIsTheSameAsColourByPixel) {
  TestImage image;
  image.samples = 3;
  image.bits_allocated = image.bits_stored = 8;
  image.photometric = "RGB";
  image.rows = 1;
  image.columns = 4;
  image.values = {255, 0, 0, 10, 0, 255, 0, 20, 0, 0, 255, 30};
  const auto by_plane = [](DcmDataset& d) { must(d.putAndInsertUint16(DCM_PlanarConfiguration, 1)); };
  EXPECT_THAT(pixels(load(image, by_plane)), ElementsAre(76, 150, 29, 18));
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
  EXPECT_THAT(image.rendering, ElementsAre("rendering=auto"));
  EXPECT_EQ(pixels(image)[0], 0);
  EXPECT_EQ(pixels(image)[50], 500);
}

TEST_F(ImageLoader, EveryTransferSyntaxGivesTheSamePixels) {
  register_codecs();
  DJEncoderRegistration::registerCodecs();
  DJLSEncoderRegistration::registerCodecs();
  DcmRLEEncoderRegistration::registerCodecs();
  const std::vector<float> expected = pixels(load(ramp()));
  std::string digest;
  for (const E_TransferSyntax syntax :
       {EXS_LittleEndianExplicit, EXS_LittleEndianImplicit, EXS_BigEndianExplicit, EXS_DeflatedLittleEndianExplicit,
        EXS_RLELossless, EXS_JPEGProcess14, EXS_JPEGProcess14SV1, EXS_JPEGLSLossless}) {
    SCOPED_TRACE(DcmXfer(syntax).getXferName());
    DcmFileFormat file = make_image(ramp());
    const auto path = write(folder_, file, syntax);
    const auto image = load_image(path, {.keep_pixels = true});
    ASSERT_TRUE(image.ok()) << image.status().message();
    EXPECT_EQ(image->radiograph.pixels, expected);
    EXPECT_FALSE(image->lossy);
    const auto pixel_digest = digest_pixels(path);
    ASSERT_TRUE(pixel_digest.ok()) << pixel_digest.status().message();
    EXPECT_FALSE(pixel_digest->lossy_syntax);
    if (digest.empty()) digest = pixel_digest->sha256_hex;
    EXPECT_EQ(pixel_digest->sha256_hex, digest);
  }
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

TEST_F(ImageLoader, MissingAndShortPixelDataAreRefused) {
  EXPECT_THAT(refusal(TestImage{}, [](DcmDataset& d) { d.findAndDeleteElement(DCM_PixelData); }).message(),
              HasSubstr("no pixel data"));
  TestImage short_one;
  short_one.rows = 3;
  const Status status = refusal(short_one);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("shorter"));
  TestImage flat;
  flat.rows = 0;
  EXPECT_EQ(refusal(flat).code(), StatusCode::kInvalidArgument);
}

TEST_F(ImageLoader, ImpossibleBitsAreRefused) {
  for (const auto& [allocated, stored] : {std::pair(0, 200), {16, 0}, {16, 17}}) {
    const Status status = refusal(TestImage{}, [&](DcmDataset& d) {
      must(d.putAndInsertUint16(DCM_BitsAllocated, static_cast<Uint16>(allocated)));
      must(d.putAndInsertUint16(DCM_BitsStored, static_cast<Uint16>(stored)));
    });
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << allocated << " " << stored;
  }
  TestImage wide;
  wide.values.resize(16);
  EXPECT_EQ(refusal(wide, [](DcmDataset& d) { must(d.putAndInsertUint16(DCM_BitsAllocated, 32)); }).code(),
            StatusCode::kUnsupported);
}

TEST_F(ImageLoader, ImagesLargerThanTheLimitAreRefusedBeforeTheyAreDecoded) {
  LoadOptions options;
  options.pixels_max = 7;
  EXPECT_EQ(refusal(
                TestImage{}, [](DcmDataset&) {}, options)
                .code(),
            StatusCode::kResourceExhausted);
  options.pixels_max = 8;
  EXPECT_TRUE(refusal(
                  TestImage{}, [](DcmDataset&) {}, options)
                  .ok());
  // 65535 x 65535 in a compressed file of a few bytes: the header alone decides.
  register_codecs();
  DcmRLEEncoderRegistration::registerCodecs();
  DcmFileFormat file = make_image(TestImage{});
  must(file.getDataset()->chooseRepresentation(EXS_RLELossless, nullptr));
  must(file.getDataset()->putAndInsertUint16(DCM_Rows, 65535));
  must(file.getDataset()->putAndInsertUint16(DCM_Columns, 65535));
  const auto path = folder_.fresh();
  must(file.saveFile(path.c_str(), EXS_RLELossless));
  EXPECT_EQ(load_image(path).status().code(), StatusCode::kResourceExhausted);
}

TEST_F(ImageLoader, JpegStreamOfAnotherSizeThanTheHeaderIsRefused) {
  register_codecs();
  DJEncoderRegistration::registerCodecs();
  DcmFileFormat file = make_image(ramp());
  must(file.getDataset()->chooseRepresentation(EXS_JPEGProcess14SV1, nullptr));
  const auto path = folder_.fresh();
  must(file.saveFile(path.c_str(), EXS_JPEGProcess14SV1));
  std::string bytes = read_bytes(path);
  const std::size_t frame_header = bytes.find("\xFF\xC3");
  ASSERT_NE(frame_header, std::string::npos);
  bytes.replace(frame_header + 5, 4, "\xFF\xFF\xFF\xFF");  // 65535 x 65535.
  const Status status = load_image(write_bytes(folder_, bytes)).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("another size"));
}

TEST_F(ImageLoader, SeveralFramesAreUnsupported) {
  TestImage image;
  image.frames = 2;
  image.rows = 1;
  EXPECT_EQ(refusal(image).code(), StatusCode::kUnsupported);
}

TEST_F(ImageLoader, EachFrameIsLoadedInTurn) {
  register_codecs();
  DJEncoderRegistration::registerCodecs();
  DJLSEncoderRegistration::registerCodecs();
  DcmRLEEncoderRegistration::registerCodecs();
  TestImage made;
  made.frames = 2;
  made.rows = 1;
  for (const E_TransferSyntax syntax :
       {EXS_LittleEndianExplicit, EXS_BigEndianExplicit, EXS_RLELossless, EXS_JPEGProcess14SV1, EXS_JPEGLSLossless}) {
    SCOPED_TRACE(DcmXfer(syntax).getXferName());
    DcmFileFormat file = make_image(made);
    const auto path = write(folder_, file, syntax);
    std::vector<LoadedImage> frames;
    const Status status = load_frames(path, {.keep_pixels = true}, [&](LoadedImage image) {
      frames.push_back(std::move(image));
      return ok_status();
    });
    ASSERT_TRUE(status.ok()) << status.message();
    ASSERT_EQ(frames.size(), 2);
    EXPECT_THAT(pixels(frames[0]), ElementsAre(0, 100, 200, 300));
    EXPECT_THAT(pixels(frames[1]), ElementsAre(400, 1000, 2000, 4095));
    EXPECT_EQ(frames[1].frame, 2);
    EXPECT_EQ(frames[1].number_of_frames, 2);
    EXPECT_EQ(pixels(load_frame(path, 2, {.keep_pixels = true}).value()), pixels(frames[1]));
    EXPECT_EQ(load_frame(path, 3).status().code(), StatusCode::kInvalidArgument);
  }
}

TEST_F(ImageLoader, FragmentsThatCannotBeToldApartByFrameAreRefused) {
  DcmRLEEncoderRegistration::registerCodecs();
  TestImage made;
  made.frames = 2;
  made.rows = 1;
  DcmFileFormat file = make_image(made);
  must(file.getDataset()->chooseRepresentation(EXS_RLELossless, nullptr));
  DcmElement* element = nullptr;
  must(file.getDataset()->findAndGetElement(DCM_PixelData, element));
  DcmPixelSequence* fragments = nullptr;
  must(dynamic_cast<DcmPixelData&>(*element).getEncapsulatedRepresentation(EXS_RLELossless, nullptr, fragments));
  DcmPixelItem* table = nullptr;
  must(fragments->getItem(table, 0));
  must(table->putUint8Array(nullptr, 0));
  auto third = std::make_unique<DcmPixelItem>(DcmTag(DCM_Item, EVR_OB));
  const Uint8 padding[2] = {0, 0};
  must(third->putUint8Array(padding, 2));
  must(fragments->insert(third.release()));
  const Status status =
      load_frames(write(folder_, file, EXS_RLELossless), {}, [](LoadedImage) { return ok_status(); });
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("cannot be told apart by frame"));
}

TEST_F(ImageLoader, TheTakerOfFramesMayRefuse) {
  TestImage made;
  made.frames = 2;
  made.rows = 1;
  DcmFileFormat file = make_image(made);
  int taken = 0;
  const Status status = load_frames(write(folder_, file), {}, [&](LoadedImage) {
    ++taken;
    return unavailable("stopping");
  });
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(taken, 1);
}

TEST_F(ImageLoader, MoreFramesThanTheLimitAreRefusedBeforeAnyIsDecoded) {
  TestImage made;
  made.frames = kFramesMax + 1;
  made.rows = made.columns = 1;
  made.values.assign(kFramesMax + 1, 7);
  DcmFileFormat file = make_image(made);
  int taken = 0;
  const Status status = load_frames(write(folder_, file), {}, [&](LoadedImage) {
    ++taken;
    return ok_status();
  });
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(taken, 0);
}

TEST_F(ImageLoader, ForProcessingIsKnownByItsSopClassToo) {
  const auto change = [](DcmDataset& d) {
    must(d.putAndInsertString(DCM_SOPClassUID, "1.2.840.10008.5.1.4.1.1.1.1.1"));
    d.findAndDeleteElement(DCM_PresentationIntentType);
  };
  EXPECT_EQ(refusal(ramp(), change).code(), StatusCode::kUnsupported);
  LoadOptions options;
  options.render_for_processing = true;
  EXPECT_THAT(load(ramp(), change, EXS_LittleEndianExplicit, options).rendering, Contains("rendering=auto"));
}

TEST_F(ImageLoader, WhatIsNotAsTheHeaderSaysIsNoted) {
  EXPECT_THAT(quality_notes({"voi=window 1", "inverted"}), testing::IsEmpty());
  EXPECT_THAT(quality_notes({"bits stored=14, header says 12", "voi=fallback"}),
              ElementsAre(HasSubstr("Bits Stored"), HasSubstr("whole range")));
  const LoadedImage image = load(ramp(), [](DcmDataset& d) {
    window(d, "60000", "100");
    must(d.putAndInsertString(DCM_PixelAspectRatio, "1\\2"));
    must(d.putAndInsertString(DCM_ShutterShape, "CIRCULAR\\made up"));
  });
  EXPECT_THAT(image.rendering, ElementsAre("voi=fallback", "pixel aspect=0.5", "shutter=CIRCULAR not applied"));
  EXPECT_THAT(quality_notes(image.rendering),
              ElementsAre(HasSubstr("shows nothing"), HasSubstr("not square"), HasSubstr("shutter")));
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

std::string rle_stream(const std::vector<std::string>& segments, std::vector<std::uint32_t> offsets = {}) {
  if (offsets.empty()) {
    std::uint32_t at = 64;
    for (const std::string& segment : segments) {
      offsets.push_back(at);
      at += static_cast<std::uint32_t>(segment.size());
    }
  }
  std::vector<std::uint32_t> header(16);
  header[0] = static_cast<std::uint32_t>(segments.size());
  std::copy(offsets.begin(), offsets.end(), header.begin() + 1);
  std::string stream(reinterpret_cast<const char*>(header.data()), 64);
  for (const std::string& segment : segments) stream += segment;
  return stream;
}

TEST(Rle, SegmentsAreTheBytesOfTheSamplesMostSignificantFirst) {
  const std::string high = "\xFE\x01", low = "\x02\x0A\x0B\x0C";  // Three times 1; 10, 11, 12 as they are.
  EXPECT_THAT(decode_rle(rle_stream({high, low}), 3, 1, 2).value(), ElementsAre(10, 1, 11, 1, 12, 1));
  EXPECT_THAT(decode_rle(rle_stream({high, low, high}), 3, 3, 1).value(), ElementsAre(1, 10, 1, 1, 11, 1, 1, 12, 1));
  EXPECT_TRUE(decode_rle(rle_stream({high, low + std::string(1, '\0')}), 3, 1, 2).ok()) << "padded to an even length";
}

TEST(Rle, WhatIsShortOrPointsOutsideIsRefused) {
  const std::string high = "\xFE\x01", low = "\x02\x0A\x0B\x0C";
  EXPECT_THAT(decode_rle("RLE", 3, 1, 2).status().message(), HasSubstr("shorter than its header"));
  EXPECT_THAT(decode_rle(rle_stream({high}), 3, 1, 2).status().message(), HasSubstr("number of segments"));
  EXPECT_THAT(decode_rle(rle_stream({high, "\x01\x0A\x0B"}), 3, 1, 2).status().message(), HasSubstr("too early"));
  EXPECT_THAT(decode_rle(rle_stream({high, low}), 4, 1, 2).status().message(), HasSubstr("too early"));
  for (const std::vector<std::uint32_t>& wild : {std::vector<std::uint32_t>{64, 4000}, {70, 66}, {0, 66}})
    EXPECT_THAT(decode_rle(rle_stream({high, low}, wild), 3, 1, 2).status().message(), HasSubstr("outside"));
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
