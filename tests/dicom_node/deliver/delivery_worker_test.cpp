#include "dicom_node/deliver/delivery_worker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <future>
#include <sstream>

#include "dicom_node/deliver/store_scu.h"
#include "tests/fakes/temporary_store.h"

namespace node::deliver {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using storage::DeliveryRecord;
using storage::DeliveryState;
using testing::Each;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Le;
using testing::SizeIs;

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
  EXPECT_EQ(backoff(config, 1, 1.0), milliseconds(1000));
  EXPECT_EQ(backoff(config, 2, 1.0), milliseconds(2000));
  EXPECT_EQ(backoff(config, 4, 0.0), milliseconds(4000));
  EXPECT_EQ(backoff(config, 1000, 1.0), milliseconds(60000));
  EXPECT_EQ(backoff(config, 1000, 0.0), milliseconds(30000));
}

// A destination that does what the test says, in place of a network. Everything under its mutex.
class FakePeer {
 public:
  using Answering = std::function<Result<Answer>(const std::string& sop_instance_uid)>;

  OpenSender open() {
    return [this](const std::vector<ObjectKind>& kinds) -> Result<std::unique_ptr<Sender>> {
      MutexLock lock(mutex_);
      ++associations_;
      kinds_.push_back(kinds.size());
      if (!reachable_.ok()) return reachable_;
      return std::unique_ptr<Sender>(std::make_unique<Association>(*this));
    };
  }
  void is(Status reachable) {
    MutexLock lock(mutex_);
    reachable_ = std::move(reachable);
  }
  void answers(Answering answer) {
    MutexLock lock(mutex_);
    answer_ = std::move(answer);
  }
  void answers(std::uint16_t status, std::string comment = "") {
    answers([=](const std::string&) { return Answer{status, comment}; });
  }
  std::vector<std::string> sent() {
    MutexLock lock(mutex_);
    return sent_;
  }
  int associations() {
    MutexLock lock(mutex_);
    return associations_;
  }
  std::vector<std::size_t> kinds() {
    MutexLock lock(mutex_);
    return kinds_;
  }

 private:
  class Association : public Sender {
   public:
    explicit Association(FakePeer& peer) : peer_(peer) {}
    Result<Answer> send(const std::filesystem::path&, const ObjectKind&, const std::string& uid) override {
      Answering answer;
      {
        MutexLock lock(peer_.mutex_);
        peer_.sent_.push_back(uid);
        answer = peer_.answer_;
      }
      return answer(uid);
    }

   private:
    FakePeer& peer_;
  };

  Mutex mutex_;
  Status reachable_ GUARDED_BY(mutex_);
  Answering answer_ GUARDED_BY(mutex_) = [](const std::string&) { return Answer{}; };
  std::vector<std::string> sent_ GUARDED_BY(mutex_);
  std::vector<std::size_t> kinds_ GUARDED_BY(mutex_);
  int associations_ GUARDED_BY(mutex_) = 0;
};

class DeliveryWorkerTest : public testing::Test {
 protected:
  DeliveryWorkerTest() {
    config_.retry_first = seconds(1);
    config_.retry_max = seconds(8);
    before_ = spdlog::default_logger();
    spdlog::set_default_logger(
        std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log_)));
  }
  ~DeliveryWorkerTest() override {
    here_.store().stop();  // Else the worker waits for its claim to time out, and time stands still.
    if (worker_) worker_->stop();
    spdlog::set_default_logger(before_);
  }

  void add(int number, const std::string& destination = "pacs") {
    here_.add("bytes " + std::to_string(number), "1.2.3." + std::to_string(number), "1.2.3", {}, {}, {destination});
  }
  void start() { worker_ = DeliveryWorker::start(config_, "pacs", peer_.open(), here_.spool(), here_.store()); }
  // Until the worker has done all that is due and waits.
  void settle() { here_.clock().await_wait(); }
  void advance(milliseconds by) {
    here_.clock().advance(by);
    settle();
  }
  // In small steps, so that everything happens when it is due.
  void pass(milliseconds time, milliseconds step) {
    for (milliseconds passed{0}; passed < time; passed += step) advance(step);
  }
  std::vector<DeliveryRecord> deliveries(std::optional<DeliveryState> state = std::nullopt) {
    return here_.store().list_deliveries({.state = state, .limit = 1000}).value();
  }
  DeliveryRecord delivery(int number) {
    for (DeliveryRecord& record : deliveries()) {
      if (record.sop_instance_uid == "1.2.3." + std::to_string(number)) return record;
    }
    ADD_FAILURE() << "no delivery of " << number;
    return {};
  }
  int logged(const std::string& event) {
    const std::string text = log_.str();
    int count = 0;
    for (std::size_t at = text.find(event); at != std::string::npos; at = text.find(event, at + 1)) ++count;
    return count;
  }

  std::ostringstream log_;
  std::shared_ptr<spdlog::logger> before_;
  fakes::TemporaryStore here_;
  FakePeer peer_;
  config::DeliveryConfig config_;
  std::unique_ptr<DeliveryWorker> worker_;
};

