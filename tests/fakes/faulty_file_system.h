// FaultyFileSystem: a FileSystem on a real directory that remembers what was synced, and takes the rest back.
//
// Guarantee: after lose_power() a file is there under a name only if the directory that holds the name was synced since
//            it got it, with the bytes of the last sync of the file; Loss says what else may survive. Calls are counted
//            from 1, so that a test can let every one of them fail, or lose power before it. SQLite's calls count too
//            where FaultySqliteVfs is installed. A sync that fails forgets what it should have written, as Linux does:
//            the pages are clean from then on, and no later sync writes them.
// Threads:   any, for the calls; faults are set and power is lost while no other thread makes one.
#pragma once

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "config/base/mutex.h"
#include "storage/file_system.h"

namespace node::fakes {

class FaultyFileSystem : public storage::FileSystem {
 public:
  using Path = std::filesystem::path;

  // What a power loss takes. A real one may take anything in between: names and contents reach the disk on their own.
  // kSome: of each directory its new names or its old ones, of each unsynced write all, nothing or whole sectors.
  enum class Loss { kNamesAndContents, kContents, kNames, kSome };

  void lose_power_before(int call) {  // From it on calls fail and change nothing; 0: none does. From any thread.
    MutexLock lock(mutex_);
    power_lost_at_ = call;
  }
  void fail(int call, Status status) {  // It alone.
    failing_call_ = call;
    failure_ = std::move(status);
  }
  void forget_sync(int sync) { forgotten_sync_ = sync; }  // The sync-th one says OK and does nothing.
  // From it on nothing gets larger and nothing is made, until free_disk().
  void fill_disk_before(int call) { full_from_ = call; }
  void free_disk() { full_from_ = 0; }
  bool power_is_lost() const {
    MutexLock lock(mutex_);
    return power_lost_at_ > 0 && calls_ >= power_lost_at_;
  }
  int calls() const {
    MutexLock lock(mutex_);
    return calls_;
  }
  int syncs() const {
    MutexLock lock(mutex_);
    return syncs_;
  }

  int syncs_of(const Path& path) const {
    MutexLock lock(mutex_);
    const auto found = syncs_by_path_.find(path);
    return found == syncs_by_path_.end() ? 0 : found->second;
  }

  // Puts the directory into the state in which the next start finds it; no fault is left. `seed`: of kSome.
  void lose_power(Loss loss = Loss::kNamesAndContents, unsigned seed = 0) {
    MutexLock lock(mutex_);
    std::minstd_rand random(seed);
    const Entries survivors = surviving_names(loss, random);
    std::map<int, std::string> contents;
    for (const auto& [path, inode] : survivors) {
      if (!inodes_[inode].directory) contents[inode] = surviving_bytes(inode, loss, random);
    }
    for (const auto& [path, inode] : live_) std::filesystem::remove_all(path);
    for (const auto& [path, inode] : survivors) {  // In order of paths: a directory before what is in it.
      if (inodes_[inode].directory) {
        std::filesystem::create_directory(path);
      } else {
        std::ofstream(path, std::ios::binary) << contents[inode];
        inodes_[inode].durable_bytes = contents[inode];
        inodes_[inode].unsynced.clear();
      }
    }
    live_ = durable_ = survivors;
    calls_ = syncs_ = 0;
    power_lost_at_ = failing_call_ = forgotten_sync_ = full_from_ = 0;
  }

