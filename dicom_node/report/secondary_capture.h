// secondary_capture: the overlay of one image as a Secondary Capture Image, what every archive and viewer takes.
//
// Guarantee: byte-identical for the same image, findings and configuration. No identity is burned into the pixels.
// Threads:   reentrant. A radiograph of 2048 x 2048 needs about 60 MB while it is drawn.
// Source:    PS3.3 A.8.1 (Secondary Capture Image IOD), C.7.6.1 (derived images, lossy history), C.8.6.
#pragma once

#include <string>
#include <vector>

#include "config/base/status.h"
#include "dicom_node/object/image_loader.h"
#include "dicom_node/report/overlay_picture.h"
#include "dicom_node/report/result_object.h"

namespace node::report {

// What a report refers to; known before, and without, drawing.
struct OverlayReference {
  std::string source_uid;  // SOP Instance UID of the image.
  std::string task;        // Of the map: its finding_key().
  int frame = 0;           // Of the source; 0 where there is only one.
  storage::Uid sop_instance_uid;
  storage::Uid series_instance_uid;
  std::string sop_class_uid;
};

struct Overlay {
  ResultObject object;
  OverlayPicture picture;
  object::GrayImage radiograph;  // As drawn, without the map.
};

// One for each finding of the image that has a map. The UIDs are derived from source, task, version of the instance,
// and as model version the map's own with a digest of all else that changes the pixels: the other findings' models and
// thresholds, the colour scale, the disclaimer, kObjectFormat.
std::vector<OverlayReference> overlay_references(const ReportedImage& image, const ResultContext& context);

// Errors: as load_image() and draw_overlay(); kNotFound if `reference` is none of the image's; kInternal.
Result<Overlay> make_overlay(const ReportedImage& image, const OverlayReference& reference,
                             const ResultContext& context);

}  // namespace node::report
