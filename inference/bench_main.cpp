// skelex-bench: how fast one checkpoint runs here, through the engine as the node uses it, as one JSON object.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "inference/bench_linears.h"
#include "inference/bench_regions.h"
#include "inference/engine.h"
#include "inference/npy.h"

namespace {

using namespace node;
using namespace node::inference;
using Seconds = std::chrono::duration<double>;

constexpr char kUsage[] =
    R"(usage: skelex-bench --model DIR [options]
Times one checkpoint and prints one JSON object with a run for each precision and batch.
  --model DIR            a HuggingFace directory
  --batch 1,8            images that are submitted at once and travel as one batch
  --precision auto       auto, float32, bfloat16, or several with commas
  --threads N            CPU threads; 0, the default: one per core
  --device auto          auto, cpu, cuda, cuda:N
  --seconds 5            how long each run is timed, after one batch that is not
  --map                  anomaly maps of a masked autoencoder, instead of a classifier's logits
    --mode partition     partition or random
    --passes 8           masked passes of a map
  --images FILE.npy      uint8 [N, rows, columns], taken in turn; default: 8 images of noise. Like any radiograph each is
                         stretched to its whole range first: where 0 and 255 both occur, that changes nothing.
  --outputs FILE.npy     writes what the images give, float32: logits [N, labels], or maps [N, S, S] whose masks are
                         drawn from seed i for image i (the recipe is in inference/masks.h). One batch and precision.
  --detector DIR         a study of four images of 2000 x 1600 through `output: regions` with this detector, or the word
                         tiles, beside its crops in full batches of the first --batch
    --sha256 HEX         of the detector's TorchScript file
  --bare-linears         on a CPU, also times the matrix products of each batch by themselves, packed as the engine has
                         them: the floor. "of_bare_linears" is their p50 over the batch's p50.
Loading ends when the engine can take requests; "loaded_own_bytes" is the memory that it then
holds more, "loaded_mapped_bytes" the pages of files (LibTorch's code among them) that are mapped more.
Latency is of a whole batch: from before its first image is submitted until its last is answered.
"output_mean_abs" is the mean of the absolute values of all outputs, a checksum to compare implementations by.
)";

struct Options {
  std::string model, device = "auto", images, outputs, detector, sha256;
  std::vector<int> batches{1, 8};
  std::vector<std::string> precisions{"auto"};
  int threads = 0, passes = 8;
  double seconds = 5;
  bool map = false, bare_linears = false;
  config::MaskMode mode = config::MaskMode::kPartition;
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

bool parse_value(const std::string& name, const std::string& value, Options& options) {
  if (name == "--model") {
    options.model = value;
  } else if (name == "--device") {
    options.device = value;
  } else if (name == "--detector") {
    options.detector = value;
  } else if (name == "--sha256") {
    options.sha256 = value;
  } else if (name == "--images") {
    options.images = value;
  } else if (name == "--outputs") {
    options.outputs = value;
  } else if (name == "--batch") {
    options.batches.clear();
    for (const std::string& part : split(value)) {
      if (!to_int(part, 1, 1024, options.batches.emplace_back())) return false;
    }
  } else if (name == "--precision") {
    options.precisions = split(value);
    return std::all_of(options.precisions.begin(), options.precisions.end(),
                       [](const std::string& one) { return one == "auto" || one == "float32" || one == "bfloat16"; });
  } else if (name == "--threads") {
    return to_int(value, 0, 4096, options.threads);
  } else if (name == "--passes") {
    return to_int(value, 1, 64, options.passes);
  } else if (name == "--mode") {
    options.mode = value == "random" ? config::MaskMode::kRandom : config::MaskMode::kPartition;
    return value == "random" || value == "partition";
  } else if (name == "--seconds") {
    char* end = nullptr;
    options.seconds = std::strtod(value.c_str(), &end);
    return !value.empty() && *end == '\0' && options.seconds > 0;
  } else {
    return false;
  }
  return true;
}

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--map") {
      options.map = true;
    } else if (name == "--bare-linears") {
      options.bare_linears = true;
    } else if (++i == argc || !parse_value(name, argv[i], options)) {
      return false;
    }
  }
  const std::size_t runs = options.batches.size() * options.precisions.size();
  return !options.model.empty() && runs > 0 && (options.outputs.empty() || runs == 1);
}

// Eight images of noise, in whose outputs every part of a network shows.
std::vector<GreyImage> noise_images() {
  std::vector<GreyImage> images(8);
  std::uint32_t state = 1;
  for (GreyImage& image : images) {
    image.rows = image.columns = 256;
    image.pixels.resize(256 * 256);
    for (std::uint8_t& pixel : image.pixels)
      pixel = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  }
  return images;
}

using Answer = Result<std::vector<Prediction>>;

