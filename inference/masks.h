// visible_patches: which patches of an image each masked pass of an anomaly map sees, from a seed alone.
//
// Guarantee: same arguments, same masks, on every machine: integer arithmetic only. The recipe, for redrawing them
//            elsewhere (tests/inference/parity_test.py does so in Python):
//            - SplitMix64: state = seed; each draw adds 0x9E3779B97F4A7C15 to the state and mixes a copy z of it:
//              z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9; z = (z ^ z >> 27) * 0x94D049BB133111EB; key = z ^ z >> 31.
//            - One stream for the whole map. `random`: for each pass, `partition`: for each group of four passes, draw
//              one key for each patch, in the order of the patches (row-major); order the patches by (key, index).
//            - `random`: the first floor(patches * (1 - mask_ratio)) of the order are visible.
//            - `partition`: the four equal runs of the order are what the four passes of the group see, so that each
//              group hides each patch exactly three times. mask_ratio plays no part: it is 3/4.
// Threads:   a pure function.
// Source:    SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
#pragma once

#include <cstdint>
#include <vector>

#include "config/base/status.h"
#include "config/task_config.h"

namespace node::inference {

// One list of patch indices for each pass, all of one length, in the order drawn.
// Errors: kInvalidArgument: no passes; nothing left visible or hidden; for `partition`: patches or passes not a
//         multiple of four.
Result<std::vector<std::vector<std::int64_t>>> visible_patches(config::MaskMode mode, int passes, int patches,
                                                               double mask_ratio, std::uint64_t seed);

}  // namespace node::inference
