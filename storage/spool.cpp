#include "storage/spool.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <new>
#include <random>
#include <set>

#include "config/base/mutex.h"

namespace node::storage {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::string_view kSuffix = ".dcm", kPart = ".part";

constexpr std::size_t kPieceBytes = 1024 * 1024;  // Written at once: an ordinary object or a part of a large one.

// Size and SHA-256 of bytes as they pass.
class Measure {
 public:
  Measure() : context_(EVP_MD_CTX_new()) {
    good_ = context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1;
  }
  void add(const void* data, std::size_t size_bytes) {
    size_bytes_ += size_bytes;
    good_ = good_ && EVP_DigestUpdate(context_.get(), data, size_bytes) == 1;
  }
  Result<StoredFile> finish() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int digest_bytes = 0;
    if (!good_ || EVP_DigestFinal_ex(context_.get(), digest.data(), &digest_bytes) != 1) {
      return internal_error("SHA-256 failed");
    }
    StoredFile measured;
    measured.size_bytes = size_bytes_;
    for (unsigned int i = 0; i < digest_bytes; ++i) {
      measured.sha256_hex += kHexDigits[digest[i] >> 4];
      measured.sha256_hex += kHexDigits[digest[i] & 15];
    }
    return measured;
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
  std::uint64_t size_bytes_ = 0;
  bool good_;
};

// Reads a file to its end.
Status read_file(const std::filesystem::path& path, const std::function<Status(const void*, std::size_t)>& take) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);  // A pipe would wait for a writer.
  if (descriptor < 0 && errno == ENOENT) return not_found("open: the file is gone");
  if (descriptor < 0) return unavailable(std::string("open: ") + std::strerror(errno));
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(::fdopen(descriptor, "rb"), &std::fclose);
  if (!file) {
    ::close(descriptor);
    return unavailable(std::string("open: ") + std::strerror(errno));
  }
  struct stat info {};
  if (::fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) return data_loss("open: no regular file");
  std::setvbuf(file.get(), nullptr, _IONBF, 0);
  std::vector<unsigned char> buffer(256 * 1024);
  while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), file.get())) {
    NODE_RETURN_IF_ERROR(take(buffer.data(), count));
  }
  return std::ferror(file.get()) != 0 ? data_loss("read: Input/output error") : ok_status();
}

// Of a file as it is now.
Result<StoredFile> measure_file(const std::filesystem::path& path) {
  Measure measure;
  NODE_RETURN_IF_ERROR(read_file(path, [&](const void* data, std::size_t size_bytes) {
    measure.add(data, size_bytes);
    return ok_status();
  }));
  return measure.finish();
}

// Keys come back from the database; a damaged one must not name a file elsewhere: "ab/<name>.dcm".
bool is_key(std::string_view key) {
  return key.size() > 3 + kSuffix.size() && key[2] == '/' && key.ends_with(kSuffix) &&
         kHexDigits.find(key[0]) != std::string_view::npos && kHexDigits.find(key[1]) != std::string_view::npos &&
         key.find('/', 3) == std::string_view::npos && key[3] != '.';
}

// Directories of the fan-out are named by the first two digits of a digest; what else lies beside them is not ours.
bool is_shard(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  return name.size() == 2 && kHexDigits.find(name[0]) != std::string_view::npos &&
         kHexDigits.find(name[1]) != std::string_view::npos;
}

// A file that vanished, or an error without a name of its own, means the same to who stores: the bytes are not kept.
Status not_kept(const std::string& what, const Status& failure) {
  const bool full = failure.code() == StatusCode::kResourceExhausted;
  return Status(full ? StatusCode::kResourceExhausted : StatusCode::kDataLoss, what + ": " + failure.message());
}

std::string random_hex() {
  static thread_local std::random_device device;
  std::string text;
  for (int i = 0; i < 2; ++i) {
    std::uint32_t bits = device();
    for (int digit = 0; digit < 8; ++digit, bits >>= 4) text += kHexDigits[bits & 15];
  }
  return text;
}

}  // namespace

