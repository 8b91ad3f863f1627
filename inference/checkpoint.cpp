#include "inference/checkpoint.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

namespace node::inference {

using nlohmann::json;

class MappedFile {
 public:
  static Result<std::unique_ptr<MappedFile>> open(const std::string& path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
      const int error = errno;
      const std::string message = path + ": open: " + std::strerror(error);
      return error == ENOENT ? not_found(message) : unavailable(message);
    }
    std::unique_ptr<MappedFile> file(new MappedFile);
    struct stat information {};
    if (::fstat(descriptor, &information) != 0 || !S_ISREG(information.st_mode)) {
      ::close(descriptor);
      return invalid_argument(path + ": not a regular file");
    }
    file->size_ = static_cast<std::size_t>(information.st_size);
    if (file->size_ > 0) {
      void* const data = ::mmap(nullptr, file->size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
      if (data == MAP_FAILED) {
        const std::string reason = std::strerror(errno);
        ::close(descriptor);
        return resource_exhausted(path + ": mmap: " + reason);
      }
      file->data_ = static_cast<const std::byte*>(data);
    }
    ::close(descriptor);
    return file;
  }
  ~MappedFile() {
    if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  MappedFile() = default;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

namespace {

using Sha256 = std::array<std::uint8_t, 32>;
constexpr std::size_t kHeaderBytesMax = 100'000'000;  // As the format's own library has it.
constexpr std::size_t kJsonBytesMax = 64'000'000;

Sha256 sha256(const void* data, std::size_t size) {
  Sha256 digest{};
  unsigned int length = 0;
  [[maybe_unused]] const int done = EVP_Digest(data, size, digest.data(), &length, EVP_sha256(), nullptr);
  assert(done == 1 && length == digest.size());
  return digest;
}

std::string hex(const Sha256& digest) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : digest) text.append({kDigits[byte >> 4], kDigits[byte & 15]});
  return text;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t size : shape) {
    if (!text.empty()) text += 'x';
    text += std::to_string(size);
  }
  return text.empty() ? "scalar" : text;
}

std::string_view type_text(StoredType type) {
  switch (type) {
    case StoredType::kFloat32: return "F32";
    case StoredType::kFloat16: return "F16";
    case StoredType::kBfloat16: return "BF16";
  }
  return "";
}

Result<json> parse_object(std::string_view text, const std::string& path) {
  json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return invalid_argument(path + ": not valid JSON");
  if (!value.is_object()) return invalid_argument(path + ": not a JSON object");
  return value;
}

// One JSON object of settings: every key is asked for or named as without effect; what is left over is refused.
class Settings {
 public:
  Settings(const json& object, std::string path) : object_(object), path_(std::move(path)) {}

