#include "inference/region_predictor.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <map>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "config/base/mutex.h"
#include "inference/preprocess.h"
#include "inference/region_head.h"
#include "inference/regions.h"

namespace node::inference {
namespace {

using Done = std::function<void(Result<std::vector<Prediction>>)>;
using Predictions = std::vector<Prediction>;

// Of the threads that cut crops: one keeps a CPU's engine busy, a GPU takes more.
constexpr unsigned kThreadsMax = 4;

std::string boxes_of(const std::string& task) { return task + " boxes"; }

const Prediction* find(const Predictions& predictions, const std::string& task) {
  const auto found =
      std::find_if(predictions.begin(), predictions.end(), [&](const Prediction& one) { return one.task == task; });
  return found == predictions.end() ? nullptr : &*found;
}

// What another task may wait for, without its pictures.
Prediction as_known(const Prediction& prediction) {
  Prediction known;
  known.task = prediction.task;
  known.scores = prediction.scores;
  known.not_asked = prediction.not_asked;
  return known;
}

// A request on its way. The first step asks everything that waits for no region task of it; the second the crops; what
// is left is a request of its own, with the answers of the first.
struct Job {
  AnalysisRequest request;  // Its image is in `image`.
  GreyImage image;
  Done done;
  std::vector<std::string> halves;  // Tasks that look at one half of the image, and at nothing else.
  std::vector<std::string> later;   // Tasks that wait for a region task of this request.
  Predictions answers;              // Of the first step; those of region tasks are completed by the crops.
  Mutex mutex;
  std::size_t outstanding GUARDED_BY(mutex) = 0;  // Crops.
  Status failure GUARDED_BY(mutex);
};

class RegionPredictor : public Predictor {
 public:
  RegionPredictor(std::unique_ptr<Predictor> within, const config::InferenceConfig& config);
  ~RegionPredictor() override;

  std::vector<TaskInfo> tasks() const override;
  void submit(AnalysisRequest request, Done done) override;
  PredictorStats stats() const override;

 private:
  using JobPointer = std::shared_ptr<Job>;

  bool waits_for_region(const std::string& task, const std::vector<std::string>& asked) const;
  void go(AnalysisRequest request, Done done);
  void look_at_regions(const JobPointer& job);
  struct Crop {
    Prediction* prediction;
    Region* region;  // Of a region task; else the prediction is the crop's own.
  };
  void take_crop(const JobPointer& job, const Crop& crop, Result<Predictions> answer);
  void finish(const JobPointer& job);
  void answer(const JobPointer& job, Predictions more);
  void post(std::function<void()> work);
  void work_loop();

