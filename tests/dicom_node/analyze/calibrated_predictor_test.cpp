#include "dicom_node/analyze/calibrated_predictor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "dicom_node/object/map_calibration.h"
#include "dicom_node/object/map_percentiles.h"

namespace node::analyze {
namespace {

using inference::Prediction;
using testing::HasSubstr;

// Answers every request at once: a map for task "anomaly", a probability for any other.
class MapPredictor : public inference::Predictor {
 public:
  std::vector<inference::TaskInfo> tasks() const override {
    inference::TaskInfo info;
    info.task = "anomaly";
    info.model_digest = "sha256:0123";
    return {info};
  }
  void submit(inference::AnalysisRequest request, std::function<void(Result<std::vector<Prediction>>)> done) override {
    if (request.tasks.empty()) return done(invalid_argument("no tasks"));
    std::vector<Prediction> predictions;
    for (const std::string& task : request.tasks) {
      Prediction& prediction = predictions.emplace_back();
      prediction.task = task;
      prediction.model_version = task + "@sha256:0123";
      if (task == "anomaly") prediction.map = {2, {1, 1, 3, 3}, 2, 8, "partition", 0.75, 1, 1, {}};
    }
    done(std::move(predictions));
  }
  inference::PredictorStats stats() const override { return {}; }
};

config::TaskConfig task(const std::string& calibration) {
  config::TaskConfig task;
  task.name = "anomaly";
  task.output = config::OutputKind::kAnomalyMap;
  task.calibration = calibration;
  return task;
}

std::string write_calibration(int passes = 8) {
  object::MapCalibration calibration;
  calibration.model_digest = "sha256:0123";
  calibration.mode = "partition";
  calibration.passes = passes;
  calibration.body_parts["KNEE"] = {"", "KNEE", 200, {0, 100}, {0, 4}, {0, 8}};
  const std::string file = testing::TempDir() + "calibrated_predictor_test.json";
  std::ofstream(file, std::ios::binary) << object::encode_map_calibration(calibration);
  return file;
}

std::vector<Prediction> predict(inference::Predictor& predictor, const std::string& body_part,
                                std::vector<std::string> tasks = {"fracture", "anomaly"}) {
  std::vector<Prediction> found;
  predictor.submit({.image = {}, .tasks = std::move(tasks), .body_part = body_part},
                   [&](Result<std::vector<Prediction>> answer) {
                     ASSERT_TRUE(answer.ok());
                     found = std::move(answer).value();
                   });
  return found;
}

TEST(CalibratedPredictor, GivesAMapTheReferenceOfItsBodyPartAndTellsItInTheVersion) {
  auto predictor = open_calibrated_predictor(std::make_unique<MapPredictor>(), {task(write_calibration())});
  ASSERT_TRUE(predictor.ok()) << predictor.status().message();
  const std::vector<Prediction> knee = predict(**predictor, "KNEE");
  ASSERT_EQ(knee.size(), 2u);
  EXPECT_EQ(knee[0].model_version, "fracture@sha256:0123");
  EXPECT_FALSE(object::is_calibrated(knee[0].map));
  const inference::MapReference& reference = knee[1].map.reference;
  EXPECT_EQ(reference.body_part, "KNEE");
  EXPECT_EQ(knee[1].model_version, "anomaly@sha256:0123+cal:" + reference.digest.substr(7, 16));
  EXPECT_DOUBLE_EQ(object::score_percentile(knee[1].map), 25);
  EXPECT_THAT(object::patch_percentiles(knee[1].map), testing::ElementsAre(25, 25, 75, 75));
}

TEST(CalibratedPredictor, AnImageOfAnotherOrNoBodyPartStaysUncalibrated) {
  auto predictor = open_calibrated_predictor(std::make_unique<MapPredictor>(), {task(write_calibration())});
  ASSERT_TRUE(predictor.ok());
  for (const char* body_part : {"HAND", ""}) {
    const std::vector<Prediction> found = predict(**predictor, body_part);
    EXPECT_FALSE(object::is_calibrated(found.at(1).map)) << body_part;
    EXPECT_EQ(found.at(1).model_version, "anomaly@sha256:0123");
  }
}

TEST(CalibratedPredictor, HandsOnFailures) {
  auto predictor = open_calibrated_predictor(std::make_unique<MapPredictor>(), {task(write_calibration())});
  ASSERT_TRUE(predictor.ok());
  StatusCode code = StatusCode::kOk;
  (*predictor)->submit({}, [&](Result<std::vector<Prediction>> answer) { code = answer.status().code(); });
  EXPECT_EQ(code, StatusCode::kInvalidArgument);
}

TEST(CalibratedPredictor, WithoutACalibrationIsThePredictorItself) {
  auto plain = std::make_unique<MapPredictor>();
  const inference::Predictor* const address = plain.get();
  auto same = open_calibrated_predictor(std::move(plain), {task("")});
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(same->get(), address);
}

TEST(CalibratedPredictor, RefusesWhatWasMadeForOtherMapsNamingKeyFileAndDifference) {
  const std::string file = write_calibration(/*passes=*/12);
  const auto other = open_calibrated_predictor(std::make_unique<MapPredictor>(), {task(file)});
  EXPECT_EQ(other.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(other.status().message(),
              HasSubstr("tasks.anomaly.calibration: " + file + ": was made for passes 12, not 8"));
  const auto missing = open_calibrated_predictor(std::make_unique<MapPredictor>(), {task("no such file")});
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(missing.status().message(), HasSubstr("tasks.anomaly.calibration: no such file"));
}

}  // namespace
}  // namespace node::analyze
