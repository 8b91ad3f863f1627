// On a machine with a GPU: the same answers from it as from the CPU. Elsewhere skipped, saying why.
#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "inference/device.h"
#include "inference/engine.h"
#include "tests/inference/checkpoint_files.h"

namespace node::inference {
namespace {

using namespace test_files;

TEST(Gpu, AnswersAsTheCpuDoes) {
  const Devices devices = present_devices(true);
  if (devices.present.size() < 2) GTEST_SKIP() << "no GPU here: " << devices.cuda_missing;
  TemporaryFolder folder;
  write_checkpoint(folder.path() / "classifier", classifier_config(2), classifier_tensors(1, 2));
  write_checkpoint(folder.path() / "maps", mae_config(), mae_tensors(1));
  config::InferenceConfig config;
  config.batch_delay = std::chrono::milliseconds(0);
  for (const char* device : {"cpu", "cuda"}) {
    for (const char* kind : {"classifier", "maps"}) {
      config::ModelConfig model;
      model.name = std::string(kind) + " on " + device;
      model.path = (folder.path() / kind).string();
      model.precision = config::Precision::kFloat32;
      model.devices = {device};
      config::TaskConfig task;
      task.name = task.model = model.name;
      if (std::string(kind) == "maps") task.output = config::OutputKind::kAnomalyMap;
      config.models.push_back(model);
      config.tasks.push_back(task);
    }
  }
  SystemClock clock;
  const auto predictor = open_engine(config, clock);
  ASSERT_TRUE(predictor.ok()) << predictor.status().message();
  AnalysisRequest request;
  request.image = {4, 4, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};
  request.tasks = {"classifier on cpu", "classifier on cuda", "maps on cpu", "maps on cuda"};
  std::promise<Result<std::vector<Prediction>>> promise;
  (*predictor)->submit(request, [&](auto result) { promise.set_value(std::move(result)); });
  const auto answer = promise.get_future().get();
  ASSERT_TRUE(answer.ok()) << answer.status().message();
  EXPECT_NEAR((*answer)[0].scores[0].value, (*answer)[1].scores[0].value, 1e-4);
  EXPECT_NEAR((*answer)[2].map.score, (*answer)[3].map.score, 1e-4);
}

}  // namespace
}  // namespace node::inference