  Status create_directory(const Path& path) override {
    MutexLock lock(mutex_);
    NODE_RETURN_IF_ERROR(next_call());
    std::error_code ignored;
    const bool is_new = !std::filesystem::exists(path, ignored);
    if (is_new) NODE_RETURN_IF_ERROR(needs_space());
    NODE_RETURN_IF_ERROR(real_.create_directory(path));
    if (is_new) add(path, true);
    return ok_status();
  }
  Status create_file(const Path& path) override {
    MutexLock lock(mutex_);
    NODE_RETURN_IF_ERROR(next_call());
    NODE_RETURN_IF_ERROR(needs_space());
    NODE_RETURN_IF_ERROR(real_.create_file(path));
    add(path, false);
    return ok_status();
  }
  Status append(const Path& path, const void* data, std::size_t size_bytes) override {
    MutexLock lock(mutex_);
    NODE_RETURN_IF_ERROR(next_call());
    NODE_RETURN_IF_ERROR(needs_space());
    return real_.append(path, data, size_bytes);
  }
  Status sync_file(const Path& path) override {
    MutexLock lock(mutex_);
    Status called = next_call();
    Inode& inode = inodes_[live_.at(path)];
    if (!called.ok()) {
      if (!is_power_lost()) inode.unsynced.clear();
      return called;
    }
    ++syncs_by_path_[path];
    if (++syncs_ == forgotten_sync_) return ok_status();
    if (!inode.recorded) {
      inode.durable_bytes = read(path);
    } else {
      for (const Change& change : inode.unsynced) change.apply_to(inode.durable_bytes);
      inode.unsynced.clear();
    }
    return ok_status();
  }
  Status rename(const Path& from, const Path& to) override {
    MutexLock lock(mutex_);
    NODE_RETURN_IF_ERROR(next_call());
    NODE_RETURN_IF_ERROR(real_.rename(from, to));
    live_[to] = live_.at(from);
    live_.erase(from);
    return ok_status();
  }
  Status sync_directory(const Path& path) override {
    MutexLock lock(mutex_);
    NODE_RETURN_IF_ERROR(next_call());
    ++syncs_by_path_[path];
    if (++syncs_ == forgotten_sync_) return ok_status();
    std::erase_if(durable_, [&](const auto& entry) { return entry.first.parent_path() == path; });
    for (const auto& [entry, inode] : live_) {
      if (entry.parent_path() == path) durable_[entry] = inode;
    }
    return ok_status();
  }
  Status remove(const Path& path) override {
    MutexLock lock(mutex_);
    NODE_RETURN_IF_ERROR(next_call());
    NODE_RETURN_IF_ERROR(real_.remove(path));
    live_.erase(path);
    return ok_status();
  }
  Result<std::vector<Path>> list(const Path& directory) override {
    MutexLock lock(mutex_);
    NODE_RETURN_IF_ERROR(next_call());
    return real_.list(directory);
  }
  Result<std::uint64_t> free_bytes(const Path& path) override {
    MutexLock lock(mutex_);
    NODE_RETURN_IF_ERROR(next_call());
    return free_bytes_ ? Result<std::uint64_t>(*free_bytes_) : real_.free_bytes(path);
  }
  void set_free_bytes(std::uint64_t free_bytes) { free_bytes_ = free_bytes; }

  // Takes all below `directory` as durable: a copy of another machine's disk.
  void adopt(const Path& directory) {
    MutexLock lock(mutex_);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
      add(entry.path(), entry.is_directory());
      if (!entry.is_directory()) inodes_[live_.at(entry.path())].durable_bytes = read(entry.path());
    }
    durable_ = live_;
  }

  // --- for a file that is written at offsets, by somebody who does the real write when this says OK ----------------
  Status before_open(const Path& path, bool creates) {
    MutexLock lock(mutex_);
    if (creates && !live_.contains(path)) {
      NODE_RETURN_IF_ERROR(next_call());
      NODE_RETURN_IF_ERROR(needs_space());
      add(path, false);
    }
    if (const auto known = live_.find(path); known != live_.end()) inodes_[known->second].recorded = true;
    return ok_status();
  }
  Status before_write(const Path& path, std::uint64_t offset, std::string bytes, bool extends) {
    MutexLock lock(mutex_);
    NODE_RETURN_IF_ERROR(next_call());
    if (extends) NODE_RETURN_IF_ERROR(needs_space());
    inodes_[live_.at(path)].unsynced.push_back({offset, std::move(bytes), false});
    return ok_status();
  }
  Status before_reserve() {  // Space behind its end: no call of its own, as nothing depends on it.
    MutexLock lock(mutex_);
    return needs_space();
  }
  Status before_truncate(const Path& path, std::uint64_t size) {
    MutexLock lock(mutex_);
    NODE_RETURN_IF_ERROR(next_call());
    inodes_[live_.at(path)].unsynced.push_back({size, {}, true});
    return ok_status();
  }
  bool knows(const Path& path) const {
    MutexLock lock(mutex_);
    return live_.contains(path);
  }

 private:
  struct Change {
    std::uint64_t offset = 0;
    std::string bytes;
    bool truncates = false;  // To `offset`.

    void apply_to(std::string& file) const {
      if (truncates) return file.resize(std::min<std::size_t>(file.size(), offset));
      file.resize(std::max<std::size_t>(file.size(), offset + bytes.size()));
      file.replace(offset, bytes.size(), bytes);
    }
  };
  struct Inode {
    bool directory = false;
    bool recorded = false;         // Its writes are told by before_write(); else its bytes are looked at.
    std::string durable_bytes;     // As of the last sync.
    std::vector<Change> unsynced;  // Since then, if recorded.
  };
  using Entries = std::map<Path, int>;  // Name -> inode.
  static constexpr std::size_t kSectorBytes = 512;

