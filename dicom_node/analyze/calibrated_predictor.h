// calibrated_predictor: a Predictor whose anomaly maps say which normal images they are to be ranked among.
//
// Guarantee: a map of a task with a calibration gets the reference of its request's body part, and its model_version
//            gets the calibration's digest: what derives UIDs from the version tells calibrations apart. A map without
//            such a reference, and everything else, passes through unchanged.
// Threads:   as the predictor within.
#pragma once

#include <memory>
#include <vector>

#include "config/base/status.h"
#include "config/task_config.h"
#include "inference/predictor.h"

namespace node::analyze {

// Reads the calibrations that `tasks` name; without one it returns `predictor` itself.
// Errors, each naming the task: those of read_map_calibration(); kInvalidArgument: made for another model, mode or
//         number of passes.
Result<std::unique_ptr<inference::Predictor>> open_calibrated_predictor(std::unique_ptr<inference::Predictor> predictor,
                                                                        const std::vector<config::TaskConfig>& tasks);

}  // namespace node::analyze
