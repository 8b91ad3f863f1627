// walk_structure: what a file is made of, found without trusting it and without recursion.
//
// Guarantee: reads each byte of a header at most once and keeps none of it; what it accepts is nested no deeper, holds
//            no more elements, and inflates to no more bytes than the limits say, and every length fits into what
//            encloses it, up to the pixel data. Pixel data may be cut; behind them it looks at nothing.
// Threads:   reentrant.
// Source:    PS3.10 7.1; PS3.5 6.2.2 (UN), 7.1, 7.5, A.4 (encapsulated pixel data), A.5 (deflated).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/status.h"
#include "dicom_node/object/instance_header.h"
#include "dicom_node/object/part10.h"

class DcmFileFormat;

namespace node::object {

struct Structure {
  std::string transfer_syntax_uid;         // (0002,0010); empty without one.
  std::optional<std::uint16_t> low_group;  // InstanceHeader::low_group.
  bool has_pixel_data = false;             // (7FE0,0010) of the data set itself.
  bool encapsulated = false;
  bool cut = false;                                             // The file ends inside the pixel data.
  std::uint64_t inflated_bytes = 0, inflated_header_bytes = 0;  // Of a deflated data set; and up to its pixel data.
  std::shared_ptr<void> inflated;  // Of walk_and_load(): what is held of inflated_bytes_max() while the data set lives.
  std::uint64_t pixel_data_offset = 0;  // Of native ones: where in the file they begin; 0: nowhere, it is deflated.
  std::uint64_t pixel_data_bytes = 0;   // As far as the file holds them; of fragments, without the offset table.
  struct Fragment {
    std::uint64_t offset = 0, size = 0;  // In the file.
  };
  std::vector<Fragment> fragments;  // Of encapsulated pixel data that are not cut; the first is the Basic Offset Table.
};

// Errors: kInvalidArgument (what, and at which byte of the (inflated) data set), kNotFound, kInternal.
Result<Structure> walk_structure(const std::filesystem::path& file, const ReadLimits& limits);
Result<Structure> walk_structure(std::string_view bytes, const ReadLimits& limits);  // Of a file that is in memory.

// The walk, then DCMTK as far as the walk allows: what load_dataset() does, with what was found on the way.
Result<Structure> walk_and_load(const std::filesystem::path& file, DcmFileFormat& into, Extent extent,
                                const ReadLimits& limits);
// Up to the pixel data.
Result<Structure> walk_and_load(std::string_view bytes, DcmFileFormat& into, const ReadLimits& limits);

}  // namespace node::object
