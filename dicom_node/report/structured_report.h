// structured_report: all findings of a study as a Comprehensive SR by template TID 1500, Measurement Report.
//
// Guarantee: byte-identical for the same study, findings and configuration. Every instance that the tree refers to is
//            in Current Requested Procedure Evidence Sequence.
// Threads:   reentrant.
// Source:    PS3.16 TID 1500, 1501, 300, 1600, 4019; PS3.3 A.35.3, C.17.
#pragma once

#include <vector>

#include "config/base/status.h"
#include "dicom_node/report/result_object.h"
#include "dicom_node/report/secondary_capture.h"

namespace node::report {

struct Predecessor {  // The report of the same study before this one.
  storage::Uid sop_instance_uid;
  storage::Uid series_instance_uid;
  std::string sop_class_uid;
};

struct ReportedStudy {
  storage::Uid study_instance_uid;
  int revision = 1;
  std::vector<ReportedImage> images;  // In order of arrival; those without findings say why in their record.
  std::vector<OverlayReference> overlays;
  std::optional<Predecessor> predecessor;
};

// The UID holds as model version the SHA-256 over the sorted lines `task=model version` of all findings.
// Errors: kInvalidArgument if the study has no image, or a source's values cannot stand in a report; as load_dataset()
//         of the images with findings; kInternal: DCMTK refuses a content item (the message says which).
Result<ResultObject> make_structured_report(const ReportedStudy& study, const ResultContext& context);

}  // namespace node::report