namespace {

// kPieceBytes at the beginning of a block, of which only what is used becomes resident. Some are kept for the next
// objects: memory that is fresh for each costs as much as the copying into it.
class Piece {
 public:
  Piece() {
    {
      MutexLock lock(spares_mutex_);
      if (!spares_.empty()) {
        memory_ = std::move(spares_.back());
        spares_.pop_back();
        return;
      }
    }
    memory_.reset(static_cast<char*>(std::aligned_alloc(FileSystem::kBlockBytes, kPieceBytes)));
    if (!memory_) throw std::bad_alloc();
  }
  ~Piece() {
    MutexLock lock(spares_mutex_);
    if (spares_.size() < kSparesMax) spares_.push_back(std::move(memory_));
  }
  Piece(const Piece&) = delete;
  Piece& operator=(const Piece&) = delete;
  char* data() const { return memory_.get(); }

 private:
  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };
  using Memory = std::unique_ptr<char, Free>;
  static constexpr std::size_t kSparesMax = 16;
  static Mutex spares_mutex_;
  static std::vector<Memory> spares_ GUARDED_BY(spares_mutex_);
  Memory memory_;
};

Mutex Piece::spares_mutex_;
std::vector<Piece::Memory> Piece::spares_;

}  // namespace

struct IncomingFile::Content {
  Measure measure;
  std::optional<Piece> piece;  // Not yet written.
  std::size_t piece_bytes = 0;
  bool is_whole = true;  // Nothing was written.
  Status written;        // The first failure.
};

IncomingFile::IncomingFile(FileSystem& file_system, std::filesystem::path path)
    : file_system_(&file_system), path_(std::move(path)), content_(std::make_unique<Content>()) {}

IncomingFile::IncomingFile(IncomingFile&& other) noexcept
    : file_system_(other.file_system_), path_(std::move(other.path_)), content_(std::move(other.content_)) {
  other.path_.clear();
}

IncomingFile& IncomingFile::operator=(IncomingFile&& other) noexcept {
  std::swap(file_system_, other.file_system_);
  std::swap(path_, other.path_);
  std::swap(content_, other.content_);
  return *this;
}

Status IncomingFile::append(const void* data, std::size_t size_bytes) {
  Content& content = *content_;
  const char* next = static_cast<const char*>(data);
  if (!content.piece) content.piece.emplace();
  content.measure.add(data, size_bytes);  // While the peer sends the next ones.
  while (size_bytes > 0) {
    if (content.piece_bytes == kPieceBytes) NODE_RETURN_IF_ERROR(flush());
    const std::size_t part = std::min(size_bytes, kPieceBytes - content.piece_bytes);
    std::memcpy(content.piece->data() + content.piece_bytes, next, part);
    content.piece_bytes += part;
    next += part;
    size_bytes -= part;
  }
  return content.written;
}

Status IncomingFile::flush() {
  Content& content = *content_;
  if (content.written.ok() && content.piece_bytes > 0) {
    content.written = file_system_->append(path_, content.piece->data(), content.piece_bytes);
    content.is_whole = false;
  }
  content.piece_bytes = 0;
  return content.written;
}

std::optional<std::string_view> IncomingFile::bytes() const {
  if (!content_->is_whole) return std::nullopt;
  return content_->piece ? std::string_view(content_->piece->data(), content_->piece_bytes) : std::string_view();
}

IncomingFile::~IncomingFile() {
  // What cannot be removed now is removed by the next open().
  if (!path_.empty()) static_cast<void>(file_system_->remove(path_).ok());
}

Result<Uid> uid_of_key(const std::string& key) {
  if (!is_key(key)) return invalid_argument("not a key of a spool");
  return Uid::parse(key.substr(3, key.rfind('.', key.size() - kSuffix.size() - 1) - 3));
}

std::filesystem::path objects_directory(const std::filesystem::path& directory) { return directory / "objects"; }

Result<ObjectNames> list_objects(const std::filesystem::path& directory, FileSystem& file_system) {
  ObjectNames names;
  NODE_ASSIGN_OR_RETURN(const auto shards, file_system.list(objects_directory(directory)));
  for (const auto& shard : shards) {
    std::error_code unknown;  // Of what cannot be looked at, list() says why.
    const std::filesystem::file_type type = std::filesystem::status(shard, unknown).type();
    const bool may_be_directory =
        type == std::filesystem::file_type::directory || type == std::filesystem::file_type::none;
    if (!is_shard(shard) || !may_be_directory) {
      names.strays.push_back(shard.filename().string());
      continue;
    }
    NODE_ASSIGN_OR_RETURN(const auto files, file_system.list(shard));
    for (const auto& file : files) {
      std::string key = shard.filename().string() + '/' + file.filename().string();
      (is_key(key) ? names.keys : names.strays).push_back(std::move(key));
    }
  }
  std::sort(names.keys.begin(), names.keys.end());
  std::sort(names.strays.begin(), names.strays.end());
  return names;
}

