// anomaly_maps: N masked passes of each image as one batch, and how badly they were reconstructed.
//
// Shapes:    pixels [B, 3, S, S] float32, normalised; maps [B, S, S] float32, squared error in [0, 1], 0 where a pixel
//            was never hidden.
// Threads:   on the device's thread, in inference mode. Errors: c10::Error, from LibTorch alone: the caller catches.
// Source:    of each pass, where the pixel was hidden: input and reconstruction denormalised and clamped to [0, 1],
//            difference squared, mean over the channels; summed over the passes and divided by how often the pixel was
//            hidden. The definition of the published SKELEX script.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "inference/masked_autoencoder.h"
#include "inference/preprocess.h"

namespace node::inference {

// For each image its passes, for each pass its visible patches (visible_patches() of masks.h); all of one length.
using PassesOfImages = std::vector<std::vector<std::vector<std::int64_t>>>;

// In forward passes of at most `rows_max` masked passes each, before each of which `before_pass` hears how many.
at::Tensor anomaly_maps(const MaskedAutoencoder& mae, const PreprocessConfig& preprocess, const at::Tensor& pixels,
                        const PassesOfImages& visible, std::int64_t rows_max,
                        const std::function<void(std::int64_t rows)>& before_pass);

}  // namespace node::inference
