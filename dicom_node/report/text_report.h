// text_report: the findings in sentences, as a Basic Text SR, for archives and viewers that take no other report.
//
// Guarantee: byte-identical for the same study, findings and configuration. Says what the Comprehensive SR says, in the
//            words of finding_lines().
// Threads:   reentrant.
// Source:    PS3.16 TID 2000 (Basic Diagnostic Imaging Report), CID 7000; PS3.3 A.35.1.
#pragma once

#include <string>

#include "config/base/status.h"
#include "dicom_node/report/result_object.h"

namespace node::report {

// What a reader should take away: "Image 1, KNEE: Fracture 0.83 certain. Nothing found in 2 further images. ...", or
// that nothing was found or looked for; the disclaimer at the end. UTF-8, one line a sentence.
std::string impression(const ReportedStudy& study, const config::ReportConfig& config);

// Errors: as make_structured_report().
Result<ResultObject> make_text_report(const ReportedStudy& study, const ResultReference& reference,
                                      const ResultContext& context);

}  // namespace node::report
