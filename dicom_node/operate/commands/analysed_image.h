// analysed_image: a file on its way through router, loader and engine, for commands that work without a store.
//
// Threads: called from one thread; the answer comes from the predictor's.
#pragma once

#include <cstddef>
#include <future>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "config/inference_config.h"
#include "dicom_node/operate/commands/commands.h"
#include "dicom_node/report/result_object.h"
#include "dicom_node/route/router.h"
#include "inference/predictor.h"

namespace node::operate {

// The instance in a file and its route; SKIPPED, with a reason, if it has none.
// Errors: as read_instance_header() and Uid::parse().
Result<report::ReportedImage> read_image(const std::string& path, const route::Router& router);

// Of a file that read_image() cannot read: a failure if it was named, or says of itself that it is DICOM (PS3.10 7.1).
bool unreadable_is_failure(const InputPath& input);

struct PendingAnalysis {
  std::future<Result<std::vector<inference::Prediction>>> answer;
  std::vector<std::string> rendering;  // LoadedImage::rendering.
};
// Loads the image and asks for `tasks`. Errors: as load_image(); what the predictor says is in the answer.
Result<PendingAnalysis> submit_image(const report::ReportedImage& image, const std::vector<std::string>& tasks,
                                     inference::Predictor& predictor);

// Takes the answers for the image's route, if that was pending, and waits for those to the tasks that it calls for.
// Returns the answers to the route's tasks, in their order. Errors: as settle_route(), load_image() and the predictor.
Result<std::vector<inference::Prediction>> settle_image(report::ReportedImage& image,
                                                        std::vector<inference::Prediction> answers,
                                                        inference::Predictor& predictor);

// How many requests may be out at once, so that batches fill and memory is bounded.
std::size_t requests_ahead(const config::InferenceConfig& config);

}  // namespace node::operate
