#include "dicom_node/analyze/calibrated_predictor.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "dicom_node/object/map_calibration.h"

namespace node::analyze {
namespace {

using inference::Prediction;
using Calibrations = std::map<std::string, object::MapCalibration>;  // By task.

void add_reference(const Calibrations& calibrations, const std::string& body_part, Prediction& prediction) {
  const auto calibration = calibrations.find(prediction.task);
  if (calibration == calibrations.end() || prediction.map.size <= 0) return;
  const auto reference = calibration->second.body_parts.find(body_part);
  if (reference == calibration->second.body_parts.end()) return;
  prediction.map.reference = reference->second;
  prediction.model_version += "+cal:" + reference->second.digest.substr(std::strlen("sha256:"), 16);
}

class CalibratedPredictor : public inference::Predictor {
 public:
  CalibratedPredictor(std::unique_ptr<inference::Predictor> predictor, Calibrations calibrations)
      : calibrations_(std::move(calibrations)), predictor_(std::move(predictor)) {}

  std::vector<inference::TaskInfo> tasks() const override { return predictor_->tasks(); }
  inference::PredictorStats stats() const override { return predictor_->stats(); }

  void submit(inference::AnalysisRequest request, std::function<void(Result<std::vector<Prediction>>)> done) override {
    std::string body_part = request.body_part;
    predictor_->submit(std::move(request), [this, body_part = std::move(body_part),
                                            done = std::move(done)](Result<std::vector<Prediction>> answer) {
      if (answer.ok()) {
        for (Prediction& prediction : *answer) add_reference(calibrations_, body_part, prediction);
      }
      done(std::move(answer));
    });
  }

 private:
  const Calibrations calibrations_;
  const std::unique_ptr<inference::Predictor> predictor_;  // Last: it answers until it is gone.
};

}  // namespace

Result<std::unique_ptr<inference::Predictor>> open_calibrated_predictor(std::unique_ptr<inference::Predictor> predictor,
                                                                        const std::vector<config::TaskConfig>& tasks) {
  Calibrations calibrations;
  const std::vector<inference::TaskInfo> served = predictor->tasks();
  for (const config::TaskConfig& task : tasks) {
    if (task.calibration.empty()) continue;
    const std::string key = "tasks." + task.name + ".calibration";
    auto calibration = object::read_map_calibration(task.calibration);
    if (!calibration.ok()) return calibration.status().within(key);
    const auto info = std::find_if(served.begin(), served.end(), [&](const auto& s) { return s.task == task.name; });
    if (info == served.end()) return invalid_argument(key + ": no model serves this task");
    if (Status made_for = object::check_made_for(*calibration, task, *info); !made_for.ok())
      return made_for.within(key + ": " + task.calibration);
    calibrations.emplace(task.name, std::move(calibration).value());
  }
  if (calibrations.empty()) return predictor;
  return std::unique_ptr<inference::Predictor>(
      std::make_unique<CalibratedPredictor>(std::move(predictor), std::move(calibrations)));
}

}  // namespace node::analyze
