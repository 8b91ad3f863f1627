#include "dicom_node/object/rle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace node::object {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

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

std::string codes(std::initializer_list<int> bytes) { return std::string(bytes.begin(), bytes.end()); }

TEST(Rle, TheCode80StandsForNothing) {  // DCMTK 3.6.7 takes it for a run of 129.
  const std::string segment = codes({0x80, 2, 1, 2, 3, 0x80, 0x80, 0xFD, 9, 0x80});
  EXPECT_THAT(decode_rle(rle_stream({segment}), 7, 1, 1).value(), ElementsAre(1, 2, 3, 9, 9, 9, 9));
  EXPECT_THAT(decode_rle(rle_stream({segment}), 8, 1, 1).status().message(), HasSubstr("too early"));
}

TEST(Rle, TheLongestRunAndTheLongestLiteral) {
  std::string segment = codes({0x81, 5, 127});
  for (int i = 0; i < 128; ++i) segment += static_cast<char>(i);
  const auto bytes = decode_rle(rle_stream({segment}), 256, 1, 1);
  ASSERT_TRUE(bytes.ok());
  for (std::size_t i = 0; i < 256; ++i) ASSERT_EQ((*bytes)[i], i < 128 ? 5 : i - 128) << i;
}

TEST(Rle, ColourOfSixteenBitsIsInterleaved) {
  std::vector<std::string> segments;
  for (int i = 1; i <= 6; ++i) segments.push_back(codes({0, i}));
  EXPECT_THAT(decode_rle(rle_stream(segments), 1, 3, 2).value(), ElementsAre(2, 1, 4, 3, 6, 5));
}

// Longer than what is unpacked at a time, so that codes of every kind and length go over its edges.
TEST(Rle, CodesGoOnWhereverAnUnpackersPieceEnds) {
  constexpr std::size_t kPixels = 100'003;
  std::mt19937 random(7);
  std::vector<std::string> segments, planes;
  for (int s = 0; s < 2; ++s) {
    std::string segment, plane;
    while (plane.size() < kPixels) {
      const int code = static_cast<int>(random() % 256);
      segment += static_cast<char>(code);
      if (code == 128) continue;
      const std::size_t length = static_cast<std::size_t>(code < 128 ? code + 1 : 257 - code);
      std::string values(code < 128 ? length : 1, '\0');
      for (char& value : values) value = static_cast<char>(random());
      segment += values;
      plane += code < 128 ? values : std::string(length, values[0]);
    }
    segments.push_back(segment);
    planes.push_back(plane);
  }
  const auto bytes = decode_rle(rle_stream(segments), kPixels, 1, 2);
  ASSERT_TRUE(bytes.ok()) << bytes.status().message();
  for (std::size_t i = 0; i < kPixels; ++i) {
    ASSERT_EQ((*bytes)[2 * i + 1], static_cast<std::uint8_t>(planes[0][i])) << i;
    ASSERT_EQ((*bytes)[2 * i], static_cast<std::uint8_t>(planes[1][i])) << i;
  }
  EXPECT_FALSE(decode_rle(rle_stream(segments), kPixels + 200, 1, 2).ok());
}

TEST(Rle, WhatStandsBehindTheLastPixelIsPadding) {
  for (const auto& segment : {codes({2, 1, 2, 3, 0}), codes({0xFC, 7}), codes({3, 1, 2, 3, 4}), codes({0xFE, 7, 0x81})})
    EXPECT_TRUE(decode_rle(rle_stream({segment}), 3, 1, 1).ok());
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

}  // namespace
}  // namespace node::object
