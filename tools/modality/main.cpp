// skelex-modality: a simulated X-ray room and load generator.
//
// Sends radiographs by C-STORE until each one is stored, and says how fast they were taken.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "config/base/mutex.h"
#include "dicom_node/receive/dcmtk_setup.h"
#include "tools/modality/examination.h"
#include "tools/modality/sender.h"

namespace {

using node::modality::Examination;
using node::modality::ExaminationOptions;
using node::modality::Progress;
using node::modality::SendOptions;
using node::modality::SendReport;

// "AET@HOST:PORT"
bool parse_address(const std::string& text, SendOptions& options) {
  const auto at = text.find('@');
  const auto colon = text.rfind(':');
  if (at == std::string::npos || colon == std::string::npos || colon < at) return false;
  options.called_ae_title = text.substr(0, at);
  options.host = text.substr(at + 1, colon - at - 1);
  const std::string port = text.substr(colon + 1);
  if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != std::string::npos) return false;
  const int number = std::stoi(port);
  options.port = static_cast<std::uint16_t>(number);
  return number > 0 && number < 65536 && !options.host.empty() && !options.called_ae_title.empty() &&
         options.called_ae_title.size() <= 16;
}

// The smallest value that at least this share of all do not exceed.
double percentile(const std::vector<double>& ascending, double share) {
  if (ascending.empty()) return 0.0;
  const auto rank = static_cast<std::size_t>(share * static_cast<double>(ascending.size()) + 0.999999);
  return ascending[std::min(std::max<std::size_t>(rank, 1), ascending.size()) - 1];
}

// One line on a terminal, rewritten until stop().
class ProgressLine {
 public:
  ProgressLine(const Progress& progress, std::size_t total) : progress_(progress), total_(total) {
    if (::isatty(STDERR_FILENO) != 0) thread_ = std::thread([this] { run(); });
  }
  ~ProgressLine() {
    if (!thread_.joinable()) return;
    {
      node::MutexLock lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
    fmt::print(stderr, "\r\033[K");
  }

 private:
  void run() {
    const auto begun = std::chrono::steady_clock::now();
    node::MutexLock lock(mutex_);
    while (!stop_) {
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
      const auto stored = progress_.stored.load();
      fmt::print(stderr, "\r\033[K{} of {} stored, {:.1f} images/s, {} refused, {} sent again", stored, total_,
                 seconds > 0 ? static_cast<double>(stored) / seconds : 0.0, progress_.refused.load(),
                 progress_.retries.load());
      std::fflush(stderr);
      wake_.wait_for(lock, std::chrono::milliseconds(200));
    }
  }

  const Progress& progress_;
  const std::size_t total_;
  node::Mutex mutex_;
  node::ConditionVariable wake_;
  bool stop_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

void print_report(const SendReport& report, const Progress& progress, std::size_t total, const std::string& seed,
                  bool as_json) {
  const std::uint64_t stored = progress.stored;
  const double rate = report.seconds > 0 ? static_cast<double>(stored) / report.seconds : 0.0;
  const double p50 = percentile(report.response_ms, 0.50), p95 = percentile(report.response_ms, 0.95),
               p99 = percentile(report.response_ms, 0.99);
  if (as_json) {
    const nlohmann::ordered_json json = {
        {"images", total},
        {"stored", stored},
        {"refused", progress.refused.load()},
        {"given_up", report.given_up},
        {"retries", progress.retries.load()},
        {"associations", progress.associations.load()},
        {"seconds", report.seconds},
        {"images_per_second", rate},
        {"response_ms",
         {{"p50", p50},
          {"p95", p95},
          {"p99", p99},
          {"max", report.response_ms.empty() ? 0.0 : report.response_ms.back()}}},
        {"refusals", report.refusals},
        {"last_trouble", report.last_trouble},
        {"seed", seed},
    };
    fmt::print("{}\n", json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return;
  }
  fmt::print("{} of {} images stored in {:.2f} s: {:.1f} images/s over {} associations\n", stored, total,
             report.seconds, rate, progress.associations.load());
  fmt::print("response time: p50 {:.1f} ms, p95 {:.1f} ms, p99 {:.1f} ms\n", p50, p95, p99);
  if (progress.retries > 0) fmt::print("sent again {} times; last: {}\n", progress.retries.load(), report.last_trouble);
  if (progress.refused > 0) fmt::print("{} refused:\n", progress.refused.load());
  for (const std::string& refusal : report.refusals) fmt::print("  {}\n", refusal);
  if (report.given_up > 0) fmt::print("{} given up; last: {}\n", report.given_up, report.last_trouble);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("A simulated X-ray room and load generator: sends radiographs by C-STORE until each one is stored.");
  SendOptions options;
  options.calling_ae_title = "XRAY1";
  ExaminationOptions examination_options;
  std::string to;
  std::vector<std::string> paths;
  bool as_json = false;
  long give_up_s = 0, timeout_s = 60;
  app.add_option("--to", to, "Who stores them: AET@HOST:PORT")->required();
  app.add_option("--from,--aet", options.calling_ae_title, "Our own AE title")->capture_default_str();
  app.add_option("--associations", options.associations, "So many at the same time")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--repeat", examination_options.repeat, "Sends everything so many times")
      ->check(CLI::Range(1, 100'000'000))
      ->capture_default_str();
  app.add_option("--rate", options.images_per_second_max, "Images per second at most, over all associations")
      ->check(CLI::PositiveNumber);
  auto* fresh = app.add_flag("--fresh-uids", examination_options.fresh_uids, "Each repeat is new studies");
  app.add_option("--studies", examination_options.studies, "With --fresh-uids: all images in so many studies")
      ->check(CLI::Range(1, 100'000'000))
      ->needs(fresh);
  app.add_option("--seed", examination_options.seed, "Of the fresh UIDs; another one each time if not given");
  app.add_option("--give-up", give_up_s, "Seconds after which what is left is given up; 0: never")
      ->check(CLI::Range(0L, 1'000'000L));
  app.add_option("--timeout", timeout_s, "Seconds to wait for an answer")
      ->check(CLI::Range(1L, 3'600L))
      ->capture_default_str();
  app.add_option("--ack-log", options.acknowledgement_log, "Appends the SOP Instance UID of each stored image");
  app.add_flag("--json", as_json, "The result as JSON");
  app.add_option("PATH", paths, "DICOM files, and folders of them")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (!parse_address(to, options)) {
    fmt::print(stderr, "skelex-modality: --to {}: not of the form AET@HOST:PORT\n", to);
    return 2;
  }
  options.give_up = std::chrono::seconds(give_up_s);
  options.dimse_timeout = std::chrono::seconds(timeout_s);
  if (examination_options.seed.empty()) examination_options.seed = fmt::format("{:08x}", std::random_device()());

  node::receive::configure_dcmtk(options.dimse_timeout);
  const auto examination = Examination::open(paths, examination_options);
  if (!examination.ok()) {
    fmt::print(stderr, "skelex-modality: {}\n", examination.status().message());
    return 2;
  }
  Progress progress;
  const auto report = [&] {
    const ProgressLine line(progress, examination->size());
    return node::modality::send_all(*examination, options, progress);
  }();
  if (!report.ok()) {
    fmt::print(stderr, "skelex-modality: {}\n", report.status().message());
    return 1;
  }
  print_report(*report, progress, examination->size(), examination_options.seed, as_json);
  return progress.stored == examination->size() ? 0 : 1;
}
