// measurement_groups: what each image and task has to say, as TID 1501 groups below Imaging Measurements.
//
// Threads: reentrant.
// Source:  PS3.16 TID 1501, 300, 320, 4019.
#pragma once

#include <vector>

#include "config/base/status.h"
#include "dicom_node/report/result_object.h"
#include "dicom_node/report/study_sources.h"

class DSRDocumentTree;

namespace node::report {

// One group for each finding of `sources`, in a tree made from the root template TID 1500.
// Errors: kInternal: DCMTK refuses a content item; the message says which.
Status add_measurement_groups(DSRDocumentTree& document, const std::vector<Source>& sources, const ReportedStudy& study,
                              const ResultContext& context, const OwnText& text);

}  // namespace node::report
