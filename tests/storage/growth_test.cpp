// A store that has grown: what a claim and a page of a listing cost with a thousand instances and with a million, side
// by side in one run. The figures are printed for storage/BENCHMARKS.md.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>

#include "storage/sqlite_database.h"
#include "storage/sqlite_study_store.h"
#include "tests/storage/study_store_fixture.h"

namespace node::storage {
namespace {

constexpr int kInstancesAStudy = 4;
constexpr int kRepetitions = 201;
constexpr milliseconds kNow{0};

std::string numbers(const std::string& until) {
  return "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " + until + ") ";
}

// History: finished studies of four images, with predictions, a result and a delivery each, all at rest.
void fill(const std::filesystem::path& directory, int instances) {
  auto database = Database::open(directory / "studies.sqlite", Database::Mode::kReadWrite).value();
  const std::string count = std::to_string(instances), studies = std::to_string(instances / kInstancesAStudy);
  ASSERT_TRUE(Query(*database, "PRAGMA synchronous = OFF").run().ok());
  for (const std::string& sql :
       {"BEGIN" + std::string(),
        "INSERT INTO study(id, uid, accession_number, state, revision, priority, quiet_ms, opened_at, "
        "last_instance_at, close_due_at, closed_at, finished_at, open_since, quiet_due_at, rest_since, results) " +
            numbers(studies) +
            "SELECT i, '1.2.840.99.' || i, 'A' || i, 2, 1, i % 3, 10000, i, i, i, i, i, i, i, i, 1 FROM n",
        "INSERT INTO instance(id, study_id, sop_instance_uid, version, current, series_instance_uid, sop_class_uid, "
        "transfer_syntax_uid, modality, accession_number, peer, header_digest, file_key, file_bytes, file_sha256, "
        "rule, body_part, body_part_evidence, tasks, route_reason, priority, results_to, shadow, forward_to, "
        "reportable, state, reason, attempts, received_at, predicted_at) " +
            numbers(count) + "SELECT i, (i + " + std::to_string(kInstancesAStudy - 1) + ") / " +
            std::to_string(kInstancesAStudy) +
            ", '1.2.840.98.' || i, 1, 1, '1.2.840.97.' || i, '1.2.840.10008.5.1.4.1.1.1', '1.2.840.10008.1.2.1', 'CR', "
            "'A' || i, 'xray1', hex(randomblob(32)), 'ab/1.2.840.98.' || i || '.0123456789abcdef.dcm', 8000000, "
            "hex(randomblob(32)), 'knee', 'KNEE', 'Body Part Examined', 'fracture', '', i % 3, 'pacs', 0, '', 1, 1, "
            "'', 1, i, i FROM n",
        "INSERT INTO prediction " + numbers(count) +
            "SELECT i, 'fracture', 'fracture@1', '{\"probability\": 0.7}', '' FROM n",
        "INSERT INTO result(id, study_id, uid, kind, source_uid, task, revision, sop_class_uid, transfer_syntax_uid, "
        "file_key, file_bytes, file_sha256, created_at) " +
            numbers(studies) +
            "SELECT i, i, '2.25.' || i, 'sr', '1.2.840.99.' || i, '', 1, '1.2.840.10008.5.1.4.1.1.88.33', "
            "'1.2.840.10008.1.2.1', 'cd/2.25.' || i || '.0123456789abcdef.dcm', 20000, hex(randomblob(32)), i FROM n",
        "INSERT INTO delivery(id, study_id, destination, stage, result_id, priority, state, attempts, created_at, "
        "due_at, delivered_at, peer_status) " +
            numbers(studies) + "SELECT i, i, 'pacs', 2, i, i % 3, 1, 1, i, i, i, 0 FROM n",
        std::string("COMMIT"), std::string("PRAGMA wal_checkpoint(TRUNCATE)")}) {
    ASSERT_TRUE(Query(*database, sql).run().ok()) << sql.substr(0, 60);
  }
}

// A rush of arrivals: studies that are still open and not due to be closed.
void open_studies(const std::filesystem::path& directory, int count) {
  auto database = Database::open(directory / "studies.sqlite", Database::Mode::kReadWrite).value();
  const std::string sql =
      "INSERT INTO study(uid, accession_number, state, priority, quiet_ms, opened_at, last_instance_at, "
      "close_due_at) " +
      numbers(std::to_string(count)) + "SELECT '1.2.840.96.' || i, '', 0, 1, 10000, i, i, 1000000000000000 FROM n";
  ASSERT_TRUE(Query(*database, sql).run().ok());
}

class Growth : public StudyStoreFixture {
 protected:
  Result<std::unique_ptr<StudyStore>> open_store() override {
    config::StorageConfig config;
    config.directory = directory_.path().string();
    return open_sqlite_study_store(config, clock_);
  }
  void grow(int instances) {
    store_.reset();
    fill(directory_.path(), instances);
    open();
    // The same work in each: images to analyse, studies to report, results to deliver.
    for (int study = 1; study <= 30; ++study) finish_one(study);
    for (int study = 31; study <= 60; ++study) add(image(study, 1));
    analyse_all();
    clock_.advance(seconds(10));
    for (int study = 61; study <= 90; ++study) add(image(study, 1));
    open_studies(directory_.path(), instances / 1'000);
  }
  void TestBody() override {}

 public:
  explicit Growth(int instances) : instances_(instances) {}
  void SetUp() override {
    StudyStoreFixture::SetUp();
    grow(instances_);
  }
  StudyStore& store() { return *store_; }

 private:
  const int instances_;
};

struct Operation {
  const char* name;
  std::function<bool(StudyStore&)> run;
  bool grows = false;  // With what waits, not with what is stored.
};

const std::vector<Operation>& operations() {
  static const std::vector<Operation> all = {
      {"claim an instance, give it back",
       [](StudyStore& store) {
         const auto claims = store.claim_instances(1, kNow);
         return claims.ok() && claims->size() == 1 && store.release_instance((*claims)[0].token).ok();
       }},
      {"claim a study to report, give it back",
       [](StudyStore& store) {
         const auto ready = store.claim_ready_study(kNow);
         return ready.ok() && ready->has_value() && store.release_study((*ready)->token, kNow).ok();
       }},
      {"claim a delivery, give it back",
       [](StudyStore& store) {
         const auto claims = store.claim_due_deliveries("pacs", 1, kNow);
         return claims.ok() && claims->size() == 1 &&
                store.postpone_deliveries("pacs", {(*claims)[0].token}, kNow, "").ok();
       }},
      {"look for files to purge, find none",
       [](StudyStore& store) {
         return store.purge({std::chrono::days(30'000), std::chrono::days(30'000)}, 32).ok();
       }},
      {"page of 100 studies",
       [](StudyStore& store) { return store.list_studies({.limit = 100}).value().size() == 100; }},
      {"page of 100 finished studies",
       [](StudyStore& store) {
         return store.list_studies({.state = StudyState::kFinished, .limit = 100}).value().size() == 100;
       }},
      {"page of failed studies (none)",
       [](StudyStore& store) { return store.list_studies({.failures = true, .limit = 100}).ok(); }},
      {"page of conflicts (none)",
       [](StudyStore& store) { return store.list_studies({.conflicts = true, .limit = 100}).ok(); }},
      {"page of 100 deliveries",
       [](StudyStore& store) { return store.list_deliveries({.limit = 100}).value().size() == 100; }},
      {"page of parked deliveries (none)",
       [](StudyStore& store) { return store.list_deliveries({.state = DeliveryState::kParked, .limit = 100}).ok(); }},
      {"look up an instance", [](StudyStore& store) { return store.find_instance(uid("1.2.840.98.500")).ok(); }},
      {"statistics (count what is open)", [](StudyStore& store) { return store.stats().instances_received > 0; }, true},
  };
  return all;
}

double microseconds(StudyStore& store, const Operation& operation) {
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_TRUE(operation.run(store)) << operation.name;
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begun).count();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

TEST(StoreGrowth, WithAMillionInstancesAClaimAndAPageTakeAtMostTwiceAsLongAsWithAThousand) {
  Growth small(1'000), large(1'000'000);
  small.SetUp();
  large.SetUp();
  if (testing::Test::HasFatalFailure()) return;
  std::printf("%-40s %12s %12s %8s\n", "median of 201, microseconds", "1 000", "1 000 000", "ratio");
  for (const Operation& operation : operations()) {
    std::vector<double> of_small, of_large;
    for (int i = 0; i < kRepetitions; ++i) {  // In turn, so that what else the machine does hits both.
      of_small.push_back(microseconds(small.store(), operation));
      of_large.push_back(microseconds(large.store(), operation));
    }
    const double ratio = median(of_large) / median(of_small);
    std::printf("%-40s %12.0f %12.0f %8.2f\n", operation.name, median(of_small), median(of_large), ratio);
    EXPECT_TRUE(ratio <= 2.0 || operation.grows) << operation.name << ": " << ratio;
  }
}

}  // namespace
}  // namespace node::storage