  bool is_power_lost() const REQUIRES(mutex_) { return power_lost_at_ > 0 && calls_ >= power_lost_at_; }
  Status next_call() REQUIRES(mutex_) {
    ++calls_;
    if (is_power_lost()) return data_loss("the power is gone");
    if (calls_ == failing_call_) return failure_;
    return ok_status();
  }
  Status needs_space() const REQUIRES(mutex_) {
    if (full_from_ == 0 || calls_ < full_from_) return ok_status();
    return resource_exhausted("No space left on device");
  }
  void add(const Path& path, bool directory) REQUIRES(mutex_) {
    const int inode = static_cast<int>(inodes_.size());
    inodes_[inode].directory = directory;
    live_[path] = inode;
  }
  static std::string read(const Path& path) {
    std::ifstream file(path, std::ios::binary);
    std::error_code gone;
    const auto size = std::filesystem::file_size(path, gone);
    std::string bytes(gone ? 0 : size, '\0');
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    bytes.resize(static_cast<std::size_t>(file.gcount()));
    return bytes;
  }
  std::optional<std::string> live_bytes(int inode) const REQUIRES(mutex_) {
    for (const auto& [path, live_inode] : live_) {
      if (live_inode == inode) return read(path);
    }
    return std::nullopt;
  }
  std::string surviving_bytes(int number, Loss loss, std::minstd_rand& random) REQUIRES(mutex_) {
    const Inode& inode = inodes_[number];
    if (loss == Loss::kNames) return live_bytes(number).value_or(inode.durable_bytes);
    std::string bytes = inode.durable_bytes;
    if (loss != Loss::kSome) return bytes;
    if (!inode.recorded) {
      const std::string live = live_bytes(number).value_or(bytes);
      return live == bytes || random() % 2 == 0 ? bytes : live.substr(0, random() % (live.size() + 1));
    }
    for (Change change : inode.unsynced) {
      const auto fate = random() % 3;  // Lost, kept, or some of its sectors.
      if (fate == 0) continue;
      if (fate == 2 && !change.truncates) {
        const std::size_t begin = random() % (change.bytes.size() / kSectorBytes + 1) * kSectorBytes;
        const std::size_t sectors = random() % ((change.bytes.size() - begin) / kSectorBytes + 1);
        change = {change.offset + begin, change.bytes.substr(begin, sectors * kSectorBytes), false};
        if (change.bytes.empty()) continue;
      }
      change.apply_to(bytes);
    }
    return bytes;
  }
  Entries surviving_names(Loss loss, std::minstd_rand& random) const REQUIRES(mutex_) {
    if (loss == Loss::kContents) return live_;
    if (loss != Loss::kSome) return reachable(durable_);
    std::set<Path> directories;
    for (const Entries* entries : {&live_, &durable_}) {
      for (const auto& [path, inode] : *entries) directories.insert(path.parent_path());
    }
    Entries mixed;
    for (const Path& directory : directories) {
      for (const auto& [path, inode] : random() % 2 == 0 ? live_ : durable_) {
        if (path.parent_path() == directory) mixed[path] = inode;
      }
    }
    return reachable(mixed);
  }
  // Without what lies in a directory that is lost itself.
  Entries reachable(const Entries& entries) const REQUIRES(mutex_) {
    Entries found;
    for (const auto& [path, inode] : entries) {  // A parent comes before its children.
      if (found.contains(path.parent_path()) || !live_.contains(path.parent_path())) found[path] = inode;
    }
    return found;
  }

  storage::FileSystem& real_ = storage::posix_file_system();
  mutable Mutex mutex_;
  std::map<int, Inode> inodes_ GUARDED_BY(mutex_);
  Entries live_ GUARDED_BY(mutex_), durable_ GUARDED_BY(mutex_);
  int calls_ GUARDED_BY(mutex_) = 0;
  int syncs_ GUARDED_BY(mutex_) = 0;
  std::map<Path, int> syncs_by_path_ GUARDED_BY(mutex_);
  int power_lost_at_ = 0, failing_call_ = 0, forgotten_sync_ = 0, full_from_ = 0;
  Status failure_;
  std::optional<std::uint64_t> free_bytes_;
};

}  // namespace node::fakes