Result<std::vector<std::string>> list_keys(const std::filesystem::path& directory, FileSystem& file_system) {
  NODE_ASSIGN_OR_RETURN(ObjectNames names, list_objects(directory, file_system));
  return std::move(names.keys);
}

namespace {

// Empty files: "ab.UID.RANDOM.dcm" for the key "ab/UID.RANDOM.dcm".
std::filesystem::path marks_directory(const std::filesystem::path& directory) { return directory / "lost"; }
std::filesystem::path mark_of(const std::filesystem::path& directory, std::string key) {
  key[2] = '.';
  return marks_directory(directory) / key;
}

}  // namespace

Result<std::vector<std::string>> keys_marked_lost(const std::filesystem::path& directory, FileSystem& file_system) {
  std::vector<std::string> keys;
  const auto marks = file_system.list(marks_directory(directory));
  if (marks.status().code() == StatusCode::kNotFound) return keys;
  NODE_RETURN_IF_ERROR(marks.status());
  for (const auto& mark : *marks) {
    std::string key = mark.filename().string();
    if (key.size() < 3) continue;
    key[2] = '/';
    if (is_key(key)) keys.push_back(std::move(key));
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

Status compare_file(const std::filesystem::path& directory, const StoredFile& file) {
  if (!is_key(file.key)) return data_loss("not a key of this spool");
  const Result<StoredFile> found = measure_file(objects_directory(directory) / file.key);
  if (found.status().code() == StatusCode::kUnavailable) return found.status();
  if (!found.ok()) return data_loss(found.status().message());
  if (found->size_bytes != file.size_bytes) {
    return data_loss(std::to_string(found->size_bytes) + " bytes, stored were " + std::to_string(file.size_bytes));
  }
  return found->sha256_hex == file.sha256_hex ? ok_status() : data_loss("the SHA-256 differs");
}

struct Spool::Impl {
  FileSystem& file_system;
  std::filesystem::path root;
  std::uint64_t free_bytes_min;
  std::atomic<std::uint64_t> next_incoming{0};
  Mutex restore_mutex;  // One at a time: what fails takes nothing of another's with it.
  Mutex shards_mutex;
  std::set<std::string> shards GUARDED_BY(shards_mutex);  // The directories of the fan-out that are durable.
  Mutex lost_mutex;
  std::map<std::string, StoredFile> lost GUARDED_BY(lost_mutex);  // By key.
  std::set<std::string> marked GUARDED_BY(lost_mutex);            // Keys of what has a mark on the disk.

  Impl(FileSystem& file_system, std::filesystem::path root, std::uint64_t free_bytes_min)
      : file_system(file_system), root(std::move(root)), free_bytes_min(free_bytes_min) {}

  std::filesystem::path incoming() const { return root / "incoming"; }
  std::filesystem::path objects() const { return objects_directory(root); }

  void note(const StoredFile& file, bool is_lost) {
    MutexLock lock(lost_mutex);
    if (is_lost) {
      lost.insert_or_assign(file.key, file);
      if (!marked.contains(file.key) && mark(file.key).ok())
        marked.insert(file.key);  // Else tried again when found so.
    } else {
      lost.erase(file.key);
      // A mark that stays costs the next process a look.
      if (marked.erase(file.key) > 0) static_cast<void>(file_system.remove(mark_of(root, file.key)).ok());
    }
  }
  Status mark(const std::string& key) {
    if (!is_key(key)) return invalid_argument("not a key of this spool");
    const std::filesystem::path mark = mark_of(root, key);
    NODE_RETURN_IF_ERROR(file_system.create_directory(mark.parent_path()));
    NODE_RETURN_IF_ERROR(file_system.sync_directory(root));
    NODE_RETURN_IF_ERROR(file_system.create_file(mark));
    return file_system.sync_directory(mark.parent_path());
  }
  void add_shard(const std::string& shard) {
    MutexLock lock(shards_mutex);
    shards.insert(shard);
  }
  void forget_shard(const std::string& shard) {
    MutexLock lock(shards_mutex);
    shards.erase(shard);
  }
  // Under the mutex, so that nobody commits into a directory that another thread has made and not yet synced.
  Status ensure_shard(const std::string& shard) {
    MutexLock lock(shards_mutex);
    if (shards.contains(shard)) return ok_status();
    NODE_RETURN_IF_ERROR(file_system.create_directory(objects() / shard));
    NODE_RETURN_IF_ERROR(file_system.sync_directory(objects()));
    shards.insert(shard);
    return ok_status();
  }
};

Spool::Spool(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Spool::~Spool() = default;

Result<std::unique_ptr<Spool>> Spool::open(const config::StorageConfig& config, FileSystem& file_system) {
  auto impl = std::make_unique<Impl>(file_system, config.directory, config.free_bytes_min);
  const auto prepare = [&]() -> Status {
    NODE_RETURN_IF_ERROR(file_system.create_directories(impl->root));
    NODE_RETURN_IF_ERROR(file_system.create_directory(impl->incoming()));
    NODE_RETURN_IF_ERROR(file_system.create_directory(impl->objects()));
    NODE_RETURN_IF_ERROR(file_system.sync_directory(impl->root));
    // A shard that a killed process made may be there without having been synced: from here on all that are seen are.
    NODE_ASSIGN_OR_RETURN(const auto shards, file_system.list(impl->objects()));
    NODE_RETURN_IF_ERROR(file_system.sync_directory(impl->objects()));
    for (const auto& shard : shards)
      if (is_shard(shard)) impl->add_shard(shard.filename().string());
    NODE_ASSIGN_OR_RETURN(const auto left_behind, file_system.list(impl->incoming()));
    for (const auto& path : left_behind) {
      if (path.extension() == kPart) NODE_RETURN_IF_ERROR(file_system.remove(path).within(path.filename().string()));
    }
    NODE_ASSIGN_OR_RETURN(const auto marked, keys_marked_lost(impl->root, file_system));
    MutexLock lock(impl->lost_mutex);
    impl->marked = {marked.begin(), marked.end()};
    return ok_status();
  };
  if (Status prepared = prepare(); !prepared.ok()) {
    const bool full = prepared.code() == StatusCode::kResourceExhausted;
    return Status(full ? StatusCode::kResourceExhausted : StatusCode::kDataLoss,
                  "open spool " + impl->root.string() + ": " + prepared.message());
  }
  return std::unique_ptr<Spool>(new Spool(std::move(impl)));
}

Result<IncomingFile> Spool::begin() {
  NODE_ASSIGN_OR_RETURN(const std::uint64_t available, free_bytes());
  if (available < impl_->free_bytes_min) {
    return resource_exhausted("spool: " + std::to_string(available) + " bytes free, the reserve is " +
                              std::to_string(impl_->free_bytes_min));
  }
  return begin_in_reserve();
}

Result<IncomingFile> Spool::begin_in_reserve() {
  const std::filesystem::path path = impl_->incoming() / (std::to_string(impl_->next_incoming++) + std::string(kPart));
  if (Status created = impl_->file_system.create_file(path); !created.ok()) return created.within("spool: begin");
  return IncomingFile(impl_->file_system, path);
}

Result<IncomingFile> Spool::begin_again(const std::string& key) {
  const std::string what = "begin again " + key;
  if (!is_key(key)) return invalid_argument(what + ": not a key of this spool");
  NODE_ASSIGN_OR_RETURN(IncomingFile again, begin_in_reserve());
  Status copied =
      read_file(path(key), [&](const void* data, std::size_t size_bytes) { return again.append(data, size_bytes); });
  if (!copied.ok()) return copied.within(what);
  return again;
}

Result<StoredFile> Spool::commit(IncomingFile file, const Uid& sop_instance_uid) {
  const auto make_durable = [&]() -> Result<StoredFile> {
    NODE_RETURN_IF_ERROR(file.flush());
    NODE_ASSIGN_OR_RETURN(StoredFile stored, file.content_->measure.finish());
    const std::string shard = stored.sha256_hex.substr(0, 2);
    // A name of its own for each commit: the loser of two equal arrivals is deleted without touching the winner.
    stored.key = shard + '/' + sop_instance_uid.str() + '.' + random_hex() + std::string(kSuffix);
    const std::filesystem::path final_path = path(stored.key);
    FileSystem& file_system = impl_->file_system;
    NODE_RETURN_IF_ERROR(impl_->ensure_shard(shard));
    NODE_RETURN_IF_ERROR(file_system.sync_file(file.path_));
    Status renamed = file_system.rename(file.path_, final_path);
    if (renamed.code() == StatusCode::kNotFound) {  // Somebody tidied empty directories away.
      impl_->forget_shard(shard);
      NODE_RETURN_IF_ERROR(impl_->ensure_shard(shard));
      renamed = file_system.rename(file.path_, final_path);
    }
    NODE_RETURN_IF_ERROR(renamed);
    file.path_ = final_path;  // If the next step fails, the destructor removes it under its new name.
    NODE_RETURN_IF_ERROR(file_system.sync_directory(final_path.parent_path()));
    file.path_.clear();
    return stored;
  };
  Result<StoredFile> stored = make_durable();
  if (!stored.ok()) return not_kept("commit " + sop_instance_uid.str(), stored.status());
  return stored;
}

Status Spool::restore(IncomingFile file, const StoredFile& lost) {
  const auto make_durable = [&]() -> Status {
    const std::filesystem::path final_path = path(lost.key);
    FileSystem& file_system = impl_->file_system;
    // Its directory may be gone with it, though it was seen before.
    NODE_RETURN_IF_ERROR(file_system.create_directory(final_path.parent_path()));
    NODE_RETURN_IF_ERROR(file_system.sync_directory(impl_->objects()));
    NODE_RETURN_IF_ERROR(file_system.sync_file(file.path_));
    NODE_RETURN_IF_ERROR(file_system.rename(file.path_, final_path));
    file.path_ = final_path;  // As in commit(): better a loss that is seen than a file that a power loss takes back.
    NODE_RETURN_IF_ERROR(file_system.sync_directory(final_path.parent_path()));
    file.path_.clear();
    return ok_status();
  };
  const std::string what = "restore " + lost.key;
  NODE_RETURN_IF_ERROR(file.flush().within(what));
  NODE_ASSIGN_OR_RETURN(const StoredFile arrived, file.content_->measure.finish());
  if (!is_key(lost.key) || arrived.sha256_hex != lost.sha256_hex) {
    return invalid_argument(what + ": these are other bytes than were stored");
  }
  MutexLock lock(impl_->restore_mutex);
  Status restored = compare(lost);
  if (restored.code() == StatusCode::kUnavailable) return restored;
  if (!restored.ok()) restored = make_durable();
  if (restored.ok()) {
    impl_->note(lost, false);
    return restored;
  }
  const IncomingFile not_restored = std::move(file);  // Goes before the lock does.
  return not_kept(what, restored);
}

Result<StoredFile> Spool::store(const std::string& bytes, const Uid& sop_instance_uid) {
  NODE_ASSIGN_OR_RETURN(IncomingFile file, begin_in_reserve());
  if (Status written = file.append(bytes.data(), bytes.size()); !written.ok()) {
    return written.within("store " + sop_instance_uid.str());
  }
  return commit(std::move(file), sop_instance_uid);
}

std::filesystem::path Spool::path(const std::string& key) const { return impl_->objects() / key; }

Result<StoredFile> Spool::measure(const std::string& key) const {
  const std::string what = "measure " + key;
  if (!is_key(key)) return invalid_argument(what + ": not a key of this spool");
  Result<StoredFile> found = measure_file(path(key));
  if (!found.ok()) return found.status().within(what);
  found->key = key;
  return found;
}

Status Spool::verify(const StoredFile& file) const {
  Status found = compare(file);
  if (found.ok() || found.code() == StatusCode::kDataLoss) impl_->note(file, !found.ok());
  return found;
}

std::vector<StoredFile> Spool::lost() const {
  MutexLock lock(impl_->lost_mutex);
  std::vector<StoredFile> files;
  for (const auto& [key, file] : impl_->lost) files.push_back(file);
  return files;
}

Status Spool::health() {
  NODE_ASSIGN_OR_RETURN(IncomingFile probe, begin_in_reserve());
  NODE_RETURN_IF_ERROR(probe.append("?", 1));
  return probe.flush();
}

Status Spool::compare(const StoredFile& file) const {
  return compare_file(impl_->root, file).within("verify " + file.key);
}

Status Spool::remove(const std::string& key) {
  if (!is_key(key)) return invalid_argument("remove: not a key of this spool");
  impl_->note({key, 0, {}}, false);
  const Status removed = impl_->file_system.remove(path(key));
  return removed.code() == StatusCode::kNotFound ? ok_status() : removed.within("remove " + key);
}

Result<std::vector<std::string>> Spool::list_keys() const {
  return storage::list_keys(impl_->root, impl_->file_system);
}

Result<std::uint64_t> Spool::free_bytes() const { return impl_->file_system.free_bytes(impl_->root); }

}  // namespace node::storage
