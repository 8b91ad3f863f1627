#include "inference/bench_linears.h"

#include <ATen/Parallel.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>

#include <array>
#include <chrono>
#include <exception>

#include "inference/checkpoint.h"
#include "inference/linear.h"

namespace node::inference {
namespace {

struct Block {
  Linear query_key_value, attention_output, up, down;
};

struct Stack {  // Of blocks on one sequence of tokens.
  std::int64_t layers = 0;
  std::array<Block, 2> blocks;  // In turn: together more than a cache holds, as all the layers of a network are.
  at::Tensor narrow, wide;      // [rows, H], [rows, intermediate]
};

Linear noise(std::int64_t out, std::int64_t in, at::ScalarType type) {
  return Linear(at::randn({out, in}).mul_(0.02).to(type), at::randn({out}).to(type));
}

Stack make_stack(const TransformerConfig& config, std::int64_t rows, at::ScalarType type) {
  Stack stack;
  const std::int64_t hidden = config.hidden_size, wide = config.intermediate_size;
  stack.layers = config.layers;
  for (Block& block : stack.blocks) {
    block = {noise(3 * hidden, hidden, type), noise(hidden, hidden, type), noise(wide, hidden, type),
             noise(hidden, wide, type)};
  }
  stack.narrow = at::randn({rows, hidden}).to(type);
  stack.wide = at::randn({rows, wide}).to(type);
  return stack;
}

double flop_of(const TransformerConfig& config, std::int64_t rows) {
  const double hidden = static_cast<double>(config.hidden_size), wide = static_cast<double>(config.intermediate_size);
  return 2.0 * static_cast<double>(rows * config.layers) * hidden * (4 * hidden + 2 * wide);
}

void run(const Stack& stack, Activation activation) {
  for (std::int64_t i = 0; i < stack.layers; ++i) {
    const Block& block = stack.blocks[static_cast<std::size_t>(i % 2)];
    block.query_key_value(stack.narrow);
    block.attention_output(stack.narrow);
    block.up.activated(stack.narrow, activation);
    block.down(stack.wide);
  }
}

}  // namespace

Result<BareLinears> bare_linears(const std::string& directory, int images, int passes, bool bfloat16, int threads,
                                 double seconds) {
  NODE_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(directory));
  const NetworkConfig& network = checkpoint.network();
  const bool map = passes > 0;
  try {
    const c10::InferenceMode guard;
    if (threads > 0) at::set_num_threads(threads);
    const at::ScalarType type = bfloat16 ? at::kBFloat16 : at::kFloat;
    const std::int64_t sequences = images * (map ? passes : 1);
    const auto visible = static_cast<std::int64_t>(static_cast<double>(network.patches()) * (1 - network.mask_ratio));
    const std::int64_t rows = sequences * (1 + (map ? visible : network.patches()));
    const std::int64_t decoder_rows = sequences * (1 + network.patches());
    BareLinears result;
    result.flop = flop_of(network.encoder, rows) + (map ? flop_of(network.decoder, decoder_rows) : 0);
    std::vector<Stack> stacks;
    stacks.push_back(make_stack(network.encoder, rows, type));
    if (map) stacks.push_back(make_stack(network.decoder, decoder_rows, type));
    double spent = 0;
    for (bool warm = false; result.seconds.empty() || spent < seconds; warm = true) {
      const auto start = std::chrono::steady_clock::now();
      for (const Stack& stack : stacks) run(stack, network.activation);
      if (!warm) continue;
      result.seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      spent += result.seconds.back();
    }
    return result;
  } catch (const std::exception& error) {
    return internal_error(directory + ": bare linears: " + std::string(error.what()).substr(0, 300));
  }
}

}  // namespace node::inference
