// overlay picture: the radiograph with its anomaly map over it, a colour bar beside it and what was found below.
//
// Guarantee: the scale is never stretched to an image. Uncalibrated, the colour of an error is the same in every
//            picture: the scale runs from 0 to the task's map_scale_max. Calibrated, the colour of a percentile is.
//            Nothing is drawn over the anatomy but the map and, of a film of two halves, the line between; no text is
//            cut off. No identity is drawn.
// Threads:   reentrant.
// Shapes:    the radiograph lies at the top left of the canvas, at its own size; the canvas is at least 640 wide and
//            text at least 14 px, larger on larger pictures, because viewers shrink them to fit a screen.
// Source:    colour map and opacity as in the SKELEX paper (arXiv 2602.03076): `hot`, 0.55.
#pragma once

#include <string>
#include <vector>

#include "config/base/status.h"
#include "dicom_node/object/image_loader.h"
#include "dicom_node/report/canvas.h"
#include "dicom_node/report/finding_summary.h"
#include "inference/predictor.h"

namespace node::report {

// As many as a 3 megapixel portrait monitor (1536 x 2048) shows one to one: the finding is read on the original, and
// the map knows 14 x 14 patches. 2048 would make 1.8 times the bytes for nothing that is in the map.
inline constexpr int kPictureLongSideMax = 1536;
inline constexpr double kOpacityMax = 0.55;
// Share of the scale from which on the opacity is full. Below it falls with the square of the error, so that the small
// errors that every healthy image has do not tint it.
inline constexpr double kOpacityFull = 0.4;

struct OverlayText {
  std::string disclaimer;
  std::vector<FindingLine> findings;
  std::vector<std::string> details;  // Models, mode, passes, seed: small print.
  bool halves = false;  // Something was read half by half: the line between is drawn, and R and L, the patient's.
  std::vector<std::string> notes{};  // image_notes(): below the findings, in the colour of the warning.
};

struct OverlayPicture {
  RgbImage image;
  Rectangle picture;     // Where the radiograph lies.
  Rectangle colour_bar;  // Top: the end of the scale; left: over black, right: over white.
};

// The line between the halves of `picture`, the patient's right at the left, with R and L beside it, whose places are
// answered.
std::vector<Rectangle> draw_halves(Canvas& canvas, const Rectangle& picture, int text_px);

// Where a percentile of normal patches lies on the scale: each third of it is ten times as rare as the one below, 90 at
// one third, 99 at two, 99.9 and above at its end; most patches of a normal image are hardly tinted.
double percentile_share(double percentile);
// The colour of `share` of the scale, 0 to 1: black, red, yellow, white.
Colour hot_colour(double share);
// `grey` as it shows through the map where it has `share` of the scale.
Colour blend(std::uint8_t grey, double share);

// The map as shares of the colour scale, 0 to 1, at rows x columns, row by row. Errors: as draw_overlay().
Result<std::vector<float>> map_shares(const inference::AnomalyMap& map, double scale_max, int rows, int columns);
// What a share of the scale means: "fixed scale 0 to 0.1, uncalibrated".
std::string scale_in_words(const inference::AnomalyMap& map, double scale_max);

// `map` covers the whole radiograph and is resampled to its aspect ratio. Uncalibrated, its pixels are drawn;
// calibrated, its patches, each by the percentile of its mean error, and `scale_max` plays no part. Errors:
// kInvalidArgument if radiograph or map are empty, their sizes do not agree with their values, the map holds a
//         value that is no number, `scale_max` is not positive, or a calibrated map has no whole patches.
Result<OverlayPicture> draw_overlay(const object::GrayImage& radiograph, const inference::AnomalyMap& map,
                                    double scale_max, const OverlayText& text);

}  // namespace node::report
