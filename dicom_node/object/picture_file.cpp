#include "dicom_node/object/picture_file.h"

#include <png.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "dicom_node/object/image_loader.h"
#include "dicom_node/object/part10.h"
#include "dicom_node/object/result_identity.h"
#include "dicom_node/object/sha256.h"

namespace node::object {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

constexpr std::string_view kPng = "\x89PNG\r\n\x1a\n"sv;
constexpr std::string_view kJpeg = "\xff\xd8\xff"sv;
constexpr const char* kComputedRadiography = "1.2.840.10008.5.1.4.1.1.1";
constexpr const char* kExplicitLittleEndian = "1.2.840.10008.1.2.1";
constexpr const char* kJpegBaseline = "1.2.840.10008.1.2.4.50";
constexpr const char* kJpegExtended = "1.2.840.10008.1.2.4.51";

struct Picture {
  int rows = 0, columns = 0, samples = 1, bits = 8;
  const char* transfer_syntax = kExplicitLittleEndian;
  const char* photometric = "MONOCHROME2";
  std::string pixels;  // As (7FE0,0010) holds them, encapsulation and all.
};

void put_number(std::string& into, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) into += static_cast<char>(value >> (8 * i) & 0xff);
}

// Explicit VR Little Endian (PS3.5 7.1.2), for the representations with a short length.
void put(std::string& into, std::uint16_t group, std::uint16_t element, std::string_view vr, std::string value) {
  if (value.size() % 2 != 0) value += vr == "UI" ? '\0' : ' ';
  put_number(into, group, 2);
  put_number(into, element, 2);
  into += vr;
  put_number(into, value.size(), 2);
  into += value;
}

void put(std::string& into, std::uint16_t group, std::uint16_t element, int value) {
  std::string bytes;
  put_number(bytes, static_cast<std::uint64_t>(value), 2);
  put(into, group, element, "US", std::move(bytes));
}

Status check_size(std::uint64_t rows, std::uint64_t columns) {
  if (rows == 0 || columns == 0) return invalid_argument("the picture is empty");
  if (rows > 0xffff || columns > 0xffff || rows * columns > LoadOptions{}.pixels_max) {
    return resource_exhausted("the picture has " + std::to_string(columns) + " x " + std::to_string(rows) +
                              " pixels, more than this node reads");
  }
  return ok_status();
}

Result<Picture> read_png(std::string_view bytes) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  if (png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()) == 0) {
    return invalid_argument(std::string("the PNG file is damaged: ") + image.message);
  }
  Picture picture;
  Status size = check_size(image.height, image.width);
  if (size.ok()) {
    const bool colour = (image.format & PNG_FORMAT_FLAG_COLOR) != 0;
    image.format = colour ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    image.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;  // Its values are grey levels, not light.
    picture.samples = colour ? 3 : 1;
    if (colour) picture.photometric = "RGB";
    picture.rows = static_cast<int>(image.height);
    picture.columns = static_cast<int>(image.width);
    picture.pixels.resize(PNG_IMAGE_SIZE(image));  // Black: what lies behind a picture that is transparent.
    if (png_image_finish_read(&image, nullptr, picture.pixels.data(), 0, nullptr) == 0) {
      size = invalid_argument(std::string("the PNG file is damaged: ") + image.message);
    }
  }
  png_image_free(&image);
  if (!size.ok()) return size;
  return picture;
}

