#include "inference/torchscript_detector.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <openssl/evp.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <sstream>
#include <system_error>
#include <utility>

#include "inference/device_worker.h"

namespace node::inference {
namespace {

std::string sha256_hex(const void* data, std::size_t size) {
  unsigned char digest[32];
  unsigned int length = 0;
  EVP_Digest(data, size, digest, &length, EVP_sha256(), nullptr);
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (unsigned int i = 0; i < length; ++i) text.append({kDigits[digest[i] >> 4], kDigits[digest[i] & 15]});
  return text;
}

std::string shape_of(const at::Tensor& tensor) {
  std::string text;
  for (const std::int64_t side : tensor.sizes()) text += (text.empty() ? "[" : ", ") + std::to_string(side);
  return text + "]";
}

// One answer of the file as [N, boxes, columns] float32 on the CPU; of a pair logits beside boxes.
struct Answer {
  at::Tensor scores, boxes;
};

class TorchScript : public Detector {
 public:
  TorchScript(torch::jit::Module module, DetectorManifest manifest, const Placement& placement)
      : module_(std::move(module)), manifest_(std::move(manifest)), placement_(placement) {}

  // Why the file is not what the manifest says, or nothing; finds out whether it takes several images at once.
  Status try_once(const std::string& path);
  std::vector<std::vector<DetectedBox>> detect(std::span<const FittedImage* const> images) const override;

 private:
  std::int64_t classes() const { return static_cast<std::int64_t>(manifest_.classes.size()); }
  Answer run(const at::Tensor& pixels) const;
  Status check_shape(const Answer& answer, std::int64_t images) const;
  std::vector<DetectedBox> boxes_of(const Answer& answer, std::int64_t i, const FittedImage& image) const;

