// FaultySqliteVfs: makes SQLite's writes, truncations, syncs, deletions and directory syncs calls of a
// FaultyFileSystem.
//
// A shim over SQLite's own VFS, "unix", which still does the work on the real files: so locks, the shared memory of the
// write-ahead log and the order of everything are those of production, which knows nothing of this. While one lives it
// is SQLite's default, for databases below `directory`; others pass through. Real syncs are left out.
// The -shm file counts for nothing: SQLite never syncs it and makes it anew when the first connection opens.
//
// As "unix" does: a log or journal is followed, at its first sync after it was opened, by a sync of its directory whose
// failure is ignored. (Source: unixSync() and unixDelete() in SQLite's os_unix.c; sqlite_vfs_test.cpp compares.)
// Threads: any; one object at a time; made and destroyed while no database is open.
#pragma once

#include <sqlite3.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include "tests/fakes/faulty_file_system.h"

namespace node::fakes {

class FaultySqliteVfs {
 public:
  FaultySqliteVfs(FaultyFileSystem& files, std::filesystem::path directory)
      : files_(files), directory_(std::move(directory)), real_(sqlite3_vfs_find(nullptr)) {
    shim_ = *real_;
    shim_.zName = "faulty";
    shim_.pNext = nullptr;
    shim_.pAppData = this;
    shim_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
    shim_.xOpen = &open;
    shim_.xDelete = &remove;
    sqlite3_vfs_register(&shim_, 1);
  }
  ~FaultySqliteVfs() {
    sqlite3_vfs_unregister(&shim_);
    sqlite3_vfs_register(real_, 1);
  }
  FaultySqliteVfs(const FaultySqliteVfs&) = delete;
  FaultySqliteVfs& operator=(const FaultySqliteVfs&) = delete;

 private:
  struct File {  // The real sqlite3_file lies behind it.
    sqlite3_file base;
    FaultyFileSystem* files;
    const char* path;      // SQLite keeps it as long as the file is open.
    bool syncs_directory;  // At its next sync.
  };
  static sqlite3_file* real(sqlite3_file* file) {
    return reinterpret_cast<sqlite3_file*>(reinterpret_cast<File*>(file) + 1);
  }
  static File& shim(sqlite3_file* file) { return *reinterpret_cast<File*>(file); }
  static FaultySqliteVfs& self(sqlite3_vfs* vfs) { return *static_cast<FaultySqliteVfs*>(vfs->pAppData); }
  static int code(const Status& status, int otherwise) {
    if (status.ok()) return SQLITE_OK;
    return status.code() == StatusCode::kResourceExhausted && otherwise == SQLITE_IOERR_WRITE ? SQLITE_FULL : otherwise;
  }

  static int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
    FaultySqliteVfs& own = self(vfs);
    constexpr int kKept = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL;
    const bool counted = name != nullptr && (flags & kKept) != 0 &&
                         std::filesystem::path(name).string().starts_with(own.directory_.string());
    if (!counted) return own.real_->xOpen(own.real_, name, file, flags, out_flags);
    file->pMethods = nullptr;
    if (const Status made = own.files_.before_open(name, (flags & SQLITE_OPEN_CREATE) != 0); !made.ok()) {
      return SQLITE_CANTOPEN;
    }
    new (file) File{{&kMethods},
                    &own.files_,
                    name,
                    (flags & SQLITE_OPEN_CREATE) != 0 && (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0};
    const int opened = own.real_->xOpen(own.real_, name, real(file), flags, out_flags);
    if (opened != SQLITE_OK) file->pMethods = nullptr;
    return opened;
  }

  static int remove(sqlite3_vfs* vfs, const char* name, int sync_directory) {
    FaultySqliteVfs& own = self(vfs);
    if (!own.files_.knows(name)) return own.real_->xDelete(own.real_, name, sync_directory);
    if (!own.files_.remove(name).ok()) return SQLITE_IOERR_DELETE;
    if ((sync_directory & 1) == 0) return SQLITE_OK;
    return code(own.files_.sync_directory(std::filesystem::path(name).parent_path()), SQLITE_IOERR_DIR_FSYNC);
  }

