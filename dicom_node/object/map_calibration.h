// MapCalibration: what the anomaly maps of normal images look like, by body part, as `skelex-node calibrate` writes it.
//
// Guarantee: the file is JSON, the same bytes for the same content; what read_map_calibration() returns can be used:
//            each table has one quantile a level, not descending.
// Source:    the file's keys are explained in inference/README.md.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "config/base/status.h"
#include "config/task_config.h"
#include "inference/predictor.h"

namespace node::object {

struct MapCalibration {
  std::string digest;                     // Of the file; empty until it was read from one.
  std::string model, model_digest, mode;  // What made the maps. `model` only for a person.
  std::int32_t passes = 0;
  std::map<std::string, inference::MapReference> body_parts;  // All over the same levels.
};

std::string encode_map_calibration(const MapCalibration& calibration);

// Errors, each naming the file: kNotFound (cannot be read), kInvalidArgument (not such a file; the message says why).
Result<MapCalibration> read_map_calibration(const std::filesystem::path& file);

// Errors: kInvalidArgument, saying what differs, if the task's maps are made by another model, mode or number of
// passes.
Status check_made_for(const MapCalibration& calibration, const config::TaskConfig& task,
                      const inference::TaskInfo& served);

// "partition", "random": as AnomalyMap::mode.
std::string to_string(config::MaskMode mode);

}  // namespace node::object
