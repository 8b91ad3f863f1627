// Histogram: how often a measured value fell into each of a few ranges, as Prometheus shows it.
//
// Threads: any.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "config/base/mutex.h"

namespace node {

struct HistogramSnapshot {
  std::vector<double> bounds;         // Ascending: the largest value of each range but the last, which has no end.
  std::vector<std::uint64_t> counts;  // Of each range alone: one more than there are bounds.
  double sum = 0;                     // Of all values.
};

// Seconds, from a C-STORE on a fast disk to a result that waited a day for its destination.
inline std::vector<double> store_seconds_bounds() { return {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}; }
inline std::vector<double> delivery_seconds_bounds() {
  return {1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 14'400, 86'400};
}

// Rows of a batch, up to inference.batch_rows_max at its most.
inline std::vector<double> batch_rows_bounds() { return {1, 2, 4, 8, 16, 32, 64, 128, 256, 512}; }

class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds) {
    values_.counts.resize(bounds.size() + 1);
    values_.bounds = std::move(bounds);
  }

  void observe(double value) {
    MutexLock lock(mutex_);
    const auto range = std::lower_bound(values_.bounds.begin(), values_.bounds.end(), value);
    ++values_.counts[static_cast<std::size_t>(range - values_.bounds.begin())];
    values_.sum += value;
  }

  HistogramSnapshot snapshot() const {
    MutexLock lock(mutex_);
    return values_;
  }

 private:
  mutable Mutex mutex_;
  HistogramSnapshot values_ GUARDED_BY(mutex_);
};

}  // namespace node
