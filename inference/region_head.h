// region_head: what the 38 logits of the region-guided bone tumour classifier mean, of one crop and of many.
//
// Guarantee: none beyond the arithmetic: logits that are no numbers give scores that are none.
// Threads:   any.
// Shapes:    0 abnormal, 37 implant: a sigmoid each. 1-4 behaviour, 5-33 bone region, 34-36 kind of fracture: a softmax
//            each.
// Source:    the SKELEX work (arXiv 2602.03076): scores of an image are the greatest over its regions, of which the
//            whole image is one. Its greatest "no bone tumour" and "no fracture" are left out: that some region has
//            none says nothing of the image.
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "inference/predictor.h"

namespace node::inference {

inline constexpr int kRegionLogits = 38;

// The label of each logit, in the published order.
const std::vector<std::string>& region_head_labels();

// The bones among them, 29.
std::span<const std::string> bone_labels();

// Of one crop, in the order of config::kRegionScores; `labels` are their names. `logits`: 38.
std::vector<Score> region_scores(const std::vector<std::string>& labels, std::span<const float> logits);

// Fills in scores and bone of `region` from its logits.
void read_region(const std::vector<std::string>& labels, Region& region);

// Of an image: for each score the greatest, and the first region that has it.
std::vector<Score> greatest_scores(const std::vector<Region>& regions);

}  // namespace node::inference
