// FaultyFileSystem: a FileSystem on a real directory that remembers what was synced, and takes the rest back.
//
// Guarantee: after lose_power() a file is there under a name only if the directory that holds the name was synced since
//            it got it, with the bytes of the last sync of the file. Calls are counted from 1, so that a test can let
//            every one of them fail, or lose power before it.
// Threads:   one.
#pragma once

#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <string>

#include "storage/file_system.h"

namespace node::fakes {

class FaultyFileSystem : public storage::FileSystem {
 public:
  using Path = std::filesystem::path;

  // What a power loss takes. A real one may take anything in between: names and contents reach the disk on their own.
  enum class Loss { kNamesAndContents, kContents, kNames };

  void lose_power_before(int call) { power_lost_at_ = call; }  // From it on calls fail and change nothing.
  void fail(int call, Status status) {                         // It alone.
    failing_call_ = call;
    failure_ = std::move(status);
  }
  void forget_sync(int sync) { forgotten_sync_ = sync; }  // The sync-th one says OK and does nothing.
  int calls() const { return calls_; }
  int syncs() const { return syncs_; }

  // Puts the directory into the state in which the next start finds it; no fault is left.
  void lose_power(Loss loss = Loss::kNamesAndContents) {
    const Entries survivors = loss == Loss::kContents ? live_ : reachable(durable_);
    std::map<int, std::string> contents;
    for (const auto& [path, inode] : survivors) {
      if (!inodes_[inode].directory) contents[inode] = surviving_bytes(inode, loss);
    }
    for (const auto& [path, inode] : live_) std::filesystem::remove_all(path);
    for (const auto& [path, inode] : survivors) {  // In order of paths: a directory before what is in it.
      if (inodes_[inode].directory) {
        std::filesystem::create_directory(path);
      } else {
        std::ofstream(path, std::ios::binary) << contents[inode];
        inodes_[inode].durable_bytes = contents[inode];
      }
    }
    live_ = durable_ = survivors;
    calls_ = syncs_ = 0;
    power_lost_at_ = failing_call_ = forgotten_sync_ = 0;
  }

  Status create_directory(const Path& path) override {
    NODE_RETURN_IF_ERROR(next_call());
    std::error_code ignored;
    const bool is_new = !std::filesystem::exists(path, ignored);
    NODE_RETURN_IF_ERROR(real_.create_directory(path));
    if (is_new) add(path, true);
    return ok_status();
  }
  Status create_file(const Path& path) override {
    NODE_RETURN_IF_ERROR(next_call());
    NODE_RETURN_IF_ERROR(real_.create_file(path));
    add(path, false);
    return ok_status();
  }
  Status append(const Path& path, const void* data, std::size_t size_bytes) override {
    NODE_RETURN_IF_ERROR(next_call());
    return real_.append(path, data, size_bytes);
  }
  Status sync_file(const Path& path) override {
    NODE_RETURN_IF_ERROR(next_call());
    if (++syncs_ != forgotten_sync_) inodes_[live_.at(path)].durable_bytes = read(path);
    return ok_status();
  }
  Status rename(const Path& from, const Path& to) override {
    NODE_RETURN_IF_ERROR(next_call());
    NODE_RETURN_IF_ERROR(real_.rename(from, to));
    live_[to] = live_.at(from);
    live_.erase(from);
    return ok_status();
  }
  Status sync_directory(const Path& path) override {
    NODE_RETURN_IF_ERROR(next_call());
    if (++syncs_ == forgotten_sync_) return ok_status();
    std::erase_if(durable_, [&](const auto& entry) { return entry.first.parent_path() == path; });
    for (const auto& [entry, inode] : live_) {
      if (entry.parent_path() == path) durable_[entry] = inode;
    }
    return ok_status();
  }
  Status remove(const Path& path) override {
    NODE_RETURN_IF_ERROR(next_call());
    NODE_RETURN_IF_ERROR(real_.remove(path));
    live_.erase(path);
    return ok_status();
  }
  Result<std::vector<Path>> list(const Path& directory) override {
    NODE_RETURN_IF_ERROR(next_call());
    return real_.list(directory);
  }
  Result<std::uint64_t> free_bytes(const Path& path) override {
    NODE_RETURN_IF_ERROR(next_call());
    return free_bytes_ ? Result<std::uint64_t>(*free_bytes_) : real_.free_bytes(path);
  }
  void set_free_bytes(std::uint64_t free_bytes) { free_bytes_ = free_bytes; }

 private:
  struct Inode {
    bool directory = false;
    std::string durable_bytes;  // As of the last sync.
  };
  using Entries = std::map<Path, int>;  // Name -> inode.

  Status next_call() {
    ++calls_;
    if (power_lost_at_ > 0 && calls_ >= power_lost_at_) return data_loss("the power is gone");
    if (calls_ == failing_call_) return failure_;
    return ok_status();
  }
  void add(const Path& path, bool directory) {
    const int inode = static_cast<int>(inodes_.size());
    inodes_[inode] = {directory, ""};
    live_[path] = inode;
  }
  static std::string read(const Path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::string surviving_bytes(int inode, Loss loss) {
    if (loss == Loss::kNames) {
      for (const auto& [path, live_inode] : live_) {
        if (live_inode == inode) return read(path);
      }
    }
    return inodes_[inode].durable_bytes;
  }
  // Without what lies in a directory that is lost itself.
  Entries reachable(const Entries& entries) const {
    Entries found;
    for (const auto& [path, inode] : entries) {  // A parent comes before its children.
      if (found.contains(path.parent_path()) || !live_.contains(path.parent_path())) found[path] = inode;
    }
    return found;
  }

  storage::FileSystem& real_ = storage::posix_file_system();
  std::map<int, Inode> inodes_;
  Entries live_, durable_;
  int calls_ = 0, syncs_ = 0, power_lost_at_ = 0, failing_call_ = 0, forgotten_sync_ = 0;
  Status failure_;
  std::optional<std::uint64_t> free_bytes_;
};

}  // namespace node::fakes
