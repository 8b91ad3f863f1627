// classify, draw_maps, detect: one batch of one queue on one device, from the items' inputs to their predictions.
//
// Threads:   on the device's thread, in inference mode.
// Errors:    an item whose network gives no numbers has kInternal for an outcome; c10::Error and std::bad_alloc of
//            LibTorch are the whole batch's: the caller catches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "inference/request.h"

namespace node::inference {

struct BatchRun {
  std::size_t device = 0;                              // Of the models' weights.
  std::int64_t rows_max = 1;                           // Of one forward pass: a batch with more takes several.
  std::function<void(std::int64_t rows)> before_pass;  // Each forward pass; may throw, as a full device does.
};

// Classifications on one backbone: one pass of the encoder for each image, whatever the number of its heads.
std::vector<Result<Outcome>> classify(const BatchRun& run, std::span<RequestItem* const> items);
// Anomaly maps of one model, all of whose passes see as many patches.
std::vector<Result<Outcome>> draw_maps(const BatchRun& run, std::span<RequestItem* const> items);

// Regions of one detector. Images whose inputs have one size share a pass.
std::vector<Result<Outcome>> detect(const BatchRun& run, std::span<RequestItem* const> items);

}  // namespace node::inference