  mutable torch::jit::Module module_;  // forward() is not const; the device's thread alone calls it.
  const DetectorManifest manifest_;
  const Placement placement_;
  bool several_at_once_ = false;
};

Answer TorchScript::run(const at::Tensor& pixels) const {
  const c10::IValue output = module_.forward({pixels.to(placement_.device)});
  const auto plain = [](const at::Tensor& tensor) { return tensor.to(at::kCPU, at::kFloat).contiguous(); };
  const bool pair = manifest_.layout == BoxLayout::kDetr || manifest_.layout == BoxLayout::kRtDetr;
  if (output.isTensor()) return {plain(output.toTensor()), {}};
  if (output.isTuple() || output.isList()) {
    const std::vector<c10::IValue> parts =
        output.isTuple() ? output.toTupleRef().elements().vec() : output.toListRef().vec();
    // Some exports answer their training outputs after the boxes.
    if (!parts.empty() && parts[0].isTensor() && !pair) return {plain(parts[0].toTensor()), {}};
    if (parts.size() >= 2 && parts[0].isTensor() && parts[1].isTensor()) {
      return {plain(parts[0].toTensor()), plain(parts[1].toTensor())};
    }
  }
  if (output.isGenericDict()) {
    const auto dict = output.toGenericDict();
    const c10::IValue logits("logits"), boxes("pred_boxes");
    if (pair && dict.contains(logits) && dict.contains(boxes)) {
      return {plain(dict.at(logits).toTensor()), plain(dict.at(boxes).toTensor())};
    }
  }
  TORCH_CHECK(false, "the answer is neither a tensor nor a pair of tensors");
}

Status TorchScript::check_shape(const Answer& answer, std::int64_t images) const {
  const auto wrong = [&](const at::Tensor& tensor, const std::string& wanted) {
    return invalid_argument("layout: the file answers " + (tensor.defined() ? shape_of(tensor) : "nothing") + " to " +
                            std::to_string(images) + " images, but the manifest's layout with " +
                            std::to_string(classes()) + " classes is " + wanted);
  };
  const auto is = [&](const at::Tensor& tensor, std::int64_t axis, std::int64_t size) {
    return tensor.defined() && tensor.dim() == 3 && tensor.size(0) == images && tensor.size(axis) == size;
  };
  switch (manifest_.layout) {
    case BoxLayout::kYolov5:
      if (!is(answer.scores, 2, 5 + classes())) return wrong(answer.scores, "[images, boxes, 5 + classes]");
      break;
    case BoxLayout::kYolov8:
      if (!is(answer.scores, 1, 4 + classes())) return wrong(answer.scores, "[images, 4 + classes, boxes]");
      break;
    case BoxLayout::kBoxes:
      if (!is(answer.scores, 2, 6)) return wrong(answer.scores, "[images, boxes, 6]");
      break;
    case BoxLayout::kDetr:
    case BoxLayout::kRtDetr: {
      const std::int64_t none = manifest_.layout == BoxLayout::kDetr ? 1 : 0;
      if (!is(answer.scores, 2, classes() + none)) {
        return wrong(answer.scores, none == 1 ? "[images, boxes, classes + 1]" : "[images, boxes, classes]");
      }
      if (!is(answer.boxes, 2, 4) || answer.boxes.size(1) != answer.scores.size(1)) {
        return wrong(answer.boxes, "[images, boxes, 4] beside it");
      }
      break;
    }
  }
  return ok_status();
}

// A picture as no radiograph is, but with every grey, through the same door as one: black alone hides what depends on
// it.
Result<FittedImage> trial_picture(const DetectorInput& input) {
  GreyImage grey{input.values.height, std::max(1, input.values.width * 3 / 4), {}};
  std::uint32_t noise = 1;
  for (std::int32_t i = 0; i < grey.rows * grey.columns; ++i) {
    noise = noise * 1664525U + 1013904223U;  // Numerical Recipes' generator: the same everywhere.
    const auto ramp = static_cast<std::uint32_t>(i % grey.columns * 191 / grey.columns);
    grey.pixels.push_back(static_cast<std::uint8_t>(ramp + (noise >> 26)));
  }
  return fit_image(grey, input);
}

Status TorchScript::try_once(const std::string& path) {
  const PreprocessConfig& size = manifest_.input.values;
  NODE_ASSIGN_OR_RETURN(const FittedImage picture, trial_picture(manifest_.input));
  const auto attempt = [&](std::int64_t images, bool black) -> Status {
    try {
      at::Tensor pixels = at::zeros({images, 3, size.height, size.width}, at::kFloat);
      for (std::int64_t i = 0; i < images && !black; ++i) {
        std::copy(picture.input.begin(), picture.input.end(), pixels[i].mutable_data_ptr<float>());
      }
      return check_shape(run(pixels), images);
    } catch (const std::exception& error) {
      return to_status(error);
    }
  };
  for (const bool black : {true, false}) {
    const Status one = attempt(1, black);
    if (one.ok()) continue;
    if (one.code() == StatusCode::kInvalidArgument) return one.within(path + (black ? "" : ": a picture"));
    return one.within(path + (black ? ": does not run on " + placement_.device.str() +
                                          " (a trace may hold the device it was made on: trace it there, or say "
                                          "`device: cpu` for this model)"
                                    : ": runs on an image that is black, but not on a picture"));
  }
  several_at_once_ = attempt(2, true).ok() && attempt(2, false).ok();
  return ok_status();
}

std::vector<DetectedBox> TorchScript::boxes_of(const Answer& answer, std::int64_t i, const FittedImage& image) const {
  std::vector<DetectedBox> found;
  if (!answer.scores[i].isfinite().all().item<bool>() ||
      (answer.boxes.defined() && !answer.boxes[i].isfinite().all().item<bool>())) {
    found.push_back({0, 0, 0, 0, std::numeric_limits<float>::quiet_NaN(), 0});
    return found;
  }
  const auto centred = [&](float x, float y, float width, float height, float score, std::int64_t label) {
    found.push_back({image.source_x(x - width / 2), image.source_y(y - height / 2), image.source_x(x + width / 2),
                     image.source_y(y + height / 2), score, static_cast<float>(label)});
  };
  const bool by_column = manifest_.layout == BoxLayout::kYolov8;
  const at::Tensor table = by_column ? answer.scores[i].transpose(0, 1).contiguous() : answer.scores[i];
  const std::int64_t columns = table.size(1);
  const float* row = table.const_data_ptr<float>();
  const float* box = answer.boxes.defined() ? answer.boxes[i].const_data_ptr<float>() : nullptr;
  const auto width = static_cast<float>(image.columns), height = static_cast<float>(image.rows);
  at::Tensor activated;
  if (box != nullptr) {
    activated = (manifest_.layout == BoxLayout::kDetr ? table.softmax(-1) : table.sigmoid()).contiguous();
    row = activated.const_data_ptr<float>();
  }
  for (std::int64_t n = 0; n < table.size(0); ++n, row += columns) {
    const auto likeliest = [&](const float* first) { return std::max_element(first, first + classes()) - first; };
    switch (manifest_.layout) {
      case BoxLayout::kYolov5: {
        const auto label = likeliest(row + 5);
        centred(row[0], row[1], row[2], row[3], row[4] * row[5 + label], label);
        break;
      }
      case BoxLayout::kYolov8: {
        const auto label = likeliest(row + 4);
        centred(row[0], row[1], row[2], row[3], row[4 + label], label);
        break;
      }
      case BoxLayout::kBoxes:
        found.push_back({image.source_x(row[0]), image.source_y(row[1]), image.source_x(row[2]), image.source_y(row[3]),
                         row[4], row[5]});
        break;
      case BoxLayout::kDetr:
      case BoxLayout::kRtDetr: {
        const auto label = likeliest(row);
        const float* const share = box + 4 * n;
        centred(share[0] * width, share[1] * height, share[2] * width, share[3] * height, row[label], label);
        break;
      }
    }
  }
  return found;
}

std::vector<std::vector<DetectedBox>> TorchScript::detect(std::span<const FittedImage* const> images) const {
  std::vector<std::vector<DetectedBox>> found;
  const std::size_t at_once = several_at_once_ ? images.size() : 1;
  for (std::size_t first = 0; first < images.size(); first += at_once) {
    const auto part = images.subspan(first, at_once);
    const auto count = static_cast<std::int64_t>(part.size());
    at::Tensor pixels = at::empty({count, 3, part.front()->rows, part.front()->columns}, at::kFloat);
    float* to = pixels.mutable_data_ptr<float>();
    for (const FittedImage* const image : part) to = std::copy(image->input.begin(), image->input.end(), to);
    const Answer answer = run(pixels);
    const Status shape = check_shape(answer, count);
    TORCH_CHECK(shape.ok(), shape.message());
    for (std::int64_t i = 0; i < count; ++i) found.push_back(boxes_of(answer, i, *part[static_cast<std::size_t>(i)]));
  }
  return found;
}

}  // namespace

bool is_torchscript(const std::string& directory) {
  std::error_code ignored;
  return std::filesystem::exists(std::filesystem::path(directory) / "manifest.json", ignored);
}

Result<TorchScriptFile> read_torchscript(const std::string& directory, const std::string& sha256) {
  const std::filesystem::path folder(directory);
  TorchScriptFile file;
  const std::string manifest_path = (folder / "manifest.json").string();
  NODE_ASSIGN_OR_RETURN(const auto manifest, MappedFile::open(manifest_path));
  NODE_ASSIGN_OR_RETURN(JsonObject json, JsonObject::parse(manifest->text(), manifest_path));
  NODE_ASSIGN_OR_RETURN(file.manifest, read_detector_manifest(std::move(json)));
  file.path = (folder / file.manifest.file).string();
  NODE_ASSIGN_OR_RETURN(file.bytes, MappedFile::open(file.path));
  const std::string found = sha256_hex(file.bytes->data(), file.bytes->size());
  if (sha256.empty()) {
    return invalid_argument(file.path + ": a TorchScript file is a program: `sha256: " + found +
                            "` beside its path in the configuration says that it is the one that is meant");
  }
  if (found != sha256) {
    return invalid_argument(file.path + ": sha256: is " + found + ", not the " + sha256 + " of the configuration");
  }
  const std::string lines = "manifest.json " + sha256_hex(manifest->data(), manifest->size()) + "\n" +
                            file.manifest.file + " " + found + "\n";
  file.digest = "sha256:" + sha256_hex(lines.data(), lines.size());
  return file;
}

Result<std::shared_ptr<const Detector>> load_torchscript(const TorchScriptFile& file, const Placement& placement) {
  torch::jit::ExtraFilesMap extra{{"config.txt", ""}};
  torch::jit::Module module;
  try {
    std::istringstream stream{std::string(file.bytes->text())};
    module = torch::jit::load(stream, placement.device, extra);
    module.eval();
  } catch (const std::exception& error) {
    return to_status(error).within(file.path +
                                   ": is no TorchScript file (a .pt that Ultralytics or torch.save wrote is "
                                   "none: export it with format=torchscript)");
  }
  NODE_RETURN_IF_ERROR(check_against_file(file.manifest, extra["config.txt"], file.path));
  auto detector = std::make_shared<TorchScript>(std::move(module), file.manifest, placement);
  NODE_RETURN_IF_ERROR(detector->try_once(file.path));
  return std::shared_ptr<const Detector>(std::move(detector));
}

}  // namespace node::inference
