// Mutex, MutexLock, GUARDED_BY: a mutex that clang's -Wthread-safety understands.
//
// Threads: a field marked GUARDED_BY(mutex_) may be touched under that mutex only; the `lint` preset checks it.
#pragma once

#include <condition_variable>
#include <mutex>

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
  std::mutex mutex_;
};

// Holds a Mutex for a scope. Also lockable, so that a std::condition_variable_any can wait on it.
class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  void lock() NO_THREAD_SAFETY_ANALYSIS { mutex_.lock(); }      // For the condition variable only.
  void unlock() NO_THREAD_SAFETY_ANALYSIS { mutex_.unlock(); }  // For the condition variable only.

 private:
  Mutex& mutex_;
};

using ConditionVariable = std::condition_variable_any;

}  // namespace node
