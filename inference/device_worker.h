// DeviceWorker: one device: its batcher, and its thread, which runs one batch of one model at a time.
//
// Guarantee: each item is finished exactly once. If a batch fails its items run once more one by one, so that one bad
//            image fails alone. If the device's memory does not suffice, the batch takes passes of half as many rows,
//            and half again down to one, and goes on; that is counted.
// Threads:   submit() and rows_to_do() from any thread. The destructor finishes what was accepted and joins.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "config/base/clock.h"
#include "config/base/mutex.h"
#include "inference/batcher.h"
#include "inference/device.h"
#include "inference/request.h"

namespace node::inference {

struct EngineCounters {  // Of all devices together.
  std::atomic<std::uint64_t> requests{0}, failures{0}, backbone_passes{0}, halved_batches{0};
  Histogram batch_rows{batch_rows_bounds()};
};

class DeviceWorker {
 public:
  // `number`: of the device, among the models' weights. `threads`: LibTorch's, of a CPU. `works`: of each queue.
  // `clock` and `counters` must outlive it.
  DeviceWorker(std::size_t number, Device device, int threads, Batcher::Options options, std::vector<Work> works,
               Clock& clock, EngineCounters& counters, BeforePass before_pass);

  Status submit(int queue, std::unique_ptr<BatchItem>&& item);  // As of Batcher.
  void hurry() { batcher_.hurry(); }
  std::int64_t rows_to_do() const;  // Waiting, or on the device.
  std::int64_t waiting_items() const;
  std::vector<std::string> failing() const;  // As of PredictorStats.
  const Device& device() const { return device_; }

 private:
  struct Failures {  // Of one queue, since its last success.
    int in_a_row = 0;
    std::string last;
  };

  void run(int queue, const Batcher::Batch& batch);
  void note(int queue, const Status& status);
  Status run_items(int queue, std::span<RequestItem* const> items);
  Status run_passes(int queue, std::span<RequestItem* const> items, std::int64_t rows_max);

  const std::size_t number_;
  const Device device_;
  const int threads_;
  const std::vector<Work> works_;
  EngineCounters& counters_;
  const BeforePass before_pass_;
  mutable Mutex mutex_;
  std::vector<Failures> failures_ GUARDED_BY(mutex_);  // By queue.
  bool thread_ready_ = false;                          // Touched by the device's thread alone.
  Batcher batcher_;                                    // Last: its thread uses all of the above.
};

// A LibTorch call that failed, as a value: kResourceExhausted (memory), else kInternal. Its messages hold sizes and
// operators, nothing of a patient.
Status to_status(const std::exception& error);

}  // namespace node::inference
