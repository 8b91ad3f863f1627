// Hospital: a machine that loses power, and all around it that remembers: the X-ray room what was answered, the PACS
// what it was sent. On the machine run the real store, spool, intake, router and report, one process at a time.
//
// Every write, sync, rename and deletion of a process, SQLite's too, is a numbered call of `files`; one thread drives
// all, so that a run makes the same calls each time.
#pragma once

#include <dcmtk/dcmdata/dctk.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "dicom_node/object/finding_record.h"
#include "dicom_node/object/image_loader.h"
#include "dicom_node/receive/intake.h"
#include "dicom_node/receive/orphans.h"
#include "dicom_node/report/report_worker.h"
#include "storage/spool_check.h"
#include "storage/sqlite_study_store.h"
#include "tests/dicom_node/object/test_files.h"
#include "tests/dicom_node/report/made_study.h"
#include "tests/fakes/fake_predictor.h"
#include "tests/fakes/faulty_sqlite_vfs.h"
#include "tests/fakes/temporary_store.h"
#include "tests/storage/study_store_fixture.h"

namespace node::crash {

using storage::StoredFile;
using storage::Uid;

inline constexpr std::chrono::seconds kQuiet{10};
inline const std::string kStudy = "1.2.826.0.7";

struct Image {
  std::string name;  // Of this object; the UIDs of a correction and of a conflict are those of another.
  Uid sop_instance_uid;
  std::string sop_class_uid, bytes;
  std::uint16_t answer = receive::kSuccess;  // What it must be answered in the end.
};

// A small DX of a knee. `brightness` changes the pixels, `laterality` and `study` attributes that matter.
inline Image make_image(const std::string& name, int number, int brightness = 0, const std::string& laterality = "L",
                        const std::string& study = kStudy) {
  object::TestImage pixels{.rows = 16, .columns = 16, .bits_allocated = 8, .bits_stored = 8, .values = {}};
  for (int i = 0; i < 16 * 16; ++i) pixels.values.push_back((i * 7 + brightness) % 200);
  DcmFileFormat file = object::make_image(pixels);
  const std::string uid = kStudy + ".1." + std::to_string(number);
  for (const auto& [tag, value] : std::map<DcmTagKey, std::string>{{DCM_SOPInstanceUID, uid},
                                                                   {DCM_StudyInstanceUID, study},
                                                                   {DCM_SeriesInstanceUID, kStudy + ".1"},
                                                                   {DCM_ImageLaterality, laterality}}) {
    object::must(file.getDataset()->putAndInsertString(tag, value.c_str()));
  }
  object::TemporaryFolder folder;
  const std::filesystem::path path = folder.fresh();
  object::must(file.saveFile(path.c_str(), EXS_LittleEndianExplicit));
  return {name, Uid::parse(uid).value(), UID_DigitalXRayImageStorageForPresentation, fakes::read_bytes(path)};
}

struct Sent {  // An object as the PACS took it.
  std::string destination, sop_instance_uid, bytes;
};

struct Plan {  // How the node is configured.
  std::vector<config::ForwardRule> forward = {{.match = {}, .send_to = {"archive"}}};
  std::vector<std::string> results_to = {"pacs"};
  std::vector<config::MessageConfig> messages{};
  int log_pages_max = 1000;
};

class Hospital {
 public:
  explicit Hospital(Plan plan = {}) : plan_(std::move(plan)), vfs_(files_, directory_.path()) {
    config_.directory = (directory_.path() / "store").string();
    config_.free_bytes_min = 0;
    config_.database_reserve_bytes = 0;  // So that each write of the database's is one that a full disk refuses.
    config_.log_pages_max = plan_.log_pages_max;
  }
  // As another one whose processes have all ended; what is on its disk is durable here.
  explicit Hospital(const Hospital& other) : Hospital(other.plan_) {
    clock_.set_wall(other.clock_.now());
    answers_ = other.answers_;
    sent_ = other.sent_;
    remembered_ = other.remembered_;
    if (!std::filesystem::exists(other.config_.directory)) return;
    std::filesystem::copy(other.config_.directory, config_.directory, std::filesystem::copy_options::recursive);
    std::filesystem::remove(config_.directory + "/studies.sqlite-shm");
    files_.adopt(directory_.path());
  }

