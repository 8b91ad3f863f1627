// skelex-bench: how fast one checkpoint runs here, through the engine as the node uses it, as one JSON object.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <future>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "inference/engine.h"

namespace {

using node::inference::AnalysisRequest;
using node::inference::Predictor;
using Seconds = std::chrono::duration<double>;

constexpr char kUsage[] =
    "usage: skelex-bench --model DIR [--batch 1,8] [--precision auto,float32,bfloat16] [--threads N]\n"
    "                    [--device auto|cpu|cuda|cuda:N] [--passes N] [--seconds S]\n"
    "Prints one JSON object. A classifier is timed on whole images; a masked autoencoder on anomaly maps of N "
    "passes.\n";

struct Options {
  std::string model, device = "auto";
  std::vector<int> batches{1, 8};
  std::vector<std::string> precisions{"auto"};
  int threads = 0, passes = 8;
  double seconds = 5;
};

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

bool to_int(const std::string& text, int min, int max, int& value) {
  char* end = nullptr;
  const long number = std::strtol(text.c_str(), &end, 10);
  value = static_cast<int>(number);
  return !text.empty() && *end == '\0' && number >= min && number <= max;
}

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    if (i + 1 == argc) return false;
    const std::string value = argv[i + 1];
    bool good = true;
    if (name == "--model") {
      options.model = value;
    } else if (name == "--device") {
      options.device = value;
    } else if (name == "--batch") {
      options.batches.clear();
      for (const std::string& part : split(value)) good &= to_int(part, 1, 1024, options.batches.emplace_back());
    } else if (name == "--precision") {
      options.precisions = split(value);
      for (const std::string& part : options.precisions) {
        good &= part == "auto" || part == "float32" || part == "bfloat16";
      }
    } else if (name == "--threads") {
      good = to_int(value, 0, 4096, options.threads);
    } else if (name == "--passes") {
      good = to_int(value, 1, 64, options.passes);
    } else if (name == "--seconds") {
      char* end = nullptr;
      options.seconds = std::strtod(value.c_str(), &end);
      good = !value.empty() && *end == '\0' && options.seconds > 0;
    } else {
      good = false;
    }
    if (!good) return false;
  }
  return !options.model.empty() && !options.batches.empty() && !options.precisions.empty();
}

// One batch: all its images at once; seconds until the last is answered, or below zero if one failed.
double time_batch(Predictor& predictor, int images, std::uint64_t seed, std::string& failure) {
  AnalysisRequest request;
  request.image.rows = request.image.columns = 256;
  request.image.pixels.resize(256 * 256);
  for (std::size_t i = 0; i < request.image.pixels.size(); ++i) {
    request.image.pixels[i] = static_cast<float>((i * 2654435761u + seed) % 4096);
  }
  request.tasks = {"bench"};
  request.seed = seed;
  std::vector<std::promise<node::Status>> answers(static_cast<std::size_t>(images));
  const auto start = std::chrono::steady_clock::now();
  for (std::promise<node::Status>& answer : answers) {
    predictor.submit(request, [&answer](auto result) { answer.set_value(result.status()); });
  }
  for (std::promise<node::Status>& answer : answers) {
    const node::Status status = answer.get_future().get();
    if (!status.ok()) failure = status.message();
  }
  return Seconds(std::chrono::steady_clock::now() - start).count();
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

node::config::InferenceConfig configuration(const Options& options, const std::string& precision, int batch, bool map) {
  node::config::InferenceConfig config;
  config.device = options.device;
  config.threads = options.threads;
  config.batch_delay = std::chrono::seconds(10);  // Never waited for: a batch is submitted whole.
  config.batch_rows_max = map ? batch * options.passes : batch;
  node::config::ModelConfig model;
  model.name = "model";
  model.path = options.model;
  if (precision != "auto") {
    model.precision = precision == "bfloat16" ? node::config::Precision::kBfloat16 : node::config::Precision::kFloat32;
  }
  config.models = {model};
  node::config::TaskConfig task;
  task.name = "bench";
  task.model = "model";
  task.output = map ? node::config::OutputKind::kAnomalyMap : node::config::OutputKind::kSigmoid;
  task.passes = options.passes;
  task.mode = options.passes % 4 == 0 ? node::config::MaskMode::kPartition : node::config::MaskMode::kRandom;
  config.tasks = {task};
  return config;
}

int run(const Options& options) {
  nlohmann::json output{{"model", options.model}, {"runs", nlohmann::json::array()}};
  node::SystemClock clock;
  for (const std::string& precision : options.precisions) {
    for (const int batch : options.batches) {
      const auto start = std::chrono::steady_clock::now();
      bool map = false;
      auto predictor = node::inference::open_engine(configuration(options, precision, batch, map), clock);
      if (!predictor.ok() && predictor.status().code() == node::StatusCode::kInvalidArgument) {
        map = true;  // No classifier: a masked autoencoder, or an error that comes again.
        predictor = node::inference::open_engine(configuration(options, precision, batch, map), clock);
      }
      if (!predictor.ok()) {
        std::fprintf(stderr, "skelex-bench: %s\n", predictor.status().message().c_str());
        return 1;
      }
      const double load_seconds = Seconds(std::chrono::steady_clock::now() - start).count();

      std::string failure;
      const double warm_up_seconds = time_batch(**predictor, batch, 0, failure);
      std::vector<double> times;
      for (double spent = 0; failure.empty() && (times.empty() || spent < options.seconds); spent += times.back()) {
        times.push_back(time_batch(**predictor, batch, times.size() + 1, failure));
      }
      if (!failure.empty()) {
        std::fprintf(stderr, "skelex-bench: %s\n", failure.c_str());
        return 1;
      }
      double total = 0;
      for (const double time : times) total += time;
      const node::inference::TaskInfo info = (*predictor)->tasks().front();
      output["model_version"] = info.model_version;
      output["parameters"] = info.parameters;
      output["runs"].push_back({{"kind", map ? "anomaly_map" : "classification"},
                                {"batch", batch},
                                {"passes", map ? options.passes : 1},
                                {"precision", info.precision},
                                {"device", info.device},
                                {"threads", options.threads},
                                {"load_seconds", load_seconds},
                                {"warm_up_seconds", warm_up_seconds},
                                {"batches", times.size()},
                                {"images_per_second", batch * static_cast<double>(times.size()) / total},
                                {"latency_p50_seconds", quantile(times, 0.5)},
                                {"latency_p95_seconds", quantile(times, 0.95)}});
    }
  }
  std::printf("%s\n", output.dump(2).c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  // LibTorch's OpenMP reads this before main() runs, and would spin between batches: so once more from the start.
  if (std::getenv("OMP_WAIT_POLICY") == nullptr) {
    ::setenv("OMP_WAIT_POLICY", "passive", 1);
    ::execv("/proc/self/exe", argv);
  }
  Options options;
  if (argc == 2 && std::strcmp(argv[1], "--help") == 0) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  if (!parse(argc, argv, options)) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  return run(options);
}
