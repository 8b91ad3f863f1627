// Checkpoint: a whole one is read, whatever its files are called, and told apart from others.
#include "inference/checkpoint.h"

#include "tests/inference/checkpoint_fixture.h"

namespace node::inference {
namespace {

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

// As accelerate saves what transformers 5 holds in memory: layers under names of its own.
TEST_F(CheckpointFiles, TheNamesThatTransformers5HoldsInMemoryAreRead) {
  const std::map<std::string, std::string> parts{{"attention.attention.query", "attention.q_proj"},
                                                 {"attention.attention.key", "attention.k_proj"},
                                                 {"attention.attention.value", "attention.v_proj"},
                                                 {"attention.output.dense", "attention.o_proj"},
                                                 {"intermediate.dense", "mlp.fc1"},
                                                 {"output.dense", "mlp.fc2"}};
  Tensors renamed;
  for (const auto& [name, tensor] : mae_tensors(1)) {
    std::string other = name;
    const std::string encoder = "vit.encoder.layer.0.", decoder = "decoder.decoder_layers.0.";
    for (const std::string& layer : {encoder, decoder}) {
      if (name.rfind(layer, 0) != 0) continue;
      std::string part = name.substr(layer.size());
      for (const auto& [ours, theirs] : parts) {
        if (part.rfind(ours + ".", 0) == 0) part = theirs + part.substr(ours.size());
      }
      other = (layer == encoder ? "vit.layers.0." : decoder) + part;
    }
    renamed[other] = tensor;
  }
  ASSERT_TRUE(renamed.contains("decoder.decoder_layers.0.mlp.fc2.bias"));
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

TEST_F(CheckpointFiles, WhatIsNotThereIsNamed) {
  EXPECT_REFUSED(open(), kNotFound, HasSubstr(path().string()));
  write_good();
  std::filesystem::remove(path() / "model.safetensors");
  EXPECT_REFUSED(open(), kNotFound, AllOf(HasSubstr(path().string()), HasSubstr("model.safetensors")));
  write_good();
  std::filesystem::remove(path() / "config.json");
  EXPECT_REFUSED(open(), kNotFound, AllOf(HasSubstr("has no config.json"), HasSubstr("tools/state_dict")));
}

}  // namespace
}  // namespace node::inference
