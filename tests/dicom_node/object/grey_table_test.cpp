// From stored values to brightness: rescale, LUTs, windows, padding, inversion.
#include "dicom_node/object/grey_table.h"

#include <algorithm>
#include <cmath>

#include "tests/dicom_node/object/image_loader_fixture.h"

namespace node::object {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::FloatNear;
using testing::Pointwise;

TEST_F(ImageLoader, WithoutWindowPixelsAreTheStoredValues) {
  const LoadedImage image = load(TestImage{});
  EXPECT_EQ(image.radiograph.rows, 2);
  EXPECT_EQ(image.radiograph.columns, 4);
  EXPECT_THAT(pixels(image), ElementsAre(0, 100, 200, 300, 400, 1000, 2000, 4095));
  EXPECT_THAT(image.rendering, ElementsAre(testing::StartsWith("voi=value range ")));
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
    EXPECT_THAT(image.rendering, ElementsAre(testing::StartsWith("voi=fallback "))) << center << " " << width;
    EXPECT_EQ(pixels(image), pixels(load(ramp()))) << center << " " << width;
  }
}

// A finger on a large plate, or a tooth: the window is right, though nearly all is background.
TEST_F(ImageLoader, WindowOfASmallObjectIsKept) {
  TestImage image;
  image.rows = image.columns = 100;
  image.values.assign(10'000, 5);
  for (int i = 0; i < 150; ++i) image.values[static_cast<std::size_t>(i) * 60] = 1000 + i * 10;
  for (const char* photometric : {"MONOCHROME1", "MONOCHROME2"}) {
    image.photometric = photometric;
    const LoadedImage loaded = load(image, [](DcmDataset& d) { window(d, "1750", "1600"); });
    EXPECT_THAT(loaded.rendering, Contains("voi=window 1")) << photometric;
  }
}

TEST_F(ImageLoader, WindowThatShowsALabelOrSomeDamagedPixelsOnlyGivesWay) {
  TestImage labelled;
  labelled.rows = labelled.columns = 100;
  for (int i = 0; i < 10'000; ++i) labelled.values.push_back(i % 100 < 1 ? 4095 : i % 900);
  TestImage damaged = labelled;
  damaged.columns = 300;
  damaged.values.clear();
  for (int i = 0; i < 30'000; ++i) damaged.values.push_back(i % 900);
  for (int i = 0; i < 20; ++i) damaged.values[static_cast<std::size_t>(i) * 1001] = 2900 + i * 20;
  for (const TestImage& image : {labelled, damaged}) {
    const LoadedImage loaded = load(image, [](DcmDataset& d) { window(d, "3000", "800"); });
    EXPECT_THAT(loaded.rendering, ElementsAre(testing::StartsWith("voi=fallback 0 to ")));
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

TEST_F(ImageLoader, EachFrameHasTheWindowAndTheRescaleOfItsFunctionalGroup) {
  TestImage made;
  made.frames = 2;
  made.rows = 1;
  made.values = {0, 100, 200, 300, 0, 100, 200, 300};
  DcmFileFormat file = make_image(made);
  DcmDataset& d = *file.getDataset();
  window(d, "9999", "2");  // Of no frame.
  DcmItem *shared = nullptr, *first = nullptr, *second = nullptr, *item = nullptr;
  must(d.findOrCreateSequenceItem(DCM_SharedFunctionalGroupsSequence, shared, -2));
  must(shared->findOrCreateSequenceItem(DCM_PixelValueTransformationSequence, item, -2));
  must(item->putAndInsertString(DCM_RescaleSlope, "2"));
  must(item->putAndInsertString(DCM_RescaleIntercept, "0"));
  must(shared->findOrCreateSequenceItem(DCM_FrameVOILUTSequence, item, -2));
  window(*item, "200.5", "401");
  must(d.findOrCreateSequenceItem(DCM_PerFrameFunctionalGroupsSequence, first, -2));
  must(d.findOrCreateSequenceItem(DCM_PerFrameFunctionalGroupsSequence, second, -2));
  must(second->findOrCreateSequenceItem(DCM_FrameVOILUTSequence, item, -2));
  window(*item, "500.5", "201");
  const auto path = write(folder_, file, EXS_LittleEndianExplicit);
  const auto one = load_frame(path, 1, {.keep_pixels = true}), two = load_frame(path, 2, {.keep_pixels = true});
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_THAT(pixels(*one), Pointwise(FloatNear(0.01F), {0.0F, 2047.5F, 4095.0F, 4095.0F}));
  EXPECT_THAT(pixels(*two), Pointwise(FloatNear(0.01F), {0.0F, 0.0F, 0.0F, 4095.0F}));
  EXPECT_THAT(two->rendering, ElementsAre("rescale=2,0", "voi=window 1"));
}

TEST_F(ImageLoader, RescaleThatIsNoNumberIsIgnored) {
  for (const char* slope : {"0", "1e-400", "NaN", "abc"}) {
    const auto image = load(TestImage{}, [&](DcmDataset& d) { must(d.putAndInsertString(DCM_RescaleSlope, slope)); });
    EXPECT_THAT(image.rendering, ElementsAre("rescale=ignored", testing::StartsWith("voi=value range "))) << slope;
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

// The rescaled image also goes below zero, so that by the rule 40000 would be -25536, off all its values.
TEST_F(ImageLoader, VoiLutMayBeginBeyondWhatSixteenBitsWithASignHold) {
  TestImage image;
  image.bits_stored = 16;
  image.values = {0, 40900, 41000, 41100, 41200, 0, 41100, 41000};
  const auto with_lut = [](DcmDataset& d) {
    must(d.putAndInsertString(DCM_RescaleSlope, "1"));
    must(d.putAndInsertString(DCM_RescaleIntercept, "-1000"));
    lut(d, DCM_VOILUTSequence, {201, 40000, 12}, [] {
      std::vector<Uint16> entries;
      for (int i = 0; i <= 200; ++i) entries.push_back(static_cast<Uint16>(i * 20));
      return entries;
    }());
  };
  const LoadedImage loaded = load(image, with_lut);
  EXPECT_THAT(loaded.rendering, ElementsAre("rescale=1,-1000", "voi=lut 1"));
  EXPECT_THAT(pixels(loaded), ElementsAre(0, 0, 0, 2000, 4000, 0, 2000, 0));
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
    EXPECT_THAT(image.rendering, ElementsAre(testing::StartsWith("voi=fallback ")));
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
    EXPECT_THAT(loaded.rendering, ElementsAre("padding=4090..4095", testing::StartsWith("voi=value range ")));
  }
}

// What Bits Stored cannot hold, but the cells do.
TEST_F(ImageLoader, PaddingBeyondBitsStoredIsPaddingAndNoPixelIs) {
  const auto pad = [](int value, int limit) {
    return [=](DcmDataset& d) {
      must(d.putAndInsertUint16(DcmTag(DCM_PixelPaddingValue, EVR_US), static_cast<Uint16>(value)));
      must(d.putAndInsertUint16(DcmTag(DCM_PixelPaddingRangeLimit, EVR_US), static_cast<Uint16>(limit)));
    };
  };
  TestImage image;
  image.values = {0xFFFF, 0xFFFF, 500, 600, 700, 4095, 0xFFFF, 1000};  // 4095 is what remains of 0xFFFF in 12 bits.
  const LoadedImage loaded = load(image, pad(0xFFFF, 0xFFFF));
  EXPECT_THAT(pixels(loaded), ElementsAre(500, 500, 500, 600, 700, 4095, 500, 1000));
  EXPECT_THAT(loaded.rendering, ElementsAre("padding=65535", testing::StartsWith("voi=value range ")));
  image.values[0] = 0xF001;
  EXPECT_THAT(pixels(load(image, pad(0xFFFF, 0xF000))), ElementsAre(500, 500, 500, 600, 700, 4095, 500, 1000));
  image.is_signed = true;
  image.values = {0x8000, 0x8000, -500, -600, 0, 700, 0x8000, -1000};  // 0 is what remains of 0x8000.
  EXPECT_THAT(pixels(load(image, pad(0x8000, 0x8000))), ElementsAre(-1000, -1000, -500, -600, 0, 700, -1000, -1000));
  image.values[1] = 0xF700;  // -2304
  EXPECT_THAT(pixels(load(image, pad(0x8000, 0xF700))), ElementsAre(-1000, -1000, -500, -600, 0, 700, -1000, -1000));
  image.is_signed = false;
  image.high_bit = 15;  // Whole cells are shifted, values are not.
  image.values = {0xFFF0, 0xFFF0, 5000, 6000, 7040, 8000, 0xFFF0, 9600};
  for (const int value : {0xFFF0, 0xFFFF, 0x0FFF})
    EXPECT_THAT(pixels(load(image, pad(value, value))), ElementsAre(312, 312, 312, 375, 440, 500, 312, 600)) << value;
}

TEST_F(ImageLoader, PaddingOfTheWholeImageIsIgnored) {
  TestImage image;
  image.values.assign(8, 7);
  const LoadedImage loaded =
      load(image, [](DcmDataset& d) { must(d.putAndInsertUint16(DcmTag(DCM_PixelPaddingValue, EVR_US), 7)); });
  EXPECT_THAT(loaded.rendering, Contains("padding=7 ignored"));
}

// Of many rows not all are counted, of one row all values are: which must change nothing.
TEST_F(ImageLoader, RowsShowTheSameAsAllTheirPixelsInOneRow) {
  TestImage image;
  image.rows = 24;
  image.columns = 20;
  image.values.assign(480, 100);
  for (int i = 0; i < 20; ++i) image.values[static_cast<std::size_t>(i)] = i * 20;  // 0 to 380, in one row only.
  image.values[57] = 4000;
  const auto ramp_with_peaks = [] {
    std::vector<Uint16> entries;
    for (int i = 0; i <= 4000; ++i)
      entries.push_back(static_cast<Uint16>(i == 220 ? 4095 : i == 340 ? 0 : 500 + i / 2));
    return entries;
  };
  std::vector<Uint16> flat(4001, 500);
  flat[220] = 4095;
  const std::function<void(DcmDataset&)> changes[] = {
      [](DcmDataset&) {},
      [](DcmDataset& d) { window(d, "200.5", "401"); },
      [](DcmDataset& d) { window(d, "370", "10\\"); },               // Two pixels in a hundred are not black,
      [](DcmDataset& d) { window(d, "270", "10"); },                 // seven of 480 are not,
      [](DcmDataset& d) { window(d, "50", "90", "LINEAR_EXACT"); },  // or six not white.
      [](DcmDataset& d) { window(d, "50", "180\\100", "SIGMOID"); },
      [&](DcmDataset& d) {
        lut(d, DCM_VOILUTSequence, {4001, 0, 12}, ramp_with_peaks());
      },
      [&](DcmDataset& d) {
        lut(d, DCM_ModalityLUTSequence, {4001, 0, 12}, ramp_with_peaks());
      },
      [&](DcmDataset& d) {
        lut(d, DCM_VOILUTSequence, {4001, 0, 12}, flat);
      },
      [&](DcmDataset& d) {
        lut(d, DCM_ModalityLUTSequence, {4001, 0, 12}, flat);
      },
      [&](DcmDataset& d) {
        must(d.putAndInsertString(DCM_PhotometricInterpretation, "PALETTE COLOR"));
        const Uint16 descriptor[] = {4001, 0, 16};
        for (const DcmTagKey& tag :
             {DCM_RedPaletteColorLookupTableDescriptor, DCM_GreenPaletteColorLookupTableDescriptor,
              DCM_BluePaletteColorLookupTableDescriptor})
          must(d.putAndInsertUint16Array(DcmTag(tag, EVR_US), descriptor, 3));
        for (const DcmTagKey& tag : {DCM_RedPaletteColorLookupTableData, DCM_GreenPaletteColorLookupTableData,
                                     DCM_BluePaletteColorLookupTableData})
          must(d.putAndInsertUint16Array(DcmTag(tag, EVR_OW), flat.data(), flat.size()));
      },
      [](DcmDataset& d) { must(d.putAndInsertUint16(DcmTag(DCM_PixelPaddingValue, EVR_US), 0)); },
      [](DcmDataset& d) { must(d.putAndInsertUint16(DcmTag(DCM_PixelPaddingValue, EVR_US), 4000)); },
      [](DcmDataset& d) { must(d.putAndInsertUint16(DcmTag(DCM_PixelPaddingValue, EVR_US), 320)); },
      [](DcmDataset& d) { must(d.putAndInsertString(DCM_PresentationIntentType, "FOR PROCESSING")); },
  };
  for (const char* photometric : {"MONOCHROME1", "MONOCHROME2"}) {
    for (std::size_t i = 0; i < std::size(changes); ++i) {
      image.photometric = photometric;
      for (int turn = 0; turn < 8; ++turn) {
        std::rotate(image.values.begin(), image.values.begin() + image.columns, image.values.end());
        TestImage row = image;
        row.rows = 1;
        row.columns = 480;
        const auto greys = [&](const TestImage& made) {
          DcmFileFormat file = make_image(made);
          changes[i](*file.getDataset());
          return load_image(write(folder_, file), {.render_for_processing = true});
        };
        const auto one = greys(row), many = greys(image);
        ASSERT_TRUE(one.ok() && many.ok());
        EXPECT_EQ(many->radiograph.grey, one->radiograph.grey) << photometric << ", header " << i << ", turn " << turn;
        EXPECT_EQ(many->rendering, one->rendering) << photometric << ", header " << i << ", turn " << turn;
      }
    }
  }
}

}  // namespace
}  // namespace node::object
