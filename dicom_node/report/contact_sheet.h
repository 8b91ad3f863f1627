// contact sheet: one page for a person: each radiograph beside its overlay and its regions, and what was found in it.
//
// Threads: reentrant.
#pragma once

#include <string>
#include <vector>

#include "config/base/status.h"
#include "dicom_node/object/image_loader.h"
#include "dicom_node/report/canvas.h"
#include "dicom_node/report/region_table.h"

namespace node::report {

struct ContactSheetEntry {
  object::GrayImage radiograph;
  RgbImage overlay;                // Empty: no map was drawn.
  Rectangle overlay_picture;       // The part of `overlay` that shows the radiograph; empty: all of it.
  std::string title;               // "HAND, PA": bold, above the findings.
  std::vector<std::string> lines;  // "Fracture 0.83 certain"
  RgbImage regions{};              // The radiograph with the boxes of its regions; empty: none.
  struct Table {
    std::string title;
    RegionTable rows;
  };
  std::vector<Table> tables{};  // Of regions, below the findings.
};

inline constexpr int kSheetTablePx = 13;  // Of their texts.

// Errors: kInvalidArgument if there is no entry, or a radiograph is not rows x columns pixels.
Result<RgbImage> draw_contact_sheet(const std::vector<ContactSheetEntry>& entries, const std::string& title,
                                    const std::string& disclaimer);

}  // namespace node::report