TEST_F(DeliveryWorkerTest, AWarningCountsAsDeliveredAndIsRecorded) {
  add(1);
  peer_.answers(0xB000, "coerced");
  start();
  settle();
  EXPECT_EQ(delivery(1).state, DeliveryState::kDelivered);
  EXPECT_EQ(delivery(1).peer_status, 0xB000);
  EXPECT_EQ(delivery(1).text, "coerced");
  EXPECT_EQ(worker_->stats().delivered, 1u);
  EXPECT_EQ(worker_->stats().warnings, 1u);
}

TEST_F(DeliveryWorkerTest, ARefusalThatCannotSucceedIsParkedAtOnceInThePeersWordsAndHoldsUpNoOther) {
  for (int number = 1; number <= 4; ++number) add(number);
  peer_.answers([](const std::string& uid) -> Result<Answer> {
    if (uid == "1.2.3.1") return Answer{0xC000, "no such patient: Doe"};
    if (uid == "1.2.3.2") return Answer{0x0122, ""};
    if (uid == "1.2.3.3") return unsupported("the peer accepted no presentation context");
    return Answer{};
  });
  start();
  settle();
  EXPECT_EQ(delivery(1).state, DeliveryState::kParked);
  EXPECT_EQ(delivery(1).peer_status, 0xC000);
  EXPECT_EQ(delivery(1).text, "no such patient: Doe");
  EXPECT_EQ(logged("Doe"), 0) << "a peer's words may name a patient: not in the log";
  EXPECT_EQ(delivery(2).peer_status, 0x0122);
  EXPECT_EQ(delivery(2).text, "SOP class not supported") << "what it means, where the peer says nothing";
  EXPECT_EQ(delivery(3).state, DeliveryState::kParked);
  EXPECT_EQ(delivery(3).text, "the peer accepted no presentation context");
  EXPECT_EQ(delivery(4).state, DeliveryState::kDelivered);
  EXPECT_EQ(peer_.associations(), 1);
  pass(hours(1), minutes(1));
  EXPECT_THAT(peer_.sent(), SizeIs(4)) << "what is parked waits for a person";
  peer_.answers(0x0000);
  ASSERT_TRUE(here_.store().release_delivery(delivery(2).id).ok());
  settle();
  EXPECT_EQ(delivery(2).state, DeliveryState::kDelivered);
}

TEST_F(DeliveryWorkerTest, ARefusalForNowIsTriedAgainAfterDelaysThatDoubleUpToTheMaximum) {
  add(1);
  peer_.answers(0xA700, "disk full");
  start();
  settle();
  std::size_t attempts = 1;
  for (const milliseconds longest : {seconds(1), seconds(2), seconds(4), seconds(8), seconds(8)}) {
    ASSERT_THAT(peer_.sent(), SizeIs(attempts));
    EXPECT_EQ(delivery(1).state, DeliveryState::kPending);
    EXPECT_EQ(delivery(1).text, "disk full");
    advance(longest / 2 - milliseconds(1));
    EXPECT_THAT(peer_.sent(), SizeIs(attempts)) << "before half of " << longest.count() << " ms";
    advance(longest / 2 + milliseconds(1));
    EXPECT_THAT(peer_.sent(), SizeIs(++attempts)) << "after " << longest.count() << " ms";
  }
  EXPECT_EQ(logged("event=delivery "), 1) << "the first of an object's retries is news: " << log_.str();
  peer_.answers(0x0000);
  advance(seconds(8));
  EXPECT_EQ(delivery(1).state, DeliveryState::kDelivered);
  EXPECT_EQ(delivery(1).attempts, 7);
}

