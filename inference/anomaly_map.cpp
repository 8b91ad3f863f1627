#include "inference/anomaly_map.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/where.h>
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

}  // namespace

at::Tensor anomaly_maps(const MaskedAutoencoder& mae, const PreprocessConfig& preprocess, const at::Tensor& pixels,
                        const PassesOfImages& visible) {
  const at::Tensor patches = patchify(pixels, mae.encoder->patch_size);
  const std::int64_t images = patches.size(0), count = patches.size(1), size = pixels.size(2);
  std::int64_t rows = 0;
  for (const auto& passes : visible) rows += static_cast<std::int64_t>(passes.size());
  const auto seen = static_cast<std::int64_t>(visible.at(0).at(0).size());

  at::Tensor ids = at::empty({rows, seen}, at::kLong), image_of_row = at::empty({rows}, at::kLong);
  std::int64_t* next_id = ids.mutable_data_ptr<std::int64_t>();
  std::int64_t* next_image = image_of_row.mutable_data_ptr<std::int64_t>();
  for (std::size_t image = 0; image < visible.size(); ++image) {
    for (const std::vector<std::int64_t>& pass : visible[image]) {
      TORCH_CHECK(static_cast<std::int64_t>(pass.size()) == seen, "passes of different lengths in one batch");
      next_id = std::copy(pass.begin(), pass.end(), next_id);
      *next_image++ = static_cast<std::int64_t>(image);
    }
  }
  ids = ids.to(pixels.device());
  image_of_row = image_of_row.to(pixels.device());

  const at::Tensor inputs = patches.index_select(0, image_of_row);
  const at::Tensor outputs = reconstruct(mae, inputs, ids);
  const at::Tensor hidden = at::ones({rows, count}, inputs.options()).scatter(1, ids, 0.0).unsqueeze(-1);
  const at::Tensor difference = denormalize(outputs, preprocess) - denormalize(inputs, preprocess);
  const at::Tensor errors = (difference * difference).mean(2) * hidden;  // [rows, L, P * P]

  const at::Tensor sums =
      at::zeros({images, count, errors.size(2)}, errors.options()).index_add(0, image_of_row, errors);
  const at::Tensor hits = at::zeros({images, count, 1}, errors.options()).index_add(0, image_of_row, hidden);
  const std::int64_t side = size / mae.encoder->patch_size;
  return (sums / hits.clamp_min(1))
      .view({images, side, side, mae.encoder->patch_size, mae.encoder->patch_size})
      .permute({0, 1, 3, 2, 4})
      .reshape({images, size, size});
}

}  // namespace node::inference
