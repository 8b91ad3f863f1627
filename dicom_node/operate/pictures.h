// pictures: an instance as the operator's page shows it: the radiograph, and the same with its anomaly map over it.
//
// Guarantee: both have the same size, so that one can lie over the other. Nothing of the header is drawn.
// Threads:   reentrant; takes as long as loading an image does.
// Shapes:    PNG, at most report::kPictureLongSideMax pixels long.
#pragma once

#include <string>
#include <vector>

#include "config/base/status.h"
#include "config/task_config.h"
#include "dicom_node/object/image_loader.h"
#include "inference/predictor.h"
#include "storage/spool.h"
#include "storage/study_store.h"

namespace node::operate {

// `frame` counts from 1. Errors: kNotFound (retention deleted the file, the spool does not hold it, or the image has no
// map), else as load_frame().
Result<std::string> preview_png(const storage::InstanceRecord& instance, int frame, const storage::Spool& spool);
Result<std::string> overlay_png(const storage::InstanceRecord& instance, int frame,
                                const std::vector<config::TaskConfig>& tasks, const storage::Spool& spool);

// The same of an image that is no file of the spool.
Result<std::string> preview_png(const object::GrayImage& radiograph);
Result<std::string> overlay_png(const object::GrayImage& radiograph, const inference::Prediction& map,
                                const std::vector<config::TaskConfig>& tasks);

}  // namespace node::operate
