#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <future>
#include <set>

#include "dicom_node/audit/audit.h"
#include "dicom_node/node.h"
#include "dicom_node/operate/audit_sink.h"
#include "dicom_node/operate/commands/commands.h"
#include "dicom_node/operate/service_manager.h"

namespace node::operate {
namespace {

// "demo-skelex, demo-fracture on cpu"
std::string models_and_device(const inference::Predictor& predictor) {
  std::set<std::string> models, devices;
  for (const inference::TaskInfo& task : predictor.tasks()) {
    models.insert(task.model);
    devices.insert(task.device);
  }
  return fmt::format("models {}; device {}", fmt::join(models, ", "), fmt::join(devices, ", "));
}

// Says to the service manager that nothing hangs, and in a line what `systemctl status` shows; where something does
// nothing is said, and the node is restarted. One that is not ready for a reason it can name is not: a restart would
// not free a disk.
void tell_alive(const Node& node) {
  const Status alive = node.alive();
  if (alive.ok()) {
    const Status ready = node.ready();
    return tell_service_manager("WATCHDOG=1\nSTATUS=" + (ready.ok() ? "ready" : "NOT READY: " + ready.message()));
  }
  spdlog::error("event=hangs reason=\"{}\" note=\"the service manager is told nothing, and starts the node again\"",
                alive.message());
}

int wait_for_signal(const sigset_t& signals, const Node& node) {
  const auto patience = watchdog_patience();
  for (;;) {
    int number = 0;
    if (!patience) return sigwait(&signals, &number) == 0 ? number : 0;
    const auto half = *patience / 2;
    const timespec wait{half.count() / 1000, half.count() % 1000 * 1'000'000};
    number = sigtimedwait(&signals, nullptr, &wait);
    if (number > 0) return number;
    tell_alive(node);
  }
}

void reload(const std::function<Result<config::NodeConfig>()>& read_again, Node& node) {
  tell_service_manager("RELOADING=1");
  const auto fresh = read_again();
  // It may wait for a destination's answer.
  auto reloading = std::async(std::launch::async, [&] { return node.reload(fresh); });
  while (reloading.wait_for(std::chrono::seconds(1)) != std::future_status::ready) tell_alive(node);
  const Status reloaded = reloading.get();
  if (reloaded.ok()) {
    spdlog::info("event=reloaded peers={} routes={}", fresh->receive.peers.size(), fresh->router.routes.size());
  } else {
    spdlog::error("event=reload_refused reason=\"{}\" note=\"all that was in force stays\"", reloaded.message());
  }
  audit::configured(reloaded.ok());
  tell_service_manager("READY=1");
}

}  // namespace

int serve(const config::NodeConfig& config, const PredictorFactory& open_predictor,
          const std::function<Result<config::NodeConfig>()>& read_again) {
  // Blocked before the first thread, so that only this one takes them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  auto predictor = open_predictor(config.inference);
  if (!predictor.ok()) {
    fmt::print(stderr, "skelex-node: {}\n", predictor.status().message());
    return exit_status(predictor.status());
  }
  auto audit = AuditSink::open(config.audit, config.receive.ae_title);  // Ends after the node does.
  if (!audit.ok()) {
    fmt::print(stderr, "skelex-node: {}\n", audit.status().message());
    return exit_status(audit.status());
  }
  SystemClock clock;
  auto node = Node::start(config, clock, storage::posix_file_system(), **predictor);
  if (!node.ok()) {
    fmt::print(stderr, "skelex-node: {}\n", node.status().message());
    return exit_status(node.status());
  }
  fmt::print(stderr, "skelex-node ready: AE title {} on {}:{}; {}; page {}://{}:{}/\n", config.receive.ae_title,
             config.receive.bind, (*node)->dicom_port(), models_and_device(**predictor),
             config.http.tls.on ? "https" : "http", config.http.bind, (*node)->http_port());
  std::fflush(stderr);

  tell_service_manager("READY=1");

  for (int number = 0; number != SIGTERM && number != SIGINT;) {
    number = wait_for_signal(signals, **node);
    if (number == SIGHUP) reload(read_again, **node);
    if (number == SIGTERM || number == SIGINT) {
      spdlog::info("event=stopping signal={}", number == SIGTERM ? "SIGTERM" : "SIGINT");
    }
  }
  tell_service_manager("STOPPING=1");
  (*node)->stop();
  spdlog::info("event=stopped");
  return 0;
}

}  // namespace node::operate
