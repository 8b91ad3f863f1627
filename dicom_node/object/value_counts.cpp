#include "dicom_node/object/value_counts.h"

#include <cstddef>
#include <cstring>
#include <utility>

namespace node::object {

// Neighbours are often equal: two tables, so that one need not wait for the other; and several values are loaded at
// once.
ValueCounts count_values(const StoredPixels& pixels, int step) {
  ValueCounts result;
  pixels.with_cells([&]<typename Cell>(const Cell* cells, std::size_t all) {
    constexpr std::size_t kValues = std::size_t{1} << (8 * sizeof(Cell)),
                          kAtOnce = sizeof(std::uint64_t) / sizeof(Cell);
    std::vector<std::uint32_t> counts(2 * kValues);
    std::uint32_t* const tables = counts.data();
    const auto row = static_cast<std::size_t>(pixels.columns), stride = row * static_cast<std::size_t>(step);
    for (std::size_t begin = 0; begin < all; begin += stride) {
      std::size_t i = begin;
      for (; i + kAtOnce <= begin + row; i += kAtOnce) {
        std::uint64_t word;
        std::memcpy(&word, cells + i, sizeof word);
        for (std::size_t k = 0; k < kAtOnce; ++k, word >>= 8 * sizeof(Cell))
          ++tables[k % 2 * kValues + static_cast<Cell>(word)];
      }
      for (; i < begin + row; ++i) ++tables[cells[i]];
    }
    std::uint64_t counted = 0;
    for (std::size_t value = 0; value < kValues; ++value) counted += tables[value] += tables[kValues + value];
    for (const int extreme : {pixels.least, pixels.greatest}) {
      if (std::uint32_t& count = tables[static_cast<Cell>(extreme)]; count == 0) counted += ++count;
    }
    counts.resize(kValues);
    result = {std::move(counts), all - counted};
  });
  return result;
}

}  // namespace node::object
