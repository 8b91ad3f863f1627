// region_predictor: a Predictor whose region tasks look at parts of an image, over one that looks at whole images.
// Tasks of one half (TaskConfig::half) look at that half of the image alone, cut as regions are.
//
// Guarantee: as Predictor's. The boxes of a detector are a task of their own ("TASK boxes"), which nobody else asks. A
// region task's answer holds the whole image and every chosen region, each with its own
//            logits and scores, or the request fails. Other tasks pass through unchanged; those that wait for a region
//            task (`when`) are asked after it, with its answer known.
// Batches:   each crop is a request of its own to the predictor within, which so forms batches of the crops of several
//            images. The whole image shares its pass with the other tasks.
// Threads:   crops are cut and reduced on threads of its own, not on a device's.
#pragma once

#include <memory>
#include <string>

#include "config/base/status.h"
#include "config/inference_config.h"
#include "inference/predictor.h"

namespace node::inference {

// What the predictor within must serve: besides `tasks` one for the boxes of each region task with a detector.
config::InferenceConfig with_detector_tasks(config::InferenceConfig config);

// `within` was opened with with_detector_tasks(config); without a task of regions or of a half it is returned itself.
std::unique_ptr<Predictor> open_region_predictor(std::unique_ptr<Predictor> within,
                                                 const config::InferenceConfig& config);

}  // namespace node::inference
