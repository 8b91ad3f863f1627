// secondary_capture: the overlay of one image as a Secondary Capture Image, what every archive and viewer takes.
//
// Guarantee: byte-identical for the same image, findings and configuration. No identity is burned into the pixels.
// Threads:   reentrant. A radiograph of 2048 x 2048 needs about 60 MB while it is drawn.
// Source:    PS3.3 A.8.1 (Secondary Capture Image IOD), C.7.6.1 (derived images, lossy history), C.8.6.
#pragma once

#include <string_view>
#include <vector>

#include "config/base/status.h"
#include "dicom_node/object/image_loader.h"
#include "dicom_node/report/overlay_picture.h"
#include "dicom_node/report/result_object.h"

namespace node::report {

struct Overlay {
  ResultObject object;
  OverlayPicture picture;
  object::GrayImage radiograph;  // As drawn, without the map.
};

// Whether a finding is drawn: it has a map, or regions.
bool has_picture(const object::FindingRecord& finding);

// One of the word `form` for each finding of the image that has a picture. The UIDs are derived from source, task,
// version of the instance, and as model version the map's own with a digest of all else that changes the pixels: the
// other findings' models and thresholds, the notes, the colour scale, the disclaimer, kObjectFormat.
std::vector<ResultReference> overlay_references(std::string_view form, const ReportedImage& image,
                                                const ResultContext& context,
                                                std::string_view transfer_syntax_uid = "1.2.840.10008.1.2.1");

struct DrawnFinding {
  OverlayPicture picture;
  object::GrayImage radiograph;  // As drawn, without the map.
  int rows, columns;             // Of the source.
  bool lossy;
  ReportedImage image;  // With the findings of that frame alone: a picture speaks of nothing else.
};
// The picture of the finding that `reference` names, its radiograph at most `long_side_max` pixels long. Errors: as
// make_overlay().
Result<DrawnFinding> draw_finding(const ReportedImage& image, const ResultReference& reference,
                                  const ResultContext& context, int long_side_max);

// Errors: as load_image() and draw_overlay(); kNotFound if `reference` is none of the image's; kInternal.
Result<Overlay> make_overlay(const ReportedImage& image, const ResultReference& reference,
                             const ResultContext& context);

}  // namespace node::report
