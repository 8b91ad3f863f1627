#include "inference/engine.h"

#include <c10/core/InferenceMode.h>
#include <malloc.h>

#include <algorithm>
#include <exception>
#include <map>
#include <thread>
#include <tuple>
#include <utility>

#include "inference/device_worker.h"
#include "inference/model.h"
#include "inference/preprocess.h"
#include "inference/region_predictor.h"
#include "inference/request.h"

namespace node::inference {
namespace {

struct Queue {                       // The same on every device; in use on those of its models.
  Work work = Work::kClassify;       // Maps and detections are of one model, classifications on one backbone.
  std::size_t input = 0;             // Index of its preprocessor; of detections unused.
  std::vector<std::size_t> devices;  // That hold its models.
};

class Engine : public Predictor {
 public:
  static Result<std::unique_ptr<Predictor>> open(const config::InferenceConfig& config, Clock& clock,
                                                 EngineSeams seams) {
    std::unique_ptr<Engine> engine(new Engine);
    engine->devices_ = seams.devices.empty() ? present_devices(wants_cuda(config)) : Devices{seams.devices, ""};
    NODE_RETURN_IF_ERROR(engine->load_models(config));
    NODE_RETURN_IF_ERROR(engine->make_tasks(config));
    engine->start(config, clock, std::move(seams.before_pass));
    return std::unique_ptr<Predictor>(std::move(engine));
  }

  // Items of what was accepted come one after the other: none is left before the workers go.
  ~Engine() override {
    for (const auto& worker : workers_) {
      if (worker != nullptr) worker->hurry();
    }
    MutexLock lock(mutex_);
    while (open_requests_ > 0) changed_.wait(lock);
  }

  std::vector<TaskInfo> tasks() const override;
  void submit(AnalysisRequest request, std::function<void(Result<std::vector<Prediction>>)> done) override;
  PredictorStats stats() const override;

 private:
  Engine() = default;
  Status load_models(const config::InferenceConfig& config);
  Status make_tasks(const config::InferenceConfig& config);
  Result<std::size_t> input_of(const PreprocessConfig& preprocess);
  void start(const config::InferenceConfig& config, Clock& clock, BeforePass before_pass);
  Status check_conditions() const;
  Result<std::vector<const Task*>> tasks_of(const AnalysisRequest& request) const;
  using Inputs = std::map<std::size_t, std::shared_ptr<const std::vector<float>>>;  // By preprocessor.
  Result<std::shared_ptr<const std::vector<float>>> input_for(const Queue& queue, const GreyImage& grey,
                                                              Inputs& inputs) const;
  Result<RequestItems> items_of(const std::vector<const Task*>& tasks, int priority, Radiograph image) const;
  void submit_item(std::unique_ptr<RequestItem> item);
  void end_request();
  DeviceWorker& worker_for(const Queue& queue) const;

