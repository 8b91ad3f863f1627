#include "dicom_node/object/map_calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace node::object {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

MapCalibration sample() {
  MapCalibration calibration;
  calibration.model = "demo \"skelex\"";
  calibration.model_digest = "sha256:0123";
  calibration.mode = "partition";
  calibration.passes = 8;
  calibration.body_parts["KNEE"] = {
      "", "KNEE", 214, {0, 50, 99.9, 100}, {0, 0.001, 0.02, 0.5}, {0.001, 0.002, 0.003, 0.004}};
  calibration.body_parts["HAND"] = {"", "HAND", 300, {0, 50, 99.9, 100}, {0, 0, 0, 1.0 / 3}, {0.1, 0.2, 0.3, 0.4}};
  return calibration;
}

std::filesystem::path write(const std::string& text) {
  const std::filesystem::path file = std::filesystem::path(testing::TempDir()) / "map_calibration_test.json";
  std::ofstream(file, std::ios::binary) << text;
  return file;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(MapCalibration, ComesBackFromItsFileWithTheFilesDigest) {
  const auto back = read_map_calibration(write(encode_map_calibration(sample())));
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_EQ(back->model, "demo \"skelex\"");
  EXPECT_EQ(back->model_digest, "sha256:0123");
  EXPECT_EQ(back->mode, "partition");
  EXPECT_EQ(back->passes, 8);
  ASSERT_EQ(back->body_parts.size(), 2u);
  const inference::MapReference& knee = back->body_parts.at("KNEE");
  EXPECT_EQ(knee.body_part, "KNEE");
  EXPECT_EQ(knee.images, 214);
  EXPECT_THAT(knee.levels, ElementsAre(0, 50, 99.9, 100));
  EXPECT_THAT(knee.patch_error, ElementsAre(0, 0.001, 0.02, 0.5));
  EXPECT_THAT(knee.image_score, ElementsAre(0.001, 0.002, 0.003, 0.004));
  EXPECT_NEAR(back->body_parts.at("HAND").patch_error[3], 1.0 / 3, 1e-6);
  EXPECT_THAT(back->digest, testing::StartsWith("sha256:"));
  EXPECT_EQ(back->digest.size(), 71u);
  EXPECT_EQ(knee.digest, back->digest);
}

TEST(MapCalibration, AnotherContentHasAnotherDigestAndTheSameTheSame) {
  MapCalibration other = sample();
  other.body_parts["KNEE"].patch_error[1] = 0.0011;
  const auto a = read_map_calibration(write(encode_map_calibration(sample())));
  const auto b = read_map_calibration(write(encode_map_calibration(sample())));
  const auto c = read_map_calibration(write(encode_map_calibration(other)));
  ASSERT_TRUE(a.ok() && b.ok() && c.ok());
  EXPECT_EQ(a->digest, b->digest);
  EXPECT_NE(a->digest, c->digest);
}

TEST(MapCalibration, AFileThatCannotBeUsedIsNamedWithTheReason) {
  const std::string good = encode_map_calibration(sample());
  for (const auto& [text, reason] :
       {std::pair{std::string("no JSON"), "is not a skelex-map-calibration-1"},
        {replaced(good, "calibration-1", "calibration-9"), "is not a skelex-map-calibration-1"},
        {replaced(good, "\"passes\": 8", "\"passes\": \"eight\""), "is not a"},
        {replaced(good, "[0, 50, 99.9, 100]", "[0, 50, 50, 100]"), "levels: wants"},
        {replaced(good, "[0, 50, 99.9, 100]", "[0, 50, 99.9]"), "levels: wants"},
        {replaced(good, "\"images\": 214", "\"images\": 0"), "KNEE: images"},
        {replaced(good, "[0, 0.001, 0.02, 0.5]", "[0, 0.001, 0.02]"), "KNEE: patch_error"},
        {replaced(good, "[0, 0.001, 0.02, 0.5]", "[0, 0.03, 0.02, 0.5]"), "KNEE: patch_error"},
        {replaced(good, "[0, 0.001, 0.02, 0.5]", "[0, null, 0.02, 0.5]"), "is not a"},
        {replaced(good, "[0.1, 0.2, 0.3, 0.4]", "[]"), "HAND: image_score"}}) {
    const auto read = read_map_calibration(write(text));
    EXPECT_EQ(read.status().code(), StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(read.status().message(), AllOf(HasSubstr("map_calibration_test.json"), HasSubstr(reason)));
  }
  EXPECT_EQ(read_map_calibration("no such file").status().code(), StatusCode::kNotFound);
}

TEST(MapCalibration, OfAnotherModelModeOrPassesIsRefusedInWords) {
  config::TaskConfig task;
  task.output = config::OutputKind::kAnomalyMap;
  inference::TaskInfo served;
  served.model_digest = "sha256:0123";
  EXPECT_TRUE(check_made_for(sample(), task, served).ok());

  served.model_digest = "sha256:4567";
  EXPECT_THAT(check_made_for(sample(), task, served).message(), HasSubstr("model sha256:0123, not sha256:4567"));
  served.model_digest = "sha256:0123";
  task.passes = 12;
  EXPECT_THAT(check_made_for(sample(), task, served).message(),
              AllOf(HasSubstr("passes 8, not 12"), Not(HasSubstr("model"))));
  task.mode = config::MaskMode::kRandom;
  const Status both = check_made_for(sample(), task, served);
  EXPECT_EQ(both.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(both.message(), AllOf(HasSubstr("mode partition, not random"), HasSubstr("passes 8, not 12")));
}

}  // namespace
}  // namespace node::object
