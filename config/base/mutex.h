// Mutex, MutexLock, ConditionVariable, GUARDED_BY: a mutex that clang's -Wthread-safety understands.
//
// Threads: a field marked GUARDED_BY(mutex_) may be touched under that mutex only; the `lint` preset checks it.
#pragma once

#include <condition_variable>
#include <mutex>
#include <utility>

#if defined(__clang__)
#define NODE_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define NODE_THREAD_ANNOTATION(x)
#endif

#define CAPABILITY(x) NODE_THREAD_ANNOTATION(capability(x))
#define SCOPED_CAPABILITY NODE_THREAD_ANNOTATION(scoped_lockable)
#define GUARDED_BY(x) NODE_THREAD_ANNOTATION(guarded_by(x))
#define REQUIRES(...) NODE_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define ACQUIRE(...) NODE_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define RELEASE(...) NODE_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define EXCLUDES(...) NODE_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS NODE_THREAD_ANNOTATION(no_thread_safety_analysis)

namespace node {

class CAPABILITY("mutex") Mutex {
 public:
  void lock() ACQUIRE() { mutex_.lock(); }
  void unlock() RELEASE() { mutex_.unlock(); }

 private:
  friend class MutexLock;
  std::mutex mutex_;
};

// Holds a Mutex for a scope.
class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : lock_(mutex.mutex_) {}
  ~MutexLock() RELEASE() {}
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  friend class ConditionVariable;
  std::unique_lock<std::mutex> lock_;
};

// std::condition_variable for a MutexLock.
class ConditionVariable {
 public:
  void notify_one() { condition_.notify_one(); }
  void notify_all() { condition_.notify_all(); }
  void wait(MutexLock& lock) { condition_.wait(lock.lock_); }
  template <typename Predicate>
  void wait(MutexLock& lock, Predicate is_true) {
    condition_.wait(lock.lock_, std::move(is_true));
  }
  template <typename Duration>
  std::cv_status wait_for(MutexLock& lock, const Duration& duration) {
    return condition_.wait_for(lock.lock_, duration);
  }
  template <typename Time>
  std::cv_status wait_until(MutexLock& lock, const Time& time) {
    return condition_.wait_until(lock.lock_, time);
  }
  template <typename Time, typename Predicate>
  bool wait_until(MutexLock& lock, const Time& time, Predicate is_true) {
    return condition_.wait_until(lock.lock_, time, std::move(is_true));
  }

 private:
  std::condition_variable condition_;
};

}  // namespace node
