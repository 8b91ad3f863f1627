#include "inference/engine.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <map>
#include <new>
#include <optional>
#include <set>
#include <span>
#include <thread>
#include <tuple>
#include <utility>

#include "inference/anomaly_map.h"
#include "inference/batcher.h"
#include "inference/checkpoint.h"
#include "inference/masked_autoencoder.h"
#include "inference/masks.h"
#include "inference/preprocess.h"
#include "inference/task_head.h"
#include "inference/vision_transformer.h"

namespace node::inference {
namespace {

// What CUDA's driver says, asked of the driver itself: its library is there on every machine with a GPU, and no other
// of CUDA need be.
struct CudaDriver {
  int devices = 0;
  std::vector<int> capability_major;  // Of each.
};

CudaDriver ask_cuda_driver() {
  CudaDriver driver;
  void* const library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return driver;
  const auto init = reinterpret_cast<int (*)(unsigned)>(::dlsym(library, "cuInit"));
  const auto count = reinterpret_cast<int (*)(int*)>(::dlsym(library, "cuDeviceGetCount"));
  const auto attribute = reinterpret_cast<int (*)(int*, int, int)>(::dlsym(library, "cuDeviceGetAttribute"));
  constexpr int kComputeCapabilityMajor = 75;  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
  if (init == nullptr || count == nullptr || attribute == nullptr || init(0) != 0) return driver;
  if (count(&driver.devices) != 0) driver.devices = 0;
  for (int device = 0; device < driver.devices; ++device) {
    int major = 0;
    if (attribute(&major, kComputeCapabilityMajor, device) != 0) major = 0;
    driver.capability_major.push_back(major);
  }
  return driver;
}

struct Device {
  at::Device device = at::kCPU;
  bool native_bfloat16 = false;
};

Result<Device> choose_device(const std::string& wanted) {
  if (wanted == "cpu") return Device{at::kCPU, __builtin_cpu_supports("avx512bf16") != 0};
  int index = 0;
  if (wanted.rfind("cuda:", 0) == 0 && wanted.size() > 5 && wanted.size() < 8 &&
      wanted.find_first_not_of("0123456789", 5) == std::string::npos) {
    index = std::stoi(wanted.substr(5));
  } else if (wanted != "cuda" && wanted != "auto") {
    return invalid_argument("inference.device: auto, cpu, cuda or cuda:N is needed, not " + wanted);
  }
  const CudaDriver driver = ask_cuda_driver();
  std::string reason = "no CUDA driver with such a device";
  if (index < driver.devices) {
    // Before the first call that asks LibTorch for CUDA: it looks once.
    static void* const library = ::dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL);
    if (library != nullptr && at::hasCUDA()) {
      return Device{at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index)),
                    driver.capability_major[static_cast<std::size_t>(index)] >= 8};
    }
    const char* const error = library == nullptr ? ::dlerror() : nullptr;
    reason = "libtorch_cuda.so: " + std::string(error != nullptr ? error : "LibTorch sees no device");
  }
  if (wanted == "auto") return choose_device("cpu");
  return unavailable("inference.device " + wanted + ": " + reason);
}

// A LibTorch call that failed, as a value. Its messages hold sizes and operators, nothing of a patient.
Status to_status(const std::exception& error) {
  const auto* const torch_error = dynamic_cast<const c10::Error*>(&error);
  std::string message = torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
  message = message.substr(0, std::min<std::size_t>(message.find('\n'), 300));
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr ||
      dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
      message.find("can't allocate memory") != std::string::npos) {
    return resource_exhausted("device memory: " + message);
  }
  return internal_error("LibTorch: " + message);
}

struct Model {
  std::string name, version, digest, backbone, note;
  NetworkConfig network;
  PreprocessConfig preprocess;
  Placement placement;
  std::int64_t parameters = 0;
  std::shared_ptr<const VisionTransformer> encoder;
  Linear classifier;      // Of a classifier.
  MaskedAutoencoder mae;  // Of a masked autoencoder.

  bool is_classifier() const { return network.architecture == Architecture::kImageClassification; }
};

struct Task {
  config::TaskConfig config;
  const Model* model = nullptr;
  TaskHead head;  // Of a classifier.
  int queue = 0;
};

struct Queue {
  bool maps = false;             // Anomaly maps of one model, else classifications on one backbone.
  const Model* model = nullptr;  // For maps: the model; else any of those on the backbone.
  std::size_t input = 0;         // Index of its preprocessor.
};

