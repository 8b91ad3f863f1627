// presentation_state: findings drawn on the original image by the viewer itself, as a Grayscale Softcopy Presentation
// State: the patch where the anomaly map is highest, and the findings as text.
//
// Guarantee: byte-identical for the same image, findings and configuration. The grey values are shown as the source's
//            own attributes say.
// Threads:   reentrant.
// Source:    PS3.3 A.33.1 (GSPS IOD), C.10.4 to C.10.7, C.11.8, C.11.10; C.11.6 (Softcopy Presentation LUT).
#pragma once

#include <string_view>
#include <vector>

#include "config/base/status.h"
#include "dicom_node/report/result_object.h"

namespace node::report {

// One for each image with findings.
std::vector<ResultReference> presentation_references(std::string_view form, const ReportedStudy& study,
                                                     const ResultContext& context);
// Errors: as load_dataset() and copy_identity(); kNotFound: an image that is none of the study's.
Result<ResultObject> make_presentation_state(const ReportedStudy& study, const ResultReference& reference,
                                             const ResultContext& context);

}  // namespace node::report
