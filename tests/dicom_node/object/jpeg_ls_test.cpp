#include "dicom_node/object/jpeg_ls.h"

#include <charls/charls.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>

#include "dicom_node/object/uncompressed.h"
#include "tests/dicom_node/object/image_loader_fixture.h"

namespace node::object {
namespace {

using testing::ElementsAreArray;
using testing::HasSubstr;

template <typename Sample>
std::string encode(const std::vector<Sample>& samples, charls::frame_info frame,
                   charls::interleave_mode mode = charls::interleave_mode::none) {
  charls::jpegls_encoder encoder;
  std::string stream(4096, 0);
  encoder.frame_info(frame).interleave_mode(mode).destination(stream);
  stream.resize(encoder.encode(samples));
  return stream;
}

// What `image` would be if a modality had compressed it: a fragment a frame.
DcmFileFormat compressed(const TestImage& image) {
  DcmFileFormat file = make_image(image);
  DcmElement* element = nullptr;
  must(file.getDataset()->findAndGetElement(DCM_PixelData, element));
  auto fragments = std::make_unique<DcmPixelSequence>(DCM_PixelSequenceTag);
  must(fragments->insert(new DcmPixelItem(DcmTag(DCM_Item, EVR_OB))));
  const auto size = static_cast<std::size_t>(image.rows * image.columns);
  for (std::size_t at = 0; at + size <= image.values.size(); at += size) {
    const std::vector<std::uint16_t> values(image.values.begin() + static_cast<std::ptrdiff_t>(at),
                                            image.values.begin() + static_cast<std::ptrdiff_t>(at + size));
    std::string stream = encode(values, {static_cast<std::uint32_t>(image.columns),
                                         static_cast<std::uint32_t>(image.rows), image.bits_stored, 1});
    stream.resize(stream.size() + stream.size() % 2);
    auto fragment = std::make_unique<DcmPixelItem>(DcmTag(DCM_Item, EVR_OB));
    must(fragment->putUint8Array(reinterpret_cast<const Uint8*>(stream.data()), stream.size()));
    must(fragments->insert(fragment.release()));
  }
  dynamic_cast<DcmPixelData&>(*element).putOriginalRepresentation(EXS_JPEGLSLossless, nullptr, fragments.release());
  return file;
}

TEST_F(ImageLoader, JpegLsGivesTheSamePixels) {
  DcmFileFormat file = compressed(ramp());
  const auto path = write(folder_, file, EXS_JPEGLSLossless);
  const auto image = load_image(path, {.keep_pixels = true});
  ASSERT_TRUE(image.ok()) << image.status().message();
  EXPECT_EQ(pixels(*image), pixels(load(ramp())));
  EXPECT_FALSE(image->lossy);
  DcmFileFormat native = make_image(ramp());
  EXPECT_EQ(digest_pixels(path)->sha256_hex, digest_pixels(write(folder_, native))->sha256_hex);
}

TEST_F(ImageLoader, JpegLsIsMadeUncompressedForWhoeverWantsItSo) {
  TestImage image = ramp();
  image.rows = 5;
  image.frames = 2;
  DcmFileFormat file = compressed(image), native;
  const auto path = write(folder_, file, EXS_JPEGLSLossless);
  const Status status = load_uncompressed(path, native);
  ASSERT_TRUE(status.ok()) << status.message();
  const Uint16* values = nullptr;
  unsigned long count = 0;
  must(native.getDataset()->findAndGetUint16Array(DCM_PixelData, values, &count));
  EXPECT_THAT(std::vector<int>(values, values + count), ElementsAreArray(image.values));
}

TEST(JpegLs, ColourIsToldFromItsInterleaveMode) {
  const std::vector<std::uint8_t> planes = {1, 2, 3, 4, 11, 12, 13, 14, 21, 22, 23, 24};
  const std::vector<std::uint8_t> pixels = {1, 11, 21, 2, 12, 22, 3, 13, 23, 4, 14, 24};
  for (const auto mode :
       {charls::interleave_mode::none, charls::interleave_mode::line, charls::interleave_mode::sample}) {
    const bool planar = mode == charls::interleave_mode::none;
    const std::string stream = encode(planar ? planes : pixels, {2, 2, 8, 3}, mode);
    const auto image = decode_jpeg_ls(stream, 2, 2, 3, 1);
    ASSERT_TRUE(image.ok()) << image.status().message();
    EXPECT_EQ(image->planar, planar);
    EXPECT_THAT(image->bytes, ElementsAreArray(planar ? planes : pixels));
  }
}

TEST(JpegLs, EightBitsAreWidenedToTheCellsThatTheHeaderAsksFor) {
  const std::vector<std::uint8_t> samples = {1, 2, 255, 4};
  const auto image = decode_jpeg_ls(encode(samples, {2, 2, 8, 1}), 2, 2, 1, 2);
  ASSERT_TRUE(image.ok()) << image.status().message();
  EXPECT_THAT(image->bytes, ElementsAreArray({1, 0, 2, 0, 255, 0, 4, 0}));
}

TEST(JpegLs, AnotherImageThanTheHeaderSaysIsRefused) {
  const std::vector<std::uint16_t> samples = {1, 2, 3, 4};
  const std::string stream = encode(samples, {2, 2, 12, 1});
  ASSERT_TRUE(decode_jpeg_ls(stream, 2, 2, 1, 2).ok());
  EXPECT_THAT(decode_jpeg_ls(stream, 4, 1, 1, 2).status().message(), HasSubstr("another size"));
  EXPECT_THAT(decode_jpeg_ls(stream, 2, 2, 3, 2).status().message(), HasSubstr("number of components"));
  EXPECT_THAT(decode_jpeg_ls(stream, 2, 2, 1, 1).status().message(), HasSubstr("more bits"));
}

TEST(JpegLs, ADamagedStreamIsRefusedWhereverItIsCut) {
  std::vector<std::uint16_t> samples;
  for (int i = 0; i < 256; ++i) samples.push_back(static_cast<std::uint16_t>(i * 37 % 4096));
  const std::string stream = encode(samples, {16, 16, 12, 1});
  const std::size_t cut_scan = stream.size() - 3;  // Within the last byte there may be nothing but padding.
  for (std::size_t size = 0; size < stream.size(); ++size) {
    EXPECT_EQ(decode_jpeg_ls(stream.substr(0, size), 16, 16, 1, 2).status().code(), StatusCode::kInvalidArgument);
    if (size >= cut_scan) continue;
    const std::string ended = stream.substr(0, size) + "\xFF\xD9";
    EXPECT_EQ(decode_jpeg_ls(ended, 16, 16, 1, 2).status().code(), StatusCode::kInvalidArgument) << size;
  }
}

// An end of image in a comment promises nothing of the scan.
TEST(JpegLs, AScanThatIsCutEndsWhateverStandsBeforeIt) {
  std::vector<std::uint16_t> samples;
  for (int i = 0; i < 256; ++i) samples.push_back(static_cast<std::uint16_t>(i * 37 % 4096));
  std::string stream = encode(samples, {16, 16, 12, 1});
  stream.insert(2, std::string("\xFF\xFE\x00\x04\xFF\xD9", 6));
  ASSERT_TRUE(decode_jpeg_ls(stream, 16, 16, 1, 2).ok());
  for (std::size_t size = 8; size + 3 < stream.size(); ++size) {
    EXPECT_EQ(decode_jpeg_ls(stream.substr(0, size), 16, 16, 1, 2).status().code(), StatusCode::kInvalidArgument);
  }
}

TEST(JpegLs, TheByteThatMakesAFragmentEvenIsNoPartOfTheStream) {
  const std::vector<std::uint16_t> samples = {1, 2, 3, 4};
  for (const char padding : {'\0', '\xFF'}) {
    EXPECT_TRUE(decode_jpeg_ls(encode(samples, {2, 2, 12, 1}) + padding, 2, 2, 1, 2).ok());
  }
}

// An input that a fuzzer found: its codes drive the Golomb parameter of a 16-bit stream beyond DCMTK's table.
TEST(JpegLs, AStreamThatLeadsBeyondTheTablesOfVersionOneIsRefused) {
  const auto image = load_image(std::string(NODE_SOURCE_DIR) + "/tests/fuzz/corpus/dicom/jpegls_golomb");
  EXPECT_EQ(image.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(image.status().message(), HasSubstr("JPEG-LS stream is damaged"));
}

}  // namespace
}  // namespace node::object
