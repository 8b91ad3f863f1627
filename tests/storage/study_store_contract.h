// What every implementation of study_store.h is tested by: the suite that the files of study_store_test share.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "storage/study_store.h"
#include "tests/storage/study_store_fixture.h"

namespace node::storage {
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

struct Implementation {
  std::string name;
  std::function<Result<std::unique_ptr<StudyStore>>(const config::StorageConfig&, Clock&)> open;
};

class StudyStoreContract : public StudyStoreFixture, public testing::WithParamInterface<Implementation> {
 protected:
  Result<std::unique_ptr<StudyStore>> open_store() override {
    config::StorageConfig config;
    config.directory = directory_.path().string();
    return GetParam().open(config, clock_);
  }

  static NewInstance over(std::uint64_t association, NewInstance instance) {
    instance.association = association;
    return instance;
  }
  void deliver_all(const std::string& destination = "pacs") {
    for (auto claims = claim_deliveries(destination); !claims.empty(); claims = claim_deliveries(destination)) {
      for (const auto& claim : claims) EXPECT_TRUE(store_->finish_delivery(claim.token, {}).ok());
    }
  }
  std::vector<std::string> purged(const PurgeLimits& limits, int files_max = 100) {
    const auto purged = store_->purge(limits, files_max);
    EXPECT_TRUE(purged.ok()) << purged.status().message();
    std::vector<std::string> keys;
    for (const auto& file : purged->originals) keys.push_back(file.key);
    for (const auto& file : purged->results) keys.push_back(file.key);
    return keys;
  }
  static std::vector<std::string> uids(const std::vector<ClaimedInstance>& claims) {
    std::vector<std::string> found;
    for (const auto& claim : claims) found.push_back(claim.instance.sop_instance_uid.str());
    return found;
  }
  static std::vector<std::string> uids(const std::vector<ClaimedDelivery>& claims) {
    std::vector<std::string> found;
    for (const auto& claim : claims) found.push_back(claim.sop_instance_uid.str());
    return found;
  }
};

}  // namespace node::storage