// Submits the images `first` and on as one batch, each seeded with its number.
std::vector<Answer> run_batch(Predictor& predictor, const std::vector<GreyImage>& images, std::size_t first,
                              std::size_t count) {
  std::vector<AnalysisRequest> requests(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t number = (first + i) % images.size();
    const GreyImage& image = images[number];
    requests[i].image = {image.rows, image.columns, {image.pixels.begin(), image.pixels.end()}};
    requests[i].tasks = {"bench"};
    requests[i].seed = number;
  }
  std::vector<std::promise<Answer>> promises(count);
  for (std::size_t i = 0; i < count; ++i) {
    predictor.submit(std::move(requests[i]),
                     [&promise = promises[i]](Answer answer) { promise.set_value(std::move(answer)); });
  }
  std::vector<Answer> answers;
  for (std::promise<Answer>& promise : promises) answers.push_back(promise.get_future().get());
  return answers;
}

Status first_failure(const std::vector<Answer>& answers) {
  for (const Answer& answer : answers) NODE_RETURN_IF_ERROR(answer.status());
  return ok_status();
}

// Of each image once, in batches of `batch`.
Status collect_outputs(Predictor& predictor, const std::vector<GreyImage>& images, std::size_t batch,
                       const std::string& path, double& mean_abs) {
  std::vector<float> all;
  std::vector<std::int64_t> shape{static_cast<std::int64_t>(images.size())};
  for (std::size_t first = 0; first < images.size(); first += batch) {
    const std::vector<Answer> answers = run_batch(predictor, images, first, batch);
    NODE_RETURN_IF_ERROR(first_failure(answers));
    for (std::size_t i = 0; i < std::min(batch, images.size() - first); ++i) {
      const Prediction& prediction = answers[i]->front();
      const std::vector<float>& values = prediction.map.size > 0 ? prediction.map.values : prediction.logits;
      all.insert(all.end(), values.begin(), values.end());
      if (shape.size() > 1) continue;
      shape.push_back(prediction.map.size > 0 ? prediction.map.size : static_cast<std::int64_t>(values.size()));
      if (prediction.map.size > 0) shape.push_back(prediction.map.size);
    }
  }
  mean_abs = 0;
  for (const float value : all) mean_abs += std::abs(static_cast<double>(value)) / static_cast<double>(all.size());
  return path.empty() ? ok_status() : write_npy_floats(path, shape, all);
}

// The time of each batch.
Result<std::vector<double>> time_batches(Predictor& predictor, const std::vector<GreyImage>& images, std::size_t batch,
                                         double seconds) {
  std::vector<double> times;
  for (double spent = 0; times.empty() || spent < seconds; spent += times.back()) {
    const auto start = std::chrono::steady_clock::now();
    const std::vector<Answer> answers = run_batch(predictor, images, times.size() * batch, batch);
    times.push_back(Seconds(std::chrono::steady_clock::now() - start).count());
    NODE_RETURN_IF_ERROR(first_failure(answers));
  }
  return times;
}

double process_cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// What this process holds now: memory of its own ("RssAnon:"), or pages of files that it maps ("RssFile:").
std::int64_t resident_bytes(const std::string& kind) {
  std::ifstream status("/proc/self/status");
  std::int64_t kilobytes = 0;
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(kind, 0) == 0) kilobytes = std::strtoll(line.c_str() + kind.size(), nullptr, 10);
  }
  return kilobytes * 1024;
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

config::InferenceConfig configuration(const Options& options, const std::string& precision, int batch) {
  config::InferenceConfig config;
  config.device = options.device;
  config.threads = options.threads;
  config.batch_delay = std::chrono::seconds(10);  // Never waited for: a batch is submitted whole.
  config.batch_rows_max = options.map ? batch * options.passes : batch;
  config::ModelConfig model;
  model.name = "model";
  model.path = options.model;
  if (precision != "auto") {
    model.precision = precision == "bfloat16" ? config::Precision::kBfloat16 : config::Precision::kFloat32;
  }
  config.models = {model};
  config::TaskConfig task;
  task.name = "bench";
  task.model = "model";
  task.output = options.map ? config::OutputKind::kAnomalyMap : config::OutputKind::kSigmoid;
  task.passes = options.passes;
  task.mode = options.mode;
  config.tasks = {task};
  return config;
}

Status measure_bare_linears(const Options& options, int batch, const std::string& precision, nlohmann::json& result) {
  NODE_ASSIGN_OR_RETURN(const BareLinears bare,
                        bare_linears(options.model, batch, options.map ? options.passes : 0, precision == "bfloat16",
                                     options.threads, options.seconds));
  const double p50 = quantile(bare.seconds, 0.5);
  result["bare_linears_p50_seconds"] = p50;
  result["bare_linears_gflops"] = bare.flop / p50 / 1e9;
  result["of_bare_linears"] = p50 / result["latency_p50_seconds"].get<double>();
  return ok_status();
}