// The segments of a JPEG file up to its frame header.
Result<Picture> read_jpeg(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(bytes[i]); };
  std::optional<int> adobe_transform;
  for (std::size_t i = 2; i + 4 <= bytes.size();) {
    const int marker = at(i + 1);
    if (at(i) != 0xff) break;
    if (marker == 0xff) {  // Fill byte.
      ++i;
      continue;
    }
    const std::size_t length = at(i + 2) << 8 | at(i + 3), end = i + 2 + length;
    if (length < 2 || end > bytes.size()) break;
    if (marker == 0xee && length >= 14 && bytes.compare(i + 4, 5, "Adobe") == 0) adobe_transform = at(i + 15);
    const bool frame = marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
    if (!frame) {
      i = end;
      continue;
    }
    if (marker > 0xc1) return unsupported("a JPEG file that is neither baseline nor extended: save it as baseline");
    if (length < 8) break;
    Picture picture;
    picture.bits = at(i + 4);
    picture.rows = at(i + 5) << 8 | at(i + 6);
    picture.columns = at(i + 7) << 8 | at(i + 8);
    picture.samples = at(i + 9);
    NODE_RETURN_IF_ERROR(
        check_size(static_cast<std::uint64_t>(picture.rows), static_cast<std::uint64_t>(picture.columns)));
    if (picture.samples != 1 && picture.samples != 3) return unsupported("a JPEG file that is neither grey nor RGB");
    if (picture.bits != 8 && !(picture.bits == 12 && picture.samples == 1)) {
      return unsupported("a JPEG file of " + std::to_string(picture.bits) + " bits");
    }
    picture.transfer_syntax = marker == 0xc0 ? kJpegBaseline : kJpegExtended;
    if (picture.samples == 3) picture.photometric = adobe_transform == 0 ? "RGB" : "YBR_FULL_422";
    // An empty offset table, one fragment, the end of the sequence: PS3.5 A.4.
    picture.pixels = "\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0"s;
    put_number(picture.pixels, bytes.size() + bytes.size() % 2, 4);
    picture.pixels += bytes;
    if (bytes.size() % 2 != 0) picture.pixels += '\0';
    picture.pixels += "\xfe\xff\xdd\xe0\x00\x00\x00\x00"sv;
    return picture;
  }
  return invalid_argument("the JPEG file is damaged: it has no frame header");
}

}  // namespace

bool is_picture(std::string_view bytes) { return bytes.starts_with(kPng) || bytes.starts_with(kJpeg); }

Result<std::string> picture_as_dicom(std::string_view bytes, const std::string& body_part) {
  NODE_ASSIGN_OR_RETURN(Picture picture, bytes.starts_with(kPng) ? read_png(bytes) : read_jpeg(bytes));
  Sha256 hash;
  hash.update(bytes);
  const std::string digest = hash.finish_hex();
  const auto uid = [&](std::string_view kind) { return derive_uid(kind, digest, "", "", "").str(); };
  const std::string instance = uid("picture");
  std::string file = encode_meta_header(kComputedRadiography, instance, picture.transfer_syntax, "");
  put(file, 0x0008, 0x0016, "UI", kComputedRadiography);
  put(file, 0x0008, 0x0018, "UI", instance);
  put(file, 0x0008, 0x0060, "CS", "CR");
  put(file, 0x0018, 0x0015, "CS", body_part);
  put(file, 0x0020, 0x000d, "UI", uid("picture-study"));
  put(file, 0x0020, 0x000e, "UI", uid("picture-series"));
  put(file, 0x0028, 0x0002, picture.samples);
  put(file, 0x0028, 0x0004, "CS", picture.photometric);
  if (picture.samples > 1) put(file, 0x0028, 0x0006, 0);
  put(file, 0x0028, 0x0010, picture.rows);
  put(file, 0x0028, 0x0011, picture.columns);
  put(file, 0x0028, 0x0100, picture.bits > 8 ? 16 : 8);
  put(file, 0x0028, 0x0101, picture.bits);
  put(file, 0x0028, 0x0102, picture.bits - 1);
  put(file, 0x0028, 0x0103, 0);
  const bool encapsulated = picture.transfer_syntax != kExplicitLittleEndian;
  if (picture.pixels.size() % 2 != 0) picture.pixels += '\0';
  file += "\xe0\x7f\x10\x00OB\x00\x00"sv;
  put_number(file, encapsulated ? 0xffffffff : picture.pixels.size(), 4);
  file += picture.pixels;
  return file;
}

}  // namespace node::object
