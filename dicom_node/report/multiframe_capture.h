// multiframe_capture: the overlays of a whole study to leaf through, as one Multi-frame True Color Secondary Capture.
//
// Shapes:    every frame has the size of the largest picture; each picture lies at the top left of its frame, so that
//            the radiographs stay in place from frame to frame, and the rest of the frame is as dark as its background.
// Guarantee: byte-identical for the same study, findings and configuration. No identity is burned into the pixels.
// Threads:   reentrant. 24 frames need about 250 MB while they are written.
// Source:    PS3.3 A.8.5 (Multi-frame True Color SC Image IOD), C.7.6.6 (Multi-frame), C.8.6.3, C.8.6.4 (SC
// Multi-frame).
#pragma once

#include <string_view>
#include <vector>

#include "config/base/status.h"
#include "dicom_node/report/result_object.h"

namespace node::report {

// So many overlays fit; those of images with findings come before the others if there are more, and the Derivation
// Description says how many are left out.
inline constexpr std::size_t kFramesMax = 24;
// Of a radiograph in a frame: enough to read the map by, two thirds of what a single overlay has.
inline constexpr int kFrameLongSideMax = 1024;

// One for the study if any of its images has an overlay.
std::vector<ResultReference> multiframe_references(std::string_view form, const ReportedStudy& study,
                                                   const ResultContext& context);
// Errors: as make_overlay() and copy_identity().
Result<ResultObject> make_multiframe_capture(const ReportedStudy& study, const ResultReference& reference,
                                             const ResultContext& context);

}  // namespace node::report
