// Everything under shared/data/dicom: nothing crashes, broken files are refused, and lossless ones give the stored
// values that pydicom gives (column stored_sha256; its definition is in shared/data/README.md).
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>

#include "dicom_node/object/image_loader.h"
#include "dicom_node/object/instance_header.h"
#include "dicom_node/object/sha256.h"
#include "dicom_node/object/stored_pixels.h"
#include "storage/uid.h"
#include "tests/dicom_node/object/test_files.h"

namespace node::object {
namespace {

const std::filesystem::path kCorpus = NODE_SOURCE_DIR "/../shared/data/dicom";

using Row = std::map<std::string, std::string>;

std::vector<std::string> cells(const std::string& line) {
  std::vector<std::string> all(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      all.emplace_back();
    } else if (c != '\r') {
      all.back() += c;
    }
  }
  return all;
}

std::vector<Row> rows(const std::string& table) {
  std::ifstream in(kCorpus / table);
  std::string line;
  std::getline(in, line);
  const auto names = cells(line);
  std::vector<Row> all;
  while (std::getline(in, line)) {
    const auto values = cells(line);
    Row row;
    for (std::size_t i = 0; i < std::min(names.size(), values.size()); ++i) row[names[i]] = values[i];
    all.push_back(row);
  }
  return all;
}

class Corpus : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kCorpus)) GTEST_SKIP() << "no shared/data/dicom beside the checkout";
  }
};

TEST_F(Corpus, BrokenFilesAreRefusedOrSurvived) {
  // Their pixels are good; what is wrong is refused by who checks UIDs.
  const std::vector<std::string> good_pixels = {"corrupt/uid_path_traversal.dcm", "corrupt/uid_absolute_and_long.dcm",
                                                "corrupt/uid_empty.dcm"};
  int refused = 0;
  for (const Row& row : rows("corrupt.csv")) {
    const std::string file = row.at("file");
    SCOPED_TRACE(file + ": " + row.at("what"));
    const auto header = read_instance_header(kCorpus / file);
    const auto image = load_image(kCorpus / file, {.render_for_processing = true});
    const auto digest = digest_pixels(kCorpus / file);
    EXPECT_TRUE(header.ok() || !image.ok());
    if (row.at("expect") != "refuse") continue;
    if (std::find(good_pixels.begin(), good_pixels.end(), file) != good_pixels.end()) {
      ASSERT_TRUE(header.ok());
      EXPECT_FALSE(storage::Uid::parse(header->sop_instance_uid).ok());
      continue;
    }
    EXPECT_FALSE(image.ok());
    ++refused;
  }
  EXPECT_GT(refused, 25);
}

TEST_F(Corpus, AHeaderInMemoryIsThatOfTheFile) {
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(kCorpus)) {
    if (entry.path().extension() != ".dcm") continue;
    SCOPED_TRACE(entry.path().lexically_relative(kCorpus).string());
    const std::string bytes = read_bytes(entry.path());
    const auto expected = read_instance_header(entry.path());
    const auto header = parse_instance_header(bytes);
    ASSERT_EQ(header.ok(), expected.ok()) << header.status().message() << expected.status().message();
    EXPECT_TRUE(!header.ok() || *header == *expected);
    ++files;
  }
  EXPECT_GT(files, 100);
}

TEST_F(Corpus, StoredValuesAreThoseOfPydicom) {
  const std::map<std::string, std::string> exceptions = {
      {"made/bits_32.dcm", "32 bits allocated: not legal in DX, and not read here"},
      {"public/rgb_body_part_nonsense.dcm", "an item outside any sequence: DCMTK cannot parse it either"},
      {"public/ybr_422_uncompressed.dcm", "pydicom's values are upsampled to 4:4:4, ours are as stored"},
  };
  int compared = 0;
  for (const std::string table : {"made.csv", "public.csv"}) {
    for (const Row& row : rows(table)) {
      const std::string file = row.at("file"), expected = row.at("stored_sha256");
      SCOPED_TRACE(file + ": " + row.at("case"));
      const auto image = load_image(kCorpus / file, {.render_for_processing = true});
      if (expected.empty()) continue;
      const auto reader = PixelReader::open(kCorpus / file, LoadOptions().pixels_max);
      std::string actual;
      if (reader.ok()) {
        Sha256 digest;
        bool good = true;
        for (int frame = 0; good && frame < (*reader)->header().number_of_frames; ++frame) {
          const auto pixels = (*reader)->read_frame(frame, UnusedBits::kDrop);
          good = pixels.ok();
          actual = good ? "" : pixels.status().message();
          if (good) digest.update(pixels->bytes.data(), pixels->bytes.size());
        }
        if (good) actual = digest.finish_hex();
      } else {
        actual = reader.status().message();
      }
      if (exceptions.contains(file)) {
        EXPECT_NE(actual, expected) << "no longer an exception";
      } else {
        EXPECT_EQ(actual, expected);
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 120);
}

}  // namespace
}  // namespace node::object
