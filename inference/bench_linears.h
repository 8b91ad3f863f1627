// bare_linears: how long the matrix products of one batch take by themselves, the floor under a network's time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/base/status.h"

namespace node::inference {

struct BareLinears {
  double flop = 0;              // Of one batch: two for each multiplication of a weight.
  std::vector<double> seconds;  // Of each batch.
};

// The linears of all blocks of the network in `directory` on as many rows as a batch of `images` has (with `visible`
// patches a pass where passes > 0: a map's encoder and decoder), as the engine runs them on the CPU: packed, with bias,
// the activation fused. Weights are noise. Errors: of Checkpoint::open(); kInternal.
Result<BareLinears> bare_linears(const std::string& directory, int images, int passes, bool bfloat16, int threads,
                                 double seconds);

}  // namespace node::inference
