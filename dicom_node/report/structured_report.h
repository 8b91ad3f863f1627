// structured_report: the findings of a study, or of one of its images, by template TID 1500, Measurement Report.
//
// Guarantee: byte-identical for the same study, findings and configuration. Every instance that the tree refers to is
//            in Current Requested Procedure Evidence Sequence.
// Threads:   reentrant.
// Source:    PS3.16 TID 1500, 1501, 300, 1600, 4019; PS3.3 A.35.2, A.35.3, A.35.13, C.17.
#pragma once

#include <string_view>
#include <vector>

#include "config/base/status.h"
#include "dicom_node/report/result_object.h"

namespace node::report {

// The report of the study, or with `per_image` one of each image of which anything was asked. `form` is its word,
// `sop_class_uid` Comprehensive, Comprehensive 3D or Enhanced SR. The UID of a study's report holds as model version
// the SHA-256 over the sorted lines `task=model version` of all findings; that of an image's report the same over its
// own.
std::vector<ResultReference> report_references(std::string_view form, std::string_view sop_class_uid, bool per_image,
                                               const ReportedStudy& study, const ResultContext& context);

// Errors: kInvalidArgument if the study has no image, or a source's values cannot stand in a report; kNotFound: an
// image
//         that is none of the study's; as load_dataset() of the images with findings; kInternal: DCMTK refuses a
//         content item (the message says which).
Result<ResultObject> make_structured_report(const ReportedStudy& study, const ResultReference& reference,
                                            const ResultContext& context);

}  // namespace node::report
