#include "inference/bench_regions.h"

#include <chrono>
#include <ctime>
#include <future>
#include <utility>

#include "inference/engine.h"
#include "inference/regions.h"

namespace node::inference {
namespace {

using Answer = Result<std::vector<Prediction>>;
using Clock = std::chrono::steady_clock;

GreyImage noise(int rows, int columns, std::uint32_t state) {
  GreyImage image{rows, columns, {}};
  image.pixels.resize(static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns));
  for (std::uint8_t& pixel : image.pixels)
    pixel = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  return image;
}

double process_cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// All at once; the time from the first submission to the last answer.
Result<std::vector<Prediction>> ask(Predictor& predictor, const std::vector<GreyImage>& images, const std::string& task,
                                    double& seconds, double& cpu) {
  std::vector<std::promise<Answer>> promises(images.size());
  std::vector<AnalysisRequest> requests(images.size());
  for (std::size_t i = 0; i < images.size(); ++i) {
    requests[i].image = {images[i].rows, images[i].columns, {}, images[i].pixels};
    requests[i].tasks = {task};
  }
  const Clock::time_point start = Clock::now();
  const double cpu_start = process_cpu_seconds();
  for (std::size_t i = 0; i < images.size(); ++i) {
    predictor.submit(std::move(requests[i]),
                     [&promise = promises[i]](Answer answer) { promise.set_value(std::move(answer)); });
  }
  std::vector<Answer> answers;
  for (std::promise<Answer>& promise : promises) answers.push_back(promise.get_future().get());
  seconds = std::chrono::duration<double>(Clock::now() - start).count();
  cpu = process_cpu_seconds() - cpu_start;
  std::vector<Prediction> predictions;
  for (Answer& answer : answers) {
    NODE_RETURN_IF_ERROR(answer.status());
    predictions.push_back(std::move(answer->front()));
  }
  return predictions;
}

}  // namespace

Result<RegionBench> bench_regions(const config::InferenceConfig& config, std::size_t images, int rows, int columns,
                                  double seconds) {
  SystemClock clock;
  config::InferenceConfig both = config;
  config::TaskConfig plain = config.tasks.front();
  plain.name = "head";
  plain.regions = false;
  plain.region_selection = {};
  both.tasks.push_back(plain);
  NODE_ASSIGN_OR_RETURN(const std::unique_ptr<Predictor> predictor, open_engine(both, clock));
  std::vector<GreyImage> study, crops;
  for (std::size_t i = 0; i < images; ++i) study.push_back(noise(rows, columns, static_cast<std::uint32_t>(i + 1)));
  double spent = 0, cpu = 0;
  NODE_ASSIGN_OR_RETURN(const std::vector<Prediction> found, ask(*predictor, study, "bench", spent, cpu));
  for (std::size_t i = 0; i < images; ++i) {
    for (const Region& region : found[i].regions) crops.push_back(crop(study[i], region.box));
  }
  NODE_RETURN_IF_ERROR(ask(*predictor, crops, "head", spent, cpu).status());  // Warm.
  RegionBench bench;
  bench.regions = crops.size();
  const Clock::time_point end =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  while (bench.study_seconds.empty() || Clock::now() < end) {
    NODE_RETURN_IF_ERROR(
        ask(*predictor, study, "bench", bench.study_seconds.emplace_back(), bench.study_cpu.emplace_back()).status());
    NODE_RETURN_IF_ERROR(
        ask(*predictor, crops, "head", bench.crops_seconds.emplace_back(), bench.crops_cpu.emplace_back()).status());
  }
  return bench;
}

}  // namespace node::inference
