// finding list: findings as they stand under a picture, the certain ones bold, the negative ones dim, in several
// columns where there are many.
//
// Guarantee: no line is cut off: what is too wide for its column wraps.
// Threads:   as Canvas.
#pragma once

#include <vector>

#include "dicom_node/report/canvas.h"
#include "dicom_node/report/finding_summary.h"

namespace node::report {

int finding_list_height(const std::vector<FindingLine>& lines, int size_px, int width);
int draw_finding_list(Canvas& canvas, const std::vector<FindingLine>& lines, int size_px, int x, int y,
                      int width);  // Returns the height drawn.

}  // namespace node::report
