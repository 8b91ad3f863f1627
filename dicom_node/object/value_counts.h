// ValueCounts: how often each stored value of an image occurs, in all rows or in some.
//
// Guarantee: the least and the greatest of all values occur in it, whatever was left out.
// Threads:   reentrant.
#pragma once

#include <cstdint>
#include <vector>

#include "dicom_node/object/stored_pixels.h"

namespace node::object {

struct ValueCounts {
  std::vector<std::uint32_t> counts;  // By stored value, taken as unsigned: 256 or 65536.
  std::uint64_t uncounted = 0;        // Pixels left out.
};

// Of every `step`th row from the first on. `pixels` have one sample and their extremes.
ValueCounts count_values(const StoredPixels& pixels, int step);

}  // namespace node::object
