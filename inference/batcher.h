// Batcher: collects requests from many threads into batches for one device; knows no LibTorch.
//
// Guarantee: every accepted item is handed to `run` exactly once, or given back by cancel(). None of a batch waits
//            for more company than `delay` after its submission; beyond that only for the device.
//            The destructor refuses new work, hands over all that was accepted without further delay, and joins.
// Threads:   every method from any thread; none waits for the device. `run` is called on the Batcher's one thread,
//            which is nicer than the threads of intake; it may submit() but not destroy the Batcher. `clock` and what
//            `run` captures must outlive the Batcher.
// Order:     within a queue the higher priority first, then the older; room that a large item leaves is filled by
//            later ones that fit. Among queues that are due the one with the more urgent item; among equals the one
//            that had fewer rows of the device. Whoever has waited for `patience` goes before all others.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "config/base/clock.h"
#include "config/base/mutex.h"
#include "config/base/status.h"

namespace node::inference {

// One request in a queue; the engine derives from it what it needs to run and to answer.
struct BatchItem {
  virtual ~BatchItem() = default;
  int rows = 1;      // Of the forward pass: 1 to classify, N for a map of N passes. At least 1.
  int priority = 0;  // Higher first.
};

struct BatcherStats {
  std::uint64_t batches = 0, rows = 0, items = 0;  // Handed to `run`.
  std::int64_t waiting_items = 0;
  std::vector<std::int64_t> waiting_rows;  // Per queue.
  std::int64_t running_rows = 0;           // Handed to `run`, which has not returned.
};

class Batcher {
 public:
  struct Options {
    int rows_max = 16;                           // Rows of one batch. An item with more travels alone.
    std::chrono::milliseconds delay{20};         // A batch that is not full waits at most so long for more.
    std::chrono::milliseconds patience{60'000};  // After so long an item goes first: priority starves nobody for ever.
    std::string thread_name = "device-0";        // At most 15 characters.
  };
  using Batch = std::vector<std::unique_ptr<BatchItem>>;
  using Run = std::function<void(int queue, Batch batch)>;  // Must not throw.

  // `queues`: one per model, named 0 to queues - 1 in submit() and `run`; 0 on a node that only stores and forwards.
  Batcher(int queues, Options options, Clock& clock, Run run);
  ~Batcher();
  Batcher(const Batcher&) = delete;
  Batcher& operator=(const Batcher&) = delete;

  // Takes `item` if and only if it returns OK. Not bounded: the caller bounds what is in flight.
  // Errors: kUnavailable (stopping), kInvalidArgument (no such queue, rows < 1).
  Status submit(int queue, std::unique_ptr<BatchItem>&& item);

  // From now on no batch waits for more company.
  void hurry();

  // Refuses new work from now on and gives back what `run` has not been handed: the caller answers it.
  Batch cancel();

  BatcherStats stats() const;

 private:
  struct Waiting {
    std::unique_ptr<BatchItem> item;
    SteadyTime since;
  };
  struct Queue {
    std::vector<Waiting> waiting;   // In the order of submission.
    std::uint64_t rows_served = 0;  // Of the device; lifted to the others' level when the queue was empty.
  };

  void serve();
  // The queue to serve now, or -1 and in `due` when one will be due (max(): not before something is submitted).
  int choose(SteadyTime now, SteadyTime& due) const REQUIRES(mutex_);
  std::uint64_t rows_served_level() const REQUIRES(mutex_);
  Batch take(int queue, SteadyTime now) REQUIRES(mutex_);
  std::pair<bool, int> urgency_of(const Waiting& waiting, SteadyTime now) const;

  const Options options_;
  Clock& clock_;
  const Run run_;
  mutable Mutex mutex_;
  ConditionVariable changed_;
  std::vector<Queue> queues_ GUARDED_BY(mutex_);
  std::uint64_t rows_served_last_ GUARDED_BY(mutex_) = 0;  // Of the queue that was served last, before it was.
  BatcherStats stats_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false, hurrying_ GUARDED_BY(mutex_) = false;
  std::thread thread_;  // Last: it uses all of the above.
};

}  // namespace node::inference
