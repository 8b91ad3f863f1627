#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <set>

#include "dicom_node/node.h"
#include "dicom_node/operate/commands/commands.h"

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

}  // namespace

int serve(const config::NodeConfig& config, const PredictorFactory& open_predictor) {
  // Blocked before the first thread, so that only this one takes them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);  // A terminal that closes does not stop a node; there is nothing to reload yet.

  auto predictor = open_predictor(config.inference);
  if (!predictor.ok()) {
    fmt::print(stderr, "skelex-node: {}\n", predictor.status().message());
    return exit_status(predictor.status());
  }
  SystemClock clock;
  auto node = Node::start(config, clock, storage::posix_file_system(), **predictor);
  if (!node.ok()) {
    fmt::print(stderr, "skelex-node: {}\n", node.status().message());
    return exit_status(node.status());
  }
  fmt::print(stderr, "skelex-node ready: AE title {} on {}:{}; {}; page http://{}:{}/\n", config.receive.ae_title,
             config.receive.bind, (*node)->dicom_port(), models_and_device(**predictor), config.http.bind,
             (*node)->http_port());
  std::fflush(stderr);

  int signal_number = 0;
  sigwait(&signals, &signal_number);
  spdlog::info("event=stopping signal={}", signal_number == SIGTERM ? "SIGTERM" : "SIGINT");
  (*node)->stop();
  spdlog::info("event=stopped");
  return 0;
}

}  // namespace node::operate
