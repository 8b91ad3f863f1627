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
#include "inference/predictor.h"

namespace node::report {

inline constexpr Colour kRegionColour{90, 200, 250};
inline constexpr Colour kDecidingColour{255, 191, 0};

// Which of the scores says whose region is highlighted: the bone tumour's. -1: there is none.
int deciding_score(const inference::Prediction& prediction);

// "2 distal femur 0.93: Abnormal 0.10, Bone tumour 0.71, ...; taken for patella 0.88": as the table says it.
std::string region_line(const config::TaskConfig& task, const inference::Prediction& prediction, std::size_t region);

// `radiograph` shows the whole image of source_rows x source_columns, in whose pixels the boxes are.
// Errors: kInvalidArgument: no radiograph, no regions, or a box outside the image.
Result<OverlayPicture> draw_regions(const object::GrayImage& radiograph, int source_rows, int source_columns,
                                    const config::TaskConfig& task, const inference::Prediction& prediction,
                                    const OverlayText& text);

}  // namespace node::report
