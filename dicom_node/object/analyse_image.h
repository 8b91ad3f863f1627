// analyse_image: a stored image through loader and predictor, frame by frame, to one answer.
//
// Guarantee: `done` is called exactly once. One frame of several that fails fails the image: no part of an image is
//            taken for the whole. Whether a FOR PROCESSING image or one of several frames is read at all was decided by
//            its route, which else gave it no tasks.
// Threads:   loads on the caller's thread, one frame at a time; `done` is called from the predictor's, or from the
//            caller's if nothing could be asked.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "dicom_node/object/finding_record.h"
#include "inference/predictor.h"
#include "storage/study_store.h"

namespace node::object {

// Findings come frame after frame, within each in the order of `tasks`. `earlier`: findings of the same image that some
// of the tasks may wait for.
// Errors: as load_frames() and Predictor::submit(), naming the frame where there are several.
void analyse_image(const std::filesystem::path& file, const storage::InstanceRecord& instance,
                   const std::vector<std::string>& tasks, const std::vector<FindingRecord>& earlier,
                   inference::Predictor& predictor, std::function<void(Result<std::vector<FindingRecord>>)> done);

}  // namespace node::object
