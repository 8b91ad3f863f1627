#include "dicom_node/object/inflation.h"

#include <algorithm>

#include "config/base/mutex.h"

namespace node::object {
namespace {

struct Budget {
  Mutex mutex;
  ConditionVariable released;
  std::uint64_t most GUARDED_BY(mutex) = 1024ull << 20;
  std::uint64_t held GUARDED_BY(mutex) = 0;
};

Budget& budget() {
  static Budget budget;
  return budget;
}

}  // namespace

void set_inflated_bytes_max(std::uint64_t bytes) {
  MutexLock lock(budget().mutex);
  budget().most = bytes;
  budget().released.notify_all();
}

std::uint64_t inflated_bytes_max() {
  MutexLock lock(budget().mutex);
  return budget().most;
}

Result<std::shared_ptr<void>> hold_inflated(std::uint64_t bytes, std::chrono::milliseconds patience) {
  Budget& all = budget();
  MutexLock lock(all.mutex);
  // One that is larger than the limit, which became less since it was measured, waits until it is alone.
  const auto has_room = [&]() NO_THREAD_SAFETY_ANALYSIS { return all.held == 0 || all.held + bytes <= all.most; };
  if (!all.released.wait_until(lock, std::chrono::steady_clock::now() + patience, has_room))
    return unavailable("inflate: other deflated objects take all the memory that node.object_bytes_max leaves them");
  all.held += bytes;
  return std::shared_ptr<void>(nullptr, [bytes](void*) {
    Budget& all = budget();
    MutexLock lock(all.mutex);
    all.held -= bytes;
    all.released.notify_all();
  });
}

}  // namespace node::object
