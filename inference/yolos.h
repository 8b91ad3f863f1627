// Yolos: YolosForObjectDetection on the blocks of our own vision transformer.
//
// Shapes:    pixels [N, 3, rows, columns], both multiples of the patch; one token for each detection, whose final state
//            says a class (the last: none) and a box, centre and size as shares of the image.
// Source:    Fang et al., "You Only Look at One Sequence", arXiv 2106.00666; names of tensors as of transformers 4
// and 5.
#pragma once

#include <memory>

#include "inference/checkpoint.h"
#include "inference/detector.h"
#include "inference/vision_transformer.h"

namespace node::inference {

// Copies what it keeps: the checkpoint may be dropped afterwards. `checkpoint`: of Architecture::kObjectDetection.
std::shared_ptr<const Detector> load_yolos(const Checkpoint& checkpoint, const Placement& placement);

}  // namespace node::inference
