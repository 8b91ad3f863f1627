#include "inference/checkpoint.h"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <thread>
#include <utility>

#include "inference/checkpoint_place.h"
#include "inference/json_object.h"
#include "inference/mapped_file.h"
#include "inference/network_tensors.h"
#include "inference/sha256.h"

namespace node::inference {
namespace {

constexpr std::size_t kJsonBytesMax = 64'000'000;

std::string hex(const Sha256& digest) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : digest) text.append({kDigits[byte >> 4], kDigits[byte & 15]});
  return text;
}

// Whether all exponents of the numbers in `bytes` are below `exponent`, that of infinity and NaN: only those carry into
// the sign when the exponent's lowest bit is added.
template <typename Bits>
bool all_finite(std::string_view bytes, Bits exponent) {
  const Bits lowest = exponent & (~exponent + 1), sign = exponent + lowest;
  Bits carried = 0;
  for (std::size_t i = 0; i < bytes.size() / sizeof(Bits); ++i) {
    Bits value;
    std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
    carried |= (value & exponent) + lowest;
  }
  return (carried & sign) == 0;
}

bool all_finite(StoredType type, std::string_view bytes) {
  switch (type) {
    case StoredType::kFloat32: return all_finite<std::uint32_t>(bytes, 0x7F800000u);
    case StoredType::kFloat16: return all_finite<std::uint16_t>(bytes, 0x7C00u);
    case StoredType::kBfloat16: return all_finite<std::uint16_t>(bytes, 0x7F80u);
  }
  return false;
}

std::string_view bytes_of(const StoredTensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.data), tensor.size_bytes};
}

