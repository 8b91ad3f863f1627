#include "storage/spool_check.h"

#include "tests/fakes/temporary_store.h"

namespace node::storage {
namespace {

class SpoolCheckTest : public testing::Test {
 protected:
  SpoolCheck check() {
    auto check = check_spool((stored_.directory() / "store").string(), posix_file_system(), stored_.store());
    EXPECT_TRUE(check.ok()) << check.status().message();
    return check.ok() ? std::move(check).value() : SpoolCheck();
  }
  fakes::TemporaryStore stored_;
};

TEST_F(SpoolCheckTest, FindsWhatIsLostAndWhatIsLeftOver) {
  stored_.add("one", "1.2.3.1", "1.2.3", {});
  const Uid lost = stored_.add("two", "1.2.3.2", "1.2.3", {});
  EXPECT_TRUE(check().lost.empty());
  EXPECT_TRUE(check().orphans.empty());

  const std::string key = (*stored_.store().find_instance(lost))->file.key;
  ASSERT_TRUE(stored_.spool().remove(key).ok());
  const auto orphan = stored_.spool().store("three", Uid::parse("1.2.3.3").value());
  ASSERT_TRUE(orphan.ok());
  EXPECT_EQ(check().lost, std::vector<std::string>{key});
  EXPECT_EQ(check().orphans, std::vector<std::string>{orphan->key});
  EXPECT_EQ(stored_.spool().list_keys()->size(), 2u) << "nothing is changed";
}

TEST_F(SpoolCheckTest, WhatIsPurgedIsNoLoss) {
  stored_.add("one", "1.2.3.1", "1.2.3", {});
  stored_.clock().advance(std::chrono::seconds(10));
  EXPECT_FALSE(*stored_.store().claim_ready_study(std::chrono::milliseconds(0)));
  const auto purged = stored_.store().purge({std::chrono::milliseconds(0), {}}, 10);
  ASSERT_TRUE(purged.ok() && purged->originals.size() == 1);
  EXPECT_EQ(check().orphans.size(), 1u) << "marked, and killed before the file was deleted";
  ASSERT_TRUE(stored_.spool().remove(purged->originals[0].key).ok());
  EXPECT_TRUE(check().lost.empty());
}

TEST_F(SpoolCheckTest, VerifyCountsWhatItFinds) {
  const Uid damaged = stored_.add("one", "1.2.3.1", "1.2.3", {});
  const StoredFile file = (*stored_.store().find_instance(damaged))->file;
  EXPECT_TRUE(stored_.spool().verify(file).ok());
  EXPECT_EQ(stored_.spool().losses(), 0);
  std::ofstream(stored_.spool().path(file.key)) << "two";
  EXPECT_EQ(stored_.spool().verify(file).code(), StatusCode::kDataLoss);
  EXPECT_EQ(stored_.spool().losses(), 1);
}

}  // namespace
}  // namespace node::storage