TEST_F(DeliveryWorkerTest, ObjectsThatAreRefusedAtTheSameTimeAreNotTriedAgainAtTheSameTime) {
  config_.retry_first = config_.retry_max = hours(1);
  add(1), add(2);
  peer_.answers(0x0110);
  start();
  settle();
  EXPECT_NE(delivery(1).due_at, delivery(2).due_at);
  for (int number : {1, 2}) {
    EXPECT_GE(delivery(number).due_at - here_.clock().now(), minutes(30));
    EXPECT_LE(delivery(number).due_at - here_.clock().now(), minutes(60));
  }
}

TEST_F(DeliveryWorkerTest, ADestinationThatIsDownIsAskedAsOneAndSaidToBeDownOnce) {
  constexpr int kObjects = 50;
  for (int number = 1; number <= kObjects; ++number) add(number);
  config_.objects_per_association_max = 10;
  peer_.is(unavailable("associate with PACS: connection refused"));
  start();
  settle();
  EXPECT_EQ(peer_.associations(), 1);
  EXPECT_FALSE(worker_->stats().reachable);
  pass(minutes(2), milliseconds(500));
  // 1 + 2 + 4 s, then 8 s each, less jitter of a half at most: 3 and 14 to 29 more.
  EXPECT_GE(peer_.associations(), 17);
  EXPECT_LE(peer_.associations(), 35);
  EXPECT_EQ(logged("event=destination_down"), 1) << log_.str();
  EXPECT_EQ(logged("event="), 1) << "not a line an object and attempt: " << log_.str();
  EXPECT_EQ(delivery(1).text, "associate with PACS: connection refused");
  EXPECT_THAT(deliveries(), Each(Field(&DeliveryRecord::attempts, 0))) << "none was offered to the peer";

  const int before = peer_.associations();
  peer_.is(ok_status());
  pass(seconds(8), milliseconds(500));
  EXPECT_THAT(deliveries(DeliveryState::kDelivered), SizeIs(kObjects));
  EXPECT_EQ(peer_.associations() - before, kObjects / 10);
  EXPECT_EQ(logged("event=destination_up"), 1);
  EXPECT_TRUE(worker_->stats().reachable);
  EXPECT_THAT(peer_.sent(), SizeIs(kObjects));
}

TEST_F(DeliveryWorkerTest, APersonsReleaseDoesNotWaitForThePauseOfTheDestination) {
  config_.retry_first = config_.retry_max = hours(1);
  add(1);
  peer_.answers(0xC000);
  start();
  settle();
  peer_.is(unavailable("down"));
  add(2);
  settle();
  peer_.is(ok_status());
  peer_.answers(0x0000);
  settle();
  EXPECT_EQ(delivery(2).state, DeliveryState::kPending);
  ASSERT_TRUE(here_.store().release_delivery(delivery(1).id).ok());
  settle();
  EXPECT_THAT(deliveries(DeliveryState::kDelivered), SizeIs(2));
}

TEST_F(DeliveryWorkerTest, WhatIsPendingForTooLongIsParkedWithTheReason) {
  config_.give_up_after = hours(2);
  add(1);
  peer_.is(unavailable("associate with PACS: connection refused"));
  start();
  pass(hours(1), seconds(5));
  add(2);
  pass(minutes(59), seconds(5));
  EXPECT_THAT(deliveries(DeliveryState::kParked), IsEmpty());
  pass(minutes(2), seconds(5));
  EXPECT_EQ(delivery(1).state, DeliveryState::kParked);
  EXPECT_EQ(delivery(1).text, "given up after 2 h (delivery.give_up_after): associate with PACS: connection refused");
  EXPECT_EQ(delivery(2).state, DeliveryState::kPending) << "each has its own time";
  ASSERT_TRUE(here_.store().release_delivery(delivery(1).id).ok());
  pass(minutes(30), seconds(5));
  EXPECT_EQ(delivery(1).state, DeliveryState::kPending) << "a release counts anew";
}

TEST_F(DeliveryWorkerTest, ARefusalForNowIsParkedAfterItsTimeWithThePeersStatus) {
  config_.give_up_after = hours(2);
  add(1);
  peer_.answers(0xA700, "disk full");
  start();
  pass(minutes(119), seconds(5));
  EXPECT_EQ(delivery(1).state, DeliveryState::kPending);
  pass(minutes(2), seconds(5));
  EXPECT_EQ(delivery(1).state, DeliveryState::kParked);
  EXPECT_EQ(delivery(1).peer_status, 0xA700);
  EXPECT_EQ(delivery(1).text, "given up after 2 h (delivery.give_up_after): disk full");
}

