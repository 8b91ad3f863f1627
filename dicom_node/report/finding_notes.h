// finding notes: what has to be said beside the findings of an image, whatever form they leave in: which regions were
// looked at, where detector, region head and header disagree, which tasks were left out, what was odd about its pixels.
//
// One place for it, so that no form keeps silent about what another says.
// Threads: any.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "dicom_node/report/result_object.h"

namespace node::report {

// Detector and head name two bones, and the head is sure (0.5): "region 2: detected as distal femur, taken for patella
// (0.88)". One line each.
std::vector<std::string> region_disagreements(const inference::Prediction& prediction);

// Of a task that looks at regions: "Regions: no regions found, whole image only", then its region_disagreements().
std::vector<std::string> region_notes(const inference::Prediction& prediction);

// Of an image, in the words of the measurement report: body_part_disagreement(), why tasks were left out, then of each
// finding region_notes() and quality_notes(), each line once. `frame`: of that frame alone; else of all, those of
// frames begin with "frame 2: ". Empty where the image has no findings: then why_not_analysed() speaks.
std::vector<std::string> image_notes(const ReportedImage& image, const config::ReportConfig& config,
                                     std::optional<int> frame = std::nullopt);

// "no rule for DX, SHOULDER": of an image without findings.
const std::string& why_not_analysed(const ReportedImage& image);

}  // namespace node::report
