// Checkpoint: a whole one is read, a broken one is refused by the name of file and tensor, and never crashes.
#include "inference/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/inference/checkpoint_files.h"

namespace node::inference {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using namespace test_files;

constexpr char kSome[] = "vit.encoder.layer.0.output.dense.weight";

class CheckpointFiles : public ::testing::Test {
 protected:
  std::filesystem::path path() const { return folder_.path() / "model"; }
  void write(const json& config, const Tensors& tensors) { write_checkpoint(path(), config, tensors); }
  void write_good() { write(classifier_config(2), classifier_tensors(1, 2)); }
  void write_weights(const std::string& bytes) { write_file(path() / "model.safetensors", bytes); }
  void write_preprocessor(const json& content) { write_file(path() / "preprocessor_config.json", content.dump()); }

  Status open() const { return Checkpoint::open(path().string()).status(); }
  Checkpoint open_good() const {
    Result<Checkpoint> checkpoint = Checkpoint::open(path().string());
    if (!checkpoint.ok()) ADD_FAILURE() << checkpoint.status().message();
    return std::move(checkpoint).value();
  }
  // config.json with one key changed.
  Status open_with(const std::string& key, const json& value) {
    json config = classifier_config(2);
    config[key] = value;
    write(config, classifier_tensors(1, 2));
    return open();
  }
  // The header of a good file, changed by `change`, before the same data.
  template <typename Change>
  Status open_with_header(Change change) {
    write_good();
    auto [header, data] = safetensors_parts(classifier_tensors(1, 2));
    change(header, data);
    write_weights(with_header(header, data));
    return open();
  }

