#include "dicom_node/receive/same_pixels.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <system_error>
#include <utility>

#include "config/base/mutex.h"
#include "dicom_node/object/image_loader.h"
#include "dicom_node/object/instance_header.h"
#include "dicom_node/object/part10.h"

namespace node::receive {
namespace {

bool is_about_the_bytes(const Status& status) {  // Not about reading them.
  return status.code() == StatusCode::kInvalidArgument || status.code() == StatusCode::kUnsupported ||
         status.code() == StatusCode::kResourceExhausted;
}

Result<bool> have_same_encoded_pixels(const std::filesystem::path& a, const std::filesystem::path& b) {
  static Mutex one_at_a_time;  // Both lie in memory.
  MutexLock lock(one_at_a_time);
  DcmFileFormat file_a, file_b;
  for (const auto& [path, file] : {std::pair(&a, &file_a), std::pair(&b, &file_b)}) {
    const Status loaded = object::load_dataset(*path, *file, object::Extent::kWithPixelData);
    // Cut within the pixel data: nothing but the bytes is left to compare. No failure of the store.
    if (!loaded.ok()) return is_about_the_bytes(loaded) ? have_same_bytes(a, b) : Result<bool>(loaded);
  }
  DcmElement *pixels_a = nullptr, *pixels_b = nullptr;
  const bool both = file_a.getDataset()->findAndGetElement(DCM_PixelData, pixels_a).good() &&
                    file_b.getDataset()->findAndGetElement(DCM_PixelData, pixels_b).good();
  return both && pixels_a->compare(*pixels_b) == 0;
}

}  // namespace

Result<bool> have_same_bytes(const std::filesystem::path& a, const std::filesystem::path& b) {
  std::ifstream stream_a(a, std::ios::binary), stream_b(b, std::ios::binary);
  if (!stream_a || !stream_b)
    return not_found("compare " + (stream_a ? b : a).filename().string() + ": cannot be read");
  std::array<char, 1 << 16> bytes_a{}, bytes_b{};
  while (true) {
    stream_a.read(bytes_a.data(), bytes_a.size());
    stream_b.read(bytes_b.data(), bytes_b.size());
    if (stream_a.gcount() != stream_b.gcount()) return false;
    if (stream_a.gcount() == 0) return true;
    if (std::memcmp(bytes_a.data(), bytes_b.data(), static_cast<std::size_t>(stream_a.gcount())) != 0) return false;
  }
}

bool is_in_file(std::string_view bytes, const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::array<char, 1 << 16> part{};
  while (true) {
    stream.read(part.data(), part.size());
    const std::string_view found(part.data(), static_cast<std::size_t>(stream.gcount()));
    if (!bytes.starts_with(found)) return false;
    bytes.remove_prefix(found.size());
    if (!stream) return stream.eof() && bytes.empty();
  }
}

Result<bool> have_same_pixels(const std::filesystem::path& a, const std::filesystem::path& b) {
  NODE_ASSIGN_OR_RETURN(const object::InstanceHeader header_a, object::read_instance_header(a));
  NODE_ASSIGN_OR_RETURN(const object::InstanceHeader header_b, object::read_instance_header(b));
  if (!header_a.has_pixel_data || !header_b.has_pixel_data) return header_a.has_pixel_data == header_b.has_pixel_data;

  const bool syntaxes_differ = header_a.transfer_syntax_uid != header_b.transfer_syntax_uid;
  const auto digest_a = object::digest_pixels(a);
  const auto digest_b = object::digest_pixels(b);
  if (digest_a.ok() && digest_b.ok()) {
    if (digest_a->sha256_hex == digest_b->sha256_hex) return true;
    return syntaxes_differ && (digest_a->lossy_syntax || digest_b->lossy_syntax);
  }
  if (!digest_a.ok() && !is_about_the_bytes(digest_a.status())) return digest_a.status();
  if (!digest_b.ok() && !is_about_the_bytes(digest_b.status())) return digest_b.status();
  if (syntaxes_differ) return true;
  return have_same_encoded_pixels(a, b);
}

}  // namespace node::receive
