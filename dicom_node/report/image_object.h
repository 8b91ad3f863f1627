// image_object: what an object that speaks of one image copies from it and says about it.
//
// Include in .cpp files only: the types are DCMTK's. Threads: reentrant.
// Source: PS3.3 C.7.3.1 (General Series), C.7.6.1 (derived images, lossy history).
#pragma once

#include <string>
#include <vector>

#include "dicom_node/object/result_identity.h"
#include "dicom_node/report/canvas.h"
#include "dicom_node/report/codes.h"
#include "dicom_node/report/result_object.h"

class DcmDataset;
class DcmItem;
class DcmTagKey;

namespace node::report {

struct SeriesText {
  const char* modality;
  const char* number;  // 9001 and up: last in every list.
  const char* description;
};

// A sequence of one item, the code.
void put_code(DcmItem& item, const DcmTagKey& sequence, const Code& code);
// Coding Scheme Identification: says whose the private codes of `code`'s scheme are; of a public scheme nothing.
void put_coding_scheme(DcmItem& result, const Code& code);
// As it stands in the source, if it does.
void copy_element(DcmItem& source, DcmItem& result, const DcmTagKey& tag);
// UIDs of class, instance and series, and the series' own attributes; Instance Number 1; body part and side as in the
// sources, none where these differ: a picture of both hands is not of the first one's side.
void put_series(const std::vector<DcmItem*>& sources, DcmItem& result, const ResultReference& reference,
                const SeriesText& text);
// General Image: what lets a viewer hang the result beside its source.
void put_general_image(DcmItem& source, DcmItem& result, const char* image_type);
// Appends to Source Image Sequence. `frame` as below; `unscaled`: pixel for pixel as in the source.
void put_source_image(DcmItem& item, const ReportedImage& image, int frame, bool unscaled);
// One more item of the sequence; null if DCMTK has none to give.
DcmItem* new_item(DcmItem& item, const DcmTagKey& sequence);
// By its transfer syntax or what it says of its history.
bool is_lossy(DcmDataset& source);
// An image made from a lossy one is lossy for ever.
void put_lossy_history(DcmItem& source, DcmItem& result, bool lossy);
// Appends to `sequence` an item that refers to the image; `frame` from 1, 0: all of it.
DcmItem* put_image_reference(DcmItem& item, const DcmTagKey& sequence, const ReportedImage& image, int frame);

// SC Equipment: our own General Equipment, which put_common() has written, and the time of the capture.
void put_secondary_capture(DcmItem& result, const object::DicomDateTime& moment);
// Whether one of the sources says that it shows a face, or what else a person is known by.
bool is_recognizable(const std::vector<DcmItem*>& sources);
// What describes RGB pixels with text of ours, never identity, in them. `recognizable`: as above.
void put_rgb(DcmItem& result, int rows, int columns, bool recognizable);
// The same, and the pixels.
void put_pixels(DcmItem& result, const RgbImage& image, bool recognizable);

}  // namespace node::report
