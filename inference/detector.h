// Detector: a network that finds regions in whole images, on one device.
//
// Threads:   immutable after loading; detect() is called on the device's thread, in inference mode.
// Errors:    c10::Error, from LibTorch alone: the caller catches.
#pragma once

#include <span>
#include <vector>

#include "inference/detector_input.h"
#include "inference/regions.h"

namespace node::inference {

class Detector {
 public:
  virtual ~Detector() = default;

  // One list for each image, in pixels of its source; all inputs are of one size. What is said is what the network
  // answers: choose_regions() judges it.
  virtual std::vector<std::vector<DetectedBox>> detect(std::span<const FittedImage* const> images) const = 0;
};

}  // namespace node::inference