  Devices devices_;
  Models models_;  // The maps' nodes stay where they are: tasks point to models, requests to tasks.
  std::map<std::string, Task> tasks_;
  std::vector<Queue> queues_;
  std::vector<Preprocessor> inputs_;
  EngineCounters counters_;
  Mutex mutex_;
  ConditionVariable changed_;
  int open_requests_ GUARDED_BY(mutex_) = 0;
  std::vector<std::unique_ptr<DeviceWorker>> workers_;  // By device; none where no model is. Last: they use all above.
};

Status Engine::load_models(const config::InferenceConfig& config) {
  for (const config::ModelConfig& wanted : config.models) {
    const std::vector<std::string> words = wanted.devices.empty() ? std::vector{config.device} : wanted.devices;
    const Result<std::vector<std::size_t>> placed = place(words, devices_);
    if (!placed.ok()) return placed.status().within("model " + wanted.name);
    try {
      const c10::InferenceMode guard;
      Result<Model> model = load_model(wanted, devices_.present, *placed, models_);
      if (!model.ok()) return model.status().within("model " + wanted.name);
      if (!models_.emplace(wanted.name, std::move(*model)).second) {
        return invalid_argument("model " + wanted.name + ": named twice");
      }
    } catch (const std::exception& error) {
      return to_status(error).within("model " + wanted.name + ": load " + wanted.path);
    }
    ::malloc_trim(0);  // Weights as they were before they were converted and packed.
  }
  return ok_status();
}

Status Engine::make_tasks(const config::InferenceConfig& config) {
  std::map<std::tuple<Work, std::string, std::size_t>, int> queue_numbers;
  for (const config::TaskConfig& wanted : config.tasks) {
    Result<Task> task = make_task(wanted, models_);
    if (!task.ok()) return task.status().within(wanted.where());
    const Model& model = *task->model;
    // Passes with as many visible patches fit in one batch; classifications on one backbone always do.
    const Work work = task->work();
    const auto key =
        std::tuple(work, work == Work::kClassify ? model.backbone_and_devices() : model.name, task->visible_count());
    const auto [number, added] = queue_numbers.emplace(key, static_cast<int>(queues_.size()));
    if (added) {
      Queue queue;
      queue.work = work;
      if (work != Work::kDetect) {
        NODE_ASSIGN_OR_RETURN(queue.input, input_of(model.preprocess));
      }
      for (const auto& [device, weights] : model.on) queue.devices.push_back(device);
      queues_.push_back(std::move(queue));
    }
    task->queue = number->second;
    if (!tasks_.emplace(wanted.name, std::move(*task)).second) {
      return invalid_argument("task " + wanted.name + ": named twice");
    }
  }
  return check_conditions();
}

// A configuration file was checked for the same; labels that only a checkpoint knows are new.
Status Engine::check_conditions() const {
  for (const auto& [name, task] : tasks_) {
    std::size_t steps = 0;
    for (const Task* at = &task; at->config.when; ++steps) {
      const config::TaskCondition& when = *at->config.when;
      const auto gate = tasks_.find(when.task);
      std::string problem;
      if (gate == tasks_.end()) {
        problem = "task: no task named " + when.task;
      } else if (gate->second.is_map()) {
        problem = "task: " + when.task + " is an anomaly map, of which no decision is made";
      } else if (steps >= tasks_.size()) {
        problem = "task: is a circle; none of its tasks would ever be asked";
      } else if (problem = config::label_problem(when, gate->second.head.labels); !problem.empty()) {
        problem = "label: " + problem;
      }
      if (!problem.empty()) return invalid_argument("when." + problem).within(at->config.where());
      at = &gate->second;
    }
  }
  return ok_status();
}

Result<std::size_t> Engine::input_of(const PreprocessConfig& preprocess) {
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    if (inputs_[i].config() == preprocess) return i;
  }
  NODE_ASSIGN_OR_RETURN(Preprocessor preprocessor, Preprocessor::create(preprocess));
  inputs_.push_back(std::move(preprocessor));
  return inputs_.size() - 1;
}

void Engine::start(const config::InferenceConfig& config, Clock& clock, BeforePass before_pass) {
  const int threads =
      config.threads > 0 ? config.threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  std::vector<Work> works;
  for (const Queue& queue : queues_) works.push_back(queue.work);
  workers_.resize(devices_.present.size());
  for (const Queue& queue : queues_) {
    for (const std::size_t device : queue.devices) {
      if (workers_[device] != nullptr) continue;
      Batcher::Options options;
      options.rows_max = config.batch_rows_max;
      options.delay = config.batch_delay;
      options.thread_name = "device-" + std::to_string(device);
      workers_[device] = std::make_unique<DeviceWorker>(device, devices_.present[device], threads, options, works,
                                                        clock, counters_, before_pass);
    }
  }
}

std::vector<TaskInfo> Engine::tasks() const {
  std::vector<TaskInfo> infos;
  for (const auto& [name, task] : tasks_) {
    const Model& model = *task.model;
    TaskInfo info;
    info.task = name;
    info.model = model.name;
    info.model_version = model.version;
    info.model_digest = model.digest;
    info.labels = task.work() == Work::kDetect ? model.network.labels : task.head.labels;
    info.unit = task.config.output == config::OutputKind::kRegression ? task.config.unit : std::string("1");
    info.parameters = model.parameters;
    info.pass = task.queue;
    if (task.config.when) info.waits_for = task.config.when->task;
    info.note = model.note;
    for (const auto& [device, weights] : model.on) {
      const std::string precision = weights.placement.type == at::kBFloat16 ? "bfloat16" : "float32";
      if (!info.device.empty()) info.device += ",";
      info.device += devices_.present[device].name;
      if (info.precision.find(precision) != std::string::npos) continue;
      info.precision += (info.precision.empty() ? "" : ",") + precision;
    }
    infos.push_back(std::move(info));
  }
  return infos;
}

void Engine::submit(AnalysisRequest request, std::function<void(Result<std::vector<Prediction>>)> done) {
  counters_.requests += 1;
  const Result<std::vector<const Task*>> tasks = tasks_of(request);
  Result<RequestItems> items =
      tasks.ok() ? items_of(*tasks, request.priority, std::move(request.image)) : Result<RequestItems>(tasks.status());
  if (!items.ok()) {
    counters_.failures += 1;
    return done(items.status());
  }
  {
    MutexLock lock(mutex_);
    ++open_requests_;
  }
  const auto shared = std::make_shared<Request>(
      *tasks, std::move(request.known), request.seed,
      [this](std::unique_ptr<RequestItem> item) { submit_item(std::move(item)); },
      [this, done = std::move(done)](Result<std::vector<Prediction>> answer) {
        if (!answer.ok()) counters_.failures += 1;
        done(std::move(answer));
        end_request();
      });
  for (const auto& item : *items) item->request = shared;
  shared->start(std::move(*items));
}

void Engine::submit_item(std::unique_ptr<RequestItem> item) {
  const int queue = item->queue;
  std::unique_ptr<BatchItem> owned = std::move(item);
  const Status accepted = worker_for(queues_[static_cast<std::size_t>(queue)]).submit(queue, std::move(owned));
  if (accepted.ok()) return;
  const auto& refused = static_cast<RequestItem&>(*owned);
  refused.request->finish(refused, {}, accepted);
}

void Engine::end_request() {
  MutexLock lock(mutex_);
  --open_requests_;
  changed_.notify_all();  // Under the lock: the engine may be gone once it is released.
}

Result<std::vector<const Task*>> Engine::tasks_of(const AnalysisRequest& request) const {
  if (request.tasks.empty()) return invalid_argument("a request without tasks");
  std::vector<const Task*> tasks;
  for (const std::string& name : request.tasks) {
    const auto task = tasks_.find(name);
    if (task == tasks_.end()) return invalid_argument("no task named " + name);
    tasks.push_back(&task->second);
    const auto& when = task->second.config.when;
    if (!when) continue;
    const bool asked = std::find(request.tasks.begin(), request.tasks.end(), when->task) != request.tasks.end();
    const bool known = std::any_of(request.known.begin(), request.known.end(),
                                   [&](const Prediction& one) { return one.task == when->task; });
    if (!asked && !known) return invalid_argument("task " + name + " waits for " + when->task + ", which is not asked");
  }
  return tasks;
}

Result<std::shared_ptr<const std::vector<float>>> Engine::input_for(const Queue& queue, const GreyImage& grey,
                                                                    Inputs& inputs) const {
  std::shared_ptr<const std::vector<float>>& input = inputs[queue.input];
  if (input == nullptr) {
    const Preprocessor& preprocessor = inputs_[queue.input];
    auto values = std::make_shared<std::vector<float>>(preprocessor.input_size());
    NODE_ASSIGN_OR_RETURN(const GreyImage reduced, preprocessor.reduce(grey));
    preprocessor.normalize(reduced, *values);
    input = std::move(values);
  }
  return input;
}

// One for each queue that the tasks need; the image is reduced to each model's input here.
Result<RequestItems> Engine::items_of(const std::vector<const Task*>& tasks, int priority, Radiograph image) const {
  std::map<std::pair<int, std::size_t>, std::vector<std::size_t>>
      positions;  // By queue; a map is alone, and so are boxes.
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    positions[{tasks[i]->queue, tasks[i]->work() == Work::kClassify ? 0 : i}].push_back(i);
  }
  NODE_ASSIGN_OR_RETURN(const GreyImage grey, to_8_bit(std::move(image)));
  Inputs inputs;
  RequestItems items;
  for (auto& [key, of_item] : positions) {
    const Queue& queue = queues_[static_cast<std::size_t>(key.first)];
    auto item = std::make_unique<RequestItem>();
    if (queue.work == Work::kDetect) {
      NODE_ASSIGN_OR_RETURN(FittedImage fitted, fit_image(grey, tasks[of_item.front()]->model->detector_input));
      item->fitted = std::make_shared<const FittedImage>(std::move(fitted));
    } else {
      NODE_ASSIGN_OR_RETURN(item->input, input_for(queue, grey, inputs));
    }
    item->queue = key.first;
    item->rows = queue.work == Work::kDrawMaps ? tasks[of_item.front()]->config.passes : 1;
    item->priority = priority;
    item->positions = std::move(of_item);
    items.push_back(std::move(item));
  }
  return items;
}

