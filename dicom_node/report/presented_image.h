// presented_image: what a presentation state says of how its image looks. It takes the place of all that the image says
// of it itself, so whatever is left out here is not shown (PS3.4 N.2).
//
// Threads: as the data sets.
// Source:  PS3.3 C.11.1, C.11.2, C.11.6, C.11.7, C.11.8, C.11.12, C.10.4, C.7.6.11.
#pragma once

#include <string>
#include <vector>

class DcmItem;

namespace node::report {

inline constexpr const char* kOverlayLayer = "OVERLAYS";  // The layer of the image's own overlay planes.

// Modality LUT, Softcopy VOI LUT and Presentation LUT, as the models saw the image: `rendering` of its finding says
// which of its windows or tables were used, or which range of values. A table is written with 16 bits: of 9 to 15, as
// detectors have them, not every reader takes.
void put_grey_values(DcmItem& source, DcmItem& result, const std::vector<std::string>& rendering);

// All of the image, its pixels as wide and high as its spacings say.
void put_displayed_area(DcmItem& source, DcmItem& result, int rows, int columns);

// The image's own display shutter, if it is complete.
void put_shutter(DcmItem& source, DcmItem& result);

bool has_overlays(DcmItem& source);
// Activates the overlay planes of the image in kOverlayLayer.
void put_overlay_activation(DcmItem& source, DcmItem& result);

}  // namespace node::report
