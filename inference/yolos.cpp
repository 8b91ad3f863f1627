#include "inference/yolos.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/upsample_bicubic2d.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <utility>

namespace node::inference {
namespace {

constexpr int kHeadLayers = 3;

// Position embeddings of one sequence: of the class token, of the patches as a picture, of the detection tokens.
struct Positions {
  at::Tensor cls;         // [1, 1, H]
  at::Tensor patches;     // [1, H, rows, columns] float32
  at::Tensor detections;  // [1, D, H]
};

class Yolos : public Detector {
 public:
  Yolos(const Checkpoint& checkpoint, const Placement& placement);
  std::vector<std::vector<DetectedBox>> detect(std::span<const FittedImage* const> images) const override;

 private:
  using Head = std::array<Linear, kHeadLayers>;

  // [1, D + patches + 1, H]: the detections come first, so that the last block is computed for them alone.
  at::Tensor sequence(const Positions& positions, std::int64_t rows, std::int64_t columns) const;
  static at::Tensor answer(const Head& head, at::Tensor states);

  Placement placement_;
  std::int64_t patch_size_ = 0, detections_ = 0;
  Linear patch_projection_;
  at::Tensor cls_token_, detection_tokens_;
  Positions first_;
  std::vector<Positions> between_;  // Added after each block but the last.
  Transformer transformer_;
  Head classes_, boxes_;
};

Positions split(const at::Tensor& all, const NetworkConfig& network) {  // [1, 1 + patches + D, H]
  const std::int64_t rows = network.image_rows / network.patch_size,
                     columns = network.image_columns / network.patch_size;
  const std::int64_t end = 1 + rows * columns;
  return {all.slice(1, 0, 1).contiguous(),
          all.slice(1, 1, end).transpose(1, 2).reshape({1, -1, rows, columns}).to(at::kFloat).contiguous(),
          all.slice(1, end).contiguous()};
}

Yolos::Yolos(const Checkpoint& checkpoint, const Placement& placement) : placement_(placement) {
  const NetworkConfig& network = checkpoint.network();
  patch_size_ = network.patch_size;
  detections_ = network.detection_tokens;
  const std::string embeddings = "vit.embeddings.";
  const std::string projection = embeddings + "patch_embeddings.projection.";
  patch_projection_ =
      Linear(view_tensor(checkpoint, projection + "weight", placement).reshape({network.encoder.hidden_size, -1}),
             load_tensor(checkpoint, projection + "bias", placement));
  cls_token_ = load_tensor(checkpoint, embeddings + "cls_token", placement);
  detection_tokens_ = load_tensor(checkpoint, embeddings + "detection_tokens", placement);
  first_ = split(load_tensor(checkpoint, embeddings + "position_embeddings", placement), network);
  if (network.mid_positions && network.encoder.layers > 1) {
    const at::Tensor mid = load_tensor(checkpoint, "vit.encoder.mid_position_embeddings", placement);
    for (std::int64_t i = 0; i < mid.size(0); ++i) between_.push_back(split(mid[i], network));
  }
  transformer_ = load_transformer(checkpoint, "vit.encoder.layer.", "vit.layernorm", network.encoder, placement);
  const Placement exact{placement.device, at::kFloat};  // bfloat16 would keep eight bits of a box.
  for (int i = 0; i < kHeadLayers; ++i) {
    const auto number = static_cast<std::size_t>(i);
    classes_[number] = load_linear(checkpoint, "class_labels_classifier.layers." + std::to_string(i), exact);
    boxes_[number] = load_linear(checkpoint, "bbox_predictor.layers." + std::to_string(i), exact);
  }
}

at::Tensor Yolos::sequence(const Positions& positions, std::int64_t rows, std::int64_t columns) const {
  const std::array<std::int64_t, 2> size{rows, columns};
  const at::Tensor patches = at::upsample_bicubic2d(positions.patches, size, /*align_corners=*/false);
  return at::cat({positions.detections, patches.flatten(2).transpose(1, 2).to(placement_.type), positions.cls}, 1);
}

at::Tensor Yolos::answer(const Head& head, at::Tensor states) {
  for (int i = 0; i < kHeadLayers; ++i) {
    const Linear& layer = head[static_cast<std::size_t>(i)];
    states = i + 1 < kHeadLayers ? layer.activated(states, Activation::kRelu) : layer(states);
  }
  return states;
}

std::vector<std::vector<DetectedBox>> Yolos::detect(std::span<const FittedImage* const> images) const {
  const std::int64_t count = static_cast<std::int64_t>(images.size());
  const std::int64_t rows = images.front()->rows / patch_size_, columns = images.front()->columns / patch_size_;
  at::Tensor pixels = at::empty({count, 3, rows * patch_size_, columns * patch_size_}, at::kFloat);
  float* to = pixels.mutable_data_ptr<float>();
  for (const FittedImage* const image : images) to = std::copy(image->input.begin(), image->input.end(), to);
  const at::Tensor patches = pixels.to(placement_.device, placement_.type)
                                 .reshape({count, 3, rows, patch_size_, columns, patch_size_})
                                 .permute({0, 2, 4, 1, 3, 5})
                                 .reshape({count, rows * columns, -1});
  const at::Tensor tokens = at::cat({detection_tokens_.expand({count, -1, -1}), patch_projection_(patches),
                                     cls_token_.expand({count, -1, -1})},
                                    1) +
                            sequence(first_, rows, columns);
  std::vector<at::Tensor> added;
  for (const Positions& positions : between_) added.push_back(sequence(positions, rows, columns));
  const at::Tensor states = run_transformer(transformer_, tokens, detections_, added).to(at::kFloat);
  const at::Tensor probabilities = answer(classes_, states).softmax(-1).to(at::kCPU).contiguous();
  const at::Tensor shares = answer(boxes_, states).sigmoid().to(at::kCPU).contiguous();

  std::vector<std::vector<DetectedBox>> found(images.size());
  const std::int64_t labels = probabilities.size(2) - 1;  // The last is none.
  const float* p = probabilities.const_data_ptr<float>();
  const float* share = shares.const_data_ptr<float>();
  // [N]: what one image overflows is no concern of the others. The states too: a ReLU may make 0 of NaN.
  const auto finite_in = [](const at::Tensor& values) { return values.isfinite().flatten(1).all(1).to(at::kCPU); };
  const at::Tensor finite =
      finite_in(states).logical_and(finite_in(probabilities)).logical_and(finite_in(shares)).contiguous();
  const bool* const numbers = finite.const_data_ptr<bool>();
  for (std::size_t i = 0; i < images.size(); ++i) {
    if (!numbers[i]) found[i].push_back({0, 0, 0, 0, std::numeric_limits<float>::quiet_NaN(), 0});
    const auto width = static_cast<float>(images[i]->source_columns),
               height = static_cast<float>(images[i]->source_rows);
    for (std::int64_t d = 0; d < detections_; ++d, p += labels + 1, share += 4) {
      const float* const likeliest = std::max_element(p, p + labels);
      found[i].push_back({(share[0] - share[2] / 2) * width, (share[1] - share[3] / 2) * height,
                          (share[0] + share[2] / 2) * width, (share[1] + share[3] / 2) * height, *likeliest,
                          static_cast<float>(likeliest - p)});
    }
  }
  return found;
}

}  // namespace

std::shared_ptr<const Detector> load_yolos(const Checkpoint& checkpoint, const Placement& placement) {
  return std::make_shared<const Yolos>(checkpoint, placement);
}

}  // namespace node::inference
