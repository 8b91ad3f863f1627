#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>

#include "dicom_node/node.h"
#include "dicom_node/object/finding_record.h"
#include "dicom_node/object/pending_route.h"
#include "dicom_node/object/result_identity.h"
#include "dicom_node/operate/commands/analysed_image.h"
#include "dicom_node/operate/commands/commands.h"
#include "dicom_node/operate/instance_json.h"
#include "dicom_node/report/study_objects.h"
#include "dicom_node/route/router.h"

namespace node::operate {
namespace {

using storage::InstanceState;

// One path on its way: what it is, what was found, what was written.
struct Work {
  InputPath input;
  std::string problem;  // Why it is no instance at all, and whether that is a failure: else it is skipped.
  bool failed = false;
  std::optional<report::ReportedImage> image;
  PendingAnalysis pending;  // Its answer is valid while a request is out.
  InstanceOutputs outputs;
};

// Study after study, in the order in which each first appears; a file that is no instance stands for itself.
std::vector<std::vector<Work>> group_by_study(std::vector<Work> works) {
  std::vector<std::vector<Work>> groups;
  std::map<std::string, std::size_t> group_of;
  for (Work& work : works) {
    const std::string study = work.image ? work.image->record.study_instance_uid.str() : work.input.path;
    const auto [found, fresh] = group_of.emplace(study, groups.size());
    if (fresh) groups.emplace_back();
    groups[found->second].push_back(std::move(work));
  }
  return groups;
}

// The time that all objects bear: SOURCE_DATE_EPOCH, so that a run can be repeated, or the clock.
// Errors: kInvalidArgument: not a number of seconds from 1970 to 9999, which is what a DICOM date (DA) can hold.
Result<WallTime> time_of_objects() {
  const char* epoch = std::getenv("SOURCE_DATE_EPOCH");
  if (epoch == nullptr) return SystemClock().now();
  constexpr std::int64_t kYear10000 = 253'402'300'800;
  std::int64_t seconds = -1;
  const char* end = epoch + std::strlen(epoch);
  const auto [parsed, error] = std::from_chars(epoch, end, seconds);
  if (error != std::errc() || parsed != end || seconds < 0 || seconds >= kYear10000 - 86'400) {
    return invalid_argument("SOURCE_DATE_EPOCH: wants seconds since 1970, before the year 10000");
  }
  return WallTime(std::chrono::seconds(seconds));
}

class Run {
 public:
  Run(const config::NodeConfig& config, inference::Predictor& predictor, std::string out, WallTime time)
      : config_(config), predictor_(predictor), out_(std::move(out)) {
    context_.config = config.report;
    context_.kind_prefix = "predict-";
    context_.time = time;
    context_.stamp = fmt::format("{}", context_.time.time_since_epoch().count());
    context_.revision = *context_.stamp;
    // There is no store that holds a UID of this installation: the AE title stands for it.
    context_.node_uid = object::derive_uid("predict-node", config.receive.ae_title, "", "", "").str();
  }

  // Loads the image and asks for its tasks; the answer comes through work.pending.
  void submit(Work& work) {
    storage::InstanceRecord& record = work.image->record;
    const auto tasks = object::tasks_to_ask_first(record.route, predictor_.tasks());
    if (tasks.ok()) {
      work.pending = submit_image(*work.image, *tasks, predictor_);
    } else {
      record.state = InstanceState::kFailed;
      record.reason = tasks.status().message();
    }
  }

  // Waits for the answer and takes it into the record.
  void finish(Work& work) {
    if (!work.pending.valid()) return;
    storage::InstanceRecord& record = work.image->record;
    auto answer = work.pending.get();
    if (answer.ok()) answer = settle_image(*work.image, std::move(answer).value(), predictor_);
    if (!answer.ok()) {
      record.state =
          answer.status().code() == StatusCode::kUnsupported ? InstanceState::kSkipped : InstanceState::kFailed;
      record.reason = reason_and_way_out(answer.status());
      return;
    }
    if (record.route.tasks.empty()) {  // The pixels decided so.
      record.state = InstanceState::kSkipped;
      record.reason = record.route.reason;
      return;
    }
    record.state = InstanceState::kAnalysed;
    record.predicted_at = context_.time;
    for (const object::FindingRecord& finding : *answer) record.predictions.push_back(object::encode_finding(finding));
    work.image->findings = std::move(answer).value();
  }

  // Writes the objects of one study beside each other, each as report::file_name() calls it: the default forms, and
  // those that any destination of the configuration takes.
  Status write_objects(std::vector<Work>& study) {
    const bool any_routed = std::any_of(study.begin(), study.end(), [](const Work& work) {
      return work.image && !work.image->record.route.tasks.empty();
    });
    if (!study.front().image || !(any_routed || config_.report.report_skipped)) return ok_status();
    report::ReportedStudy reported{study.front().image->record.study_instance_uid, 1, {}, {}, {}};
    for (const Work& work : study) reported.add(*work.image);
    report::WantedForms wanted;
    for (const report::Form& form : report::forms()) {
      if (!is_written(form.word)) continue;
      if (form.of == report::FormOf::kStudy) wanted.emplace(form.word, reported.study_instance_uid.str());
      if (form.of == report::FormOf::kImage)
        for (const auto& image : reported.images) wanted.emplace(form.word, image.record.sop_instance_uid.str());
    }
    const std::filesystem::path folder = std::filesystem::path(out_) / reported.study_instance_uid.str();
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) return internal_error(folder.string() + ": " + error.message());

