#include "dicom_node/operate/audit_sink.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <deque>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "config/base/mutex.h"
#include "dicom_node/audit/audit.h"
#include "dicom_node/deliver/connection.h"
#include "storage/file_system.h"

namespace node::operate {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t kKeptMax = 10'000;
constexpr std::chrono::seconds kTimeout{10}, kTryAgain{5}, kAtTheEnd{5};
constexpr int kPriority = 10 * 8 + 5;  // Facility 10: security and authorisation; severity: notice.

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 && name[0] != '\0' ? name : "-";
}

}  // namespace

struct AuditSink::Impl {
  Impl(const config::AuditConfig& config_in, bool of_node_in)
      : config(config_in), of_node(of_node_in), host(host_name()) {}
  ~Impl() {
    if (file >= 0) ::close(file);
  }

  const config::AuditConfig config;
  const bool of_node;  // Else of a command.
  const std::string host;
  int file = -1;
  std::unique_ptr<deliver::Connection> connection;  // Of the thread alone.
  Mutex mutex;
  ConditionVariable news;
  std::deque<std::string> kept GUARDED_BY(mutex);
  std::uint64_t lost GUARDED_BY(mutex) = 0;
  bool stopping GUARDED_BY(mutex) = false;
  std::thread thread;

  void take(std::string message) {
    MutexLock lock(mutex);
    if (kept.size() == kKeptMax) {
      kept.pop_front();
      if (++lost % kKeptMax == 1) {
        spdlog::error("event=audit_lost messages={} reason=\"the audit trail is not taken for too long\"", lost);
      }
    }
    kept.push_back(std::move(message));
    news.notify_one();
  }

  void run() {
    bool failing = false;
    std::optional<steady_clock::time_point> end;
    while (true) {
      std::string message;
      {
        MutexLock lock(mutex);
        if (kept.empty() && !stopping) news.wait_for(lock, kTryAgain);
        if (stopping && !end) end = steady_clock::now() + kAtTheEnd;
        if (kept.empty()) {
          if (stopping) return;
          continue;
        }
        message = kept.front();
      }
      const Status written = !config.file.empty() ? to_file(message) : to_syslog(message);
      if (!written.ok() && !std::exchange(failing, true)) {
        spdlog::error("event=audit_failed reason=\"{}\" note=\"kept, and tried again\"", written.message());
      }
      MutexLock lock(mutex);
      if (written.ok()) {
        if (std::exchange(failing, false)) spdlog::info("event=audit_works_again kept={}", kept.size());
        if (!kept.empty() && kept.front() == message) kept.pop_front();
        continue;
      }
      if (end && steady_clock::now() >= *end) {
        spdlog::error("event=audit_lost messages={} reason=\"stopping\"", kept.size());
        return;
      }
      news.wait_for(lock, stopping ? std::chrono::seconds(1) : kTryAgain);
    }
  }

  Status open_file() {
    constexpr int kFlags = O_WRONLY | O_APPEND | O_CLOEXEC;
    int opened = ::open(config.file.c_str(), kFlags | O_CREAT | O_EXCL, 0640);
    if (opened >= 0) {
      storage::give_to_owner(std::filesystem::absolute(config.file).parent_path(), opened);
    } else if (errno == EEXIST) {
      opened = ::open(config.file.c_str(), kFlags | O_CREAT, 0640);  // Which whoever rotates logs may take away.
    }
    if (opened < 0) return unavailable("audit.file " + config.file + ": " + std::strerror(errno));
    if (file >= 0) ::close(file);
    file = opened;
    return ok_status();
  }

  // Moved away by whoever rotates logs: the name is another file's, or nobody's.
  bool was_moved(const struct stat& ours) const {
    struct stat named {};
    return ::stat(config.file.c_str(), &named) != 0 || named.st_ino != ours.st_ino || named.st_dev != ours.st_dev;
  }

  Status to_file(const std::string& message) {
    struct stat ours {};
    if (::fstat(file, &ours) != 0 || was_moved(ours)) {
      NODE_RETURN_IF_ERROR(open_file());
      if (::fstat(file, &ours) != 0) return unavailable("audit.file " + config.file + ": " + std::strerror(errno));
    }
    const std::string line = message + "\n";
    const auto written = ::write(file, line.data(), line.size());
    if (written == std::ssize(line)) return ok_status();
    const std::string why = written < 0 ? std::strerror(errno) : "written in part";
    // The part goes again, so that the message stands there once; where even that fails, the torn line stays.
    if (written > 0) static_cast<void>(::ftruncate(file, ours.st_size) == 0);
    return unavailable("audit.file " + config.file + ": " + why);
  }

  Status to_syslog(const std::string& message) {
    if (!connection) {
      auto opened = deliver::Connection::open(config.host, config.port, config.tls, kTimeout);
      if (!opened.ok()) return opened.status();
      connection = std::move(opened).value();
    }
    const std::string line = fmt::format("<{}>1 {:%Y-%m-%dT%H:%M:%SZ} {} skelex-node {} DICOM+RFC3881 - {}", kPriority,
                                         fmt::gmtime(std::time(nullptr)), host, ::getpid(), message);
    const Status written = connection->write(fmt::format("{} {}", line.size(), line), kTimeout);
    if (!written.ok()) connection.reset();
    return written;
  }
};

AuditSink::AuditSink(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<AuditSink>> AuditSink::open(const config::AuditConfig& config, const std::string& ae_title,
                                                   bool of_node) {
  if (config.file.empty() && config.host.empty()) return std::unique_ptr<AuditSink>();
  auto impl = std::make_unique<Impl>(config, of_node);
  if (!config.file.empty()) {
    NODE_RETURN_IF_ERROR(impl->open_file());
  }
  impl->thread = std::thread([self = impl.get()] { self->run(); });
  audit::set_sink(ae_title, [self = impl.get()](std::string message) { self->take(std::move(message)); });
  if (of_node) audit::application(/*starts=*/true);
  return std::unique_ptr<AuditSink>(new AuditSink(std::move(impl)));
}

AuditSink::~AuditSink() {
  if (impl_->of_node) audit::application(/*starts=*/false);
  audit::set_sink("", {});
  {
    MutexLock lock(impl_->mutex);
    impl_->stopping = true;
    impl_->news.notify_one();
  }
  impl_->thread.join();
}

}  // namespace node::operate
