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

// What is wrong with a file, and what a person can do about it.
std::string reason_and_way_out(const Status& status);

using PendingAnalysis = std::future<Result<std::vector<object::FindingRecord>>>;
// Loads the image and asks for `tasks`, beside image.findings that it has already. Errors in the answer: as
// analyse_image().
PendingAnalysis submit_image(const report::ReportedImage& image, const std::vector<std::string>& tasks,
                             inference::Predictor& predictor);

// Takes the findings for the image's route, if that was pending, and waits for those of the tasks that it calls for.
// Returns the findings of the route's tasks, in their order. Errors: as settle_route() and analyse_image().
Result<std::vector<object::FindingRecord>> settle_image(report::ReportedImage& image,
                                                        std::vector<object::FindingRecord> findings,
                                                        inference::Predictor& predictor);

// How many requests may be out at once, so that batches fill and memory is bounded.
std::size_t requests_ahead(const config::InferenceConfig& config);

}  // namespace node::operate
