#include "dicom_node/object/finding_record.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <tuple>

namespace node::object {
namespace {

FindingRecord sample() {
  FindingRecord record;
  inference::Prediction& p = record.prediction;
  p.task = "fracture";
  p.model = "demo";
  p.model_version = "demo@sha256:01";
  p.model_digest = "sha256:0123";
  p.logits = {-1.2F, 0.1F, 3.4028235e38F, 1e-45F, -0.0F};
  p.scores = {{"Fraktur \"links\"", 0.1 + 0.2, "1"}, {"Alter", 123.456789012345678, "mo"}};
  record.rendering = {"voi=window 1", "inverted"};
  return record;
}

TEST(FindingRecord, ComesBackBitForBit) {
  FindingRecord record = sample();
  record.prediction.map = {2, {0.1F, 0.F, 1.F, 0.33333334F}, 1.0 / 3, 8, "partition", 0.75, 281474976710655u, 2, {}};
  const storage::StoredPrediction stored = encode_finding(record);
  EXPECT_EQ(stored.task, "fracture");
  EXPECT_EQ(stored.model_version, "demo@sha256:01");
  EXPECT_EQ(stored.blob.size(), 16u);
  EXPECT_EQ(stored.blob.substr(8, 4), std::string("\x00\x00\x80\x3F", 4));  // 1.0F, little endian.
  const auto back = decode_finding(stored);
  ASSERT_TRUE(back.ok()) << back.status().message();
  const inference::Prediction &a = record.prediction, &b = back->prediction;
  EXPECT_EQ(b.task, a.task);
  EXPECT_EQ(b.model, a.model);
  EXPECT_EQ(b.model_version, a.model_version);
  EXPECT_EQ(b.model_digest, a.model_digest);
  EXPECT_EQ(b.logits, a.logits);
  EXPECT_TRUE(std::signbit(b.logits[4]));
  ASSERT_EQ(b.scores.size(), 2u);
  EXPECT_EQ(b.scores[0].label, a.scores[0].label);
  EXPECT_EQ(b.scores[0].value, a.scores[0].value);
  EXPECT_EQ(b.scores[1].value, a.scores[1].value);
  EXPECT_EQ(b.scores[1].unit, "mo");
  EXPECT_EQ(b.map.size, 2);
  EXPECT_EQ(b.map.values, a.map.values);
  EXPECT_EQ(b.map.score, a.map.score);
  EXPECT_EQ(b.map.passes, 8);
  EXPECT_EQ(b.map.mode, "partition");
  EXPECT_EQ(b.map.mask_ratio, 0.75);
  EXPECT_EQ(b.map.seed, 281474976710655u);
  EXPECT_EQ(b.map.patch_size, 2);
  EXPECT_EQ(back->rendering, record.rendering);
}

TEST(FindingRecord, KeepsTheRegionsAndWhichOfThemDecides) {
  FindingRecord record = sample();
  inference::Region whole, patella;
  whole.label = "whole image";
  whole.box = {0, 0, 300, 400};
  patella.source = inference::RegionSource::kDetector;
  patella.label = "patella";
  patella.detector_score = 0.1 + 0.2;
  patella.box = {10, 20, 30, 40};
  patella.logits = {1.5F, -0.25F};
  patella.scores = {{"Bone tumour", 1.0 / 3, "1"}};
  patella.bone = "distal femur";
  patella.bone_probability = 2.0 / 3;
  record.prediction.regions = {whole, patella};
  record.prediction.regions_note = "left out: 1 box";
  record.prediction.scores[0].region = 1;
  storage::StoredPrediction stored = encode_finding(record);
  const auto back = decode_finding(stored);
  ASSERT_TRUE(back.ok()) << back.status().message();
  const inference::Prediction& b = back->prediction;
  ASSERT_EQ(b.regions.size(), 2u);
  EXPECT_EQ(b.regions[0].source, inference::RegionSource::kWholeImage);
  EXPECT_EQ(b.regions[0].box, whole.box);
  const inference::Region& region = b.regions[1];
  EXPECT_EQ(std::tie(region.source, region.label, region.detector_score, region.box, region.logits, region.bone,
                     region.bone_probability),
            std::tie(patella.source, patella.label, patella.detector_score, patella.box, patella.logits, patella.bone,
                     patella.bone_probability));
  ASSERT_EQ(region.scores.size(), 1u);
  EXPECT_EQ(region.scores[0].value, 1.0 / 3);
  EXPECT_EQ(b.regions_note, "left out: 1 box");
  EXPECT_EQ(b.scores[0].region, 1);
  EXPECT_EQ(b.scores[1].region, -1);
  record.prediction.scores[0].region = 2;  // Of which there is none.
  EXPECT_FALSE(decode_finding(encode_finding(record)).ok());
}

TEST(FindingRecord, KeepsWhichHalfOfAFilmItIsOf) {
  FindingRecord record = sample();
  EXPECT_EQ(decode_finding(encode_finding(record))->prediction.part.side, "");
  record.prediction.part = {"L", {150, 0, 301, 200}};
  const auto back = decode_finding(encode_finding(record));
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_EQ(back->prediction.part.side, "L");
  EXPECT_EQ(back->prediction.part.box, record.prediction.part.box);
}

TEST(FindingRecord, KeepsWhatACalibratedMapIsRankedAmong) {
  FindingRecord record = sample();
  record.prediction.map = {1, {0.5F}, 0.5, 4, "random", 0.75, 1, 1, {}};
  EXPECT_TRUE(decode_finding(encode_finding(record))->prediction.map.reference.digest.empty());
  record.prediction.map.reference = {"sha256:ab", "KNEE", 214, {0, 100}, {0.1 + 0.2, 1.0 / 3}, {1e-300, 1}};
  const auto stored = encode_finding(record);
  const auto back = decode_finding(stored);
  ASSERT_TRUE(back.ok()) << back.status().message();
  const inference::MapReference &a = record.prediction.map.reference, &b = back->prediction.map.reference;
  EXPECT_EQ(back->prediction.map.patch_size, 1);
  EXPECT_EQ(std::tie(b.digest, b.body_part, b.images, b.levels, b.patch_error, b.image_score),
            std::tie(a.digest, a.body_part, a.images, a.levels, a.patch_error, a.image_score));
  record.prediction.map.reference.image_score.pop_back();
  EXPECT_EQ(decode_finding(encode_finding(record)).status().code(), StatusCode::kDataLoss);
}

TEST(FindingRecord, WithoutAMapHasNoBlob) {
  const auto stored = encode_finding(sample());
  EXPECT_TRUE(stored.blob.empty());
  EXPECT_TRUE(decode_finding(stored)->prediction.map.values.empty());
}

TEST(FindingRecord, KeepsNumbersThatAreNone) {
  FindingRecord record = sample();
  record.prediction.logits = {std::nanf(""), std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity()};
  record.prediction.scores = {{"x", std::nan(""), "1"}};
  const auto back = decode_finding(encode_finding(record));
  ASSERT_TRUE(back.ok());
  EXPECT_TRUE(std::isnan(back->prediction.logits[0]));
  EXPECT_EQ(back->prediction.logits[1], std::numeric_limits<float>::infinity());
  EXPECT_EQ(back->prediction.logits[2], -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(back->prediction.scores[0].value));
}

TEST(FindingRecord, DamagedTextIsDataLoss) {
  FindingRecord record = sample();
  record.prediction.map = {1, {0.5F}, 0.5, 4, "random", 0.75, 1, 1, {}};
  const auto good = encode_finding(record);
  auto bad = good;
  bad.content.pop_back();
  EXPECT_EQ(decode_finding(bad).status().code(), StatusCode::kDataLoss);
  bad = good;
  bad.blob += "x";
  EXPECT_EQ(decode_finding(bad).status().code(), StatusCode::kDataLoss);
  bad = good;
  bad.content = "{\"task\": 1}";
  EXPECT_EQ(decode_finding(bad).status().code(), StatusCode::kDataLoss);
  bad = encode_finding(sample());
  bad.blob = good.blob;
  EXPECT_EQ(decode_finding(bad).status().code(), StatusCode::kDataLoss);
}

// From Python: int.from_bytes(hashlib.sha256(uid.encode()).digest()[:6], "big").
TEST(MaskSeed, IsTheBeginningOfTheUidsDigest) {
  EXPECT_EQ(mask_seed("1.2.3"), 216051268237476u);
  EXPECT_EQ(mask_seed("2.25.173914434538493420449591357335218432"), 181339461687117u);
}

}  // namespace
}  // namespace node::object
