// config.json and preprocessor_config.json as transformers of several ages wrote them: obeyed, or refused by name.
#include "inference/checkpoint.h"
#include "tests/inference/checkpoint_fixture.h"

namespace node::inference {
namespace {

NetworkConfig network_of(const std::string& text) {
  Result<JsonObject> object = JsonObject::parse(text, "config.json");
  if (!object.ok()) ADD_FAILURE() << object.status().message();
  Result<NetworkConfig> network = read_network_config(std::move(object).value());
  if (!network.ok()) ADD_FAILURE() << network.status().message();
  return network.ok() ? *network : NetworkConfig();
}

PreprocessConfig preprocess_of(const std::string& text) {
  Result<JsonObject> object = JsonObject::parse(text, "preprocessor_config.json");
  if (!object.ok()) ADD_FAILURE() << object.status().message();
  Result<PreprocessConfig> preprocess = read_preprocess_config(std::move(object).value());
  if (!preprocess.ok()) ADD_FAILURE() << preprocess.status().message();
  return preprocess.ok() ? *preprocess : PreprocessConfig();
}

// --- config.json -----------------------------------------------------------------------------------------------------

TEST(NetworkConfigs, OfAnAutoencoderByTransformers4) {
  const NetworkConfig network = network_of(R"({
    "architectures": ["ViTMAEForPreTraining"], "attention_probs_dropout_prob": 0.0, "decoder_hidden_size": 512,
    "decoder_intermediate_size": 2048, "decoder_num_attention_heads": 16, "decoder_num_hidden_layers": 8,
    "hidden_act": "gelu", "hidden_dropout_prob": 0.0, "hidden_size": 1024, "image_size": 224, "initializer_range": 0.02,
    "intermediate_size": 4096, "layer_norm_eps": 1e-12, "mask_ratio": 0.75, "model_type": "vit_mae",
    "norm_pix_loss": true, "num_attention_heads": 16, "num_channels": 3, "num_hidden_layers": 24, "patch_size": 16,
    "qkv_bias": true, "torch_dtype": "float32", "transformers_version": "4.46.0"})");
  EXPECT_EQ(network.architecture, Architecture::kMaskedAutoencoder);
  EXPECT_EQ(network.encoder.layers, 24);
  EXPECT_EQ(network.encoder.hidden_size, 1024);
  EXPECT_EQ(network.decoder.layers, 8);
  EXPECT_TRUE(network.norm_pix_loss);
  EXPECT_EQ(network.patches(), 196);
}

TEST(NetworkConfigs, WhatTransformersLeavesOutIsItsDefault) {
  const NetworkConfig network = network_of(R"({"architectures": ["ViTForImageClassification"], "model_type": "vit"})");
  EXPECT_EQ(network.encoder.hidden_size, 768);
  EXPECT_EQ(network.encoder.layers, 12);
  EXPECT_EQ(network.encoder.heads, 12);
  EXPECT_EQ(network.encoder.intermediate_size, 3072);
  EXPECT_EQ(network.layer_norm_eps, 1e-12);
  EXPECT_TRUE(network.qkv_bias);
  EXPECT_EQ(network.activation, Activation::kGelu);
  EXPECT_EQ(network.labels, (std::vector<std::string>{"LABEL_0", "LABEL_1"}));
  const NetworkConfig mae = network_of(R"({"model_type": "vit_mae"})");
  EXPECT_EQ(mae.architecture, Architecture::kMaskedAutoencoder);
  EXPECT_EQ(mae.decoder.hidden_size, 512);
  EXPECT_EQ(mae.decoder.heads, 16);
  EXPECT_EQ(mae.mask_ratio, 0.75);
  EXPECT_FALSE(mae.norm_pix_loss);
}

TEST(NetworkConfigs, OfAClassifierFineTunedFromAnAutoencoder) {
  const NetworkConfig network = network_of(R"({
    "_name_or_path": "skhoha/SKELEX", "architectures": ["ViTForImageClassification"], "decoder_hidden_size": 512,
    "decoder_intermediate_size": 2048, "decoder_num_attention_heads": 16, "decoder_num_hidden_layers": 8,
    "id2label": {"0": "KL 0", "1": "KL 1", "2": "KL 2", "3": "KL 3", "4": "KL 4", "10": "x", "5": "a", "6": "b",
                 "7": "c", "8": "d", "9": "e"},
    "label2id": {"KL 0": "0", "KL 1": "1"}, "mask_ratio": 0.75, "model_type": "vit_mae", "norm_pix_loss": false,
    "patch_size": [14, 14], "image_size": [224, 224], "problem_type": "single_label_classification",
    "_attn_implementation_autoset": true, "torch_dtype": "bfloat16", "transformers_version": "4.50.0"})");
  EXPECT_EQ(network.architecture, Architecture::kImageClassification);
  ASSERT_EQ(network.labels.size(), 11U);  // In the order of the numbers, not of the text.
  EXPECT_EQ(network.labels[2], "KL 2");
  EXPECT_EQ(network.labels[10], "x");
  EXPECT_EQ(network.patch_size, 14);
}

