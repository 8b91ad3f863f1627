// GreyTable: what each stored value of one image looks like: its brightness, by the image's own attributes.
//
// Guarantee: larger = brighter; MONOCHROME1 is inverted exactly once, by Photometric Interpretation alone; padding is
//            as dark as the darkest pixel. All rules are decided on the histogram, so an image of any size costs one
//            look-up per pixel; on that of every eighth row where no other row could decide otherwise.
// Threads:   reentrant.
// Source:    PS3.3 C.7.5.1.1.2 (padding), C.7.6.3.1.2 (photometric), C.11.1 (modality), C.11.2 (VOI), C.11.6;
//            C.7.6.16.2.9, C.7.6.16.2.10 (rescale and windows of one frame).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "dicom_node/object/stored_pixels.h"

class DcmItem;

namespace node::object {

struct GreyTable {
  std::vector<float> brightness;       // By stored value, taken as unsigned: 256 or 65536 entries.
  float least = 0, greatest = 0;       // Of the brightness of the values that occur.
  std::vector<std::string> rendering;  // LoadedImage::rendering, this part of it.
};

enum class Presentation {
  kAsHeaderSays,
  kAutomatic,  // FOR PROCESSING: no attribute says how to show it; 0.5 to 99.5 percent of the values.
};

// `pixels` have one sample and their extremes; `frame` counts from 0. Of an image with functional groups its rescale
// and windows are those of the frame. Errors: kUnsupported (a Photometric Interpretation that is neither grey nor
// palette).
Result<GreyTable> make_grey_table(DcmItem& data_set, const StoredPixels& pixels, Presentation presentation,
                                  int frame = 0);

}  // namespace node::object
