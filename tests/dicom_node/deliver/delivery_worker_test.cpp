#include "dicom_node/deliver/delivery_worker.h"

#include <gtest/gtest.h>

#include "tests/fakes/temporary_store.h"

namespace node::deliver {
namespace {

using std::chrono::milliseconds;
using storage::DeliveryState;

TEST(Judge, SuccessWarningsAndDuplicatesAreDelivered) {
  for (int status : {0x0000, 0xB000, 0xB006, 0xB007, 0x0111}) EXPECT_EQ(judge(status), DeliveryState::kDelivered);
}
TEST(Judge, OutOfResourcesAndProcessingFailuresAreTriedAgain) {
  for (int status : {0xA700, 0xA701, 0x0110}) EXPECT_EQ(judge(status), DeliveryState::kPending);
}
TEST(Judge, WhatCannotSucceedIsParked) {
  for (int status : {0xA900, 0xC000, 0xC123, 0x0122, 0x0124, 0x0117}) EXPECT_EQ(judge(status), DeliveryState::kParked);
}

TEST(Backoff, DoublesUpToTheMaximumWithJitterBelowIt) {
  config::DeliveryConfig config;
  config.retry_first = milliseconds(1000);
  config.retry_max = milliseconds(60000);
  EXPECT_EQ(backoff(config, 0, 1.0), milliseconds(1000));
  EXPECT_EQ(backoff(config, 1, 1.0), milliseconds(2000));
  EXPECT_EQ(backoff(config, 3, 0.0), milliseconds(4000));
  EXPECT_EQ(backoff(config, 1000, 1.0), milliseconds(60000));
}

TEST(DeliveryWorker, ADestinationThatIsDownKeepsTheDeliveryPendingWithItsWords) {
  fakes::TemporaryStore here;
  here.add("bytes", "1.2.3.1", "1.2.3", {}, {}, {"pacs"});
  config::PeerConfig peer{.name = "pacs", .ae_title = "PACS", .host = "127.0.0.1", .port = 1};
  auto worker = DeliveryWorker::start({}, peer, here.spool(), here.store());
  while (worker->stats().retries == 0) std::this_thread::yield();
  here.store().stop();
  worker->stop();
  const auto deliveries = here.store().list_deliveries(std::nullopt, 0, 10).value();
  ASSERT_EQ(deliveries.size(), 1u);
  EXPECT_EQ(deliveries[0].state, DeliveryState::kPending);
  EXPECT_GE(deliveries[0].attempts, 1);
  EXPECT_NE(deliveries[0].text.find("PACS"), std::string::npos) << deliveries[0].text;
  EXPECT_FALSE(worker->stats().reachable);
}

}  // namespace
}  // namespace node::deliver