Status measure(const Options& options, const std::vector<GreyImage>& images, const std::string& precision, int batch,
               nlohmann::json& output) {
  SystemClock clock;
  const std::int64_t own_before = resident_bytes("RssAnon:"), mapped_before = resident_bytes("RssFile:");
  const auto start = std::chrono::steady_clock::now();
  NODE_ASSIGN_OR_RETURN(const std::unique_ptr<Predictor> predictor,
                        open_engine(configuration(options, precision, batch), clock));
  const double load_seconds = Seconds(std::chrono::steady_clock::now() - start).count();
  const std::int64_t own = resident_bytes("RssAnon:") - own_before, mapped = resident_bytes("RssFile:") - mapped_before;
  const auto rows = static_cast<std::size_t>(batch);
  NODE_ASSIGN_OR_RETURN(const std::vector<double> warm_up, time_batches(*predictor, images, rows, 0));
  const double cpu_before = process_cpu_seconds();
  NODE_ASSIGN_OR_RETURN(const std::vector<double> times, time_batches(*predictor, images, rows, options.seconds));
  const double cpu_seconds = (process_cpu_seconds() - cpu_before) / static_cast<double>(times.size());
  double mean_abs = 0;
  NODE_RETURN_IF_ERROR(collect_outputs(*predictor, images, rows, options.outputs, mean_abs));

  double total = 0;
  for (const double time : times) total += time;
  const TaskInfo info = predictor->tasks().front();
  output["model_version"] = info.model_version;
  output["parameters"] = info.parameters;
  nlohmann::json result{{"kind", options.map ? "anomaly_map" : "classification"},
                        {"batch", batch},
                        {"passes", options.map ? options.passes : 1},
                        {"precision", info.precision},
                        {"device", info.device},
                        {"threads", options.threads},
                        {"load_seconds", load_seconds},
                        {"loaded_own_bytes", own},
                        {"loaded_mapped_bytes", mapped},
                        {"warm_up_seconds", warm_up.front()},
                        {"batches", times.size()},
                        {"images_per_second", batch * static_cast<double>(times.size()) / total},
                        {"latency_p50_seconds", quantile(times, 0.5)},
                        {"latency_p95_seconds", quantile(times, 0.95)},
                        {"latency_p99_seconds", quantile(times, 0.99)},
                        {"cpu_seconds_per_batch", cpu_seconds},
                        {"output_mean_abs", mean_abs}};
  if (options.bare_linears) NODE_RETURN_IF_ERROR(measure_bare_linears(options, batch, info.precision, result));
  output["runs"].push_back(result);
  return ok_status();
}

Status run_regions(const Options& options) {
  constexpr std::size_t kImages = 4;
  config::InferenceConfig config = configuration(options, options.precisions.front(), options.batches.front());
  config.batch_delay = config::InferenceConfig().batch_delay;  // The crops of a study are no whole batches.
  config.tasks.front().regions = true;
  if (options.detector != "tiles") {
    config.tasks.front().region_selection.detector = "detector";
    config::ModelConfig detector;
    detector.name = "detector";
    detector.path = options.detector;
    detector.sha256 = options.sha256;
    config.models.push_back(detector);
  }
  NODE_ASSIGN_OR_RETURN(const RegionBench bench, bench_regions(config, kImages, 2000, 1600, options.seconds));
  const double study = quantile(bench.study_seconds, 0.5), crops = quantile(bench.crops_seconds, 0.5);
  const double study_cpu = quantile(bench.study_cpu, 0.5), crops_cpu = quantile(bench.crops_cpu, 0.5);
  const nlohmann::json output{
      {"model", options.model},         {"detector", options.detector},     {"images", kImages},
      {"regions", bench.regions},       {"batch", options.batches.front()}, {"repetitions", bench.study_seconds.size()},
      {"study_p50_seconds", study},     {"crops_p50_seconds", crops},       {"ratio", study / crops},
      {"study_cpu_seconds", study_cpu}, {"crops_cpu_seconds", crops_cpu},   {"cpu_ratio", study_cpu / crops_cpu}};
  std::printf("%s\n", output.dump(2).c_str());
  return ok_status();
}

Status run(const Options& options) {
  if (!options.detector.empty()) return run_regions(options);
  nlohmann::json output{{"model", options.model}, {"runs", nlohmann::json::array()}};
  std::vector<GreyImage> images = noise_images();
  if (!options.images.empty()) {
    NODE_ASSIGN_OR_RETURN(images, read_npy_images(options.images));
  }
  for (const std::string& precision : options.precisions) {
    for (const int batch : options.batches) NODE_RETURN_IF_ERROR(measure(options, images, precision, batch, output));
  }
  std::printf("%s\n", output.dump(2).c_str());
  return ok_status();
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
  const Status status = run(options);
  if (!status.ok()) std::fprintf(stderr, "skelex-bench: %s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
