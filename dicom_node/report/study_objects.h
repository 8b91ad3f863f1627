// build_study_objects: all objects of one study, from its findings; what `serve` and `predict` have in common.
//
// Guarantee: overlays first, the report that refers to them last; each object is handed over as soon as it is made, so
//            that one picture at a time is in memory.
// Threads:   reentrant.
#pragma once

#include <functional>
#include <set>

#include "config/base/status.h"
#include "dicom_node/report/result_object.h"
#include "dicom_node/report/secondary_capture.h"
#include "dicom_node/report/structured_report.h"

namespace node::report {

struct StudyObjectTakers {
  std::function<Status(const ReportedImage& image, Overlay overlay)> overlay;
  std::function<Status(ResultObject report)> report;
};

// Makes the overlays of `study.overlays` but those in `made_before`, then the report, which refers to all of them.
// Errors: as make_overlay() and make_structured_report(), and what a taker returns; nothing is made after an error.
Status build_study_objects(const ReportedStudy& study, const std::set<storage::Uid>& made_before,
                           const ResultContext& context, const StudyObjectTakers& take);

}  // namespace node::report
