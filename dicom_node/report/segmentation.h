// segmentation: an anomaly map for programs, as a fractional Segmentation on the pixels of its image.
//
// Shapes:    one frame of the image's own rows and columns, 8 bits: share of the colour scale x 255, hence what the
//            overlay shows as colour, before the greys below it.
// Guarantee: byte-identical for the same image, map and scale. The values are called PROBABILITY because the standard
//            has no other word for a share that is no OCCUPANCY; none is one, and the Segment Description says so.
// Threads:   reentrant. An image of 3000 x 2500 needs 40 MB while its map is written.
// Source:    PS3.3 A.51 (Segmentation IOD), C.8.20 (Segmentation), C.7.6.16 and 17 (functional groups, dimensions). A
//            radiograph has no Frame of Reference, so there are no planes: the grid is the source image's.
#pragma once

#include <string_view>
#include <vector>

#include "config/base/status.h"
#include "dicom_node/report/result_object.h"

namespace node::report {

// One for each anomaly map. The UIDs hold as model version the map's own with all else that changes the values.
std::vector<ResultReference> segmentation_references(std::string_view form, const ReportedStudy& study,
                                                     const ResultContext& context);
// Errors: as map_shares(), open_sources() and copy_identity(); kNotFound: an image or map that is none of the study's.
Result<ResultObject> make_segmentation(const ReportedStudy& study, const ResultReference& reference,
                                       const ResultContext& context);

}  // namespace node::report
