// summary_page: a whole study on one page, as a Secondary Capture Image: each image beside its anomaly map and the
// boxes of its regions, with what was found in it and a table of the regions' scores.
//
// Guarantee: byte-identical for the same study, findings and configuration. No identity is burned into the pixels.
// Threads:   reentrant. One image at a time is in memory at its own size.
// Source:    PS3.3 A.8.1.
#pragma once

#include <string_view>
#include <vector>

#include "config/base/status.h"
#include "dicom_node/report/result_object.h"

namespace node::report {

// So many images fit on the page; those with findings come first, and the page says how many it does not show.
inline constexpr std::size_t kSummaryImagesMax = 24;

// One for the study if any image was analysed.
std::vector<ResultReference> summary_references(std::string_view form, const ReportedStudy& study,
                                                const ResultContext& context);
// Errors: as draw_overlay() and copy_identity(). An image that cannot be shown is named with the reason instead.
Result<ResultObject> make_summary_page(const ReportedStudy& study, const ResultReference& reference,
                                       const ResultContext& context);

}  // namespace node::report