    const auto take = [&](const report::Form& form, const report::ResultReference& reference,
                          const report::ResultObject& object) -> Status {
      const std::filesystem::path path = folder / report::file_name(reported, reference);
      for (Work& work : study) {
        const bool of_study = form.of == report::FormOf::kStudy;
        if (of_study) work.outputs.of_study[reference.form] = path.string();
        if (!of_study && work.image->record.sop_instance_uid.str() == reference.source_uid)
          work.outputs.of_image[reference.form].push_back(path.string());
      }
      return write(path, object.bytes);
    };
    return report::build_study_objects(reported, wanted, {}, context_, take);
  }

 private:
  bool is_written(std::string_view form) const {
    if (report::is_default(form)) return true;
    return std::any_of(config_.report.forms.begin(), config_.report.forms.end(),
                       [&](const auto& peer) { return report::takes(config_.report, peer.first, form); });
  }

  static Status write(const std::filesystem::path& path, const std::string& bytes) {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    file.close();
    return file ? ok_status() : internal_error("write " + path.string());
  }

  const config::NodeConfig& config_;
  inference::Predictor& predictor_;
  const std::string out_;
  report::ResultContext context_;
};

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The same instance under two paths makes one result, for the first; another content under its UID is an error.
void set_aside_repeats(std::vector<Work>& works) {
  std::map<std::string, std::string> first_path;
  for (Work& work : works) {
    if (!work.image) continue;
    const auto [found, fresh] = first_path.emplace(work.image->record.sop_instance_uid.str(), work.input.path);
    if (fresh) continue;
    work.image.reset();
    const bool same = bytes_of(work.input.path) == bytes_of(found->second);
    work.problem = (same ? "the same file as " : "other content under the SOP Instance UID of ") + found->second;
    work.failed = !same;
  }
}

}  // namespace

int predict(const config::NodeConfig& config, const PredictorFactory& open_predictor, const std::string& out,
            const std::vector<std::string>& paths) {
  auto router = route::Router::create(config.router, task_names(config.inference));
  auto inputs = expand_paths(paths);
  const auto time = time_of_objects();
  for (const Status& status : {router.status(), inputs.status(), time.status()}) {
    if (status.ok()) continue;
    fmt::print(stderr, "skelex-node: {}\n", status.message());
    return 2;
  }
  auto predictor = open_predictor(config.inference);
  if (!predictor.ok()) {
    fmt::print(stderr, "skelex-node: {}\n", predictor.status().message());
    return exit_status(predictor.status());
  }

  std::vector<Work> works;
  for (InputPath& input : *inputs) {
    Work work;
    work.input = std::move(input);
    work.outputs.path = work.input.path;
    auto image = read_image(work.input.path, *router);
    if (image.ok()) {
      work.image = std::move(image).value();
    } else {
      work.problem = reason_and_way_out(image.status());
      work.failed = unreadable_is_failure(work.input);
    }
    works.push_back(std::move(work));
  }
  set_aside_repeats(works);
  std::vector<std::vector<Work>> studies = group_by_study(std::move(works));
  std::vector<Work*> order;
  for (auto& study : studies) {
    for (Work& work : study) order.push_back(&work);
  }

  Run run(config, **predictor, out, *time);
  const std::size_t ahead = requests_ahead(config.inference);
  const bool progress = isatty(STDERR_FILENO) == 1;
  std::size_t submitted = 0, done = 0;
  bool failed = false;
  for (auto& study : studies) {
    for (Work& work : study) {
      // Requests run ahead of the answers, also into the next studies, so that batches fill.
      for (; submitted < order.size() && submitted < done + ahead; ++submitted) {
        Work& next = *order[submitted];
        if (next.image && !next.image->record.route.tasks.empty()) run.submit(next);
      }
      run.finish(work);
      ++done;
      if (progress) fmt::print(stderr, "\r{} of {} images", done, order.size());
    }
    if (Status written = run.write_objects(study); !written.ok()) {
      for (Work& work : study) {
        work.image->record.state = InstanceState::kFailed;
        work.image->record.reason = written.message();
        work.outputs.of_study.clear();
        work.outputs.of_image.clear();
      }
    }
    for (const Work& work : study) {
      if (!work.image) {
        failed |= work.failed;
        fmt::print("{}\n", file_json(work.input.path, work.failed ? "failed" : "skipped", work.problem));
      } else {
        failed |= work.image->record.state == InstanceState::kFailed;
        fmt::print("{}\n",
                   instance_json(work.image->record, config.inference.tasks, config.report.region_head, work.outputs));
      }
    }
    std::fflush(stdout);
    study.clear();  // Maps and pictures of a finished study are not held.
  }
  if (progress) fmt::print(stderr, "\n");
  return failed ? 1 : 0;
}

}  // namespace node::operate
