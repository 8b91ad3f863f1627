// Spool: the bytes of every received and produced DICOM object, one file per SOP Instance and version.
//
// Guarantee: once commit() returns OK the object survives power loss under its final name; before
//            that no reader sees any of it. The order that gives this guarantee is
//            write *.part -> fsync file -> rename -> fsync directory.
// Threads:   every method may be called from any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/status.h"
#include "config/storage_config.h"
#include "storage/file_system.h"
#include "storage/uid.h"

namespace node::storage {

struct StoredFile {
  std::string key;  // Opaque; Spool::path(key) gives the file. Built from a checked Uid.
  std::uint64_t size_bytes = 0;
  std::string sha256_hex;  // Checked again before every delivery.
};

// An object still arriving; destroying it uncommitted deletes it. Move-only, of one thread. Its digest is taken as the
// bytes come. They are collected in pieces of a MiB, which go to the disk past the page cache where that can be done
// (FileSystem::append()): an ordinary object is written once, when it is whole.
class IncomingFile {
 public:
  IncomingFile(IncomingFile&& other) noexcept;
  IncomingFile& operator=(IncomingFile&& other) noexcept;
  ~IncomingFile();

  // Errors: as FileSystem::append(), of these bytes or of earlier ones; what follows an error is not written.
  Status append(const void* data, std::size_t size_bytes);
  // Until then the last bytes may be in memory alone. commit() does it too.
  Status flush();
  const std::filesystem::path& path() const { return path_; }  // To read what was flushed.
  // All of it, while nothing has been written: until flush(), unless it is greater than a piece. Not after append().
  std::optional<std::string_view> bytes() const;

 private:
  friend class Spool;
  struct Content;
  IncomingFile(FileSystem& file_system, std::filesystem::path path);
  FileSystem* file_system_;
  std::filesystem::path path_;  // Empty: moved from or committed.
  std::unique_ptr<Content> content_;
};

class Spool {
 public:
  // Creates the tree if need be and deletes the *.part files a crash left behind.
  // `file_system` must outlive the Spool; tests pass one that forgets unsynced writes.
  // Errors: kDataLoss (tree unreadable), kResourceExhausted (volume full).
  static Result<std::unique_ptr<Spool>> open(const config::StorageConfig& config, FileSystem& file_system);
  ~Spool();

  // Reserves a fresh *.part file. Errors: kResourceExhausted below StorageConfig::free_bytes_min.
  Result<IncomingFile> begin();

  // As begin_in_reserve(), with the bytes of a file that is here. Errors also: kNotFound, kDataLoss, kUnavailable.
  Result<IncomingFile> begin_again(const std::string& key);

  // As begin(), also below the reserve: for what ends work that was accepted, and for what is not kept.
  Result<IncomingFile> begin_in_reserve();

  // Makes the object durable as a file of its own; whether it is a resend, a version or a conflict is decided by
  // the caller and StudyStore::add_instance(), and the loser is deleted with remove(). Errors: kResourceExhausted,
  // kDataLoss.
  Result<StoredFile> commit(IncomingFile file, const Uid& sop_instance_uid);

  // Puts bytes that came again in the place of a file that verify() calls lost. After a crash either the loss or the
  // whole file is there. An intact file stays as it is. Errors: kInvalidArgument (other bytes than were stored),
  // kResourceExhausted, kDataLoss, as commit(): then the file is lost as before.
  Status restore(IncomingFile file, const StoredFile& lost);

  // begin(), write, commit() for an object made here. It may use the reserve: below it nothing new is taken, but what
  // was accepted is finished, or nothing would ever come to rest and be deleted.
  Result<StoredFile> store(const std::string& bytes, const Uid& sop_instance_uid);

  std::filesystem::path path(const std::string& key) const;
  // A file as it is now. Errors: kNotFound, kDataLoss (it cannot be read), kUnavailable (it cannot be opened).
  Result<StoredFile> measure(const std::string& key) const;
  // Errors: kDataLoss if the file is missing, or its size or digest is not as stored, which lost() remembers;
  // kUnavailable if it cannot be opened for another reason (too many open files, no permission).
  Status verify(const StoredFile& file) const;
  // The same of a file that retention may delete meanwhile: what is missing is not remembered as a loss.
  Status compare(const StoredFile& file) const;
  // Whether a file can be made and written now; it is gone again at once. Errors: as begin() and append(), whatever
  // the reserve.
  Status health();
  // What verify() found lost and has not found whole since, and nobody has restored or removed; in the order of keys.
  // Each has a mark on the disk, an empty file, by which the next process looks at it again: keys_marked_lost().
  std::vector<StoredFile> lost() const;
  Status remove(const std::string& key);  // OK if it is gone already.
  Result<std::vector<std::string>> list_keys() const;
  Result<std::uint64_t> free_bytes() const;

 private:
  struct Impl;
  explicit Spool(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The SOP Instance UID that a key is built from. Errors: kInvalidArgument.
Result<Uid> uid_of_key(const std::string& key);

// Of a storage directory, without a Spool of its own: changes nothing.
std::filesystem::path objects_directory(const std::filesystem::path& directory);
struct ObjectNames {
  std::vector<std::string> keys;
  std::vector<std::string> strays;  // What lies among the objects and has no name that a spool gives, in order.
};
Result<ObjectNames> list_objects(const std::filesystem::path& directory, FileSystem& file_system);
Result<std::vector<std::string>> list_keys(const std::filesystem::path& directory, FileSystem& file_system);
Result<std::vector<std::string>> keys_marked_lost(const std::filesystem::path& directory, FileSystem& file_system);
// As Spool::compare(), without the key in its words.
Status compare_file(const std::filesystem::path& directory, const StoredFile& file);

}  // namespace node::storage
