// TemporaryStore: a real spool and a real SQLite store in a folder that goes with the test.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "config/storage_config.h"
#include "storage/file_system.h"
#include "storage/spool.h"
#include "storage/sqlite_study_store.h"
#include "tests/fakes/fake_clock.h"

namespace node::fakes {

class TemporaryStore {
 public:
  // `file_system`: of the spool; it must outlive this.
  explicit TemporaryStore(storage::FileSystem& file_system = storage::posix_file_system()) {
    std::string name = (std::filesystem::temp_directory_path() / "skelex-test-XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
    config_.directory = (directory_ / "store").string();
    config_.free_bytes_min = 0;
    std::filesystem::create_directories(config_.directory);
    auto opened = storage::open_sqlite_study_store(config_, clock_);
    EXPECT_TRUE(opened.ok()) << opened.status().message();
    store_ = std::move(opened).value();
    auto spool = storage::Spool::open(config_, file_system);
    EXPECT_TRUE(spool.ok()) << spool.status().message();
    spool_ = std::move(spool).value();
  }
  ~TemporaryStore() {
    store_->stop();
    store_.reset();
    spool_.reset();
    std::filesystem::remove_all(directory_);
  }

  storage::StudyStore& store() { return *store_; }
  storage::Spool& spool() { return *spool_; }
  FakeClock& clock() { return clock_; }
  const std::filesystem::path& directory() const { return directory_; }

  // Adds `bytes` as a first instance that is routed to `tasks`.
  storage::Uid add(const std::string& bytes, const std::string& sop_instance_uid, const std::string& study_uid,
                   std::vector<std::string> tasks, std::vector<std::string> results_to = {"pacs"},
                   std::vector<std::string> forward_to = {}) {
    storage::RouteDecision route;
    route.rule = "test";
    route.body_part = "KNEE";
    route.body_part_evidence = "Body Part Examined";
    route.tasks = std::move(tasks);
    route.results_to = std::move(results_to);
    route.forward_to = std::move(forward_to);
    return add_routed(bytes, sop_instance_uid, study_uid, route);
  }
  storage::Uid add_routed(const std::string& bytes, const std::string& sop_instance_uid, const std::string& study_uid,
                          const storage::RouteDecision& route) {
    const storage::Uid uid = storage::Uid::parse(sop_instance_uid).value();
    auto file = spool_->store(bytes, uid);
    EXPECT_TRUE(file.ok()) << file.status().message();
    const bool reportable = !route.tasks.empty();
    auto added = store_->add_instance({.sop_instance_uid = uid,
                                       .study_instance_uid = storage::Uid::parse(study_uid).value(),
                                       .series_instance_uid = study_uid + ".1",
                                       .sop_class_uid = "1.2.840.10008.5.1.4.1.1.1",
                                       .transfer_syntax_uid = "1.2.840.10008.1.2.1",
                                       .modality = "CR",
                                       .accession_number = {},
                                       .peer = "xray1",
                                       .header_digest = "d",
                                       .file = file.value(),
                                       .route = route,
                                       .reportable = reportable},
                                      storage::Arrival::kFirst, 0);
    EXPECT_TRUE(added.ok() && added->added);
    return uid;
  }

 private:
  std::filesystem::path directory_;
  config::StorageConfig config_;
  FakeClock clock_;
  std::unique_ptr<storage::StudyStore> store_;
  std::unique_ptr<storage::Spool> spool_;
};

inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

}  // namespace node::fakes
