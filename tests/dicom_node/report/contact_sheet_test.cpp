#include "dicom_node/report/contact_sheet.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace node::report {
namespace {

object::GrayImage grey(int rows, int columns) {
  return {rows, columns, std::vector<std::uint8_t>(static_cast<std::size_t>(rows) * columns, 77)};
}

RgbImage plain(int rows, int columns, Colour colour) {
  RgbImage image{rows, columns, {}};
  for (int i = 0; i < rows * columns; ++i) image.pixels.insert(image.pixels.end(), colour.begin(), colour.end());
  return image;
}

int count(const RgbImage& image, Colour colour) {
  int found = 0;
  for (int y = 0; y < image.rows; ++y)
    for (int x = 0; x < image.columns; ++x) found += image.at(y, x) == colour;
  return found;
}

TEST(ContactSheet, ShowsEachRadiographBesideThePictureOfItsOverlay) {
  // The overlay's strips are blue; only the part that shows the radiograph, red, belongs on the sheet.
  RgbImage overlay = plain(150, 200, {0, 0, 255});
  for (int y = 0; y < 100; ++y)
    for (int x = 0; x < 80; ++x)
      overlay.pixels[(static_cast<std::size_t>(y) * 200 + x) *
                     3] = 255,
                     overlay.pixels[(static_cast<std::size_t>(y) * 200 + x) * 3 + 2] = 0;
  const auto sheet = draw_contact_sheet({{grey(100, 80), overlay, {0, 0, 80, 100}, "HAND", {"Fracture 0.83 certain"}},
                                         {grey(100, 80), {}, {}, "FOOT", {}}},
                                        "What was found", "not for clinical use");
  ASSERT_TRUE(sheet.ok()) << sheet.status().message();
  EXPECT_EQ(count(*sheet, {77, 77, 77}), 2 * 100 * 80);
  EXPECT_EQ(count(*sheet, {255, 0, 0}), 100 * 80);
  EXPECT_EQ(count(*sheet, {0, 0, 255}), 0);
}

TEST(ContactSheet, RefusesAnEmptyListAndABrokenRadiograph) {
  EXPECT_EQ(draw_contact_sheet({}, "a", "b").status().code(), StatusCode::kInvalidArgument);
  ContactSheetEntry broken{grey(10, 10), {}, {}, "HAND", {}};
  broken.radiograph.pixels.pop_back();
  EXPECT_EQ(draw_contact_sheet({broken}, "a", "b").status().code(), StatusCode::kInvalidArgument);
}

TEST(WritePng, WritesAPictureAndSaysWhereItCannot) {
  const std::filesystem::path file = std::filesystem::path(testing::TempDir()) / "contact_sheet_test.png";
  const Status written = write_png(plain(4, 5, {1, 2, 3}), file);
  ASSERT_TRUE(written.ok()) << written.message();
  std::ifstream in(file, std::ios::binary);
  std::string start(8, '\0');
  in.read(start.data(), 8);
  EXPECT_EQ(start, "\x89PNG\r\n\x1a\n");
  std::filesystem::remove(file);
  const Status failed = write_png(plain(4, 5, {1, 2, 3}), "no such folder/x.png");
  EXPECT_FALSE(failed.ok());
  EXPECT_NE(failed.message().find("no such folder/x.png"), std::string::npos);
}

}  // namespace
}  // namespace node::report
