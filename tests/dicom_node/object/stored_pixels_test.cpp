// From a file to stored values: bits, transfer syntaxes, frames, what is refused before it is decoded.
#include "dicom_node/object/stored_pixels.h"

#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dcrleerg.h>
#include <dcmtk/dcmimage/diregist.h>  // To encode colour.
#include <dcmtk/dcmjpeg/djencode.h>

#include <memory>

#include "dicom_node/object/uncompressed.h"
#include "tests/dicom_node/object/image_loader_fixture.h"

namespace node::object {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

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
  image.is_signed = true;
  for (int& value : image.values) value = -value;
  const LoadedImage negative = load(image);
  EXPECT_EQ(pixels(negative).back(), -3960);
  EXPECT_THAT(negative.rendering, Contains("bits stored=13, header says 10"));
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

TEST_F(ImageLoader, EveryTransferSyntaxGivesTheSamePixels) {
  register_codecs();
  DJEncoderRegistration::registerCodecs();
  DcmRLEEncoderRegistration::registerCodecs();
  const std::vector<float> expected = pixels(load(ramp()));
  std::string digest;
  for (const E_TransferSyntax syntax :
       {EXS_LittleEndianExplicit, EXS_LittleEndianImplicit, EXS_BigEndianExplicit, EXS_DeflatedLittleEndianExplicit,
        EXS_RLELossless, EXS_JPEGProcess14, EXS_JPEGProcess14SV1}) {
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

// Many cameras and capture boards write YCbCr under a header that says RGB; and the other way round.
TEST_F(ImageLoader, ALossyStreamThatSaysItsColoursIsReadInThem) {
  register_codecs();  // Whose encoder leaves RGB as it is: component ids R, G, B and Adobe's marker, transform 0.
  TestImage image;
  image.samples = 3;
  image.bits_allocated = image.bits_stored = 8;
  image.photometric = "RGB";
  image.rows = image.columns = 16;
  image.values.clear();
  for (int i = 0; i < 16 * 16; ++i) image.values.insert(image.values.end(), {200, 60, 90});
  DcmFileFormat file = make_image(image);
  must(file.getDataset()->chooseRepresentation(EXS_JPEGProcess1, nullptr));
  const auto path = folder_.fresh();
  must(file.saveFile(path.c_str(), EXS_JPEGProcess1));
  const auto shown = [&](const std::string& bytes) {
    const auto loaded = load_image(write_bytes(folder_, bytes), {.keep_pixels = true});
    EXPECT_TRUE(loaded.ok()) << loaded.status().message();
    return *loaded;
  };
  const std::string as_it_says = read_bytes(path);
  const LoadedImage rgb = shown(as_it_says);
  EXPECT_NEAR(pixels(rgb)[0], 0.299 * 200 + 0.587 * 60 + 0.114 * 90, 2);
  EXPECT_THAT(rgb.rendering, ElementsAre("colour=luma"));

  std::string ycbcr = as_it_says;
  const std::size_t adobe = ycbcr.find("Adobe"), frame = ycbcr.find("\xFF\xC0"), scan = ycbcr.find("\xFF\xDA");
  ASSERT_TRUE(adobe != std::string::npos && frame != std::string::npos && scan != std::string::npos);
  ycbcr[adobe + 11] = '\1';
  for (const std::size_t component : {0, 1, 2}) {
    ycbcr[frame + 10 + 3 * component] = static_cast<char>(component + 1);
    ycbcr[scan + 5 + 2 * component] = static_cast<char>(component + 1);
  }
  const LoadedImage luma = shown(ycbcr);
  EXPECT_NEAR(pixels(luma)[0], 200, 2) << "Y is the first component";
  EXPECT_THAT(luma.rendering, ElementsAre("jpeg colours=YCbCr, header says otherwise", "colour=luma"));

  std::string says_ybr = as_it_says;
  const std::size_t photometric = says_ybr.find(std::string("\x28\0\4\0CS\4\0RGB ", 12));
  ASSERT_NE(photometric, std::string::npos);
  says_ybr.replace(photometric, 12, std::string("\x28\0\4\0CS\x08\0YBR_FULL", 16));
  const LoadedImage other = shown(says_ybr);
  EXPECT_EQ(pixels(other), pixels(rgb));
  EXPECT_THAT(other.rendering, ElementsAre("jpeg colours=RGB, header says otherwise", "colour=luma"));
}

// DCMTK takes a symbol of a DC table for a place in an array of 16, whatever it is; fuzzing found it.
TEST_F(ImageLoader, JpegStreamWithAnImpossibleHuffmanTableIsRefused) {
  register_codecs();
  DJEncoderRegistration::registerCodecs();
  for (const auto& [syntax, symbol] :
       {std::pair(EXS_JPEGProcess2_4, '\x10'), std::pair(EXS_JPEGProcess14SV1, '\x11')}) {
    TestImage image = ramp();
    image.bits_stored = 12;
    DcmFileFormat file = make_image(image);
    must(file.getDataset()->chooseRepresentation(syntax, nullptr));
    const auto path = folder_.fresh();
    must(file.saveFile(path.c_str(), syntax));
    EXPECT_TRUE(load_image(path).ok());
    std::string bytes = read_bytes(path);
    const std::size_t tables = bytes.find("\xFF\xC4");
    ASSERT_NE(tables, std::string::npos);
    constexpr std::size_t kFirstSymbol = 21;  // Behind marker, length, destination and 16 counts.
    bytes[tables + kFirstSymbol] = symbol;
    const auto changed = write_bytes(folder_, bytes);
    const Status status = load_image(changed).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr("Huffman table"));
    DcmFileFormat decoded;
    EXPECT_THAT(load_uncompressed(changed, decoded).message(), HasSubstr("Huffman table"));
  }
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
  DcmRLEEncoderRegistration::registerCodecs();
  TestImage made;
  made.frames = 2;
  made.rows = 1;
  for (const E_TransferSyntax syntax :
       {EXS_LittleEndianExplicit, EXS_BigEndianExplicit, EXS_RLELossless, EXS_JPEGProcess14SV1}) {
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
  const Status status = load_frames(write(folder_, file, EXS_RLELossless), {}, [](LoadedImage) { return ok_status(); });
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

}  // namespace
}  // namespace node::object
