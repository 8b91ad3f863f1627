#include "inference/batcher.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <limits>
#include <numeric>
#include <utility>

namespace node::inference {
namespace {

constexpr int kNiceness = 5;  // An X-ray room waits for its C-STORE, nobody waits for the last image of a batch.

}  // namespace

Batcher::Batcher(int queues, Options options, Clock& clock, Run run)
    : options_(std::move(options)), clock_(clock), run_(std::move(run)), queues_(queues) {
  assert(queues >= 0 && options_.rows_max >= 1);
  stats_.waiting_rows.resize(queues);
  thread_ = std::thread([this] { serve(); });
}

Batcher::~Batcher() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Status Batcher::submit(int queue, std::unique_ptr<BatchItem>&& item) {
  {
    MutexLock lock(mutex_);
    if (queue < 0 || queue >= static_cast<int>(queues_.size())) {
      return invalid_argument("submit: no queue " + std::to_string(queue));
    }
    if (item->rows < 1) return invalid_argument("submit: " + std::to_string(item->rows) + " rows");
    if (stopping_) return unavailable("submit: the device's batcher is stopping");
    Queue& to = queues_[queue];
    if (to.waiting.empty()) to.rows_served = std::max(to.rows_served, rows_served_level());
    stats_.waiting_items += 1;
    stats_.waiting_rows[queue] += item->rows;
    to.waiting.push_back({std::move(item), clock_.steady_now()});
  }
  changed_.notify_all();
  return ok_status();
}

void Batcher::hurry() {
  {
    MutexLock lock(mutex_);
    hurrying_ = true;
  }
  changed_.notify_all();
}

Batcher::Batch Batcher::cancel() {
  Batch unserved;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    for (Queue& queue : queues_) {
      for (Waiting& waiting : queue.waiting) unserved.push_back(std::move(waiting.item));
      queue.waiting.clear();
    }
    stats_.waiting_items = 0;
    std::fill(stats_.waiting_rows.begin(), stats_.waiting_rows.end(), 0);
  }
  changed_.notify_all();
  return unserved;
}

BatcherStats Batcher::stats() const {
  MutexLock lock(mutex_);
  return stats_;
}

void Batcher::serve() {
  pthread_setname_np(pthread_self(), options_.thread_name.substr(0, 15).c_str());
  const id_t self = static_cast<id_t>(syscall(SYS_gettid));  // On Linux niceness is a thread's own.
  setpriority(PRIO_PROCESS, self, getpriority(PRIO_PROCESS, self) + kNiceness);
  while (true) {
    Batch batch;
    int queue = -1;
    {
      MutexLock lock(mutex_);
      while (true) {
        SteadyTime due = SteadyTime::max();
        const SteadyTime now = clock_.steady_now();
        queue = choose(now, due);
        if (queue >= 0) {
          batch = take(queue, now);
          break;
        }
        if (due < SteadyTime::max()) {
          clock_.wait_until(changed_, lock, due);
        } else if (stopping_) {
          return;
        } else {
          changed_.wait(lock);
        }
      }
    }
    run_(queue, std::move(batch));
    MutexLock lock(mutex_);
    stats_.running_rows = 0;
  }
}

int Batcher::choose(SteadyTime now, SteadyTime& due) const {
  int best = -1;
  std::pair<bool, int> best_urgency;
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    const std::vector<Waiting>& waiting = queues_[i].waiting;
    if (waiting.empty()) continue;
    const SteadyTime queue_due = waiting.front().since + options_.delay;
    if (!stopping_ && !hurrying_ && stats_.waiting_rows[i] < options_.rows_max && queue_due > now) {
      due = std::min(due, queue_due);
      continue;
    }
    std::pair<bool, int> urgency{false, std::numeric_limits<int>::min()};
    for (const Waiting& one : waiting) urgency = std::max(urgency, urgency_of(one, now));
    if (best < 0 || urgency > best_urgency ||
        (urgency == best_urgency && queues_[i].rows_served < queues_[best].rows_served)) {
      best = static_cast<int>(i);
      best_urgency = urgency;
    }
  }
  return best;
}

// A model that was idle brings no credit of rows: it joins the hungriest of those that wait or are being served.
std::uint64_t Batcher::rows_served_level() const {
  std::uint64_t level = rows_served_last_;
  for (const Queue& queue : queues_) {
    if (!queue.waiting.empty()) level = std::min(level, queue.rows_served);
  }
  return level;
}

Batcher::Batch Batcher::take(int index, SteadyTime now) {
  Queue& queue = queues_[index];
  std::vector<std::size_t> order(queue.waiting.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return urgency_of(queue.waiting[a], now) > urgency_of(queue.waiting[b], now);
  });

  Batch batch;
  std::int64_t rows = 0;
  for (std::size_t i : order) {
    std::unique_ptr<BatchItem>& item = queue.waiting[i].item;
    if (!batch.empty() && rows + item->rows > options_.rows_max) continue;
    rows += item->rows;
    batch.push_back(std::move(item));
    if (rows >= options_.rows_max) break;
  }
  std::erase_if(queue.waiting, [](const Waiting& waiting) { return waiting.item == nullptr; });

  rows_served_last_ = queue.rows_served;
  queue.rows_served += rows;
  stats_.batches += 1;
  stats_.items += batch.size();
  stats_.rows += rows;
  stats_.waiting_items -= static_cast<std::int64_t>(batch.size());
  stats_.waiting_rows[index] -= rows;
  stats_.running_rows = rows;
  return batch;
}

std::pair<bool, int> Batcher::urgency_of(const Waiting& waiting, SteadyTime now) const {
  return {now - waiting.since >= options_.patience, waiting.item->priority};
}

}  // namespace node::inference