  std::map<std::string, config::TaskConfig> tasks_;         // All.
  std::map<std::string, std::string> versions_;             // Of region tasks: what is added to the model's.
  std::map<std::string, std::vector<std::string>> labels_;  // Of region tasks: of their scores.
  std::atomic<std::uint64_t> requests_{0}, failures_{0};
  Mutex mutex_;
  ConditionVariable changed_;
  std::size_t open_ GUARDED_BY(mutex_) = 0;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::deque<std::function<void()>> work_ GUARDED_BY(mutex_);
  std::unique_ptr<Predictor> within_;
  std::vector<std::thread> threads_;
};

RegionPredictor::RegionPredictor(std::unique_ptr<Predictor> within, const config::InferenceConfig& config)
    : within_(std::move(within)) {
  std::map<std::string, TaskInfo> infos;
  for (TaskInfo& info : within_->tasks()) infos[info.task] = std::move(info);
  for (const config::TaskConfig& task : config.tasks) {
    tasks_[task.name] = task;
    if (!task.regions) continue;
    labels_[task.name] = infos[task.name].labels;
    versions_[task.name] =
        task.region_selection.detector.empty()
            ? "+tiles"
            : "+regions:" + infos[boxes_of(task.name)].model_digest.substr(std::strlen("sha256:"), 16);
  }
  const unsigned threads = std::clamp(std::thread::hardware_concurrency() / 2, 1U, kThreadsMax);
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { work_loop(); });
}

RegionPredictor::~RegionPredictor() {
  {
    MutexLock lock(mutex_);
    while (open_ > 0) changed_.wait(lock);
    stopping_ = true;
    changed_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
}

std::vector<TaskInfo> RegionPredictor::tasks() const {
  std::vector<TaskInfo> infos = within_->tasks();
  for (TaskInfo& info : infos) {
    const auto version = versions_.find(info.task);
    if (version != versions_.end()) info.model_version += version->second;
    const auto task = tasks_.find(info.task);
    if (task != tasks_.end() && task->second.half != config::Half::kNone) info.pass = -1;  // One of its own.
  }
  return infos;
}

PredictorStats RegionPredictor::stats() const {
  PredictorStats stats = within_->stats();
  stats.requests = requests_;
  stats.failures = failures_;
  return stats;
}

void RegionPredictor::submit(AnalysisRequest request, Done done) {
  requests_ += 1;
  {
    MutexLock lock(mutex_);
    ++open_;
  }
  go(std::move(request), [this, done = std::move(done)](Result<Predictions> result) {
    if (!result.ok()) failures_ += 1;
    done(std::move(result));
    MutexLock lock(mutex_);
    --open_;
    changed_.notify_all();  // Under the lock: all may be gone once it is released.
  });
}

// Itself or over others; what is not asked is known, or the predictor within says that it is missing.
bool RegionPredictor::waits_for_region(const std::string& name, const std::vector<std::string>& asked) const {
  for (auto task = tasks_.find(name); task != tasks_.end() && task->second.when;) {
    const std::string& gate = task->second.when->task;
    if (std::find(asked.begin(), asked.end(), gate) == asked.end()) return false;
    task = tasks_.find(gate);
    if (task != tasks_.end() && task->second.regions) return true;
  }
  return false;
}

void RegionPredictor::go(AnalysisRequest request, Done done) {
  const auto job = std::make_shared<Job>();
  std::vector<std::string> first;
  bool parts = false;
  for (const std::string& name : request.tasks) {
    if (waits_for_region(name, request.tasks)) {
      job->later.push_back(name);
      continue;
    }
    const auto task = tasks_.find(name);
    if (task != tasks_.end() && task->second.half != config::Half::kNone) {
      job->halves.push_back(name);
      parts = true;
      continue;
    }
    first.push_back(name);
    if (task == tasks_.end() || !task->second.regions) continue;
    parts = true;
    if (!task->second.region_selection.detector.empty()) first.push_back(boxes_of(name));
  }
  if (!parts) return within_->submit(std::move(request), std::move(done));
  Result<GreyImage> grey = to_8_bit(std::move(request.image));
  if (!grey.ok()) return done(grey.status());
  job->image = *std::move(grey);
  job->request = std::move(request);
  job->done = std::move(done);
  if (first.empty()) return post([this, job] { look_at_regions(job); });
  AnalysisRequest whole = job->request;
  whole.image = {job->image.rows, job->image.columns, {}, job->image.pixels};
  whole.tasks = std::move(first);
  within_->submit(std::move(whole), [this, job](Result<Predictions> result) {
    if (!result.ok()) return job->done(result.status());
    job->answers = *std::move(result);
    post([this, job] { look_at_regions(job); });
  });
}

// Cuts what the detectors found; the answers come back while it still cuts.
void RegionPredictor::look_at_regions(const JobPointer& job) {
  Predictions known = job->request.known;
  for (const Prediction& prediction : job->answers) known.push_back(as_known(prediction));
  for (const std::string& name : job->halves) {
    Prediction& half = job->answers.emplace_back();
    half.task = name;
    const config::Half which = tasks_.at(name).half;
    half.part = {which == config::Half::kRight ? "R" : "L", half_of(job->image.rows, job->image.columns, which)};
  }
  std::vector<Crop> crops;
  for (Prediction& prediction : job->answers) {
    if (!prediction.part.side.empty()) crops.push_back({&prediction, nullptr});
    const auto task = tasks_.find(prediction.task);
    if (task == tasks_.end() || !task->second.regions || !prediction.not_asked.empty()) continue;
    Prediction* const boxes = const_cast<Prediction*>(find(job->answers, boxes_of(prediction.task)));
    ChosenRegions chosen = boxes != nullptr ? ChosenRegions{std::move(boxes->regions), boxes->regions_note}
                                            : tiles(job->image.rows, job->image.columns);
    prediction.regions = {whole_image(job->image.rows, job->image.columns)};
    prediction.regions.front().logits = prediction.logits;
    for (Region& region : chosen.regions) prediction.regions.push_back(std::move(region));
    prediction.regions_note = std::move(chosen.note);
    for (std::size_t i = 1; i < prediction.regions.size(); ++i) {
      crops.push_back({&prediction, &prediction.regions[i]});
    }
  }
  {
    MutexLock lock(job->mutex);
    job->outstanding = crops.size() + 1;
  }
  for (const Crop& one : crops) {
    GreyImage pixels = crop(job->image, one.region != nullptr ? one.region->box : one.prediction->part.box);
    AnalysisRequest request;
    request.image = {pixels.rows, pixels.columns, {}, std::move(pixels.pixels)};
    request.tasks = {one.prediction->task};
    request.priority = job->request.priority;
    request.known = known;
    within_->submit(std::move(request),
                    [this, job, one](Result<Predictions> result) { take_crop(job, one, std::move(result)); });
  }
  finish(job);
}

void RegionPredictor::take_crop(const JobPointer& job, const Crop& crop, Result<Predictions> answer) {
  if (answer.ok() && crop.region != nullptr) {
    crop.region->logits = std::move(answer->front().logits);
  } else if (answer.ok()) {
    answer->front().part = std::move(crop.prediction->part);
    *crop.prediction = std::move(answer->front());
  } else {
    MutexLock lock(job->mutex);
    if (job->failure.ok()) {
      job->failure = answer.status().within("task " + crop.prediction->task +
                                            (crop.region != nullptr ? ": region " + crop.region->label : ""));
    }
  }
  finish(job);
}

// One crop less, or no more to cut; the last goes on.
void RegionPredictor::finish(const JobPointer& job) {
  Status failure;
  {
    MutexLock lock(job->mutex);
    if (--job->outstanding > 0) return;
    failure = job->failure;
  }
  if (!failure.ok()) return job->done(failure);
  for (Prediction& prediction : job->answers) {
    if (const auto version = versions_.find(prediction.task); version != versions_.end()) {
      prediction.model_version += version->second;
    }
    if (prediction.regions.empty() || !labels_.contains(prediction.task)) continue;
    for (Region& region : prediction.regions) read_region(labels_.at(prediction.task), region);
    prediction.scores = greatest_scores(prediction.regions);
  }
  if (job->later.empty()) return answer(job, {});
  AnalysisRequest rest = job->request;
  rest.image = {job->image.rows, job->image.columns, {}, std::move(job->image.pixels)};
  rest.tasks = job->later;
  for (const Prediction& prediction : job->answers) {
    rest.known.push_back(as_known(prediction));
  }
  // Reduces the image: not on a device's thread.
  post([this, job, rest = std::move(rest)]() mutable {
    go(std::move(rest), [this, job](Result<Predictions> result) {
      if (result.ok()) {
        answer(job, *std::move(result));
      } else {
        job->done(result.status());
      }
    });
  });
}

// In the order of the request.
void RegionPredictor::answer(const JobPointer& job, Predictions more) {
  Predictions ordered;
  for (const std::string& task : job->request.tasks) {
    for (Predictions* from : {&job->answers, &more}) {
      if (const Prediction* const one = find(*from, task)) {
        ordered.push_back(*one);
        break;
      }
    }
  }
  job->done(std::move(ordered));
}

void RegionPredictor::post(std::function<void()> work) {
  MutexLock lock(mutex_);
  work_.push_back(std::move(work));
  changed_.notify_all();
}

void RegionPredictor::work_loop() {
  while (true) {
    std::function<void()> work;
    {
      MutexLock lock(mutex_);
      while (work_.empty() && !stopping_) changed_.wait(lock);
      if (work_.empty()) return;
      work = std::move(work_.front());
      work_.pop_front();
    }
    work();
  }
}

}  // namespace

config::InferenceConfig with_detector_tasks(config::InferenceConfig config) {
  std::vector<config::TaskConfig> boxes;
  for (const config::TaskConfig& task : config.tasks) {
    if (!task.regions || task.region_selection.detector.empty()) continue;
    config::TaskConfig one;
    one.name = boxes_of(task.name);
    one.origin = task.origin;
    one.model = task.region_selection.detector;
    one.region_selection = task.region_selection;
    one.detects = true;
    one.when = task.when;  // No boxes for a task that is not asked.
    boxes.push_back(std::move(one));
  }
  for (config::TaskConfig& one : boxes) config.tasks.push_back(std::move(one));
  return config;
}

std::unique_ptr<Predictor> open_region_predictor(std::unique_ptr<Predictor> within,
                                                 const config::InferenceConfig& config) {
  const bool any = std::any_of(config.tasks.begin(), config.tasks.end(),
                               [](const auto& task) { return task.regions || task.half != config::Half::kNone; });
  if (!any) return within;
  return std::make_unique<RegionPredictor>(std::move(within), config);
}

}  // namespace node::inference
