#include "inference/network_config.h"

#include <cmath>
#include <map>
#include <utility>

#include "inference/readable.h"

namespace node::inference {
namespace {

constexpr std::int64_t kSizeMax = 1 << 20;  // Keeps every product of two sizes far from overflow.
constexpr std::int64_t kLayersMax = 1000;

Result<Architecture> architecture_of(JsonObject& config) {
  std::string type;
  std::vector<std::string> classes;
  NODE_RETURN_IF_ERROR(config.text("model_type", type));
  NODE_RETURN_IF_ERROR(config.texts("architectures", classes));
  if (type != "vit" && type != "vit_mae" && type != "yolos") {
    return config.not_supported("model_type", "not understood: " + type);
  }
  if (classes.size() > 1) return config.wrong("architectures", "a list of one name is needed");
  if (type == "yolos") {
    if (classes.empty() || classes.front() == "YolosForObjectDetection") return Architecture::kObjectDetection;
    return config.not_supported("architectures", "YolosForObjectDetection is needed, not " + classes.front());
  }
  // A classifier fine-tuned from a masked autoencoder may keep model_type vit_mae: the class decides.
  const std::string name = !classes.empty() ? classes.front() : type == "vit_mae" ? "ViTMAEForPreTraining" : "none";
  if (name == "ViTForImageClassification") return Architecture::kImageClassification;
  if (name == "ViTMAEForPreTraining") return Architecture::kMaskedAutoencoder;
  return config.not_supported("architectures",
                              "ViTForImageClassification or ViTMAEForPreTraining is needed, not " + name);
}

// One number, or [height, width] of two equal ones.
Status read_square(JsonObject& config, const std::string& key, std::int64_t max, std::int64_t& side) {
  std::vector<std::int64_t> sides{side};
  NODE_RETURN_IF_ERROR(config.integers(key, 1, max, sides));
  if (sides.empty() || sides.size() > 2) return config.wrong(key, "one number or two are needed");
  if (sides.front() != sides.back()) return config.not_supported(key, "only squares are supported");
  side = sides.front();
  return ok_status();
}

Status read_squares(JsonObject& config, NetworkConfig& network) {
  NODE_RETURN_IF_ERROR(read_square(config, "image_size", 16384, network.image_size));
  NODE_RETURN_IF_ERROR(read_square(config, "patch_size", 1024, network.patch_size));
  if (network.image_size % network.patch_size == 0) return ok_status();
  return config.wrong("image_size", std::to_string(network.image_size) + " is not a multiple of patch_size " +
                                        std::to_string(network.patch_size));
}

// `prefix`: of the decoder's keys.
Status read_transformer(JsonObject& config, const std::string& prefix, TransformerConfig& transformer) {
  NODE_RETURN_IF_ERROR(config.integer(prefix + "hidden_size", 1, kSizeMax, transformer.hidden_size));
  NODE_RETURN_IF_ERROR(config.integer(prefix + "num_hidden_layers", 1, kLayersMax, transformer.layers));
  NODE_RETURN_IF_ERROR(config.integer(prefix + "num_attention_heads", 1, kSizeMax, transformer.heads));
  NODE_RETURN_IF_ERROR(config.integer(prefix + "intermediate_size", 1, kSizeMax, transformer.intermediate_size));
  if (transformer.hidden_size % transformer.heads == 0) return ok_status();
  return config.wrong(prefix + "hidden_size", std::to_string(transformer.hidden_size) + " is not a multiple of " +
                                                  std::to_string(transformer.heads) + " heads");
}

Status read_activation(JsonObject& config, Activation& activation) {
  // The five spellings of the tanh form are one formula.
  static const std::map<std::string, Activation> kActivations{
      {"gelu", Activation::kGelu},
      {"gelu_python", Activation::kGelu},
      {"gelu_new", Activation::kGeluTanh},
      {"gelu_fast", Activation::kGeluTanh},
      {"gelu_accurate", Activation::kGeluTanh},
      {"gelu_pytorch_tanh", Activation::kGeluTanh},
      {"gelu_python_tanh", Activation::kGeluTanh},
      {"quick_gelu", Activation::kQuickGelu},
      {"relu", Activation::kRelu},
      {"silu", Activation::kSilu},
      {"swish", Activation::kSilu},
  };
  std::string name = "gelu";
  NODE_RETURN_IF_ERROR(config.text("hidden_act", name));
  const auto found = kActivations.find(name);
  if (found == kActivations.end()) return config.not_supported("hidden_act", "not understood: " + name.substr(0, 80));
  activation = found->second;
  return ok_status();
}

Status read_labels(JsonObject& config, std::vector<std::string>& labels) {
  std::int64_t count = 2;  // The default of transformers, which leaves it out of the file.
  NODE_RETURN_IF_ERROR(config.integer("num_labels", 1, 100'000, count));
  std::map<std::string, std::string> id2label;
  NODE_RETURN_IF_ERROR(config.text_map("id2label", id2label));
  if (config.has("id2label")) count = static_cast<std::int64_t>(id2label.size());
  if (count == 0) return config.wrong("id2label", "a label is needed");
  for (std::int64_t i = 0; i < count; ++i) {
    const auto found = id2label.find(std::to_string(i));
    if (found != id2label.end()) {
      labels.push_back(found->second);
    } else if (id2label.empty()) {
      labels.push_back("LABEL_" + std::to_string(i));
    } else {
      return config.wrong("id2label", "no text for \"" + std::to_string(i) + "\"");
    }
  }
  return ok_status();
}

Status read_autoencoder(JsonObject& config, NetworkConfig& network) {
  NODE_RETURN_IF_ERROR(read_transformer(config, "decoder_", network.decoder));
  NODE_RETURN_IF_ERROR(config.number("mask_ratio", network.mask_ratio));
  NODE_RETURN_IF_ERROR(config.boolean("norm_pix_loss", network.norm_pix_loss));
  config.without_effect({"id2label", "num_labels"});
  if (network.mask_ratio > 0 && network.mask_ratio < 1) return ok_status();
  return config.wrong("mask_ratio", "a number between 0 and 1 is needed");
}

// Its images have a height and a width of their own.
Status read_detector(JsonObject& config, NetworkConfig& network) {
  std::vector<std::int64_t> sides{network.image_rows, network.image_columns};
  NODE_RETURN_IF_ERROR(config.integers("image_size", 1, 16384, sides));
  if (sides.empty() || sides.size() > 2) return config.wrong("image_size", "one number or two are needed");
  network.image_rows = sides.front();
  network.image_columns = sides.back();
  NODE_RETURN_IF_ERROR(read_square(config, "patch_size", 1024, network.patch_size));
  if (network.image_rows % network.patch_size != 0 || network.image_columns % network.patch_size != 0) {
    return config.wrong("image_size",
                        "height and width are not multiples of patch_size " + std::to_string(network.patch_size));
  }
  NODE_RETURN_IF_ERROR(config.integer("num_detection_tokens", 1, 10'000, network.detection_tokens));
  NODE_RETURN_IF_ERROR(config.boolean("use_mid_position_embeddings", network.mid_positions));
  config.without_effect({"auxiliary_loss", "class_cost", "bbox_cost", "giou_cost", "bbox_loss_coefficient",
                         "giou_loss_coefficient", "eos_coefficient"});
  NODE_RETURN_IF_ERROR(read_labels(config, network.labels));
  for (std::size_t i = 0; i < network.labels.size(); ++i) {
    const std::string why = why_no_label(network.labels[i]);
    if (why.empty()) continue;
    return config.wrong("id2label", "\"" + std::to_string(i) + "\": the name \"" + readable(network.labels[i], 80) +
                                        "\" " + why + ": no report can hold it; change it here");
  }
  return ok_status();
}

// Keys that would change the network, at the one value that does not.
Status refuse_other_networks(JsonObject& config, const NetworkConfig& network) {
  std::int64_t channels = 3;
  NODE_RETURN_IF_ERROR(config.integer("num_channels", 1, kSizeMax, channels));
  if (channels != 3)
    return config.not_supported("num_channels", "only 3 are supported, not " + std::to_string(channels));
  const std::int64_t width = network.encoder.hidden_size / network.encoder.heads;
  std::int64_t head_dim = width;
  NODE_RETURN_IF_ERROR(config.integer("head_dim", 1, kSizeMax, head_dim));
  if (head_dim != width) return config.not_supported("head_dim", "only hidden_size / num_attention_heads is supported");
  for (const char* key : {"is_decoder", "is_encoder_decoder", "add_cross_attention"}) {
    bool wanted = false;
    NODE_RETURN_IF_ERROR(config.boolean(key, wanted));
    if (wanted) return config.not_supported(key, "only false is supported");
  }
  if (config.has("pruned_heads")) {
    NODE_ASSIGN_OR_RETURN(const JsonObject pruned, config.object("pruned_heads"));
    if (!pruned.keys().empty()) return config.not_supported("pruned_heads", "only none is supported");
  }
  return ok_status();
}

void name_what_is_without_effect(JsonObject& config) {
  // Training, bookkeeping, the pooler (which neither class has) and what only a caller of Python can see.
  config.without_effect({"hidden_dropout_prob",
                         "attention_probs_dropout_prob",
                         "initializer_range",
                         "encoder_stride",
                         "pooler_act",
                         "pooler_output_size",
                         "label2id",
                         "problem_type",
                         "finetuning_task",
                         "transformers_version",
                         "dtype",
                         "torch_dtype",
                         "_name_or_path",
                         "_attn_implementation_autoset",
                         "_commit_hash",
                         "return_dict",
                         "output_attentions",
                         "output_hidden_states",
                         "use_cache",
                         "gradient_checkpointing",
                         "chunk_size_feed_forward",
                         "tie_word_embeddings",
                         "tie_encoder_decoder",
                         "torchscript",
                         "use_bfloat16",
                         "tf_legacy_loss",
                         "cross_attention_hidden_size"});
  // What a whole dump of transformers 4 (to_dict() instead of save_pretrained()) says of networks that write text.
  config.without_effect({"max_length",
                         "min_length",
                         "do_sample",
                         "early_stopping",
                         "num_beams",
                         "num_beam_groups",
                         "diversity_penalty",
                         "temperature",
                         "top_k",
                         "top_p",
                         "typical_p",
                         "repetition_penalty",
                         "length_penalty",
                         "no_repeat_ngram_size",
                         "encoder_no_repeat_ngram_size",
                         "bad_words_ids",
                         "num_return_sequences",
                         "output_scores",
                         "return_dict_in_generate",
                         "forced_bos_token_id",
                         "forced_eos_token_id",
                         "remove_invalid_values",
                         "exponential_decay_length_penalty",
                         "suppress_tokens",
                         "begin_suppress_tokens",
                         "tokenizer_class",
                         "prefix",
                         "bos_token_id",
                         "pad_token_id",
                         "eos_token_id",
                         "sep_token_id",
                         "decoder_start_token_id",
                         "task_specific_params"});
}

}  // namespace

Result<NetworkConfig> read_network_config(JsonObject config) {
  NetworkConfig network;
  NODE_ASSIGN_OR_RETURN(network.architecture, architecture_of(config));
  network.encoder = {768, 12, 12, 3072};
  network.decoder = {512, 8, 16, 2048};
  NODE_RETURN_IF_ERROR(read_transformer(config, "", network.encoder));
  const bool detector = network.architecture == Architecture::kObjectDetection;
  NODE_RETURN_IF_ERROR(detector ? read_detector(config, network) : read_squares(config, network));
  NODE_RETURN_IF_ERROR(config.boolean("qkv_bias", network.qkv_bias));
  NODE_RETURN_IF_ERROR(config.number("layer_norm_eps", network.layer_norm_eps));
  if (!std::isfinite(network.layer_norm_eps) || network.layer_norm_eps < 0) {
    return config.wrong("layer_norm_eps", "a number of at least 0 is needed");
  }
  NODE_RETURN_IF_ERROR(read_activation(config, network.activation));
  if (network.architecture == Architecture::kMaskedAutoencoder) {
    NODE_RETURN_IF_ERROR(read_autoencoder(config, network));
  } else if (!detector) {
    NODE_RETURN_IF_ERROR(read_labels(config, network.labels));
    config.without_effect({"decoder_hidden_size", "decoder_num_hidden_layers", "decoder_num_attention_heads",
                           "decoder_intermediate_size", "mask_ratio", "norm_pix_loss"});
  }
  NODE_RETURN_IF_ERROR(refuse_other_networks(config, network));
  name_what_is_without_effect(config);
  NODE_RETURN_IF_ERROR(config.refuse_unknown());
  return network;
}

}  // namespace node::inference