// Fills in each tensor's SHA-256 and checks its numbers, on all cores: this reads the whole file once.
// Returns the names of tensors with a NaN or an infinity.
std::set<std::string> read_all(std::map<std::string, StoredTensor>& tensors) {
  std::vector<std::pair<const std::string*, StoredTensor*>> work;
  for (auto& [name, tensor] : tensors) work.emplace_back(&name, &tensor);
  // Two of a size are hashed side by side; the large ones first, so that all cores end at the same time.
  std::stable_sort(work.begin(), work.end(),
                   [](const auto& a, const auto& b) { return a.second->size_bytes > b.second->size_bytes; });
  std::vector<char> finite(work.size(), 1);
  std::atomic<std::size_t> next{0};
  const auto run = [&] {
    const StoredTensor none;
    for (std::size_t i = 2 * next++; i < work.size(); i = 2 * next++) {
      const StoredTensor* const two[] = {work[i].second, i + 1 < work.size() ? work[i + 1].second : &none};
      const auto digests =
          sha256_of_two(bytes_of(*two[0]), bytes_of(*two[1]), [&](std::size_t k, std::string_view piece) {
            if (!all_finite(two[k]->type, piece)) finite[i + k] = 0;
          });
      for (std::size_t k = 0; k < 2 && i + k < work.size(); ++k) work[i + k].second->sha256 = digests[k];
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

Result<JsonObject> read_json(const std::string& path, std::string& file_sha256) {
  NODE_ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::open(path));
  if (file->size() > kJsonBytesMax) return invalid_argument(path + ": too large");
  file_sha256 = hex(sha256(file->text()));
  return JsonObject::parse(file->text(), path);
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
  std::string unused;
  Result<JsonObject> index = read_json(path, unused);
  if (!index.ok() && index.status().code() == StatusCode::kNotFound) {
    return not_found(directory.string() + ": neither model.safetensors nor model.safetensors.index.json (a file of " +
                     "another format is saved again with save_pretrained(safe_serialization=True))");
  }
  if (!index.ok()) return index.status();
  std::map<std::string, std::string> weight_map;
  NODE_RETURN_IF_ERROR(index->text_map("weight_map", weight_map));
  if (weight_map.empty()) return index->wrong("weight_map", "an object is needed");
  for (const auto& [tensor, file] : weight_map) {
    if (file.empty() || file == "." || file == ".." || file.find('/') != std::string::npos ||
        file.find('\0') != std::string::npos) {
      return index->wrong("weight_map", tensor.substr(0, 200) + ": a file of this folder is needed");
    }
    files[file].insert(tensor);
  }
  return files;
}

// All settings that act on the encoder and its input, as text for the backbone's digest.
std::string backbone_settings(const NetworkConfig& network, const PreprocessConfig& preprocess) {
  const nlohmann::json settings = {{"heads", network.encoder.heads},
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

Result<Checkpoint> Checkpoint::open(const std::string& directory) {
  const std::filesystem::path folder(directory);
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) {
    return not_found(directory + ": no such directory of a checkpoint");
  }
  Checkpoint checkpoint;
  const std::filesystem::path plain = folder.lexically_normal();
  checkpoint.name_ = (plain.has_filename() ? plain : plain.parent_path()).filename().string();
  std::string config_sha256, preprocessor_sha256 = "absent";
  Result<JsonObject> config = read_json((folder / "config.json").string(), config_sha256);
  if (!config.ok() && config.status().code() == StatusCode::kNotFound) {
    return not_found(directory + ": " + why_no_checkpoint(directory));
  }
  if (!config.ok()) return config.status();
  NODE_ASSIGN_OR_RETURN(checkpoint.network_, read_network_config(*std::move(config)));
  NODE_RETURN_IF_ERROR(checkpoint.read_preprocessor(directory, preprocessor_sha256));

  NODE_ASSIGN_OR_RETURN(const auto files, weight_files(folder));
  for (const auto& [file, names] : files) {
    NODE_RETURN_IF_ERROR(checkpoint.add_tensors((folder / file).string(), names));
  }
  for (const auto& [name, shape] : expected_tensors(checkpoint.network_)) {
    if (checkpoint.tensors_.count(name) == 0) {
      return invalid_argument(directory + ": tensor " + name + ": missing, config.json asks for " + shape_text(shape));
    }
  }
  NODE_RETURN_IF_ERROR(checkpoint.read_numbers(directory));
  checkpoint.make_digests("config.json " + config_sha256 + "\npreprocessor_config.json " + preprocessor_sha256 + "\n");
  return checkpoint;
}

Status Checkpoint::read_preprocessor(const std::string& directory, std::string& file_sha256) {
  const std::filesystem::path folder(directory);
  const std::string path = (folder / "preprocessor_config.json").string();
  std::error_code ignored;
  if (const auto other = folder / "processor_config.json"; std::filesystem::exists(other, ignored)) {
    // transformers 5 would let it override the file that we read.
    return unsupported(other.string() + ": not understood; preprocessor_config.json is read");
  }
  Result<JsonObject> settings = read_json(path, file_sha256);
  has_preprocessor_config_ = settings.ok();
  if (network_.architecture == Architecture::kObjectDetection) {
    if (!settings.ok() && settings.status().code() != StatusCode::kNotFound) return settings.status();
    if (settings.ok()) {
      NODE_ASSIGN_OR_RETURN(detector_input_, read_yolos_input(std::move(*settings)));
    }
    return check_detector_input(path);
  }
  if (settings.ok()) {
    NODE_ASSIGN_OR_RETURN(preprocess_, read_preprocess_config(std::move(*settings)));
  } else if (settings.status().code() == StatusCode::kNotFound) {
    preprocess_.height = preprocess_.width = static_cast<std::int32_t>(network_.image_size);
  } else {
    return settings.status();
  }
  if (preprocess_.height == network_.image_size && preprocess_.width == network_.image_size) return ok_status();
  return invalid_argument(path + ": size " + std::to_string(preprocess_.height) + "x" +
                          std::to_string(preprocess_.width) + ", but image_size of config.json is " +
                          std::to_string(network_.image_size));
}

// Sides are cut to multiples of 16, whatever the patch (transformers): it must divide them.
Status Checkpoint::check_detector_input(const std::string& path) const {
  const std::int64_t patch = network_.patch_size;
  const bool fits = detector_input_.fit == Fit::kShortestEdge
                        ? detector_input_.multiple_of % patch == 0
                        : detector_input_.values.height % patch == 0 && detector_input_.values.width % patch == 0;
  if (fits) return ok_status();
  return invalid_argument(path + ": size: gives images whose sides are no multiples of patch_size " +
                          std::to_string(patch) + " of config.json");
}

// One file's tensors, which must be those of `names` where the index names any.
Status Checkpoint::add_tensors(const std::string& path, const std::set<std::string>& names) {
  const auto expected = expected_tensors(network_);
  NODE_ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::open(path));
  std::set<std::string> missing = names;
  for (const NamedTensor& one : file.tensors()) {
    const std::string where = path + ": tensor " + one.name.substr(0, 200) + ": ";
    if (!names.empty() && missing.erase(one.name) == 0) {
      return invalid_argument(where + "not in the index for this file");
    }
    const std::string name = canonical_name(one.name);
    if (is_without_effect(network_, name)) continue;
    const auto shape = expected.find(name);
    if (shape == expected.end()) return invalid_argument(where + "config.json asks for no such tensor");
    if (shape->second != one.tensor.shape) {
      return invalid_argument(where + "has shape " + shape_text(one.tensor.shape) + ", config.json asks for " +
                              shape_text(shape->second));
    }
    if (!tensors_.emplace(name, one.tensor).second) return invalid_argument(where + "occurs twice");
  }
  if (!missing.empty()) {
    return invalid_argument(path + ": tensor " + missing.begin()->substr(0, 200) + ": missing, the index names it");
  }
  files_.push_back(std::move(file));
  return ok_status();
}

Status Checkpoint::read_numbers(const std::string& directory) {
  const std::set<std::string> bad = read_all(tensors_);
  if (bad.empty()) return ok_status();
  return data_loss(directory + ": tensor " + *bad.begin() + ": holds a NaN or an infinity" +
                   (bad.size() > 1 ? " (and " + std::to_string(bad.size() - 1) + " tensors more)" : ""));
}

// `files`: the lines of those that are not tensors.
void Checkpoint::make_digests(const std::string& files) {
  std::string all = files, backbone = backbone_settings(network_, preprocess_);
  for (const auto& [name, tensor] : tensors_) {
    const std::string line = name + " " + std::string(to_string(tensor.type)) + " " + shape_text(tensor.shape) + " " +
                             hex(tensor.sha256) + "\n";
    all += line;
    if (name.rfind("vit.", 0) == 0) backbone += line;
  }
  digest_ = "sha256:" + hex(sha256(all));
  backbone_digest_ = "sha256:" + hex(sha256(backbone));
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