  const config::StorageConfig& config() const { return config_; }
  const Plan& plan() const { return plan_; }
  fakes::FaultyFileSystem& files() { return files_; }
  fakes::FakeClock& clock() { return clock_; }
  std::map<std::string, std::uint16_t>& answers() { return answers_; }
  const std::vector<Sent>& sent() const { return sent_; }
  bool took(const std::string& destination, const std::string& sop_instance_uid) const {
    return std::any_of(sent_.begin(), sent_.end(), [&](const Sent& object) {
      return object.destination == destination && object.sop_instance_uid == sop_instance_uid;
    });
  }

  // Nothing a process does after the power is gone reaches anybody.
  void answer(const Image& image, std::uint16_t status) {
    if (!files_.power_is_lost()) answers_[image.name] = status;
  }
  bool send(Sent object) {
    if (files_.power_is_lost()) return false;
    sent_.push_back(std::move(object));
    return true;
  }
  // What anybody was told, or has decided, in words of the test's own.
  void remember(const std::string& what) {
    if (!files_.power_is_lost()) remembered_.insert(what);
  }
  bool remembers(const std::string& what) const { return remembered_.contains(what); }
  void forget(const std::string& what) {
    if (!files_.power_is_lost()) remembered_.erase(what);
  }
  std::vector<std::string> all_remembered(const std::string& prefix) const {
    std::vector<std::string> found;
    for (const std::string& one : remembered_)
      if (one.starts_with(prefix)) found.push_back(one.substr(prefix.size()));
    return found;
  }

 private:
  Plan plan_;
  storage::TemporaryDirectory directory_;
  fakes::FaultyFileSystem files_;
  fakes::FaultySqliteVfs vfs_;
  config::StorageConfig config_;
  fakes::FakeClock clock_;
  std::map<std::string, std::uint16_t> answers_;  // By the image's name; what the room heard.
  std::vector<Sent> sent_;                        // Append-only.
  std::set<std::string> remembered_;
};

// One run of the node, stage by stage. Each stage does all there is to do and stops at the first failure.
class Process {
 public:
  static Result<std::unique_ptr<Process>> start(Hospital& hospital) {
    auto process = std::unique_ptr<Process>(new Process(hospital));
    NODE_ASSIGN_OR_RETURN(process->store_,
                          storage::open_sqlite_study_store(hospital.config(), hospital.clock(), hospital.files()));
    NODE_ASSIGN_OR_RETURN(process->spool_, storage::Spool::open(hospital.config(), hospital.files()));
    process->intake_ =
        std::make_unique<receive::Intake>(process->receive_, *process->spool_, *process->store_, process->router_);
    NODE_ASSIGN_OR_RETURN(const auto check,
                          storage::check_spool(hospital.config().directory, hospital.files(), process->store()));
    NODE_RETURN_IF_ERROR(receive::take_in_orphans(check.orphans, process->receive_, process->spool(), process->store(),
                                                  *process->intake_, [](int) { return true; })
                             .status());
    return process;
  }

  storage::StudyStore& store() { return *store_; }
  storage::Spool& spool() { return *spool_; }

  // The X-ray room sends what it has not heard the right answer of; returns what this one was answered.
  std::uint16_t receive(const Image& image) {
    const auto answered = hospital_.answers().find(image.name);
    if (answered != hospital_.answers().end() && answered->second == image.answer) return image.answer;
    const std::uint16_t status = take(image);
    hospital_.answer(image, status);
    return status;
  }

  Status analyze() {
    NODE_RETURN_IF_ERROR(record_again());
    while (true) {
      NODE_ASSIGN_OR_RETURN(auto claims, store_->claim_instances(1, std::chrono::milliseconds(0)));
      if (claims.empty()) return ok_status();
      const storage::InstanceRecord& instance = claims[0].instance;
      NODE_ASSIGN_OR_RETURN(auto loaded, object::load_image(spool_->path(instance.file.key), {}));
      inference::AnalysisRequest request;
      request.image = std::move(loaded.radiograph);
      request.tasks = instance.route.tasks;
      std::vector<storage::StoredPrediction> findings;
      predictor_.submit(std::move(request), [&](Result<std::vector<inference::Prediction>> predictions) {
        for (auto& prediction : *predictions) findings.push_back(object::encode_finding({std::move(prediction), {}}));
      });
      NODE_RETURN_IF_ERROR(
          record([this, token = claims[0].token, findings] { return store_->finish_instance(token, findings); }));
    }
  }