DeviceWorker& Engine::worker_for(const Queue& queue) const {
  if (queue.devices.size() == 1) return *workers_[queue.devices.front()];
  std::vector<std::int64_t> rows(workers_.size());
  for (const std::size_t device : queue.devices) rows[device] = workers_[device]->rows_to_do();
  return *workers_[least_waiting(queue.devices, rows)];
}

PredictorStats Engine::stats() const {
  PredictorStats stats;
  stats.requests = counters_.requests;
  stats.failures = counters_.failures;
  stats.batch_rows = counters_.batch_rows.snapshot();
  stats.backbone_passes = counters_.backbone_passes;
  stats.halved_batches = counters_.halved_batches;
  for (const auto& worker : workers_) {
    if (worker == nullptr) continue;
    stats.waiting += worker->waiting_items();
    stats.memory.push_back(device_memory(worker->device()));
    for (std::string& failing : worker->failing()) stats.failing.push_back(std::move(failing));
  }
  return stats;
}

}  // namespace

Result<std::unique_ptr<Predictor>> open_engine(const config::InferenceConfig& config, Clock& clock, EngineSeams seams) {
  NODE_ASSIGN_OR_RETURN(auto engine, Engine::open(with_detector_tasks(config), clock, std::move(seams)));
  return open_region_predictor(std::move(engine), config);
}

}  // namespace node::inference
