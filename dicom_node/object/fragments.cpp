#include "dicom_node/object/fragments.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

namespace node::object {

Result<Fragments> Fragments::open(const std::filesystem::path& file, std::vector<Structure::Fragment> found, int frames,
                                  std::vector<std::string_view> begin) {
  Fragments fragments;
  fragments.file_.open(file, std::ios::binary);
  if (!fragments.file_) return internal_error("open pixel data");
  fragments.found_ = std::move(found);
  fragments.frames_ = frames;
  fragments.begin_ = std::move(begin);
  return fragments;
}

Status Fragments::append(std::size_t index, std::size_t size_max, std::string& bytes) {
  const Structure::Fragment& fragment = found_[index];
  const std::size_t end = bytes.size() + std::min<std::size_t>(size_max, fragment.size);
  bytes.reserve(end);
  file_.seekg(static_cast<std::streamoff>(fragment.offset));
  while (bytes.size() < end) {  // A string's new bytes are zeros first: piece by piece, while those are in the cache.
    constexpr std::size_t kPiece = 64 * 1024;
    const std::size_t before = bytes.size(), size = std::min(kPiece, end - before);
    bytes.resize(before + size);
    if (!file_.read(bytes.data() + before, static_cast<std::streamsize>(size)))
      return data_loss("read pixel data: the file became shorter");
  }
  return ok_status();
}

Result<std::string> Fragments::read(std::size_t index, std::size_t size_max) {
  std::string bytes;
  NODE_RETURN_IF_ERROR(append(index, size_max, bytes));
  return bytes;
}

Result<Fragments::Range> Fragments::range_of(int frame) {
  const std::size_t end = found_.size(), number = static_cast<std::size_t>(frame);
  const auto frames = static_cast<std::size_t>(frames_);
  if (end < 2) return invalid_argument("no fragments of pixel data");
  if (frames == 1) return Range{1, end};
  if (end == frames + 1) return Range{number + 1, number + 2};
  NODE_ASSIGN_OR_RETURN(const std::string table, read(0));
  std::vector<std::size_t> first;
  std::uint32_t offset = 0;
  for (std::size_t i = 1; i < end; ++i) {
    bool begins = false;
    if (table.empty()) {
      constexpr std::size_t kLongest = 16;
      NODE_ASSIGN_OR_RETURN(const std::string part, read(i, kLongest));
      begins = std::any_of(begin_.begin(), begin_.end(), [&](std::string_view mark) { return part.starts_with(mark); });
    } else if (const std::size_t at = first.size() * sizeof offset; at + sizeof offset <= table.size()) {
      std::uint32_t listed = 0;
      std::memcpy(&listed, table.data() + at, sizeof listed);
      begins = listed == offset;
    }
    if (begins) first.push_back(i);
    offset += static_cast<std::uint32_t>(found_[i].size) + 8;
  }
  if (first.size() != frames) return invalid_argument("fragments that cannot be told apart by frame");
  return Range{first[number], number + 1 < frames ? first[number + 1] : end};
}

Result<std::string> Fragments::codestream(int frame) {
  NODE_ASSIGN_OR_RETURN(const Range range, range_of(frame));
  std::string joined;
  for (std::size_t i = range.first; i < range.end; ++i) NODE_RETURN_IF_ERROR(append(i, SIZE_MAX, joined));
  return joined;
}

}  // namespace node::object