  Status report() {
    NODE_RETURN_IF_ERROR(record_again());
    while (true) {
      NODE_ASSIGN_OR_RETURN(const auto ready, store_->claim_ready_study(std::chrono::milliseconds(0)));
      if (!ready) return ok_status();
      config::ReportConfig config = report::made::context().config;
      config.messages = hospital_.plan().messages;
      const Status reported = report::report_study(*ready, config, *spool_, *store_).status().within("report");
      if (!reported.ok()) {
        const std::chrono::milliseconds now{0};
        static_cast<void>(record([this, token = ready->token, now] { return store_->release_study(token, now); }).ok());
        return reported;
      }
    }
  }

  // All that is at rest goes: rows first, then files.
  Status retain() {
    while (true) {
      const std::chrono::milliseconds none{0};
      NODE_ASSIGN_OR_RETURN(const auto purged, store_->purge({.originals_kept = none, .results_kept = none}, 2));
      if (purged.originals.empty() && purged.results.empty()) return ok_status();
      for (const auto* files : {&purged.originals, &purged.results}) {
        for (const StoredFile& file : *files) NODE_RETURN_IF_ERROR(spool_->remove(file.key));
      }
    }
  }

  // `answer`: of the destination, to each object; what it says of a delivered one is that it took it.
  Status deliver(
      const std::string& destination,
      const std::function<storage::DeliveryOutcome(const storage::ClaimedDelivery&)>& answer = [](const auto&) {
        return storage::DeliveryOutcome{};
      }) {
    NODE_RETURN_IF_ERROR(record_again());
    while (true) {
      NODE_ASSIGN_OR_RETURN(const auto claims,
                            store_->claim_due_deliveries(destination, 1, std::chrono::milliseconds(0)));
      if (claims.empty()) return ok_status();
      const storage::ClaimedDelivery& claim = claims[0];
      NODE_RETURN_IF_ERROR(spool_->verify(claim.file));
      const storage::DeliveryOutcome outcome = answer(claim);
      if (outcome.state == storage::DeliveryState::kDelivered &&
          !hospital_.send(
              {destination, claim.sop_instance_uid.str(), fakes::read_bytes(spool_->path(claim.file.key))})) {
        return unavailable("the power is gone");
      }
      NODE_RETURN_IF_ERROR(
          record([this, token = claim.token, outcome] { return store_->finish_delivery(token, outcome); }));
    }
  }

 private:
  // What a failing store did not take is told it again before anything else is done, as the workers do.
  Status record(std::function<Status()> call) {
    const Status recorded = call();
    if (!recorded.ok()) unrecorded_ = std::move(call);
    return recorded;
  }
  Status record_again() {
    if (!unrecorded_) return ok_status();
    const Status recorded = unrecorded_();
    if (recorded.ok() || recorded.code() == StatusCode::kNotFound) unrecorded_ = nullptr;  // Not held any more.
    return recorded.code() == StatusCode::kNotFound ? ok_status() : recorded;
  }

  explicit Process(Hospital& hospital) : hospital_(hospital), router_(make_router(hospital.plan())) {}

  static route::Router make_router(const Plan& plan) {
    config::RouterConfig config;
    config::RouteRule rule;
    rule.name = "knee";
    rule.match.modality = {"DX"};
    rule.match.body_part = {"KNEE"};
    rule.tasks = {"anomaly", "fracture"};
    rule.send_to = plan.results_to;
    config.routes = {rule};
    config.forward = plan.forward;
    config.body_parts.terms = {{"KNEE", "KNEE"}};
    return route::Router::create(config, {"anomaly", "fracture"}).value();
  }

  std::uint16_t take(const Image& image) {
    auto file = spool_->begin();
    if (!file.ok()) return receive::refusal(file.status()).status;
    const Status written = file->append(image.bytes.data(), image.bytes.size());
    if (!written.ok()) return receive::refusal(written).status;
    return intake_
        ->take(std::move(file).value(),
               {.sop_class_uid = image.sop_class_uid, .sop_instance_uid = image.sop_instance_uid.str()},
               {"xray1", kQuiet})
        .status;
  }

  Hospital& hospital_;
  config::ReceiveConfig receive_;
  route::Router router_;
  fakes::FakePredictor predictor_;
  std::unique_ptr<storage::StudyStore> store_;
  std::unique_ptr<storage::Spool> spool_;
  std::unique_ptr<receive::Intake> intake_;
  std::function<Status()> unrecorded_;
};

// What follows of all that was received.
inline Status work_off(Process& process, Hospital& hospital) {
  NODE_RETURN_IF_ERROR(process.analyze());
  hospital.clock().advance(kQuiet);
  NODE_RETURN_IF_ERROR(process.report());
  NODE_RETURN_IF_ERROR(process.deliver("archive"));
  return process.deliver("pacs");
}

}  // namespace node::crash