TEST_F(DeliveryWorkerTest, ADestinationThatComesUpAfterTheNodeGetsWhatBothSleptOver) {
  config_.give_up_after = hours(2);
  add(1);
  here_.clock().advance(hours(1000));
  peer_.is(unavailable("down"));
  start();
  settle();
  advance(seconds(1));
  EXPECT_EQ(delivery(1).state, DeliveryState::kPending) << "not given up before the delays are at their longest";
  peer_.is(ok_status());
  advance(seconds(2));
  EXPECT_EQ(delivery(1).state, DeliveryState::kDelivered);
}

TEST_F(DeliveryWorkerTest, AnObjectThatBreaksTheAssociationIsRetriedAndHoldsUpNoOther) {
  for (int number = 1; number <= 20; ++number) add(number);
  peer_.answers([](const std::string& uid) -> Result<Answer> {
    if (uid == "1.2.3.1" || uid == "1.2.3.2" || uid == "1.2.3.9") return unavailable("the peer aborted");
    return Answer{};
  });
  start();
  settle();
  EXPECT_THAT(deliveries(DeliveryState::kDelivered), SizeIs(17));
  EXPECT_EQ(delivery(1).text, "the peer aborted");
  pass(seconds(20), milliseconds(500));
  EXPECT_GE(delivery(1).attempts, 3);
  peer_.answers(0x0000);
  pass(seconds(30), milliseconds(500));
  EXPECT_THAT(deliveries(DeliveryState::kDelivered), SizeIs(20)) << "nothing is lost";
}

TEST_F(DeliveryWorkerTest, ADestinationThatBreaksEveryAssociationIsNotHammeredOnceAnObject) {
  for (int number = 1; number <= 40; ++number) add(number);
  peer_.answers([](const std::string&) -> Result<Answer> { return unavailable("the peer aborted"); });
  start();
  settle();
  EXPECT_EQ(peer_.associations(), 3);
  EXPECT_THAT(peer_.sent(), ElementsAre("1.2.3.1", "1.2.3.2", "1.2.3.3")) << "it might be one object's fault";
  pass(minutes(2), milliseconds(500));
  EXPECT_LE(peer_.associations(), 37);
  EXPECT_EQ(logged("event=destination_down"), 1) << log_.str();
  EXPECT_LE(logged("event=delivery "), 40) << "one line an object, not one an attempt";
  peer_.answers(0x0000);
  pass(seconds(60), milliseconds(500));
  EXPECT_THAT(deliveries(DeliveryState::kDelivered), SizeIs(40));
  EXPECT_EQ(logged("event=destination_up"), 1);
}

TEST_F(DeliveryWorkerTest, AFullDestinationIsSentThreeObjectsAndThenLeftAloneForAWhile) {
  for (int number = 1; number <= 40; ++number) add(number);
  peer_.answers(0xA700);
  start();
  settle();
  EXPECT_THAT(peer_.sent(), SizeIs(3));
  EXPECT_EQ(logged("event=destination_down"), 1);
  EXPECT_EQ(logged("A700H"), 1) << log_.str();
  peer_.answers(0x0000);
  pass(seconds(3), milliseconds(500));
  EXPECT_THAT(deliveries(DeliveryState::kDelivered), SizeIs(40));
  EXPECT_EQ(logged("event=destination_up"), 1);
}

TEST_F(DeliveryWorkerTest, ThreeObjectsThatAreAlwaysRefusedForNowHoldUpNoOther) {
  for (int number = 1; number <= 10; ++number) add(number);
  peer_.answers([](const std::string& uid) {
    return Answer{static_cast<std::uint16_t>(uid <= "1.2.3.3" && uid != "1.2.3.10" ? 0x0110 : 0), ""};
  });
  start();
  pass(minutes(1), milliseconds(500));
  EXPECT_THAT(deliveries(DeliveryState::kDelivered), SizeIs(7));
}

TEST_F(DeliveryWorkerTest, OneAssociationCarriesManyObjectsAlsoThoseThatBecomeDueMeanwhile) {
  config_.objects_per_association_max = 10;
  for (int number = 1; number <= 25; ++number) add(number);
  peer_.answers([this](const std::string& uid) {
    if (uid == "1.2.3.25") add(26);
    return Answer{};
  });
  start();
  settle();
  EXPECT_THAT(peer_.sent(), SizeIs(26));
  EXPECT_EQ(peer_.associations(), 3);
  EXPECT_EQ(worker_->stats().associations, 3u);
}

