// key_objects: the images in which something was found, as a Key Object Selection: what a viewer flags or filters by.
//
// Guarantee: byte-identical for the same study, findings and configuration. No object where nothing was found.
// Threads:   reentrant.
// Source:    PS3.16 TID 2010, CID 7010; PS3.3 A.35.4, C.17.6.
#pragma once

#include <string_view>
#include <vector>

#include "config/base/status.h"
#include "dicom_node/report/result_object.h"

namespace node::report {

// One for the study if any task found something in any image, doubtful or certain.
std::vector<ResultReference> key_object_references(std::string_view form, const ReportedStudy& study,
                                                   const ResultContext& context);
// Those images, each followed by its pictures. Errors: as make_structured_report().
Result<ResultObject> make_key_objects(const ReportedStudy& study, const ResultReference& reference,
                                      const ResultContext& context);

}  // namespace node::report
