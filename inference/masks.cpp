#include "inference/masks.h"

#include <algorithm>
#include <numeric>
#include <string>

namespace node::inference {
namespace {

class SplitMix64 {
 public:
  explicit SplitMix64(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    state_ += 0x9E3779B97F4A7C15u;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

 private:
  std::uint64_t state_;
};

std::vector<std::int64_t> draw_order(SplitMix64& stream, int patches) {
  std::vector<std::uint64_t> keys(static_cast<std::size_t>(patches));
  for (std::uint64_t& key : keys) key = stream.next();
  std::vector<std::int64_t> order(keys.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&keys](std::int64_t a, std::int64_t b) {
    return keys[static_cast<std::size_t>(a)] < keys[static_cast<std::size_t>(b)];
  });
  return order;
}

}  // namespace

Result<std::vector<std::vector<std::int64_t>>> visible_patches(config::MaskMode mode, int passes, int patches,
                                                               double mask_ratio, std::uint64_t seed) {
  if (passes < 1) return invalid_argument("an anomaly map needs at least one pass, not " + std::to_string(passes));
  SplitMix64 stream(seed);
  std::vector<std::vector<std::int64_t>> visible;
  if (mode == config::MaskMode::kPartition) {
    if (patches < 4 || patches % 4 != 0) {
      return invalid_argument("mode partition needs a patch count divisible by four, the model has " +
                              std::to_string(patches) + " patches: use mode random");
    }
    if (passes % 4 != 0) {
      return invalid_argument("mode partition needs passes divisible by four, not " + std::to_string(passes));
    }
    const std::ptrdiff_t run = patches / 4;
    for (int group = 0; group < passes / 4; ++group) {
      const std::vector<std::int64_t> order = draw_order(stream, patches);
      for (std::ptrdiff_t i = 0; i < 4; ++i) {
        visible.emplace_back(order.begin() + i * run, order.begin() + (i + 1) * run);
      }
    }
    return visible;
  }
  const auto kept = static_cast<std::ptrdiff_t>(patches * (1.0 - mask_ratio));
  if (kept < 1 || kept >= patches) {
    return invalid_argument("mask_ratio " + std::to_string(mask_ratio) + " of " + std::to_string(patches) +
                            " patches leaves nothing visible or nothing hidden");
  }
  for (int pass = 0; pass < passes; ++pass) {
    std::vector<std::int64_t> order = draw_order(stream, patches);
    order.resize(static_cast<std::size_t>(kept));
    visible.push_back(std::move(order));
  }
  return visible;
}

}  // namespace node::inference
