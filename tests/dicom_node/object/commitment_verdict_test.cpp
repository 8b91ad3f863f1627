#include "dicom_node/object/commitment_verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/fakes/temporary_store.h"

namespace node::object {
namespace {

constexpr const char* kClass = "1.2.840.10008.5.1.4.1.1.1";

class CommitmentVerdictTest : public testing::Test {
 protected:
  void SetUp() override { stored_.add("the bytes of an image", "1.2.3", "1.2", {}, {}, {"pacs"}); }

  std::filesystem::path file() {
    const auto held = stored_.store().find_instance(storage::Uid::parse("1.2.3").value());
    return stored_.spool().path(held.value()->file.key);
  }
  CommitmentVerdict judge(bool after_delivery = false, const std::string& uid = "1.2.3",
                          const std::string& sop_class = kClass) {
    const auto verdict = judge_commitment({"1.9", {{sop_class, uid}}}, stored_.store(), stored_.spool(), after_delivery,
                                          [] { return false; });
    EXPECT_TRUE(verdict.ok()) << verdict.status().message();
    EXPECT_EQ(verdict->report.transaction_uid, "1.9");
    EXPECT_EQ(verdict->report.referenced.size() + verdict->report.failed.size(), 1u);
    return verdict.ok() ? *verdict : CommitmentVerdict();
  }
  // 0: committed.
  static int reason(const CommitmentVerdict& verdict) {
    return verdict.report.failed.empty() ? 0 : verdict.report.failed[0].reason;
  }

  fakes::TemporaryStore stored_;
};

TEST_F(CommitmentVerdictTest, WhatLiesHereIsCommitted) {
  EXPECT_EQ(reason(judge()), 0);
  EXPECT_EQ(stored_.spool().lost().size(), 0u);
}

TEST_F(CommitmentVerdictTest, AFileThatIsGoneIsNotCommittedAndCountsAsALoss) {
  std::filesystem::remove(file());
  EXPECT_EQ(reason(judge()), 0x0112);
  EXPECT_EQ(stored_.spool().lost().size(), 1u);
}

TEST_F(CommitmentVerdictTest, AFileWithOtherBytesIsNotCommittedAndCountsAsALoss) {
  std::fstream(file(), std::ios::in | std::ios::out | std::ios::binary).put('T');  // Its size stays.
  const CommitmentVerdict verdict = judge();
  EXPECT_EQ(reason(verdict), 0x0112);
  EXPECT_FALSE(verdict.waits);
  EXPECT_EQ(stored_.spool().lost().size(), 1u);
}

TEST_F(CommitmentVerdictTest, WhatRetentionDeletedIsNoLossAndSafeOnlyWhereItWent) {
  const auto claims = stored_.store().claim_due_deliveries("pacs", 1, std::chrono::milliseconds(0));
  ASSERT_THAT(claims.value(), testing::SizeIs(1));
  ASSERT_TRUE(stored_.store().finish_delivery(claims->at(0).token, {}).ok());
  stored_.clock().advance(std::chrono::hours(1));
  ASSERT_TRUE(stored_.store().claim_ready_study(std::chrono::milliseconds(0)).ok());
  const std::filesystem::path path = file();
  ASSERT_THAT(stored_.store().purge({std::chrono::milliseconds(0), {}}, 10).value().originals, testing::SizeIs(1));
  std::filesystem::remove(path);
  EXPECT_EQ(reason(judge()), 0);
  EXPECT_EQ(stored_.spool().lost().size(), 0u);
}

TEST_F(CommitmentVerdictTest, WhatWaitsForItsDestinationIsHeldAndNotSafeYet) {
  const CommitmentVerdict verdict = judge(/*after_delivery=*/true);
  EXPECT_EQ(reason(verdict), 0x0110);
  EXPECT_TRUE(verdict.waits);
}

TEST_F(CommitmentVerdictTest, WhatWasGivenUpIsNotSafeAndIsNotWaitedFor) {
  const auto claims = stored_.store().claim_due_deliveries("pacs", 1, std::chrono::milliseconds(0));
  ASSERT_TRUE(stored_.store().finish_delivery(claims->at(0).token, {storage::DeliveryState::kParked}).ok());
  EXPECT_TRUE(judge(/*after_delivery=*/true).waits) << "a person may release it";
  ASSERT_TRUE(stored_.store().give_up_delivery(claims->at(0).id).ok());
  const CommitmentVerdict verdict = judge(/*after_delivery=*/true);
  EXPECT_EQ(reason(verdict), 0x0110);
  EXPECT_FALSE(verdict.waits);
}

TEST_F(CommitmentVerdictTest, WhatIsNotHeldOrOfAnotherClassFails) {
  EXPECT_EQ(reason(judge(false, "1.2.4")), 0x0112);
  EXPECT_EQ(reason(judge(false, "1.2.3", "1.2.840.10008.5.1.4.1.1.7")), 0x0119);
}

TEST_F(CommitmentVerdictTest, AStopEndsTheReading) {
  const auto verdict =
      judge_commitment({"1.9", {{kClass, "1.2.3"}}}, stored_.store(), stored_.spool(), false, [] { return true; });
  EXPECT_EQ(verdict.status().code(), StatusCode::kUnavailable);
}

}  // namespace
}  // namespace node::object
