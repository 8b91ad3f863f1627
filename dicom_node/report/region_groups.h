// region_groups: what a region task found in each region of an image, as TID 1410 groups below Imaging Measurements.
//
// Guarantee: one group for each region, the whole image first; each with the site and its side, the algorithm, every
// score, and the words of the
//            picture's table; that of a box with its outline in pixels of the source image. The whole image's is a TID
//            1501 group, whose source is the image.
// Threads:   reentrant.
// Source:    PS3.16 TID 1501, TID 1410 (planar region of interest), 1411; PS3.3 C.18.6 (spatial coordinates).
#pragma once

#include "dicom_node/report/content_tree.h"
#include "dicom_node/report/result_object.h"
#include "dicom_node/report/study_sources.h"

namespace node::report {

// The outline of `box`, selected from the image: Image Region of a TID 1410 group, which is the current item.
void add_image_region(ContentTree& tree, const inference::Box& box, const storage::InstanceRecord& record, int frame);

// The current item is a number: the region that it is of, as what it is inferred from (TID 320). Nothing where there is
// no such region.
void add_deciding_region(ContentTree& tree, const inference::Prediction& prediction, int region,
                         const storage::InstanceRecord& record, int frame);

// The current item is Imaging Measurements. Nothing where `finding` has no regions.
void add_region_groups(ContentTree& tree, const Source& source, const object::FindingRecord& finding,
                       const ResultContext& context);

}  // namespace node::report
