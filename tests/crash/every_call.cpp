#include "tests/crash/every_call.h"

#include <cstdio>
#include <set>

namespace node::crash {
namespace {

using Loss = fakes::FaultyFileSystem::Loss;

}  // namespace

void expect_files_as_rows_say(Process& process) {
  std::set<std::string> known;
  const auto files = process.store().known_files();
  for (const StoredFile& file : *files) {
    const Status intact = process.spool().verify(file);
    EXPECT_TRUE(intact.ok()) << intact.message();
    known.insert(file.key);
  }
  const auto keys = process.spool().list_keys();
  for (const std::string& key : *keys) EXPECT_TRUE(known.contains(key) || process.spool().remove(key).ok());
}

void expect_known_what_was_sent(Process& process, Hospital& hospital) {
  std::set<std::string> recorded;
  const auto deliveries = process.store().list_deliveries({.limit = 100});
  for (const auto& delivery : *deliveries) recorded.insert(delivery.destination + " " + delivery.sop_instance_uid);
  std::map<std::string, std::set<std::string>> contents;
  for (const Sent& object : hospital.sent()) {
    EXPECT_TRUE(recorded.contains(object.destination + " " + object.sop_instance_uid)) << object.sop_instance_uid;
    if (object.destination != "archive") contents[object.sop_instance_uid].insert(object.bytes);
  }
  for (const auto& [uid, versions] : contents) EXPECT_EQ(versions.size(), 1u) << uid << " with several contents";
}

std::unique_ptr<Hospital> after(const std::function<Status(Process&, Hospital&)>& live, const Plan& plan) {
  auto hospital = std::make_unique<Hospital>(plan);
  auto process = Process::start(*hospital);
  EXPECT_TRUE(process.ok()) << process.status().message();
  const Status lived = live(**process, *hospital);
  EXPECT_TRUE(lived.ok()) << lived.message();
  process->reset();
  return hospital;
}

Status receive_all(Process& process, const std::vector<const Image*>& images) {
  for (const Image* image : images) {
    const std::uint16_t status = process.receive(*image);
    if (status == receive::kOutOfResources) return resource_exhausted("receive " + image->name + ": 0xA700");
    if (status == receive::kProcessingFailure) return data_loss("receive " + image->name + ": 0x0110");
    if (status != image->answer) return internal_error("receive " + image->name + ": " + std::to_string(status));
  }
  return ok_status();
}

EveryCall::EveryCall() : stage_(GetParam()()) {
  object::register_codecs();
  before_ = stage_.before();
  Hospital hospital = start();
  auto process = Process::start(hospital);
  EXPECT_TRUE(process.ok()) << process.status().message();
  const Status lived = stage_.live(**process, hospital);
  EXPECT_TRUE(lived.ok()) << lived.message();
  stage_.check_end(**process, hospital, 0);
  process->reset();
  calls_ = hospital.files().calls();
}

TEST_P(EveryCall, APowerLossBeforeItLosesAndDoublesNothing) {
  int points = 0;
  for (int call = 1; call <= calls_ && !HasFailure(); ++call) {
    for (const Loss loss : {Loss::kNamesAndContents, Loss::kSome}) {
      SCOPED_TRACE(
          std::string(stage_.name) + ": power lost before call " + std::to_string(call) +
          (loss == Loss::kSome ? ", some unsynced writes kept, the clock an hour back" : ", all unsynced writes lost"));
      Hospital hospital = start();
      hospital.files().lose_power_before(call);
      if (auto process = Process::start(hospital); process.ok()) {
        static_cast<void>(stage_.live(**process, hospital).ok());
      }
      hospital.files().lose_power(loss, static_cast<unsigned>(call));
      if (loss == Loss::kSome) hospital.clock().set_wall(hospital.clock().now() - std::chrono::hours(1));
      auto process = Process::start(hospital);
      ASSERT_TRUE(process.ok()) << process.status().message();
      stage_.check(**process, hospital);
      const Status lived = stage_.live(**process, hospital);
      EXPECT_TRUE(lived.ok()) << lived.message();
      stage_.check_end(**process, hospital, 1);
      ++points;
    }
  }
  std::printf("%s: %d calls, %d power losses survived\n", stage_.name, calls_, points);
}

// "Not now", in words, and once there is space again the same process goes on by itself.
TEST_P(EveryCall, ADiskThatIsFullFromItOnIsSaidAndSurvived) {
  for (int call = 1; call <= calls_ && !HasFailure(); ++call) {
    SCOPED_TRACE(std::string(stage_.name) + ": disk full from call " + std::to_string(call));
    Hospital hospital = start();
    hospital.files().fill_disk_before(call);
    auto process = Process::start(hospital);
    if (process.ok()) {
      for (int attempt = 0; attempt < 2; ++attempt) {
        const Status lived = stage_.live(**process, hospital);
        EXPECT_TRUE(lived.ok() || lived.code() == StatusCode::kResourceExhausted) << lived.message();
      }
    }
    hospital.files().free_disk();
    if (!process.ok()) process = Process::start(hospital);
    ASSERT_TRUE(process.ok()) << process.status().message();
    const Status lived = stage_.live(**process, hospital);
    EXPECT_TRUE(lived.ok()) << lived.message();
    stage_.check_end(**process, hospital, 0);
  }
  std::printf("%s: disk full from each of %d calls on survived\n", stage_.name, calls_);
}

// The same process goes on, and what it says then survives a power loss: also after a sync that failed and forgot.
TEST_P(EveryCall, AnErrorOfItAloneIsSaidAndSurvived) {
  for (int call = 1; call <= calls_ && !HasFailure(); ++call) {
    SCOPED_TRACE(std::string(stage_.name) + ": call " + std::to_string(call) + " fails");
    Hospital hospital = start();
    hospital.files().fail(call, data_loss("Input/output error"));
    {
      auto process = Process::start(hospital);
      if (process.ok()) static_cast<void>(stage_.live(**process, hospital).ok());
      if (!process.ok()) process = Process::start(hospital);
      ASSERT_TRUE(process.ok()) << process.status().message();
      const Status lived = stage_.live(**process, hospital);
      EXPECT_TRUE(lived.ok()) << lived.message();
      hospital.files().lose_power_before(1);
    }
    hospital.files().lose_power();
    auto process = Process::start(hospital);
    ASSERT_TRUE(process.ok()) << process.status().message();
    stage_.check_end(**process, hospital, 1);
  }
  std::printf("%s: an error of each of %d calls survived\n", stage_.name, calls_);
}

}  // namespace node::crash