// One request: its items, one a queue, fill in predictions; the last one answers.
class Request {
 public:
  Request(std::vector<const Task*> tasks, std::uint64_t seed, std::size_t items,
          std::function<void(Result<std::vector<Prediction>>)> done)
      : tasks_(std::move(tasks)),
        seed_(seed),
        predictions_(tasks_.size()),
        open_items_(items),
        done_(std::move(done)) {}

  const Task& task(std::size_t position) const { return *tasks_[position]; }
  std::uint64_t seed() const { return seed_; }

  // One item's outcome: `predictions` by position in the request, or why not. True if that answered a request; then
  // `failed` says how.
  void finish(std::vector<std::pair<std::size_t, Prediction>> predictions, const Status& status,
              const std::function<void(bool failed)>& before_answer) {
    {
      MutexLock lock(mutex_);
      for (auto& [position, prediction] : predictions) predictions_[position] = std::move(prediction);
      if (status_.ok()) status_ = status;
      if (--open_items_ > 0) return;
    }
    before_answer(!status_.ok());
    if (status_.ok()) {
      done_(std::move(predictions_));
    } else {
      done_(status_);
    }
  }

 private:
  const std::vector<const Task*> tasks_;
  const std::uint64_t seed_;
  Mutex mutex_;
  // Guarded by mutex_ until open_items_ is zero; then the thread that made it so has them alone.
  std::vector<Prediction> predictions_;
  Status status_;
  std::size_t open_items_;
  const std::function<void(Result<std::vector<Prediction>>)> done_;
};

struct Item : BatchItem {
  std::shared_ptr<Request> request;
  std::shared_ptr<const std::vector<float>> input;
  std::vector<std::size_t> positions;  // Of its tasks in the request; one for a map.
};

Prediction prediction_for(const Task& task) {
  Prediction prediction;
  prediction.task = task.config.name;
  prediction.model = task.model->name;
  prediction.model_version = task.model->version;
  prediction.model_digest = task.model->digest;
  return prediction;
}

class Engine : public Predictor {
 public:
  static Result<std::unique_ptr<Predictor>> open(const config::InferenceConfig& config, Clock& clock) {
    std::unique_ptr<Engine> engine(new Engine(config.threads));
    NODE_RETURN_IF_ERROR(engine->load(config));
    Batcher::Options options;
    options.rows_max = config.batch_rows_max;
    options.delay = config.batch_delay;
    engine->batcher_.emplace(static_cast<int>(engine->queues_.size()), options, clock,
                             [raw = engine.get()](int queue, Batcher::Batch batch) { raw->run(queue, batch); });
    return std::unique_ptr<Predictor>(std::move(engine));
  }

  std::vector<TaskInfo> tasks() const override {
    std::vector<TaskInfo> infos;
    for (const auto& [name, task] : tasks_) {
      const Model& model = *task.model;
      infos.push_back({name, model.name, model.version, model.digest,
                       model.placement.type == at::kBFloat16 ? "bfloat16" : "float32", model.placement.device.str(),
                       task.head.labels,
                       task.config.output == config::OutputKind::kRegression ? task.config.unit : std::string("1"),
                       model.parameters, model.note});
    }
    return infos;
  }

  void submit(AnalysisRequest request, std::function<void(Result<std::vector<Prediction>>)> done) override {
    Result<std::vector<std::unique_ptr<Item>>> items = prepare(request, done);
    {
      MutexLock lock(mutex_);
      ++stats_.requests;
      if (!items.ok()) ++stats_.failures;
    }
    if (!items.ok()) return done(items.status());
    for (std::unique_ptr<Item>& item : *items) {
      const int queue = item->request->task(item->positions.front()).queue;
      std::unique_ptr<BatchItem> owned = std::move(item);
      const Status accepted = batcher_->submit(queue, std::move(owned));
      if (!accepted.ok()) finish(static_cast<Item&>(*owned), {}, accepted);
    }
  }

  PredictorStats stats() const override {
    const std::int64_t waiting = batcher_->stats().waiting_items;
    MutexLock lock(mutex_);
    PredictorStats stats = stats_;
    stats.waiting = waiting;
    return stats;
  }

 private:
  using Outcome = std::vector<std::pair<std::size_t, Prediction>>;  // Of one item: by position in its request.

