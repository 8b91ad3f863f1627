#include "inference/anomaly_map.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstddef>

namespace node::inference {
namespace {

// Patches back to 8-bit intensities over 255, clamped to [0, 1].
at::Tensor denormalize(const at::Tensor& patches, const PreprocessConfig& config) {
  const std::int64_t area = patches.size(2) / 3;
  at::Tensor values = patches.view({patches.size(0), patches.size(1), 3, area});
  if (config.do_normalize) {
    at::Tensor std = at::empty({3, 1}, at::kFloat), mean = at::empty({3, 1}, at::kFloat);
    for (std::size_t i = 0; i < 3; ++i) {
      std.mutable_data_ptr<float>()[i] = static_cast<float>(config.std[i]);
      mean.mutable_data_ptr<float>()[i] = static_cast<float>(config.mean[i]);
    }
    values = values * std.to(patches.device()) + mean.to(patches.device());
  }
  const double white = 255 * (config.do_rescale ? config.rescale_factor : 1.0);
  return (white == 1.0 ? values : values / white).clamp(0, 1);
}

struct Masks {
  at::Tensor visible;   // [rows, V] patches that each masked pass sees.
  at::Tensor image_of;  // [rows]
};

Masks masks_of(const PassesOfImages& passes, at::Device device) {
  std::int64_t rows = 0;
  for (const auto& image : passes) rows += static_cast<std::int64_t>(image.size());
  const auto seen = static_cast<std::int64_t>(passes.at(0).at(0).size());
  Masks masks{at::empty({rows, seen}, at::kLong), at::empty({rows}, at::kLong)};
  std::int64_t* next_id = masks.visible.mutable_data_ptr<std::int64_t>();
  std::int64_t* next_image = masks.image_of.mutable_data_ptr<std::int64_t>();
  for (std::size_t image = 0; image < passes.size(); ++image) {
    for (const std::vector<std::int64_t>& pass : passes[image]) {
      TORCH_CHECK(static_cast<std::int64_t>(pass.size()) == seen, "passes of different lengths in one batch");
      next_id = std::copy(pass.begin(), pass.end(), next_id);
      *next_image++ = static_cast<std::int64_t>(image);
    }
  }
  return {masks.visible.to(device), masks.image_of.to(device)};
}

}  // namespace

at::Tensor anomaly_maps(const MaskedAutoencoder& mae, const PreprocessConfig& preprocess, const at::Tensor& pixels,
                        const PassesOfImages& visible, std::int64_t rows_max,
                        const std::function<void(std::int64_t rows)>& before_pass) {
  const std::int64_t size = pixels.size(2), patch_size = mae.encoder->patch_size, side = size / patch_size;
  const at::Tensor patches = patchify(pixels, patch_size);
  const std::int64_t images = patches.size(0), count = patches.size(1);
  const at::Tensor originals = denormalize(patches, preprocess);
  const Masks masks = masks_of(visible, pixels.device());

  at::Tensor sums = at::zeros({images, count, patch_size * patch_size}, patches.options());
  at::Tensor hits = at::zeros({images, count, 1}, patches.options());
  for (std::int64_t first = 0; first < masks.visible.size(0); first += rows_max) {
    const at::Tensor ids = masks.visible.slice(0, first, first + rows_max);
    const at::Tensor image_of = masks.image_of.slice(0, first, first + rows_max);
    before_pass(ids.size(0));
    const at::Tensor outputs = denormalize(reconstruct(mae, patches.index_select(0, image_of), ids), preprocess);
    const at::Tensor difference = outputs - originals.index_select(0, image_of);
    const at::Tensor hidden = at::ones({ids.size(0), count}, patches.options()).scatter(1, ids, 0.0).unsqueeze(-1);
    sums.index_add_(0, image_of, (difference * difference).mean(2) * hidden);
    hits.index_add_(0, image_of, hidden);
  }
  return (sums / hits.clamp_min(1))
      .view({images, side, side, patch_size, patch_size})
      .permute({0, 1, 3, 2, 4})
      .reshape({images, size, size});
}

}  // namespace node::inference
