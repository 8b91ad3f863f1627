// Where models go, as a function of what a machine has; the machines are made up.
#include "inference/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace node::inference {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Devices machine(int gpus) {
  Devices devices;
  devices.present.push_back({"cpu", false});
  for (int i = 0; i < gpus; ++i) devices.present.push_back({"cuda:" + std::to_string(i), true});
  if (gpus == 0) devices.cuda_missing = "no CUDA driver with a device";
  return devices;
}

std::vector<std::size_t> placed(const std::vector<std::string>& wanted, int gpus) {
  const auto result = place(wanted, machine(gpus));
  EXPECT_TRUE(result.ok()) << result.status().message();
  return result.ok() ? *result : std::vector<std::size_t>{};
}

TEST(Place, AutoIsEveryGpuAndTheCpuWhereThereIsNone) {
  EXPECT_THAT(placed({"auto"}, 0), ElementsAre(0));
  EXPECT_THAT(placed({"auto"}, 1), ElementsAre(1));
  EXPECT_THAT(placed({"auto"}, 3), ElementsAre(1, 2, 3));
}

TEST(Place, NamesMeanThemselvesAndListsTheirUnion) {
  EXPECT_THAT(placed({"cpu"}, 2), ElementsAre(0));
  EXPECT_THAT(placed({"cuda:1"}, 2), ElementsAre(2));
  EXPECT_THAT(placed({"cuda"}, 2), ElementsAre(1, 2));
  EXPECT_THAT(placed({"cuda:1", "cpu"}, 2), ElementsAre(0, 2));
  EXPECT_THAT(placed({"cuda:0", "cuda"}, 2), ElementsAre(1, 2));
}

TEST(Place, AGpuThatIsNotThereIsUnavailableAndSaysWhy) {
  const Status none = place({"cuda"}, machine(0)).status();
  EXPECT_EQ(none.code(), StatusCode::kUnavailable);
  EXPECT_THAT(none.message(), HasSubstr("no CUDA driver"));
  EXPECT_EQ(place({"cpu", "cuda:2"}, machine(2)).status().code(), StatusCode::kUnavailable);
}

TEST(Place, OtherWordsAreMistakes) {
  EXPECT_EQ(place({"gpu"}, machine(2)).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(place({}, machine(2)).status().code(), StatusCode::kInvalidArgument);
}

TEST(LeastWaiting, IsTheFirstOfThoseWithTheFewestRows) {
  EXPECT_EQ(least_waiting({0, 1, 2}, {5, 3, 3}), 1U);
  EXPECT_EQ(least_waiting({0, 2}, {5, 0, 4}), 2U);  // Device 1 has no copy of the model.
  EXPECT_EQ(least_waiting({2}, {0, 0, 99}), 2U);
}

TEST(WantsCuda, OnlyWhereAModelCouldGoThere) {
  config::InferenceConfig config;
  config.models.resize(2);
  EXPECT_TRUE(wants_cuda(config));
  config.device = "cpu";
  EXPECT_FALSE(wants_cuda(config));
  config.models[1].devices = {"cpu", "cuda:0"};
  EXPECT_TRUE(wants_cuda(config));
  config.device = "auto";
  config.models[0].devices = config.models[1].devices = {"cpu"};
  EXPECT_FALSE(wants_cuda(config));
}

TEST(PresentDevices, TheCpuIsFirst) {
  const Devices devices = present_devices(false);
  ASSERT_EQ(devices.present.size(), 1U);
  EXPECT_EQ(devices.present[0].name, "cpu");
}

}  // namespace
}  // namespace node::inference
