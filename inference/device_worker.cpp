#include "inference/device_worker.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <exception>
#include <new>
#include <string_view>
#include <utility>

#include "inference/batch_run.h"
#include "inference/readable.h"

namespace node::inference {
namespace {

constexpr char kLibTorch[] = "LibTorch: ";
constexpr std::size_t kReasonMax = 300, kReasonOfNoteMax = 120;

// The first line that says something. Of a TorchScript program its own: before it the interpreter prints a header and
// the lines of the program, indented.
std::string first_line(std::string_view message) {
  const bool script = message.starts_with("The following operation failed in the TorchScript interpreter");
  for (bool first = true; !message.empty(); first = false) {
    const std::string_view line = message.substr(0, message.find('\n'));
    message.remove_prefix(std::min(line.size() + 1, message.size()));
    const bool of_trace = script && (first || line.starts_with(' ') || line.starts_with("Traceback of TorchScript"));
    if (!of_trace && line.find_first_not_of(' ') != std::string_view::npos) return readable(line, kReasonMax);
  }
  return script ? "the TorchScript program failed" : "no reason given";
}

// A detector's failure costs its boxes, not what other networks say of the image.
Outcome without_boxes(const RequestItem& item, const std::string& why) {
  Prediction prediction = item.first_task().prediction();
  const std::size_t words = why.find(kLibTorch);
  prediction.regions_note = whole_only(
      "the detector failed: " +
      readable(words == std::string::npos ? why : why.substr(words + sizeof kLibTorch - 1), kReasonOfNoteMax));
  Outcome outcome;
  outcome.emplace_back(item.positions.front(), std::move(prediction));
  return outcome;
}

}  // namespace

DeviceWorker::DeviceWorker(std::size_t number, Device device, int threads, Batcher::Options options,
                           std::vector<Work> works, Clock& clock, EngineCounters& counters, BeforePass before_pass)
    : number_(number),
      device_(std::move(device)),
      threads_(threads),
      works_(std::move(works)),
      counters_(counters),
      before_pass_(std::move(before_pass)),
      failures_(works_.size()),
      batcher_(static_cast<int>(works_.size()), std::move(options), clock,
               [this](int queue, Batcher::Batch batch) { run(queue, batch); }) {}

Status DeviceWorker::submit(int queue, std::unique_ptr<BatchItem>&& item) {
  return batcher_.submit(queue, std::move(item));
}

std::int64_t DeviceWorker::rows_to_do() const {
  const BatcherStats stats = batcher_.stats();
  std::int64_t rows = stats.running_rows;
  for (const std::int64_t waiting : stats.waiting_rows) rows += waiting;
  return rows;
}

std::int64_t DeviceWorker::waiting_items() const { return batcher_.stats().waiting_items; }

std::vector<std::string> DeviceWorker::failing() const {
  std::vector<std::string> failing;
  MutexLock lock(mutex_);
  for (const Failures& failures : failures_) {
    if (failures.in_a_row >= kFailuresInARow) failing.push_back(failures.last);
  }
  return failing;
}

// How one image fared. One that fails alone says nothing of the model or the device; several in a row do.
void DeviceWorker::note(int queue, const Status& status) {
  MutexLock lock(mutex_);
  Failures& failures = failures_[static_cast<std::size_t>(queue)];
  failures.in_a_row = status.ok() ? 0 : failures.in_a_row + 1;
  if (!status.ok()) failures.last = status.message();
}

void DeviceWorker::run(int queue, const Batcher::Batch& batch) {
  if (!thread_ready_ && device_.is_cpu()) at::set_num_threads(threads_);
  thread_ready_ = true;
  const c10::InferenceMode guard;
  std::vector<RequestItem*> items;
  for (const std::unique_ptr<BatchItem>& item : batch) items.push_back(static_cast<RequestItem*>(item.get()));
  const Status status = run_items(queue, items);
  if (status.ok()) return;
  for (RequestItem* const item : items) {
    // One bad image fails alone: each once more by itself.
    const Status alone = items.size() > 1 ? run_items(queue, {&item, 1}) : status;
    if (alone.ok()) continue;
    note(queue, alone);
    const bool boxes_alone =
        works_[static_cast<std::size_t>(queue)] == Work::kDetect && alone.code() == StatusCode::kInternal;
    if (boxes_alone) {
      item->request->finish(*item, without_boxes(*item, alone.message()), ok_status());
    } else {
      item->request->finish(*item, {}, alone);
    }
  }
}

// OK: every item was finished; else none was.
Status DeviceWorker::run_items(int queue, std::span<RequestItem* const> items) {
  std::int64_t rows = 0;
  for (const RequestItem* const item : items) rows += item->rows;
  counters_.batch_rows.observe(static_cast<double>(rows));
  for (std::int64_t rows_max = rows;; rows_max = (rows_max + 1) / 2) {
    const Status status = run_passes(queue, items, rows_max);
    if (status.code() != StatusCode::kResourceExhausted || rows_max == 1) return status;
    counters_.halved_batches += 1;
  }
}

Status DeviceWorker::run_passes(int queue, std::span<RequestItem* const> items, std::int64_t rows_max) {
  const BatchRun run{number_, rows_max, [this](std::int64_t rows) {
                       counters_.backbone_passes += static_cast<std::uint64_t>(rows);
                       if (before_pass_) before_pass_(device_.name, rows);
                     }};
  std::vector<Result<Outcome>> outcomes;
  try {
    switch (works_[static_cast<std::size_t>(queue)]) {
      case Work::kClassify: outcomes = classify(run, items); break;
      case Work::kDrawMaps: outcomes = draw_maps(run, items); break;
      case Work::kDetect: outcomes = detect(run, items); break;
    }
  } catch (const std::exception& error) {
    return to_status(error).within(device_.name + ": model " + items.front()->first_task().model->name + ": batch of " +
                                   std::to_string(items.size()));
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    note(queue, outcomes[i].ok() ? ok_status() : outcomes[i].status());
    if (outcomes[i].ok()) {
      items[i]->request->finish(*items[i], std::move(*outcomes[i]), ok_status());
    } else {
      items[i]->request->finish(*items[i], {}, outcomes[i].status());
    }
  }
  return ok_status();
}

Status to_status(const std::exception& error) {
  const auto* const torch_error = dynamic_cast<const c10::Error*>(&error);
  const std::string message = first_line(torch_error != nullptr ? torch_error->what_without_backtrace() : error.what());
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr ||
      dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
      message.find("can't allocate memory") != std::string::npos) {
    return resource_exhausted("device memory: " + message);
  }
  return internal_error(kLibTorch + message);
}

}  // namespace node::inference