 private:
  TemporaryFolder folder_;
};

#define EXPECT_REFUSED(status, expected_code, matcher)              \
  do {                                                              \
    const Status status_of_refusal = (status);                      \
    EXPECT_EQ(status_of_refusal.code(), StatusCode::expected_code); \
    EXPECT_THAT(status_of_refusal.message(), matcher);              \
  } while (false)

TEST_F(CheckpointFiles, AWholeOneIsRead) {
  write_good();
  const Checkpoint checkpoint = open_good();
  EXPECT_EQ(checkpoint.name(), "model");
  EXPECT_EQ(checkpoint.network().encoder.hidden_size, kHidden);
  EXPECT_EQ(checkpoint.network().labels, (std::vector<std::string>{"label-0", "label-1"}));
  EXPECT_EQ(checkpoint.tensor(kSome).shape, (std::vector<std::int64_t>{kHidden, 2 * kHidden}));
  EXPECT_EQ(std::memcmp(checkpoint.tensor(kSome).data, classifier_tensors(1, 2)[kSome].bytes.data(),
                        checkpoint.tensor(kSome).size_bytes),
            0);
  EXPECT_EQ(checkpoint.digest().size(), 7 + 64U);
  EXPECT_FALSE(checkpoint.has_preprocessor_config());
  EXPECT_EQ(checkpoint.preprocess().height, kSize);
  EXPECT_EQ(checkpoint.preprocess().mean[0], 0.485);
}

TEST_F(CheckpointFiles, BothNamesOfTheDecodersLayersAreRead) {
  Tensors renamed;
  for (const auto& [name, tensor] : mae_tensors(1)) {
    std::string other = name;
    const std::string old_name = "decoder.decoder_layers.";
    if (name.rfind(old_name, 0) == 0) other = "decoder.decoder_encoder.layer." + name.substr(old_name.size());
    renamed[other] = tensor;
  }
  write(mae_config(), mae_tensors(1));
  const std::string digest = open_good().digest();
  write(mae_config(), renamed);
  EXPECT_EQ(open_good().digest(), digest);
}

TEST_F(CheckpointFiles, ShardsAreOneCheckpoint) {
  write_good();
  const std::string digest = open_good().digest();
  std::filesystem::remove(path() / "model.safetensors");
  Tensors first, second;
  json map;
  for (const auto& [name, tensor] : classifier_tensors(1, 2)) {
    const bool early = first.size() < 5;
    (early ? first : second)[name] = tensor;
    map[name] = early ? "model-1.safetensors" : "model-2.safetensors";
  }
  write_file(path() / "model-1.safetensors", safetensors(first));
  write_file(path() / "model-2.safetensors", safetensors(second));
  write_file(path() / "model.safetensors.index.json", json{{"weight_map", map}}.dump());
  EXPECT_EQ(open_good().digest(), digest);

  json elsewhere = map;
  elsewhere[kSome] = "../model-2.safetensors";
  write_file(path() / "model.safetensors.index.json", json{{"weight_map", elsewhere}}.dump());
  EXPECT_REFUSED(open(), kInvalidArgument, AllOf(HasSubstr("index.json"), HasSubstr(kSome)));

  elsewhere[kSome] = "model-1.safetensors";
  write_file(path() / "model.safetensors.index.json", json{{"weight_map", elsewhere}}.dump());
  EXPECT_REFUSED(open(), kInvalidArgument, AllOf(HasSubstr("model-1.safetensors"), HasSubstr(kSome)));

  write_file(path() / "model.safetensors.index.json", json{{"weight_map", map}}.dump());
  std::filesystem::remove(path() / "model-2.safetensors");
  EXPECT_REFUSED(open(), kNotFound, HasSubstr("model-2.safetensors"));
}

TEST_F(CheckpointFiles, DigestsTellWhatIsShared) {
  write_good();
  const Checkpoint one = open_good();
  write(classifier_config(2), classifier_tensors(1, 2, /*head=*/2));
  const Checkpoint other_head = open_good();
  EXPECT_NE(one.digest(), other_head.digest());
  EXPECT_EQ(one.backbone_digest(), other_head.backbone_digest());
  write(mae_config(), mae_tensors(1));
  EXPECT_EQ(one.backbone_digest(), open_good().backbone_digest());
  write(classifier_config(2), classifier_tensors(2, 2));
  EXPECT_NE(one.backbone_digest(), open_good().backbone_digest());

  json config = classifier_config(2);
  config["layer_norm_eps"] = 1e-5;
  write(config, classifier_tensors(1, 2));
  EXPECT_NE(one.backbone_digest(), open_good().backbone_digest());
  write_good();
  write_preprocessor({{"size", kSize}, {"image_mean", {0.5, 0.5, 0.5}}, {"image_std", {0.5, 0.5, 0.5}}});
  EXPECT_NE(one.backbone_digest(), open_good().backbone_digest());
}

TEST_F(CheckpointFiles, TruncatedAnywhereIsAnError) {
  write_good();
  const std::string whole = read_file(path() / "model.safetensors");
  const auto [header, data] = safetensors_parts(classifier_tensors(1, 2));
  const std::size_t data_at = whole.size() - data.size();
  std::vector<std::size_t> lengths{0, 1, 7, 8, 9, data_at - 1, data_at, whole.size() - 1};
  for (const auto& item : header.items()) {
    if (item.key() == "__metadata__") continue;
    const std::size_t begin = data_at + item.value()["data_offsets"][0].get<std::size_t>();
    lengths.insert(lengths.end(), {begin, begin + 1});
  }
  for (const std::size_t length : lengths) {
    SCOPED_TRACE(length);
    write_weights(whole.substr(0, length));
    EXPECT_REFUSED(open(), kDataLoss, HasSubstr("model.safetensors"));
  }
  write_weights(whole + "x");
  EXPECT_REFUSED(open(), kInvalidArgument, HasSubstr("belong to no tensor"));
}

TEST_F(CheckpointFiles, AHeaderOf2To60BytesIsRefusedUnread) {
  write_good();
  write_weights(header_length(std::uint64_t{1} << 60) + "{}");
  EXPECT_REFUSED(open(), kInvalidArgument, HasSubstr("model.safetensors"));
  write_weights(header_length(~std::uint64_t{0}) + "{}");
  EXPECT_REFUSED(open(), kInvalidArgument, HasSubstr("model.safetensors"));
}

TEST_F(CheckpointFiles, HeadersThatAreNoHeaders) {
  write_good();
  for (const std::string text : {"", "{", "[]", "17", "{\"a\":}", "\xff\xfe"}) {
    SCOPED_TRACE(text);
    write_weights(header_length(text.size()) + text);
    EXPECT_REFUSED(open(), kInvalidArgument, HasSubstr("model.safetensors"));
  }
  const std::string deep = std::string(200'000, '[');
  write_weights(header_length(deep.size()) + deep);
  EXPECT_REFUSED(open(), kInvalidArgument, HasSubstr("not valid JSON"));
}

TEST_F(CheckpointFiles, OffsetsAreChecked) {
  const auto offsets = [this](const json& value) {
    return open_with_header([&](json& header, std::string&) { header[kSome]["data_offsets"] = value; });
  };
  const std::size_t size = classifier_tensors(1, 2)[kSome].bytes.size();
  EXPECT_REFUSED(offsets({1'000'000, 1'000'000 + size}), kDataLoss, HasSubstr(kSome));
  EXPECT_REFUSED(offsets({0, size}), kInvalidArgument, HasSubstr("overlaps"));
  EXPECT_REFUSED(offsets({size, 0}), kInvalidArgument, HasSubstr(kSome));
  EXPECT_REFUSED(offsets({-4, 4}), kInvalidArgument, HasSubstr(kSome));
  EXPECT_REFUSED(offsets({0, 1.5}), kInvalidArgument, HasSubstr(kSome));
  EXPECT_REFUSED(offsets({0}), kInvalidArgument, HasSubstr(kSome));
  EXPECT_REFUSED(offsets({~std::uint64_t{0} - size + 1, ~std::uint64_t{0}}), kInvalidArgument, HasSubstr(kSome));
  EXPECT_REFUSED(offsets({~std::uint64_t{0} - size, ~std::uint64_t{0}}), kDataLoss, HasSubstr(kSome));
}

TEST_F(CheckpointFiles, ShapesAndTypesAreChecked) {
  const auto entry = [this](const std::string& key, const json& value) {
    return open_with_header([&](json& header, std::string&) { header[kSome][key] = value; });
  };
  EXPECT_REFUSED(entry("shape", {1u << 31, 1u << 31, 1u << 31}), kInvalidArgument, HasSubstr(kSome));
  EXPECT_REFUSED(entry("shape", {-8, -16}), kInvalidArgument, HasSubstr(kSome));
  EXPECT_REFUSED(entry("shape", {2 * kHidden, kHidden}), kInvalidArgument,
                 AllOf(HasSubstr(kSome), HasSubstr("16x8"), HasSubstr("8x16")));
  EXPECT_REFUSED(entry("dtype", "I64"), kUnsupported, AllOf(HasSubstr(kSome), HasSubstr("I64")));
  EXPECT_REFUSED(entry("dtype", "F16"), kInvalidArgument, HasSubstr(kSome));
  EXPECT_REFUSED(entry("dtype", 3), kInvalidArgument, HasSubstr(kSome));
}

TEST_F(CheckpointFiles, MissingExtraAndNotFiniteAreNamed) {
  Tensors tensors = classifier_tensors(1, 2);
  tensors.erase(kSome);
  write(classifier_config(2), tensors);
  EXPECT_REFUSED(open(), kInvalidArgument, AllOf(HasSubstr(kSome), HasSubstr("missing")));

  tensors = classifier_tensors(1, 2);
  tensors["vit.encoder.layer.1.output.dense.bias"] = tensor_of({1}, {1});
  write(classifier_config(2), tensors);
  EXPECT_REFUSED(open(), kInvalidArgument, HasSubstr("vit.encoder.layer.1.output.dense.bias"));

  for (const std::uint32_t bits : {0x7FC00000u, 0xFF800000u}) {  // NaN, -infinity
    tensors = classifier_tensors(1, 2);
    std::memcpy(tensors[kSome].bytes.data() + 40, &bits, sizeof bits);
    write(classifier_config(2), tensors);
    EXPECT_REFUSED(open(), kDataLoss, AllOf(HasSubstr(kSome), HasSubstr("NaN")));
  }
}

TEST_F(CheckpointFiles, WhatConfigAsksForAndIsNotUnderstoodIsRefusedByName) {
  EXPECT_REFUSED(open_with("rotary_embeddings", true), kUnsupported, HasSubstr("rotary_embeddings"));
  EXPECT_REFUSED(open_with("hidden_act", "xielu"), kUnsupported, HasSubstr("xielu"));
  EXPECT_REFUSED(open_with("architectures", {"Dinov2Model"}), kUnsupported, HasSubstr("Dinov2Model"));
  EXPECT_REFUSED(open_with("model_type", "swin"), kUnsupported, HasSubstr("swin"));
  EXPECT_REFUSED(open_with("image_size", {8, 16}), kUnsupported, HasSubstr("image_size"));
  EXPECT_REFUSED(open_with("num_channels", 1), kUnsupported, HasSubstr("num_channels"));
  EXPECT_REFUSED(open_with("hidden_size", -8), kInvalidArgument, HasSubstr("hidden_size"));
  EXPECT_REFUSED(open_with("hidden_size", "8"), kInvalidArgument, HasSubstr("hidden_size"));
  EXPECT_REFUSED(open_with("hidden_size", 18446744073709551615u), kInvalidArgument, HasSubstr("hidden_size"));
  EXPECT_REFUSED(open_with("num_attention_heads", 3), kInvalidArgument, HasSubstr("3 heads"));
  EXPECT_REFUSED(open_with("patch_size", 3), kInvalidArgument, HasSubstr("patch_size"));
  EXPECT_REFUSED(open_with("id2label", {{"0", "a"}, {"2", "b"}}), kInvalidArgument, HasSubstr("id2label"));
  EXPECT_REFUSED(open_with("qkv_bias", false), kInvalidArgument, HasSubstr("key.bias"));
  EXPECT_TRUE(open_with("image_size", {8, 8}).ok());
  EXPECT_TRUE(open_with("torch_dtype", "float16").ok());
}

TEST_F(CheckpointFiles, ThePreprocessorsFileIsObeyedOrRefusedByName) {
  write_good();
  write_preprocessor({{"feature_extractor_type", "ViTFeatureExtractor"}, {"size", kSize}, {"resample", 3}});
  EXPECT_EQ(open_good().preprocess().resample, Resample::kBicubic);
  EXPECT_EQ(open_good().preprocess().mean[1], 0.5);
  write_preprocessor(
      {{"size", {{"height", kSize}, {"width", kSize}}}, {"do_normalize", false}, {"rescale_factor", 0.5}});
  EXPECT_FALSE(open_good().preprocess().do_normalize);
  EXPECT_EQ(open_good().preprocess().rescale_factor, 0.5);

  const auto refused = [this](const json& content) {
    write_preprocessor(content);
    return open();
  };
  EXPECT_REFUSED(refused({{"size", 224}}), kInvalidArgument, AllOf(HasSubstr("224"), HasSubstr("image_size")));
  EXPECT_REFUSED(refused({{"size", {{"shortest_edge", kSize}}}}), kUnsupported, HasSubstr("size"));
  EXPECT_REFUSED(refused({{"size", kSize}, {"resample", 0}}), kUnsupported, HasSubstr("resample"));
  EXPECT_REFUSED(refused({{"size", kSize}, {"do_center_crop", true}}), kUnsupported, HasSubstr("do_center_crop"));
  EXPECT_REFUSED(refused({{"size", kSize}, {"do_clahe", true}}), kUnsupported, HasSubstr("do_clahe"));
  EXPECT_REFUSED(refused({{"size", kSize}, {"image_std", {0, 1, 1}}}), kInvalidArgument, HasSubstr("std"));
  EXPECT_REFUSED(refused({{"size", kSize}, {"image_processor_type", "BitImageProcessor"}}), kUnsupported,
                 HasSubstr("BitImageProcessor"));
  write_file(path() / "preprocessor_config.json", "{");
  EXPECT_REFUSED(open(), kInvalidArgument, HasSubstr("preprocessor_config.json"));
}

TEST_F(CheckpointFiles, WhatIsNotThereIsNamed) {
  EXPECT_REFUSED(open(), kNotFound, HasSubstr(path().string()));
  write_good();
  std::filesystem::remove(path() / "model.safetensors");
  EXPECT_REFUSED(open(), kNotFound, AllOf(HasSubstr(path().string()), HasSubstr("model.safetensors")));
  write_good();
  std::filesystem::remove(path() / "config.json");
  EXPECT_REFUSED(open(), kNotFound, HasSubstr("config.json"));
}

}  // namespace
}  // namespace node::inference