  const json* find(const std::string& key) {
    known_.insert(key);
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  void without_effect(std::initializer_list<const char*> keys) { known_.insert(keys.begin(), keys.end()); }

  Status integer(const std::string& key, std::int64_t min, std::int64_t max, std::int64_t& value) {
    const json* const found = find(key);
    if (found == nullptr) return ok_status();
    return integer_of(*found, key, min, max, value);
  }
  Status number(const std::string& key, double& value) {
    const json* const found = find(key);
    if (found == nullptr) return ok_status();
    if (!found->is_number()) return wrong(key, "a number is needed");
    value = found->get<double>();
    return ok_status();
  }
  Status boolean(const std::string& key, bool& value) {
    const json* const found = find(key);
    if (found == nullptr) return ok_status();
    if (!found->is_boolean()) return wrong(key, "true or false is needed");
    value = found->get<bool>();
    return ok_status();
  }
  // A size or [height, width] of two equal ones.
  Status square(const std::string& key, std::int64_t max, std::int64_t& value) {
    const json* const found = find(key);
    if (found == nullptr) return ok_status();
    if (!found->is_array()) return integer_of(*found, key, 1, max, value);
    if (found->size() != 2) return wrong(key, "one number or two are needed");
    std::int64_t other = 0;
    NODE_RETURN_IF_ERROR(integer_of((*found)[0], key, 1, max, value));
    NODE_RETURN_IF_ERROR(integer_of((*found)[1], key, 1, max, other));
    return other == value ? ok_status() : unsupported(path_ + ": " + key + ": only squares are supported");
  }
  Status integer_of(const json& found, const std::string& key, std::int64_t min, std::int64_t max,
                    std::int64_t& value) {
    // is_number_unsigned() first: a number above 2^63 must not turn negative.
    if (!found.is_number_integer() ||
        (found.is_number_unsigned() && found.get<std::uint64_t>() > static_cast<std::uint64_t>(max)) ||
        (!found.is_number_unsigned() && found.get<std::int64_t>() < min) || found.get<std::int64_t>() < min) {
      return wrong(key, "a whole number from " + std::to_string(min) + " to " + std::to_string(max) + " is needed");
    }
    value = found.get<std::int64_t>();
    return ok_status();
  }
  Status wrong(const std::string& key, const std::string& why) const {
    return invalid_argument(path_ + ": " + key + ": " + why);
  }
  Status refuse_unknown() const {
    for (const auto& item : object_.items()) {
      if (known_.count(item.key()) == 0)
        return unsupported(path_ + ": key not understood: " + item.key().substr(0, 80));
    }
    return ok_status();
  }
  const std::string& path() const { return path_; }

 private:
  const json& object_;
  const std::string path_;
  std::set<std::string> known_;
};

Result<Activation> activation_of(const std::string& name) {
  if (name == "gelu" || name == "gelu_python") return Activation::kGelu;
  if (name == "gelu_new" || name == "gelu_fast" || name == "gelu_accurate" || name == "gelu_pytorch_tanh" ||
      name == "gelu_python_tanh") {
    return Activation::kGeluTanh;  // One formula in several spellings.
  }
  if (name == "quick_gelu") return Activation::kQuickGelu;
  if (name == "relu") return Activation::kRelu;
  if (name == "silu" || name == "swish") return Activation::kSilu;
  return unsupported("hidden_act: not understood: " + name.substr(0, 80));
}

Status read_labels(Settings& settings, std::vector<std::string>& labels) {
  std::int64_t count = 2;  // The default of transformers, which leaves it out of the file.
  NODE_RETURN_IF_ERROR(settings.integer("num_labels", 1, 100'000, count));
  const json* const id2label = settings.find("id2label");
  if (id2label != nullptr) {
    if (!id2label->is_object()) return settings.wrong("id2label", "an object is needed");
    count = static_cast<std::int64_t>(id2label->size());
  }
  labels.clear();
  for (std::int64_t i = 0; i < count; ++i) {
    if (id2label == nullptr) {
      labels.push_back("LABEL_" + std::to_string(i));
      continue;
    }
    const auto found = id2label->find(std::to_string(i));
    if (found == id2label->end() || !found->is_string()) {
      return settings.wrong("id2label", "no text for \"" + std::to_string(i) + "\"");
    }
    labels.push_back(found->get<std::string>());
  }
  return ok_status();
}

Status check_heads(const Settings& settings, const std::string& key, const TransformerConfig& transformer) {
  if (transformer.hidden_size % transformer.heads == 0) return ok_status();
  return settings.wrong(key, std::to_string(transformer.hidden_size) + " is not a multiple of " +
                                 std::to_string(transformer.heads) + " heads");
}

Result<NetworkConfig> read_network(const json& object, const std::string& path) {
  Settings settings(object, path);
  NetworkConfig network;

  const json* const architectures = settings.find("architectures");
  const json* const model_type = settings.find("model_type");
  const std::string type = model_type != nullptr && model_type->is_string() ? model_type->get<std::string>() : "";
  std::string class_name;
  if (architectures != nullptr) {
    if (!architectures->is_array() || architectures->size() != 1 || !(*architectures)[0].is_string()) {
      return settings.wrong("architectures", "a list of one name is needed");
    }
    class_name = (*architectures)[0].get<std::string>();
  }
  // A classifier fine-tuned from a masked autoencoder may keep model_type vit_mae: the class decides.
  if (class_name == "ViTForImageClassification") {
    network.architecture = Architecture::kImageClassification;
  } else if (class_name == "ViTMAEForPreTraining" || (class_name.empty() && type == "vit_mae")) {
    network.architecture = Architecture::kMaskedAutoencoder;
  } else {
    return unsupported(path + ": architectures: ViTForImageClassification or ViTMAEForPreTraining is needed, not " +
                       (class_name.empty() ? "none" : class_name.substr(0, 80)));
  }
  if (type != "vit" && type != "vit_mae")
    return unsupported(path + ": model_type: not understood: " + type.substr(0, 80));

  constexpr std::int64_t kMax = 1 << 20;  // Keeps every product of two sizes far from overflow.
  network.encoder = {768, 12, 12, 3072};
  network.decoder = {512, 8, 16, 2048};
  NODE_RETURN_IF_ERROR(settings.integer("hidden_size", 1, kMax, network.encoder.hidden_size));
  NODE_RETURN_IF_ERROR(settings.integer("num_hidden_layers", 1, 1000, network.encoder.layers));
  NODE_RETURN_IF_ERROR(settings.integer("num_attention_heads", 1, kMax, network.encoder.heads));
  NODE_RETURN_IF_ERROR(settings.integer("intermediate_size", 1, kMax, network.encoder.intermediate_size));
  NODE_RETURN_IF_ERROR(settings.square("image_size", 16384, network.image_size));
  NODE_RETURN_IF_ERROR(settings.square("patch_size", 1024, network.patch_size));
  NODE_RETURN_IF_ERROR(settings.boolean("qkv_bias", network.qkv_bias));
  NODE_RETURN_IF_ERROR(settings.number("layer_norm_eps", network.layer_norm_eps));
  std::int64_t channels = 3;
  NODE_RETURN_IF_ERROR(settings.integer("num_channels", 1, kMax, channels));
  if (channels != 3) return unsupported(path + ": num_channels: only 3 are supported, not " + std::to_string(channels));
  if (!std::isfinite(network.layer_norm_eps) || network.layer_norm_eps < 0) {
    return settings.wrong("layer_norm_eps", "a number of at least 0 is needed");
  }
  if (network.image_size % network.patch_size != 0) {
    return settings.wrong("image_size", std::to_string(network.image_size) + " is not a multiple of patch_size " +
                                            std::to_string(network.patch_size));
  }
  NODE_RETURN_IF_ERROR(check_heads(settings, "hidden_size", network.encoder));

  const json* const activation = settings.find("hidden_act");
  if (activation != nullptr) {
    if (!activation->is_string()) return settings.wrong("hidden_act", "a name is needed");
    Result<Activation> known = activation_of(activation->get<std::string>());
    if (!known.ok()) return known.status().within(path);
    network.activation = *known;
  }

  if (network.architecture == Architecture::kMaskedAutoencoder) {
    NODE_RETURN_IF_ERROR(settings.integer("decoder_hidden_size", 1, kMax, network.decoder.hidden_size));
    NODE_RETURN_IF_ERROR(settings.integer("decoder_num_hidden_layers", 1, 1000, network.decoder.layers));
    NODE_RETURN_IF_ERROR(settings.integer("decoder_num_attention_heads", 1, kMax, network.decoder.heads));
    NODE_RETURN_IF_ERROR(settings.integer("decoder_intermediate_size", 1, kMax, network.decoder.intermediate_size));
    NODE_RETURN_IF_ERROR(settings.number("mask_ratio", network.mask_ratio));
    NODE_RETURN_IF_ERROR(settings.boolean("norm_pix_loss", network.norm_pix_loss));
    if (!(network.mask_ratio > 0 && network.mask_ratio < 1)) {
      return settings.wrong("mask_ratio", "a number between 0 and 1 is needed");
    }
    NODE_RETURN_IF_ERROR(check_heads(settings, "decoder_hidden_size", network.decoder));
    settings.without_effect({"id2label", "num_labels"});
  } else {
    NODE_RETURN_IF_ERROR(read_labels(settings, network.labels));
    settings.without_effect({"decoder_hidden_size", "decoder_num_hidden_layers", "decoder_num_attention_heads",
                             "decoder_intermediate_size", "mask_ratio", "norm_pix_loss"});
  }
  // Training, bookkeeping, the pooler (which neither class has) and what only a caller of Python can see.
  settings.without_effect({"hidden_dropout_prob",
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
                           "gradient_checkpointing"});
  NODE_RETURN_IF_ERROR(settings.refuse_unknown());
  return network;
}

Status read_triple(Settings& settings, const std::string& key, std::array<double, 3>& values) {
  const json* const found = settings.find(key);
  if (found == nullptr) return ok_status();
  const bool one = found->is_number();
  if (!one && (!found->is_array() || found->size() != 3)) return settings.wrong(key, "three numbers are needed");
  for (std::size_t i = 0; i < 3; ++i) {
    const json& value = one ? *found : (*found)[i];
    if (!value.is_number()) return settings.wrong(key, "three numbers are needed");
    values[i] = value.get<double>();
  }
  return ok_status();
}

Result<PreprocessConfig> read_preprocess(const json& object, const std::string& path) {
  Settings settings(object, path);
  PreprocessConfig config;
  for (const char* key : {"image_processor_type", "feature_extractor_type"}) {
    const json* const type = settings.find(key);
    if (type == nullptr) continue;
    const std::string name = type->is_string() ? type->get<std::string>() : "";
    if (name != "ViTImageProcessor" && name != "ViTImageProcessorFast" && name != "ViTImageProcessorPil" &&
        name != "ViTFeatureExtractor") {
      return unsupported(path + ": " + key + ": not understood: " + name.substr(0, 80));
    }
  }
  // What the processor's class assumes where the file is silent.
  config.mean = config.std = {0.5, 0.5, 0.5};
  std::int64_t height = 224, width = 224;
  if (const json* const size = settings.find("size"); size != nullptr) {
    if (size->is_object()) {
      Settings sides(*size, path + ": size");
      if (sides.find("height") == nullptr || sides.find("width") == nullptr) {
        return unsupported(path + ": size: height and width are needed");
      }
      NODE_RETURN_IF_ERROR(sides.integer("height", 1, 16384, height));
      NODE_RETURN_IF_ERROR(sides.integer("width", 1, 16384, width));
      NODE_RETURN_IF_ERROR(sides.refuse_unknown());
    } else if (size->is_array() && size->size() == 2) {
      NODE_RETURN_IF_ERROR(settings.integer_of((*size)[0], "size", 1, 16384, height));
      NODE_RETURN_IF_ERROR(settings.integer_of((*size)[1], "size", 1, 16384, width));
    } else {
      NODE_RETURN_IF_ERROR(settings.integer_of(*size, "size", 1, 16384, height));
      width = height;
    }
  }
  config.height = static_cast<std::int32_t>(height);
  config.width = static_cast<std::int32_t>(width);
  std::int64_t resample = 2;
  NODE_RETURN_IF_ERROR(settings.integer("resample", 0, 1000, resample));
  Result<Resample> filter = resample_from_pil(resample);
  if (!filter.ok()) return filter.status().within(path + ": resample");
  config.resample = *filter;
  NODE_RETURN_IF_ERROR(settings.boolean("do_resize", config.do_resize));
  NODE_RETURN_IF_ERROR(settings.boolean("do_rescale", config.do_rescale));
  NODE_RETURN_IF_ERROR(settings.number("rescale_factor", config.rescale_factor));
  NODE_RETURN_IF_ERROR(settings.boolean("do_normalize", config.do_normalize));
  NODE_RETURN_IF_ERROR(read_triple(settings, "image_mean", config.mean));
  NODE_RETURN_IF_ERROR(read_triple(settings, "image_std", config.std));
  for (const char* key : {"do_center_crop", "do_pad"}) {
    bool wanted = false;
    NODE_RETURN_IF_ERROR(settings.boolean(key, wanted));
    if (wanted) return unsupported(path + ": " + key + " is not supported");
  }
  // do_convert_rgb: our input is grey and becomes three equal channels, which is what it asks for.
  settings.without_effect({"do_convert_rgb", "data_format", "input_data_format", "device", "return_tensors",
                           "default_to_square", "crop_size", "pad_size", "size_divisor", "processor_class",
                           "image_seq_length", "disable_grouping"});
  NODE_RETURN_IF_ERROR(settings.refuse_unknown());
  if (Result<Preprocessor> possible = Preprocessor::create(config); !possible.ok()) {
    return possible.status().within(path);
  }
  return config;
}

struct ParsedTensor {
  std::string name;
  StoredTensor tensor;
  std::size_t begin = 0, end = 0;
};

Result<ParsedTensor> parse_tensor(const std::string& name, const json& entry, const std::string& where) {
  ParsedTensor parsed;
  parsed.name = name;
  if (!entry.is_object()) return invalid_argument(where + "not an object");
  const auto type = entry.find("dtype");
  const auto shape = entry.find("shape");
  const auto offsets = entry.find("data_offsets");
  if (type == entry.end() || !type->is_string() || shape == entry.end() || !shape->is_array() ||
      offsets == entry.end() || !offsets->is_array() || offsets->size() != 2) {
    return invalid_argument(where + "dtype, shape and two data_offsets are needed");
  }
  const std::string type_name = type->get<std::string>();
  std::size_t product = 4;
  if (type_name == "F32") {
    parsed.tensor.type = StoredType::kFloat32;
  } else if (type_name == "F16" || type_name == "BF16") {
    parsed.tensor.type = type_name == "F16" ? StoredType::kFloat16 : StoredType::kBfloat16;
    product = 2;
  } else {
    return unsupported(where + "dtype not supported: " + type_name.substr(0, 20));
  }
  for (const json& side : *shape) {
    if (!side.is_number_unsigned() || side.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max()) {
      return invalid_argument(where + "shape: whole numbers are needed");
    }
    parsed.tensor.shape.push_back(side.get<std::int64_t>());
    if (__builtin_mul_overflow(product, side.get<std::uint64_t>(), &product)) {
      return invalid_argument(where + "shape: too large");
    }
  }
  for (const json& offset : *offsets) {
    if (!offset.is_number_unsigned()) return invalid_argument(where + "data_offsets: whole numbers are needed");
  }
  parsed.begin = (*offsets)[0].get<std::uint64_t>();
  parsed.end = (*offsets)[1].get<std::uint64_t>();
  if (parsed.end < parsed.begin || parsed.end - parsed.begin != product) {
    return invalid_argument(where + "data_offsets " + std::to_string(parsed.begin) + " to " +
                            std::to_string(parsed.end) + " do not hold " + type_name + " " +
                            shape_text(parsed.tensor.shape));
  }
  parsed.tensor.size_bytes = product;
  return parsed;
}

// The tensors of one safetensors file, which must fill its data without gap or overlap.
Result<std::vector<ParsedTensor>> parse_safetensors(const MappedFile& file, const std::string& path) {
  std::uint64_t header_bytes = 0;
  if (file.size() < sizeof header_bytes) return data_loss(path + ": truncated in the header's length");
  for (std::size_t i = 0; i < 8; ++i) {
    header_bytes |= static_cast<std::uint64_t>(std::to_integer<std::uint8_t>(file.data()[i])) << (8 * i);
  }
  if (header_bytes > kHeaderBytesMax) {
    return invalid_argument(path + ": header of " + std::to_string(header_bytes) + " bytes: not a safetensors file");
  }
  if (header_bytes > file.size() - 8) return data_loss(path + ": truncated in the header");
  NODE_ASSIGN_OR_RETURN(const json header, parse_object(file.text().substr(8, header_bytes), path + ": header"));
  const std::size_t data_bytes = file.size() - 8 - header_bytes;
  const std::byte* const data = file.data() + 8 + header_bytes;

  std::vector<ParsedTensor> tensors;
  for (const auto& item : header.items()) {
    if (item.key() == "__metadata__") continue;
    const std::string where = path + ": tensor " + item.key().substr(0, 200) + ": ";
    NODE_ASSIGN_OR_RETURN(ParsedTensor parsed, parse_tensor(item.key(), item.value(), where));
    if (parsed.end > data_bytes) {
      return data_loss(where + "ends at byte " + std::to_string(parsed.end) + ", the file has " +
                       std::to_string(data_bytes) + " bytes of data");
    }
    parsed.tensor.data = data + parsed.begin;
    tensors.push_back(std::move(parsed));
  }
  std::sort(tensors.begin(), tensors.end(), [](const ParsedTensor& a, const ParsedTensor& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::size_t expected = 0;
  for (const ParsedTensor& parsed : tensors) {
    if (parsed.begin != expected) {
      return invalid_argument(path + ": tensor " + parsed.name +
                              (parsed.begin < expected ? ": overlaps another" : ": a gap before it") + " at byte " +
                              std::to_string(parsed.begin));
    }
    expected = parsed.end;
  }
  if (expected != data_bytes) {
    return invalid_argument(path + ": " + std::to_string(data_bytes - expected) + " bytes that belong to no tensor");
  }
  return tensors;
}

// transformers 5 calls the decoder's layers decoder.decoder_encoder.layer.N.
std::string canonical_name(const std::string& name) {
  constexpr std::string_view kNew = "decoder.decoder_encoder.layer.";
  return name.rfind(kNew, 0) == 0 ? "decoder.decoder_layers." + name.substr(kNew.size()) : name;
}

using Shapes = std::map<std::string, std::vector<std::int64_t>>;

void expect_layers(const std::string& prefix, const TransformerConfig& t, bool qkv_bias, Shapes& shapes) {
  const auto linear = [&shapes](const std::string& name, std::int64_t out, std::int64_t in, bool bias = true) {
    shapes[name + ".weight"] = {out, in};
    if (bias) shapes[name + ".bias"] = {out};
  };
  for (std::int64_t i = 0; i < t.layers; ++i) {
    const std::string layer = prefix + std::to_string(i) + ".";
    for (const char* part : {"query", "key", "value"}) {
      linear(layer + "attention.attention." + part, t.hidden_size, t.hidden_size, qkv_bias);
    }
    linear(layer + "attention.output.dense", t.hidden_size, t.hidden_size);
    linear(layer + "intermediate.dense", t.intermediate_size, t.hidden_size);
    linear(layer + "output.dense", t.hidden_size, t.intermediate_size);
    for (const char* norm : {"layernorm_before", "layernorm_after"}) {
      shapes[layer + norm + ".weight"] = shapes[layer + norm + ".bias"] = {t.hidden_size};
    }
  }
}

Shapes expected_shapes(const NetworkConfig& n) {
  Shapes shapes;
  const std::int64_t hidden = n.encoder.hidden_size, tokens = n.patches() + 1;
  shapes["vit.embeddings.cls_token"] = {1, 1, hidden};
  shapes["vit.embeddings.position_embeddings"] = {1, tokens, hidden};
  shapes["vit.embeddings.patch_embeddings.projection.weight"] = {hidden, 3, n.patch_size, n.patch_size};
  shapes["vit.embeddings.patch_embeddings.projection.bias"] = {hidden};
  shapes["vit.layernorm.weight"] = shapes["vit.layernorm.bias"] = {hidden};
  expect_layers("vit.encoder.layer.", n.encoder, n.qkv_bias, shapes);
  if (n.architecture == Architecture::kImageClassification) {
    const auto labels = static_cast<std::int64_t>(n.labels.size());
    shapes["classifier.weight"] = {labels, hidden};
    shapes["classifier.bias"] = {labels};
    return shapes;
  }
  const std::int64_t narrow = n.decoder.hidden_size;
  shapes["decoder.mask_token"] = {1, 1, narrow};
  shapes["decoder.decoder_pos_embed"] = {1, tokens, narrow};
  shapes["decoder.decoder_embed.weight"] = {narrow, hidden};
  shapes["decoder.decoder_embed.bias"] = {narrow};
  shapes["decoder.decoder_norm.weight"] = shapes["decoder.decoder_norm.bias"] = {narrow};
  shapes["decoder.decoder_pred.weight"] = {n.patch_values(), narrow};
  shapes["decoder.decoder_pred.bias"] = {n.patch_values()};
  expect_layers("decoder.decoder_layers.", n.decoder, n.qkv_bias, shapes);
  return shapes;
}

// Whether all exponents of `size` / sizeof(Bits) numbers are below `exponent`, that of infinity and NaN.
template <typename Bits>
bool all_finite(const std::byte* data, std::size_t size, Bits exponent) {
  constexpr std::size_t kChunk = 4096;
  Bits values[kChunk];
  for (std::size_t at = 0; at < size; at += sizeof values) {
    const std::size_t bytes = std::min(sizeof values, size - at);
    std::memcpy(values, data + at, bytes);
    bool found = false;
    for (std::size_t i = 0; i < bytes / sizeof(Bits); ++i) found |= (values[i] & exponent) == exponent;
    if (found) return false;
  }
  return true;
}

bool all_finite(const StoredTensor& tensor) {
  switch (tensor.type) {
    case StoredType::kFloat32: return all_finite<std::uint32_t>(tensor.data, tensor.size_bytes, 0x7F800000u);
    case StoredType::kFloat16: return all_finite<std::uint16_t>(tensor.data, tensor.size_bytes, 0x7C00u);
    case StoredType::kBfloat16: return all_finite<std::uint16_t>(tensor.data, tensor.size_bytes, 0x7F80u);
  }
  return false;
}

// Fills in each tensor's SHA-256 and checks its numbers, on all cores: this reads the whole file once.
// Returns the names of tensors with a NaN or an infinity.
std::set<std::string> read_all(std::map<std::string, StoredTensor>& tensors) {
  std::vector<std::pair<const std::string*, StoredTensor*>> work;
  for (auto& [name, tensor] : tensors) work.emplace_back(&name, &tensor);
  std::vector<char> finite(work.size(), 1);
  std::atomic<std::size_t> next{0};
  const auto run = [&] {
    for (std::size_t i = next++; i < work.size(); i = next++) {
      work[i].second->sha256 = sha256(work[i].second->data, work[i].second->size_bytes);
      finite[i] = all_finite(*work[i].second) ? 1 : 0;
    }
  };
  std::vector<std::thread> helpers;
  for (unsigned i = 1; i < std::min(8u, std::thread::hardware_concurrency()); ++i) helpers.emplace_back(run);
  run();
  for (std::thread& helper : helpers) helper.join();
  std::set<std::string> bad;
  for (std::size_t i = 0; i < work.size(); ++i) {
    if (!finite[i]) bad.insert(*work[i].first);
  }
  return bad;
}

// Weight files and the tensors that each of them must hold; empty for a file that is alone.
Result<std::map<std::string, std::set<std::string>>> weight_files(const std::filesystem::path& directory) {
  std::error_code ignored;
  std::map<std::string, std::set<std::string>> files;
  if (std::filesystem::exists(directory / "model.safetensors", ignored)) {
    files["model.safetensors"];
    return files;
  }
  const std::string path = (directory / "model.safetensors.index.json").string();
  Result<std::unique_ptr<MappedFile>> index = MappedFile::open(path);
  if (!index.ok()) {
    if (index.status().code() != StatusCode::kNotFound) return index.status();
    return not_found(directory.string() + ": neither model.safetensors nor model.safetensors.index.json (a file of " +
                     "another format is saved again with save_pretrained(safe_serialization=True))");
  }
  if ((*index)->size() > kJsonBytesMax) return invalid_argument(path + ": too large");
  NODE_ASSIGN_OR_RETURN(const json object, parse_object((*index)->text(), path));
  const auto map = object.find("weight_map");
  if (map == object.end() || !map->is_object() || map->empty()) {
    return invalid_argument(path + ": weight_map: an object is needed");
  }
  for (const auto& item : map->items()) {
    const std::string file = item.value().is_string() ? item.value().get<std::string>() : "";
    if (file.empty() || file == "." || file == ".." || file.find('/') != std::string::npos ||
        file.find('\0') != std::string::npos) {
      return invalid_argument(path + ": weight_map: " + item.key().substr(0, 200) +
                              ": a file of this folder is needed");
    }
    files[file].insert(item.key());
  }
  return files;
}

Result<json> read_json(const std::string& path, std::string& file_sha256) {
  NODE_ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::open(path));
  if (file->size() > kJsonBytesMax) return invalid_argument(path + ": too large");
  file_sha256 = hex(sha256(file->data(), file->size()));
  return parse_object(file->text(), path);
}

// All settings that act on the encoder and its input, as text for the backbone's digest.
std::string backbone_settings(const NetworkConfig& network, const PreprocessConfig& preprocess) {
  const json settings = {{"heads", network.encoder.heads},
                         {"activation", static_cast<int>(network.activation)},
                         {"layer_norm_eps", network.layer_norm_eps},
                         {"image_size", network.image_size},
                         {"patch_size", network.patch_size},
                         {"size", {preprocess.height, preprocess.width}},
                         {"resize", preprocess.do_resize ? static_cast<int>(preprocess.resample) : 0},
                         {"rescale", preprocess.do_rescale ? preprocess.rescale_factor : 1.0},
                         {"normalize", preprocess.do_normalize},
                         {"mean", preprocess.mean},
                         {"std", preprocess.std}};
  std::string text = settings.dump();  // Keys sorted, numbers as short as they can be read back.
  text += '\n';
  return text;
}

}  // namespace

Checkpoint::Checkpoint() = default;
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;
Checkpoint::~Checkpoint() = default;

Result<Checkpoint> Checkpoint::open(const std::string& directory) {
  const std::filesystem::path folder(directory);
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) {
    return not_found(directory + ": no such directory of a checkpoint");
  }
  Checkpoint checkpoint;
  const std::filesystem::path plain = folder.lexically_normal();
  checkpoint.name_ = (plain.has_filename() ? plain : plain.parent_path()).filename().string();

  const std::string config_path = (folder / "config.json").string();
  std::string config_sha256, preprocessor_sha256 = "absent";
  NODE_ASSIGN_OR_RETURN(const json config, read_json(config_path, config_sha256));
  NODE_ASSIGN_OR_RETURN(checkpoint.network_, read_network(config, config_path));

  const std::string preprocessor_path = (folder / "preprocessor_config.json").string();
  Result<json> preprocessor = read_json(preprocessor_path, preprocessor_sha256);
  if (preprocessor.ok()) {
    NODE_ASSIGN_OR_RETURN(checkpoint.preprocess_, read_preprocess(*preprocessor, preprocessor_path));
    checkpoint.has_preprocessor_config_ = true;
  } else if (preprocessor.status().code() != StatusCode::kNotFound) {
    return preprocessor.status();
  } else {
    checkpoint.preprocess_.height = checkpoint.preprocess_.width =
        static_cast<std::int32_t>(checkpoint.network_.image_size);
  }
  const NetworkConfig& network = checkpoint.network_;
  if (checkpoint.preprocess_.height != network.image_size || checkpoint.preprocess_.width != network.image_size) {
    return invalid_argument(preprocessor_path + ": size " + std::to_string(checkpoint.preprocess_.height) + "x" +
                            std::to_string(checkpoint.preprocess_.width) + ", but image_size of config.json is " +
                            std::to_string(network.image_size));
  }

  const Shapes expected = expected_shapes(network);
  NODE_ASSIGN_OR_RETURN(const auto files, weight_files(folder));
  for (const auto& [file, names] : files) {
    const std::string path = (folder / file).string();
    NODE_ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> mapped, MappedFile::open(path));
    NODE_ASSIGN_OR_RETURN(std::vector<ParsedTensor> parsed, parse_safetensors(*mapped, path));
    std::set<std::string> missing = names;
    for (ParsedTensor& one : parsed) {
      const std::string where = path + ": tensor " + one.name.substr(0, 200) + ": ";
      if (!names.empty() && missing.erase(one.name) == 0)
        return invalid_argument(where + "not in the index for this file");
      const std::string name = canonical_name(one.name);
      // Neither has a part in the result of a classifier: its class has no pooler and no decoder.
      if (network.architecture == Architecture::kImageClassification &&
          (name.rfind("vit.pooler.", 0) == 0 || name.rfind("decoder.", 0) == 0)) {
        continue;
      }
      const auto shape = expected.find(name);
      if (shape == expected.end()) return invalid_argument(where + "config.json asks for no such tensor");
      if (shape->second != one.tensor.shape) {
        return invalid_argument(where + "has shape " + shape_text(one.tensor.shape) + ", config.json asks for " +
                                shape_text(shape->second));
      }
      if (!checkpoint.tensors_.emplace(name, one.tensor).second) return invalid_argument(where + "occurs twice");
    }
    if (!missing.empty())
      return invalid_argument(path + ": tensor " + *missing.begin() + ": missing, the index names it");
    checkpoint.files_.push_back(std::move(mapped));
  }
  for (const auto& [name, shape] : expected) {
    if (checkpoint.tensors_.count(name) == 0) {
      return invalid_argument(directory + ": tensor " + name + ": missing, config.json asks for " + shape_text(shape));
    }
  }

  const std::set<std::string> bad = read_all(checkpoint.tensors_);
  if (!bad.empty()) {
    return data_loss(directory + ": tensor " + *bad.begin() + ": holds a NaN or an infinity" +
                     (bad.size() > 1 ? " (and " + std::to_string(bad.size() - 1) + " tensors more)" : ""));
  }
  std::string all = "config.json " + config_sha256 + "\npreprocessor_config.json " + preprocessor_sha256 + "\n";
  std::string backbone = backbone_settings(network, checkpoint.preprocess_);
  for (const auto& [name, tensor] : checkpoint.tensors_) {
    const std::string line = name + " " + std::string(type_text(tensor.type)) + " " + shape_text(tensor.shape) + " " +
                             hex(tensor.sha256) + "\n";
    all += line;
    if (name.rfind("vit.", 0) == 0) backbone += line;
  }
  checkpoint.digest_ = "sha256:" + hex(sha256(all.data(), all.size()));
  checkpoint.backbone_digest_ = "sha256:" + hex(sha256(backbone.data(), backbone.size()));
  return checkpoint;
}

const StoredTensor& Checkpoint::tensor(const std::string& name) const {
  const auto found = tensors_.find(name);
  assert(found != tensors_.end());
  return found->second;
}

std::int64_t Checkpoint::parameters() const {
  std::int64_t count = 0;
  for (const auto& [name, tensor] : tensors_) {
    count += static_cast<std::int64_t>(tensor.size_bytes / (tensor.type == StoredType::kFloat32 ? 4 : 2));
  }
  return count;
}

}  // namespace node::inference
