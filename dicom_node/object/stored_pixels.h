// StoredPixels: the stored values of one frame, decompressed and freed of what the header does not mean by them.
//
// Guarantee: nothing is allocated before the header, the lengths and the compressed stream's own size were checked
//            against each other and the limit.
// Shapes:    rows x columns x samples, row-major, samples interleaved, 8 or 16 bits each in the machine's byte order,
//            moved down by High Bit, masked to Bits Stored and sign-extended. With kJudge, padding that Bits Stored
//            cannot hold keeps all its bits: masked it would be some pixel's value.
// Source:    PS3.3 C.7.6.3.1; PS3.5 8 and annex A.4.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/base/status.h"
#include "dicom_node/object/bytes.h"
#include "dicom_node/object/instance_header.h"

class DcmItem;

namespace node::object {

struct StoredPixels {
  int rows = 0, columns = 0, samples = 1;
  int bits_allocated = 16;  // 8 or 16.
  int bits_stored = 16;     // Those that hold the values, which the header may have wrong.
  bool is_signed = false;
  std::string photometric_interpretation;  // Of the decompressed values.
  Bytes bytes;
  // Of the values; of one sample, and not with kKeep.
  int least = std::numeric_limits<int>::max(), greatest = std::numeric_limits<int>::min();
  std::optional<std::pair<int, int>> padding;  // Of one sample: the least and the greatest value that is padding.
  std::vector<std::string> remarks;            // What was put right: "bits stored=14, header says 12".

  std::size_t count() const { return bytes.size() / static_cast<std::size_t>(bits_allocated / 8); }
  std::uint16_t at(std::size_t i) const {
    return bits_allocated == 8 ? bytes[i] : static_cast<std::uint16_t>(bytes[2 * i] | bytes[2 * i + 1] << 8);
  }
  // Calls `use` with the stored values as uint8_t or uint16_t and their count: the width is asked for once, not by
  // pixel.
  template <typename Use>
  void with_cells(Use use) const {
    if (bits_allocated == 8) {
      use(bytes.data(), count());
    } else {
      use(reinterpret_cast<const std::uint16_t*>(bytes.data()), count());
    }
  }
};

// Bits above Bits Stored: dropped as the standard says, looked at whether they are rubbish or pixels, or left, and High
// Bit with them.
enum class UnusedBits { kDrop, kJudge, kKeep };

class PixelReader {
 public:
  // Errors: as load_image().
  static Result<std::unique_ptr<PixelReader>> open(const std::filesystem::path& file, std::uint64_t pixels_max);
  ~PixelReader();

  const InstanceHeader& header() const;
  DcmItem& data_set();
  Result<StoredPixels> read_frame(int frame, UnusedBits unused_bits);  // In ascending order.

 private:
  struct Impl;
  explicit PixelReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

bool is_lossy_transfer_syntax(const std::string& uid);

}  // namespace node::object