TEST(NetworkConfigs, OfTransformers5AndAWholeDumpOf4) {
  EXPECT_EQ(network_of(R"({
    "architectures": ["ViTForImageClassification"], "attention_probs_dropout_prob": 0.0, "dtype": "float16",
    "encoder_stride": 16, "hidden_act": "gelu_new", "hidden_dropout_prob": 0.0, "hidden_size": 192,
    "id2label": {"0": "Fracture"}, "image_size": 224, "initializer_range": 0.02, "intermediate_size": 768,
    "label2id": {"Fracture": 0}, "layer_norm_eps": 1e-06, "model_type": "vit", "num_attention_heads": 3,
    "num_channels": 3, "num_hidden_layers": 4, "patch_size": 16, "pooler_act": "tanh", "pooler_output_size": 192,
    "problem_type": "multi_label_classification", "qkv_bias": false, "transformers_version": "5.23.0"})")
                .qkv_bias,
            false);
  EXPECT_EQ(network_of(R"({
    "return_dict": true, "output_hidden_states": false, "torchscript": false, "use_bfloat16": false,
    "pruned_heads": {}, "tie_word_embeddings": true, "chunk_size_feed_forward": 0, "is_encoder_decoder": false,
    "is_decoder": false, "cross_attention_hidden_size": null, "add_cross_attention": false, "max_length": 20,
    "min_length": 0, "do_sample": false, "num_beams": 1, "temperature": 1.0, "top_k": 50, "bad_words_ids": null,
    "bos_token_id": null, "task_specific_params": null, "architectures": ["ViTForImageClassification"],
    "model_type": "vit", "hidden_act": "quick_gelu"})")
                .activation,
            Activation::kQuickGelu);
}

TEST_F(CheckpointFiles, WhatConfigAsksForAndIsNotUnderstoodIsRefusedByName) {
  EXPECT_REFUSED(open_with("rotary_embeddings", true), kUnsupported, HasSubstr("rotary_embeddings"));
  EXPECT_REFUSED(open_with("quantization_config", json::object()), kUnsupported, HasSubstr("quantization_config"));
  EXPECT_REFUSED(open_with("pruned_heads", {{"0", {1}}}), kUnsupported, HasSubstr("pruned_heads"));
  EXPECT_REFUSED(open_with("is_decoder", true), kUnsupported, HasSubstr("is_decoder"));
  EXPECT_REFUSED(open_with("head_dim", 3), kUnsupported, HasSubstr("head_dim"));
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

TEST(NetworkConfigs, ADetectorsLabelThatNoReportCanHoldIsRefused) {
  const auto read = [](const std::string& name) {
    const json config{{"model_type", "yolos"}, {"id2label", {{"0", "patella"}, {"1", name}}}};
    return read_network_config(*JsonObject::parse(config.dump(), "config.json")).status();
  };
  EXPECT_TRUE(read("f\xC3\xA9mur").ok());
  EXPECT_REFUSED(read("femur\\shaft"), kInvalidArgument,
                 HasSubstr("config.json: id2label: \"1\": the name \"femur\\shaft\" holds a backslash"));
  EXPECT_REFUSED(read("femur\n"), kInvalidArgument, HasSubstr("\"femur\\n\" holds a control character"));
  EXPECT_REFUSED(read(""), kInvalidArgument, HasSubstr("is blank"));
}

// --- directories that are none ---------------------------------------------------------------------------------------

TEST_F(CheckpointFiles, ADirectoryThatIsNoneSaysWhatItIsAndTheWayOut) {
  const auto in = [this](const std::string& folder) { return Checkpoint::open((path() / folder).string()).status(); };
  std::filesystem::create_directories(path() / "empty");
  EXPECT_REFUSED(in("empty"), kNotFound, HasSubstr("is empty"));
  write_file(path() / "script/d.torchscript", "PK");
  EXPECT_REFUSED(in("script"), kNotFound, AllOf(HasSubstr("d.torchscript"), HasSubstr("no manifest.json")));
  write_file(path() / "yolo/best.pt", "PK..data.pkl cultralytics.nn.tasks\nDetectionModel");
  EXPECT_REFUSED(in("yolo"), kNotFound,
                 AllOf(HasSubstr("`yolo export model=best.pt format=torchscript`"), Not(HasSubstr("state_dict"))));
  write_file(path() / "either/best.pt", "PK..data.pkl");
  EXPECT_REFUSED(in("either"), kNotFound, AllOf(HasSubstr("tools/state_dict"), HasSubstr("yolo export")));
  write_file(path() / "deep/run/config.json", "{}");
  write_file(path() / "deep/README.md", "");
  EXPECT_REFUSED(in("deep"), kNotFound, HasSubstr("one level deeper, in " + (path() / "deep/run").string()));
  write_file(path() / "tensors/model.safetensors", "");
  EXPECT_REFUSED(in("tensors"), kNotFound, AllOf(HasSubstr("tools/state_dict"), Not(HasSubstr("yolo"))));
}

// --- preprocessor_config.json ----------------------------------------------------------------------------------------

TEST(PreprocessConfigs, OfAFeatureExtractor) {
  const PreprocessConfig config = preprocess_of(R"({
    "do_normalize": true, "do_resize": true, "feature_extractor_type": "ViTFeatureExtractor",
    "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 3, "size": 384})");
  EXPECT_EQ(config.height, 384);
  EXPECT_EQ(config.width, 384);
  EXPECT_EQ(config.resample, Resample::kBicubic);
  EXPECT_EQ(config.mean[2], 0.406);
  EXPECT_TRUE(config.do_rescale);
  EXPECT_EQ(config.rescale_factor, 1.0 / 255);
  const PreprocessConfig first = preprocess_of(R"({"do_normalize": true, "do_resize": true,
    "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": [224, 224]})");
  EXPECT_EQ(first.height, 224);
  EXPECT_EQ(first.resample, Resample::kBilinear);
}