  explicit Engine(int threads)
      : threads_(threads > 0 ? threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()))) {}

  Status load(const config::InferenceConfig& config) {
    NODE_ASSIGN_OR_RETURN(const Device device, choose_device(config.device));
    for (const config::ModelConfig& wanted : config.models) {
      try {
        const c10::InferenceMode guard;
        if (Status status = load_model(wanted, device); !status.ok()) return status.within("model " + wanted.name);
      } catch (const std::exception& error) {
        return to_status(error).within("model " + wanted.name + ": load " + wanted.path);
      }
    }
    std::map<std::tuple<std::string, std::string, std::size_t>, int> queue_numbers;
    for (const config::TaskConfig& wanted : config.tasks) {
      Result<Task> task = make_task(wanted);
      if (!task.ok()) return task.status().within(wanted.where());
      const Model& model = *task->model;
      // Passes with as many visible patches fit in one batch; classifications on one backbone always do.
      const bool maps = wanted.output == config::OutputKind::kAnomalyMap;
      const std::size_t seen = maps ? visible_count_of(*task) : 0;
      const auto key = maps ? std::tuple(std::string("maps"), model.name, seen)
                            : std::tuple(std::string(c10::toString(model.placement.type)), model.backbone, seen);
      const auto [number, added] = queue_numbers.emplace(key, static_cast<int>(queues_.size()));
      if (added) {
        NODE_ASSIGN_OR_RETURN(const std::size_t input, input_of(model.preprocess));
        queues_.push_back({maps, &model, input});
      }
      task->queue = number->second;
      if (!tasks_.emplace(wanted.name, std::move(*task)).second) {
        return invalid_argument("task " + wanted.name + ": named twice");
      }
    }
    return ok_status();
  }

  Status load_model(const config::ModelConfig& wanted, const Device& device) {
    NODE_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(wanted.path));
    Model model;
    model.name = wanted.name;
    model.digest = checkpoint.digest();
    model.version = checkpoint.name() + "@" + checkpoint.digest().substr(0, std::strlen("sha256:") + 16);
    model.backbone = checkpoint.backbone_digest();
    model.network = checkpoint.network();
    model.preprocess = checkpoint.preprocess();
    model.parameters = checkpoint.parameters();
    if (!checkpoint.has_preprocessor_config()) {
      model.note = "has no preprocessor_config.json: bilinear, 1/255, ImageNet's mean and deviation are taken";
    }
    const bool bfloat16 = wanted.precision == config::Precision::kBfloat16 ||
                          (wanted.precision == config::Precision::kAuto && device.native_bfloat16);
    model.placement = {device.device, bfloat16 ? at::kBFloat16 : at::kFloat};

    for (const auto& [name, other] : models_) {
      if (other.backbone == model.backbone && other.placement.type == model.placement.type)
        model.encoder = other.encoder;
    }
    if (model.encoder == nullptr) {
      model.encoder = std::make_shared<const VisionTransformer>(load_vision_transformer(checkpoint, model.placement));
    }
    if (model.is_classifier()) {
      model.classifier = load_linear(checkpoint, "classifier", model.placement);
    } else {
      model.mae = load_masked_autoencoder(checkpoint, model.placement, model.encoder);
    }
    if (!models_.emplace(wanted.name, std::move(model)).second) return invalid_argument("named twice");
    return ok_status();
  }

  Result<Task> make_task(const config::TaskConfig& wanted) const {
    Task task;
    task.config = wanted;
    const auto model = models_.find(wanted.model);
    if (model == models_.end()) return invalid_argument("no model named " + wanted.model);
    task.model = &model->second;
    if (wanted.output == config::OutputKind::kAnomalyMap) {
      if (task.model->is_classifier()) {
        return invalid_argument("an anomaly map needs a masked autoencoder, model " + wanted.model +
                                " is a classifier");
      }
      NODE_RETURN_IF_ERROR(draw_masks(task, 0).status());
      return task;
    }
    NODE_ASSIGN_OR_RETURN(task.head, task_head(wanted, task.model->network));
    return task;
  }

  static Result<std::vector<std::vector<std::int64_t>>> draw_masks(const Task& task, std::uint64_t seed) {
    const NetworkConfig& network = task.model->network;
    return visible_patches(task.config.mode, task.config.passes, static_cast<int>(network.patches()),
                           network.mask_ratio, seed);
  }

  static std::size_t visible_count_of(const Task& task) {
    const auto masks = draw_masks(task, 0);
    return masks.ok() ? masks->front().size() : 0;
  }

  Result<std::size_t> input_of(const PreprocessConfig& preprocess) {
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      if (inputs_[i].config() == preprocess) return i;
    }
    NODE_ASSIGN_OR_RETURN(Preprocessor preprocessor, Preprocessor::create(preprocess));
    inputs_.push_back(std::move(preprocessor));
    return inputs_.size() - 1;
  }

  // The items of a request, one for each queue that its tasks need; the image is reduced to each model's input here.
  Result<std::vector<std::unique_ptr<Item>>> prepare(
      const AnalysisRequest& request, const std::function<void(Result<std::vector<Prediction>>)>& done) const {
    if (request.tasks.empty()) return invalid_argument("a request without tasks");
    std::vector<const Task*> tasks;
    std::map<std::pair<int, std::size_t>, std::vector<std::size_t>> positions;  // By queue; a map is alone.
    for (std::size_t i = 0; i < request.tasks.size(); ++i) {
      const auto task = tasks_.find(request.tasks[i]);
      if (task == tasks_.end()) return invalid_argument("no task named " + request.tasks[i]);
      tasks.push_back(&task->second);
      const int queue = task->second.queue;
      positions[{queue, queues_[static_cast<std::size_t>(queue)].maps ? i : 0}].push_back(i);
    }

    NODE_ASSIGN_OR_RETURN(const GreyImage grey, to_8_bit(request.image));
    std::map<std::size_t, std::shared_ptr<const std::vector<float>>> inputs;
    const auto shared = std::make_shared<Request>(tasks, request.seed, positions.size(), done);
    std::vector<std::unique_ptr<Item>> items;
    for (auto& [key, of_item] : positions) {
      const Queue& queue = queues_[static_cast<std::size_t>(key.first)];
      std::shared_ptr<const std::vector<float>>& input = inputs[queue.input];
      if (input == nullptr) {
        const Preprocessor& preprocessor = inputs_[queue.input];
        auto values = std::make_shared<std::vector<float>>(preprocessor.input_size());
        NODE_ASSIGN_OR_RETURN(const GreyImage reduced, preprocessor.reduce(grey));
        preprocessor.normalize(reduced, *values);
        input = std::move(values);
      }
      auto item = std::make_unique<Item>();
      item->request = shared;
      item->input = input;
      item->rows = queue.maps ? tasks[of_item.front()]->config.passes : 1;
      item->priority = request.priority;
      item->positions = std::move(of_item);
      items.push_back(std::move(item));
    }
    return items;
  }

  // On the device's thread.
  void run(int number, const Batcher::Batch& batch) {
    if (!device_thread_ready_) {
      at::set_num_threads(threads_);
      device_thread_ready_ = true;
    }
    const c10::InferenceMode guard;
    const Queue& queue = queues_[static_cast<std::size_t>(number)];
    std::vector<Item*> items;
    for (const std::unique_ptr<BatchItem>& item : batch) items.push_back(static_cast<Item*>(item.get()));
    const Status status = run_items(queue, items);
    if (status.ok()) return;
    for (Item* const item : items) {
      // One bad image fails alone: each once more by itself.
      const Status alone = items.size() > 1 ? run_items(queue, {&item, 1}) : status;
      if (!alone.ok()) finish(*item, {}, alone);
    }
  }

  // One forward pass. OK: every item was finished; else none was.
  Status run_items(const Queue& queue, std::span<Item* const> items) {
    std::vector<Result<Outcome>> outcomes;
    try {
      outcomes = queue.maps ? draw_maps(queue, items) : classify(queue, items);
    } catch (const std::exception& error) {
      return to_status(error).within("model " + queue.model->name + ": batch of " + std::to_string(items.size()));
    }
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (outcomes[i].ok()) {
        finish(*items[i], std::move(*outcomes[i]), ok_status());
      } else {
        finish(*items[i], {}, outcomes[i].status());
      }
    }
    return ok_status();
  }

  at::Tensor pixels_of(const Queue& queue, std::span<Item* const> items) {
    const std::int64_t size = queue.model->network.image_size;
    at::Tensor pixels = at::empty({static_cast<std::int64_t>(items.size()), 3, size, size}, at::kFloat);
    float* to = pixels.mutable_data_ptr<float>();
    std::uint64_t rows = 0;
    for (const Item* const item : items) {
      to = std::copy(item->input->begin(), item->input->end(), to);
      rows += static_cast<std::uint64_t>(item->rows);
    }
    MutexLock lock(mutex_);
    ++stats_.batches;
    stats_.rows += rows;
    stats_.backbone_passes += rows;
    return pixels.to(queue.model->placement.device);
  }

  std::vector<Result<Outcome>> classify(const Queue& queue, std::span<Item* const> items) {
    const at::Tensor features = cls_features(*queue.model->encoder, pixels_of(queue, items));
    std::map<const Model*, at::Tensor> logits_of_heads;  // [N, labels] each
    std::vector<Result<Outcome>> outcomes;
    for (std::size_t i = 0; i < items.size(); ++i) {
      Result<Outcome> outcome = Outcome();
      for (const std::size_t position : items[i]->positions) {
        const Task& task = items[i]->request->task(position);
        at::Tensor& logits = logits_of_heads[task.model];
        if (!logits.defined()) {
          logits = task.model->classifier(features).to(at::kCPU, at::kFloat).contiguous();
        }
        const float* const row = logits.const_data_ptr<float>() + static_cast<std::int64_t>(i) * logits.size(1);
        Prediction prediction = prediction_for(task);
        prediction.logits.assign(row + task.head.first, row + task.head.first + task.head.count);
        if (!std::all_of(prediction.logits.begin(), prediction.logits.end(),
                         [](float x) { return std::isfinite(x); })) {
          outcome = internal_error("task " + prediction.task + ": the network's logits are not numbers");
          break;
        }
        prediction.scores = scores_of(task.config, task.head, prediction.logits);
        outcome->emplace_back(position, std::move(prediction));
      }
      outcomes.push_back(std::move(outcome));
    }
    return outcomes;
  }

  std::vector<Result<Outcome>> draw_maps(const Queue& queue, std::span<Item* const> items) {
    PassesOfImages visible;
    for (const Item* const item : items) {
      Result<std::vector<std::vector<std::int64_t>>> masks =
          draw_masks(item->request->task(item->positions.front()), item->request->seed());
      TORCH_CHECK(masks.ok(), masks.status().message());  // Tried at loading: another seed fails no more.
      visible.push_back(std::move(*masks));
    }
    const Model& model = *queue.model;
    const at::Tensor maps =
        anomaly_maps(model.mae, model.preprocess, pixels_of(queue, items), visible).to(at::kCPU).contiguous();
    const std::size_t area = static_cast<std::size_t>(maps.size(1) * maps.size(2));
    std::vector<Result<Outcome>> outcomes;
    for (std::size_t i = 0; i < items.size(); ++i) {
      const std::size_t position = items[i]->positions.front();
      const Task& task = items[i]->request->task(position);
      Prediction prediction = prediction_for(task);
      AnomalyMap& map = prediction.map;
      const float* const values = maps.const_data_ptr<float>() + i * area;
      map.size = static_cast<std::int32_t>(maps.size(1));
      map.patch_size = static_cast<std::int32_t>(model.network.patch_size);
      map.values.assign(values, values + area);
      double sum = 0;
      for (const float value : map.values) sum += value;
      map.score = sum / static_cast<double>(area);
      map.passes = task.config.passes;
      map.mode = task.config.mode == config::MaskMode::kPartition ? "partition" : "random";
      map.mask_ratio =
          1 - static_cast<double>(visible[i].front().size()) / static_cast<double>(model.network.patches());
      map.seed = items[i]->request->seed();
      if (!std::isfinite(map.score)) {
        outcomes.emplace_back(internal_error("task " + prediction.task + ": the network's reconstruction is no image"));
        continue;
      }
      Outcome outcome;
      outcome.emplace_back(position, std::move(prediction));
      outcomes.emplace_back(std::move(outcome));
    }
    return outcomes;
  }

  void finish(Item& item, Outcome outcome, const Status& status) {
    item.request->finish(std::move(outcome), status, [this](bool failed) {
      if (!failed) return;
      MutexLock lock(mutex_);
      ++stats_.failures;
    });
  }

  const int threads_;
  std::map<std::string, Model> models_;  // The maps' nodes stay where they are: tasks and queues point to them.
  std::map<std::string, Task> tasks_;
  std::vector<Queue> queues_;
  std::vector<Preprocessor> inputs_;
  bool device_thread_ready_ = false;  // Touched by the device's thread alone.
  mutable Mutex mutex_;
  PredictorStats stats_ GUARDED_BY(mutex_);
  std::optional<Batcher> batcher_;  // Last: its thread uses all of the above.
};

}  // namespace

Result<std::unique_ptr<Predictor>> open_engine(const config::InferenceConfig& config, Clock& clock) {
  return Engine::open(config, clock);
}

}  // namespace node::inference
