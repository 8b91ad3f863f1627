// network_tensors: which tensors a network of a given configuration has, and by which names files know them.
//
// Threads: any.
// Source:  names of transformers 4 and 5 for ViTForImageClassification and ViTMAEForPreTraining.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "inference/network_config.h"

namespace node::inference {

// Name, as transformers 4 wrote it ("decoder.decoder_layers.0.output.dense.bias"), and shape of each.
std::map<std::string, std::vector<std::int64_t>> expected_tensors(const NetworkConfig& network);

// That name for one that another version uses; any other name stays what it is. transformers 5 saves the decoder's
// layers as decoder.decoder_encoder.layer.N, and holds all layers under names of its own
// (vit.layers.N.attention.q_proj), which accelerate saves as they are.
std::string canonical_name(const std::string& name);

// Whether a file may hold it without a part in the result: a classifier's class has no pooler and no decoder.
bool is_without_effect(const NetworkConfig& network, const std::string& canonical_name);

}  // namespace node::inference
