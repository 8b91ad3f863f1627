// skelex-node: the only file that sees every module. Parses the command line and hands each command what it needs.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "config/node_config.h"
#include "dicom_node/analyze/calibrated_predictor.h"
#include "dicom_node/operate/commands/commands.h"
#include "dicom_node/operate/logging.h"
#include "dicom_node/receive/dcmtk_setup.h"
#include "inference/engine.h"

namespace {

// The wheel's libgomp spins between parallel regions and reads this before main runs: so main sets it and executes
// itself again, before anything else. DCMTK reads TCP_NODELAY from the environment at each connection.
void restart_with_environment(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr && std::getenv("TCP_NODELAY") != nullptr) return;
  setenv("OMP_WAIT_POLICY", "passive", 0);
  setenv("TCP_NODELAY", "1", 0);
  // By its own path: what is run as /proc/self/exe is called "exe" by ps, pgrep and tools/quickstart.
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) execv(self.c_str(), argv);
  std::perror("skelex-node: cannot execute itself again");  // It runs all the same, only warmer.
}

node::Clock& system_clock() {
  static node::SystemClock clock;
  return clock;
}

}  // namespace

int main(int argc, char** argv) {
  restart_with_environment(argv);

  CLI::App app{
      "SKELEX node: receives radiographs by DICOM, analyses them, returns reports and overlays.\n"
      "AI results are not for clinical use."};
  app.set_version_flag("--version", *NODE_COMMIT != '\0' ? NODE_VERSION " (commit " NODE_COMMIT ")" : NODE_VERSION);
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::simple);

  std::string config_file;
  std::vector<std::string> settings;
  bool json = false;
  auto configured = [&](CLI::App* command) {
    command->add_option("--config", config_file, "The configuration file, node.yaml")->required();
    command->add_option("--set", settings, "key.path=value overrides one key of the file")->allow_extra_args(false);
    return command;
  };
  auto listing = [&](CLI::App* command) {
    command->add_flag("--json", json, "One JSON object a line");
    return command;
  };

  CLI::App* serve = configured(app.add_subcommand("serve", "Runs the node until SIGTERM or SIGINT"));
  CLI::App* check = configured(app.add_subcommand("check", "Tries configuration, models, store and peers"));
  bool without_models = false;
  check->add_flag("--without-models", without_models, "Loads no model: in a second or two what else there is to say");
  CLI::App* models = listing(configured(app.add_subcommand("models", "Lists the models and what they are for")));

  std::string out;
  std::vector<std::string> paths;
  CLI::App* predict = configured(app.add_subcommand("predict", "Analyses files and folders, without store or network"));
  predict->add_option("--out", out, "Folder for the results")->required();
  predict->add_option("PATH", paths, "DICOM files or folders")->required();

  std::string task;
  std::size_t images_min = 200;
  CLI::App* calibrate = configured(
      app.add_subcommand("calibrate", "Makes the reference of an anomaly map from normal images, by body part"));
  calibrate->add_option("--out", out, "File to write, for the task's key `calibration`")->required();
  calibrate->add_option("--images-min", images_min, "Body parts with fewer images are left out (default 200)")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1'000'000'000}));
  calibrate->add_option("--task", task, "The task, where several draw anomaly maps");
  calibrate->add_option("PATH", paths, "DICOM files or folders of normal images")->required();

  CLI::App* route = listing(configured(app.add_subcommand("route", "Explains which rule an image matches and why")));
  route->add_option("PATH", paths, "DICOM files or folders")->required();

  std::string state, study;
  CLI::App* studies = listing(configured(app.add_subcommand("studies", "Lists what the node holds and how it went")));
  studies->add_option(
      "--state", state,
      "open, closed, finished, not_routed, failed (wholly or in one image), conflict (objects kept aside), parked");
  CLI::App* show = studies->add_subcommand("show", "One study's instances, a JSON line each");
  show->add_option("UID", study, "Study Instance UID")->required();
  show->fallthrough();
  CLI::App* retry = studies->add_subcommand("retry", "Analyses and reports a study again, as a new revision");
  retry->add_option("UID", study, "Study Instance UID")->required();
  std::optional<int> revision;
  retry
      ->add_option(
          "--revision", revision,
          "Only if the study has no later one: may be called again after a lost answer, and makes another even "
          "where a retry made this one")
      ->check(CLI::PositiveNumber);
  retry->fallthrough();

  CLI::App* backup = configured(app.add_subcommand("backup", "Copies the store, also of a running node"));
  backup->add_option("DIR", out, "Folder for the copy, empty or not there yet")->required();

  bool parked = false;
  CLI::App* deliveries = listing(configured(app.add_subcommand("deliveries", "Lists what is due, sent and parked")));
  deliveries->add_flag("--parked", parked, "Only what waits for a person");
  std::string delivery, destination;
  CLI::App* release = deliveries->add_subcommand("release", "Sends a parked delivery again, or all of a destination");
  release->add_option("ID", delivery, "The number that the list begins with");
  release->add_option("--destination", destination, "Every parked delivery to it, instead of one");
  release->require_option(1);
  release->fallthrough();
  CLI::App* give_up =
      deliveries->add_subcommand("give-up", "Sends a parked delivery never; retention may have its object");
  give_up->add_option("ID", delivery, "The number that the list begins with")->required();
  give_up->fallthrough();

  CLI::App* losses = listing(configured(app.add_subcommand("losses", "Lists stored objects that are lost")));
  CLI::App* accept = losses->add_subcommand("accept", "Accepts all that is lost, so that the node is ready without it");
  accept->fallthrough();

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  std::vector<std::pair<std::string, std::string>> overrides;
  for (const std::string& setting : settings) {
    const std::size_t equals = setting.find('=');
    if (equals == std::string::npos || equals == 0) {
      fmt::print(stderr, "skelex-node: --set {}: wants key.path=value\n", setting);
      return 2;
    }
    overrides.emplace_back(setting.substr(0, equals), setting.substr(equals + 1));
  }
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  const auto read_config = [&] {
    auto read = node::config::read_node_config(config_file, overrides, environment);
    if (read.ok()) read->report.node_version = NODE_VERSION;
    return read;
  };
  auto config = read_config();
  if (!config.ok()) {
    fmt::print(stderr, "{}\n", config.status().message());
    return 2;
  }
  node::operate::configure_logging(config->log);
  node::receive::configure_dcmtk(config->receive.dimse_timeout);

  const node::operate::PredictorFactory open_predictor =
      [](const node::config::InferenceConfig& inference) -> node::Result<std::unique_ptr<node::inference::Predictor>> {
    NODE_ASSIGN_OR_RETURN(auto engine, node::inference::open_engine(inference, system_clock()));
    return node::analyze::open_calibrated_predictor(std::move(engine), inference.tasks);
  };
  const auto run = [&] {
    if (*serve) return node::operate::serve(*config, open_predictor, read_config);
    if (*check) return node::operate::check(*config, open_predictor, !without_models);
    if (*models) return node::operate::models(*config, open_predictor, json);
    if (*predict) return node::operate::predict(*config, open_predictor, out, paths);
    if (*calibrate) return node::operate::calibrate(*config, open_predictor, out, images_min, task, paths);
    if (*route) return node::operate::route(*config, paths, json);
    if (*backup) return node::operate::backup(*config, out);
    if (*show) return node::operate::show_study(*config, study);
    if (*retry) return node::operate::retry_study(*config, study, revision, json);
    if (*studies) return node::operate::list_studies(*config, state, json);
    if (*release && !destination.empty()) return node::operate::release_parked(*config, destination, json);
    if (*release) return node::operate::release_delivery(*config, delivery, json);
    if (*give_up) return node::operate::give_up_delivery(*config, delivery, json);
    if (*losses) return node::operate::losses(*config, accept->parsed(), json);
    return node::operate::list_deliveries(*config, parked, json);
  };
  try {
    const int status = run();
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
    fmt::print(stderr, "skelex-node: standard output cannot be written: results are lost\n");
  } catch (const std::system_error& error) {  // fmt throws where the reader of a pipe has gone, or a disk is full.
    fmt::print(stderr, "skelex-node: {}\n", error.what());
  }
  return 1;
}
