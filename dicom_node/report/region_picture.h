// region picture: the radiograph with the regions that a region task looked at, numbered, and a table of their scores.
//
// Guarantee: every region is drawn and in the table, the whole image as number 0; where there is none but the whole
//            image, or one was left out, the note says so. The one that decides for deciding_score() is drawn thick and
//            in another colour. No text is cut off. No identity is drawn.
// Threads:   reentrant.
// Shapes:    as of an overlay picture: the radiograph lies at the top left of the canvas, at its own size.
#pragma once

#include <string>
#include <vector>

#include "config/base/status.h"
#include "config/task_config.h"
#include "dicom_node/object/image_loader.h"
#include "dicom_node/report/overlay_picture.h"
#include "dicom_node/report/region_table.h"
#include "inference/predictor.h"

namespace node::report {

// "2 distal femur 0.93: Abnormal 0.10, Bone tumour 0.71, ...; taken for patella 0.88": as the table says it.
std::string region_line(const config::TaskConfig& task, const inference::Prediction& prediction, std::size_t region);

// The radiograph with its numbered boxes alone, their edges and numbers as for texts of that size. Errors: as below.
Result<RgbImage> draw_region_boxes(const object::GrayImage& radiograph, int source_rows, int source_columns,
                                   const inference::Prediction& prediction, int text_px);

// `radiograph` shows the whole image of source_rows x source_columns, in whose pixels the boxes are.
// Errors: kInvalidArgument: no radiograph, no regions, or a box outside the image.
Result<OverlayPicture> draw_regions(const object::GrayImage& radiograph, int source_rows, int source_columns,
                                    const config::TaskConfig& task, const inference::Prediction& prediction,
                                    const OverlayText& text);

}  // namespace node::report