  static int write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
    sqlite3_int64 end = 0;
    if (const int sized = real(file)->pMethods->xFileSize(real(file), &end); sized != SQLITE_OK) return sized;
    const Status allowed = shim(file).files->before_write(
        shim(file).path, static_cast<std::uint64_t>(offset),
        std::string(static_cast<const char*>(data), static_cast<std::size_t>(size)), offset + size > end);
    if (!allowed.ok()) return code(allowed, SQLITE_IOERR_WRITE);
    return real(file)->pMethods->xWrite(real(file), data, size, offset);
  }
  static int truncate(sqlite3_file* file, sqlite3_int64 size) {
    const Status allowed = shim(file).files->before_truncate(shim(file).path, static_cast<std::uint64_t>(size));
    if (!allowed.ok()) return code(allowed, SQLITE_IOERR_TRUNCATE);
    return real(file)->pMethods->xTruncate(real(file), size);
  }
  static int sync(sqlite3_file* file, int) {
    File& own = shim(file);
    const Status synced = own.files->sync_file(own.path);
    if (!synced.ok()) return SQLITE_IOERR_FSYNC;
    if (std::exchange(own.syncs_directory, false)) {
      static_cast<void>(own.files->sync_directory(std::filesystem::path(own.path).parent_path()).ok());
    }
    return SQLITE_OK;
  }
  static int close(sqlite3_file* file) { return real(file)->pMethods->xClose(real(file)); }
  static int read(sqlite3_file* file, void* data, int size, sqlite3_int64 offset) {
    return real(file)->pMethods->xRead(real(file), data, size, offset);
  }
  static int file_size(sqlite3_file* file, sqlite3_int64* size) {
    return real(file)->pMethods->xFileSize(real(file), size);
  }
  static int lock(sqlite3_file* file, int level) { return real(file)->pMethods->xLock(real(file), level); }
  static int unlock(sqlite3_file* file, int level) { return real(file)->pMethods->xUnlock(real(file), level); }
  static int check_lock(sqlite3_file* file, int* held) {
    return real(file)->pMethods->xCheckReservedLock(real(file), held);
  }
  static int control(sqlite3_file* file, int operation, void* argument) {
    if (operation == SQLITE_FCNTL_SIZE_HINT && !shim(file).files->before_reserve().ok()) return SQLITE_FULL;
    return real(file)->pMethods->xFileControl(real(file), operation, argument);
  }
  static int sector_size(sqlite3_file* file) { return real(file)->pMethods->xSectorSize(real(file)); }
  static int characteristics(sqlite3_file* file) { return real(file)->pMethods->xDeviceCharacteristics(real(file)); }
  static int shm_map(sqlite3_file* file, int region, int size, int extend, void volatile** memory) {
    return real(file)->pMethods->xShmMap(real(file), region, size, extend, memory);
  }
  static int shm_lock(sqlite3_file* file, int offset, int count, int flags) {
    return real(file)->pMethods->xShmLock(real(file), offset, count, flags);
  }
  static void shm_barrier(sqlite3_file* file) { real(file)->pMethods->xShmBarrier(real(file)); }
  static int shm_unmap(sqlite3_file* file, int erase) { return real(file)->pMethods->xShmUnmap(real(file), erase); }

  // Version 2: without mmap, which would write past this.
  static constexpr sqlite3_io_methods kMethods{
      2,         close,      read,    write,       truncate,        sync,    file_size, lock,
      unlock,    check_lock, control, sector_size, characteristics, shm_map, shm_lock,  shm_barrier,
      shm_unmap, nullptr,    nullptr};

  FaultyFileSystem& files_;
  const std::filesystem::path directory_;
  sqlite3_vfs* const real_;
  sqlite3_vfs shim_{};
};

}  // namespace node::fakes
