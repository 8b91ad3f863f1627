// What the tests of a StudyStore share: a directory of their own, made-up instances, and the steps of a study's life.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "storage/study_store.h"
#include "tests/fakes/fake_clock.h"

namespace node::storage {

using std::chrono::milliseconds;
using std::chrono::seconds;

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "node-test-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline Uid uid(const std::string& text) { return Uid::parse(text).value(); }

// Study 1.2.<study>, instance 1.2.<study>.<number>: one image for one task, its results for "pacs".
inline NewInstance image(int study, int number, int priority = 0) {
  NewInstance instance{.sop_instance_uid = uid("1.2." + std::to_string(study) + "." + std::to_string(number)),
                       .study_instance_uid = uid("1.2." + std::to_string(study))};
  instance.series_instance_uid = instance.study_instance_uid.str() + ".0.1";
  instance.sop_class_uid = "1.2.840.10008.5.1.4.1.1.1";
  instance.transfer_syntax_uid = "1.2.840.10008.1.2.1";
  instance.modality = "CR";
  instance.accession_number = "A" + std::to_string(study);
  instance.peer = "xray1";
  instance.header_digest = "digest";
  instance.file = {"ab/" + instance.sop_instance_uid.str() + ".dcm", 1000, std::string(64, 'a')};
  instance.route.rule = "knee";
  instance.route.body_part = "KNEE";
  instance.route.body_part_evidence = "Body Part Examined";
  instance.route.tasks = {"fracture", "anomaly"};
  instance.route.priority = priority;
  instance.route.results_to = {"pacs"};
  instance.reportable = true;
  instance.study_quiet_period = seconds(10);
  return instance;
}

// Stored and forwarded, never analysed or reported: a structured report, a PDF.
inline NewInstance unrouted(int study, int number) {
  NewInstance instance = image(study, number);
  instance.modality = "SR";
  instance.route = {};
  instance.route.reason = "no rule for SR";
  instance.reportable = false;
  return instance;
}

inline ResultRecord result(const std::string& sop_instance_uid, const std::string& kind, const ReadyStudy& study) {
  ResultRecord record{.sop_instance_uid = uid(sop_instance_uid)};
  record.kind = kind;
  record.source_uid = study.study_instance_uid.str();
  record.revision = study.revision;
  record.series_instance_uid = sop_instance_uid + ".0";
  record.sop_class_uid = "1.2.840.10008.5.1.4.1.1.88.22";
  record.transfer_syntax_uid = "1.2.840.10008.1.2.1";
  record.file = {"cd/" + sop_instance_uid + ".dcm", 10, std::string(64, 'b')};
  return record;
}

class StudyStoreFixture : public testing::Test {
 protected:
  static constexpr milliseconds kNoWait{0};

  virtual Result<std::unique_ptr<StudyStore>> open_store() = 0;

  void open() {
    auto opened = open_store();
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    store_ = std::move(opened).value();
  }
  void restart() {
    store_.reset();
    open();
  }
  void SetUp() override { open(); }

  bool add(const NewInstance& instance, Arrival arrival = Arrival::kFirst, int seen_version = 0) {
    const auto added = store_->add_instance(instance, arrival, seen_version);
    EXPECT_TRUE(added.ok() && added->refused.ok()) << added.status().message();
    return added.ok() && added->added;
  }
  std::vector<ClaimedInstance> claim_instances(int max = 100) {
    auto claimed = store_->claim_instances(max, kNoWait);
    EXPECT_TRUE(claimed.ok()) << claimed.status().message();
    return claimed.ok() ? std::move(claimed).value() : std::vector<ClaimedInstance>();
  }
  std::optional<ReadyStudy> claim_study() {
    auto ready = store_->claim_ready_study(kNoWait);
    EXPECT_TRUE(ready.ok()) << ready.status().message();
    return ready.ok() ? std::move(ready).value() : std::nullopt;
  }
  std::vector<ClaimedDelivery> claim_deliveries(const std::string& destination = "pacs", int max = 100) {
    auto claimed = store_->claim_due_deliveries(destination, max, kNoWait);
    EXPECT_TRUE(claimed.ok()) << claimed.status().message();
    return claimed.ok() ? std::move(claimed).value() : std::vector<ClaimedDelivery>();
  }
  static std::vector<StoredPrediction> predictions(const std::string& content = "{}") {
    return {{"anomaly", "skelex@1", content, std::string("\0map", 4)}, {"fracture", "fracture@1", content, ""}};
  }
  void analyse_all() {
    for (auto claims = claim_instances(); !claims.empty(); claims = claim_instances()) {
      for (const auto& claim : claims) EXPECT_TRUE(store_->finish_instance(claim.token, predictions()).ok());
    }
  }
  // Waits out the quiet period and claims the study.
  std::optional<ReadyStudy> close_and_claim() {
    clock_.advance(seconds(10));
    return claim_study();
  }
  // Adds one image, analyses and reports it: overlay 1.2.9.<study>.<revision>, report 1.2.8.<study>.<revision>.
  void report(const ReadyStudy& study) {
    const std::string suffix = study.study_instance_uid.str().substr(4) + "." + std::to_string(study.revision);
    const Status finished = store_->finish_study(
        study.token, {result("1.2.9." + suffix, "sc", study), result("1.2.8." + suffix, "sr", study)},
        {{"pacs", uid("1.2.8." + suffix), DeliveryStage::kReport},
         {"pacs", uid("1.2.9." + suffix), DeliveryStage::kImageObject}});
    EXPECT_TRUE(finished.ok()) << finished.message();
  }
  void finish_one(int study) {
    add(image(study, 1));
    analyse_all();
    const auto ready = close_and_claim();
    ASSERT_TRUE(ready);
    report(*ready);
  }
  StudySummary summary(int study) {
    auto found = store_->find_study(uid("1.2." + std::to_string(study)));
    EXPECT_TRUE(found.ok()) << found.status().message();
    return found.ok() ? std::move(found).value() : StudySummary();
  }
  std::vector<InstanceRecord> instances(int study) {
    auto found = store_->list_instances(uid("1.2." + std::to_string(study)));
    EXPECT_TRUE(found.ok()) << found.status().message();
    return found.ok() ? std::move(found).value() : std::vector<InstanceRecord>();
  }

  TemporaryDirectory directory_;
  fakes::FakeClock clock_;
  std::unique_ptr<StudyStore> store_;
};

}  // namespace node::storage