TEST(PreprocessConfigs, OfAnImageProcessorOfTransformers4And5) {
  const PreprocessConfig config = preprocess_of(R"({
    "do_convert_rgb": null, "do_normalize": true, "do_rescale": true, "do_resize": true,
    "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "ViTImageProcessor", "image_std": [0.5, 0.5, 0.5],
    "resample": 2, "rescale_factor": 0.00392156862745098, "size": {"height": 96, "width": 96}})");
  EXPECT_EQ(config.height, 96);
  EXPECT_EQ(config.rescale_factor, 0.00392156862745098);
  const PreprocessConfig fast = preprocess_of(R"({
    "crop_size": {"height": 224, "width": 224}, "data_format": "channels_first", "default_to_square": true,
    "device": null, "disable_grouping": null, "do_center_crop": false, "do_convert_rgb": true, "do_normalize": true,
    "do_pad": null, "do_rescale": true, "do_resize": true, "image_mean": 0.5, "image_processor_type":
    "ViTImageProcessorFast", "image_std": 0.25, "input_data_format": null, "pad_size": null, "resample": 2,
    "rescale_factor": 0.00392156862745098, "return_tensors": null, "size": {"height": 224, "width": 224}})");
  EXPECT_EQ(fast.mean, (std::array<double, 3>{0.5, 0.5, 0.5}));
  EXPECT_EQ(fast.std, (std::array<double, 3>{0.25, 0.25, 0.25}));
}

TEST(PreprocessConfigs, WhatItLeavesOutIsItsClasssDefault) {
  const PreprocessConfig config = preprocess_of("{}");
  EXPECT_EQ(config.height, 224);
  EXPECT_EQ(config.mean[0], 0.5);  // Not ImageNet's, which holds where there is no file.
  EXPECT_EQ(config.std[0], 0.5);
  EXPECT_EQ(config.resample, Resample::kBilinear);
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
  EXPECT_REFUSED(refused({{"size", kSize}, {"default_to_square", false}}), kUnsupported,
                 HasSubstr("default_to_square"));
  EXPECT_REFUSED(refused({{"size", kSize}, {"data_format", "channels_last"}}), kUnsupported, HasSubstr("data_format"));
  EXPECT_REFUSED(refused({{"size", kSize}, {"do_pad", true}}), kUnsupported, HasSubstr("do_pad"));
  EXPECT_REFUSED(refused({{"size", {kSize, kSize, kSize}}}), kInvalidArgument, HasSubstr("size"));
  EXPECT_REFUSED(refused({{"size", {{"height", kSize}, {"width", kSize}, {"longest_edge", 9}}}}), kUnsupported,
                 HasSubstr("longest_edge"));
  EXPECT_REFUSED(refused({{"size", kSize}, {"image_mean", {0.5, 0.5}}}), kInvalidArgument, HasSubstr("image_mean"));
  EXPECT_REFUSED(refused({{"size", kSize}, {"rescale_factor", "1/255"}}), kInvalidArgument,
                 HasSubstr("rescale_factor"));
  EXPECT_REFUSED(refused({{"size", kSize}, {"do_normalize", 1}}), kInvalidArgument, HasSubstr("do_normalize"));
  write_file(path() / "preprocessor_config.json", "{");
  EXPECT_REFUSED(open(), kInvalidArgument, HasSubstr("preprocessor_config.json"));
  write_preprocessor({{"size", kSize}});
  ASSERT_TRUE(open().ok());
  write_file(path() / "processor_config.json", "{}");
  EXPECT_REFUSED(open(), kUnsupported, HasSubstr("processor_config.json"));
}

}  // namespace
}  // namespace node::inference