TEST_F(DeliveryWorkerTest, MoreKindsThanAnAssociationCanProposeGoOverTwo) {
  for (int number = 1; number <= 70; ++number) {
    const auto uid = storage::Uid::parse("1.2.3." + std::to_string(number)).value();
    storage::NewInstance instance{.sop_instance_uid = uid, .study_instance_uid = storage::Uid::parse("1.2.3").value()};
    instance.sop_class_uid = "1.2.840.10008.5.1.4.1.1." + std::to_string(number);
    instance.transfer_syntax_uid = "1.2.840.10008.1.2.1";
    instance.file = here_.spool().store("bytes", uid).value();
    instance.route.forward_to = {"pacs"};
    ASSERT_TRUE(here_.store().add_instance(instance, storage::Arrival::kFirst, 0)->added);
  }
  start();
  settle();
  EXPECT_THAT(deliveries(DeliveryState::kDelivered), SizeIs(70)) << "none is parked for want of a presentation context";
  EXPECT_EQ(peer_.associations(), 2);
  EXPECT_THAT(peer_.kinds(), Each(Le(StoreScu::kKindsMax)));
}

TEST_F(DeliveryWorkerTest, AStuckDestinationDelaysNoOther) {
  add(1, "stuck");
  add(2, "pacs");
  FakePeer stuck;
  std::promise<void> hangs, unblock;
  stuck.answers([&](const std::string&) {
    hangs.set_value();
    unblock.get_future().wait();
    return Answer{};
  });
  auto other = DeliveryWorker::start(config_, "stuck", stuck.open(), here_.spool(), here_.store());
  hangs.get_future().wait();
  start();
  settle();
  EXPECT_EQ(delivery(2).state, DeliveryState::kDelivered);
  EXPECT_EQ(delivery(1).state, DeliveryState::kPending);
  unblock.set_value();
  here_.store().stop();
  other->stop();
  EXPECT_EQ(delivery(1).state, DeliveryState::kDelivered) << "stop() finishes the object in flight";
}

TEST_F(DeliveryWorkerTest, AStopGivesBackWhatWasNotSentAndANewWorkerSendsIt) {
  for (int number = 1; number <= 50; ++number) add(number);
  std::promise<void> first, go_on;
  peer_.answers([&](const std::string& uid) {
    if (uid == "1.2.3.1") first.set_value(), go_on.get_future().wait();
    return Answer{};
  });
  start();
  first.get_future().wait();
  auto stopped = std::async(std::launch::async, [&] { worker_->stop(); });
  go_on.set_value();
  while (stopped.wait_for(milliseconds(1)) != std::future_status::ready) here_.clock().advance(seconds(1));
  start();
  settle();
  EXPECT_THAT(deliveries(DeliveryState::kDelivered), SizeIs(50));
  EXPECT_THAT(peer_.sent(), SizeIs(50)) << "none twice";
}

TEST_F(DeliveryWorkerTest, BytesThatChangedOnTheDiskAreNotSent) {
  add(1), add(2);
  const auto file = here_.store().known_files()->front();
  std::ofstream(here_.spool().path(file.key), std::ios::app) << "x";
  start();
  settle();
  EXPECT_THAT(peer_.sent(), ElementsAre("1.2.3.2"));
  EXPECT_EQ(delivery(1).state, DeliveryState::kParked);
  EXPECT_EQ(logged("event=data_loss"), 1);
  EXPECT_EQ(worker_->stats().losses, 1u);
}

TEST_F(DeliveryWorkerTest, ARealAssociationThatIsRefusedSaysWhereAndWhy) {
  add(1);
  config::PeerConfig peer{.name = "pacs", .ae_title = "PACS", .host = "127.0.0.1", .port = 1};
  worker_ = DeliveryWorker::start(config_, peer, here_.spool(), here_.store());
  settle();
  EXPECT_EQ(delivery(1).state, DeliveryState::kPending);
  EXPECT_THAT(delivery(1).text, HasSubstr("PACS at 127.0.0.1:1"));
  EXPECT_FALSE(worker_->stats().reachable);
}

}  // namespace
}  // namespace node::deliver
