#include "inference/safetensors_file.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "inference/json_object.h"

namespace node::inference {
namespace {

constexpr std::size_t kHeaderBytesMax = 100'000'000;  // As the format's own library has it.
constexpr std::int64_t kAnyOffset = std::numeric_limits<std::int64_t>::max();

struct Extent {  // Of one tensor in the data.
  std::int64_t begin = 0, end = 0;
  NamedTensor tensor;
};

Result<StoredType> type_of(const std::string& name, const JsonObject& entry) {
  for (const StoredType type : {StoredType::kFloat32, StoredType::kFloat16, StoredType::kBfloat16}) {
    if (name == to_string(type)) return type;
  }
  return entry.not_supported("dtype", name.substr(0, 20) + " is not one of F32, F16, BF16");
}

Result<Extent> read_entry(const std::string& name, JsonObject entry) {
  Extent extent;
  extent.tensor.name = name;
  StoredTensor& tensor = extent.tensor.tensor;
  std::string type;
  std::vector<std::int64_t> offsets;
  NODE_RETURN_IF_ERROR(entry.text("dtype", type));
  NODE_ASSIGN_OR_RETURN(tensor.type, type_of(type, entry));
  if (!entry.is_list("shape")) return entry.wrong("shape", "a list is needed");
  NODE_RETURN_IF_ERROR(entry.integers("shape", 0, kAnyOffset, tensor.shape));
  NODE_RETURN_IF_ERROR(entry.integers("data_offsets", 0, kAnyOffset, offsets));
  if (offsets.size() != 2) return entry.wrong("data_offsets", "two whole numbers are needed");
  extent.begin = offsets[0];
  extent.end = offsets[1];

  std::int64_t bytes = tensor.type == StoredType::kFloat32 ? 4 : 2;
  for (const std::int64_t side : tensor.shape) {
    if (__builtin_mul_overflow(bytes, side, &bytes)) return entry.wrong("shape", "too large");
  }
  if (extent.end < extent.begin || extent.end - extent.begin != bytes) {
    return entry.wrong("data_offsets", std::to_string(extent.begin) + " to " + std::to_string(extent.end) +
                                           " do not hold " + type + " " + shape_text(tensor.shape));
  }
  tensor.size_bytes = static_cast<std::size_t>(bytes);
  return extent;
}

// TensorFlow's and Flax's files have the same names, and other layouts.
Status check_metadata(JsonObject& header) {
  if (!header.has("__metadata__")) return ok_status();
  std::map<std::string, std::string> metadata;
  NODE_RETURN_IF_ERROR(header.text_map("__metadata__", metadata));
  const auto format = metadata.find("format");
  if (format == metadata.end() || format->second == "pt") return ok_status();
  return header.not_supported("__metadata__", "format is " + format->second.substr(0, 20) + ", pt is needed");
}

// The header's text, found in the file's first bytes.
Result<std::string_view> header_of(const MappedFile& file) {
  constexpr std::size_t kLengthBytes = 8;
  if (file.size() < kLengthBytes) return data_loss(file.path() + ": truncated in the header's length");
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    length |= static_cast<std::uint64_t>(std::to_integer<std::uint8_t>(file.data()[i])) << (8 * i);
  }
  if (length > kHeaderBytesMax) {
    return invalid_argument(file.path() + ": header of " + std::to_string(length) + " bytes: not a safetensors file");
  }
  if (length > file.size() - kLengthBytes) return data_loss(file.path() + ": truncated in the header");
  return file.text().substr(kLengthBytes, length);
}

std::string tensor_where(const std::string& path, const std::string& name) {
  return path + ": tensor " + name.substr(0, 200);
}

Status check_layout(const std::vector<Extent>& sorted, std::int64_t data_bytes, const std::string& path) {
  for (const Extent& extent : sorted) {
    if (extent.end <= data_bytes) continue;
    return data_loss(tensor_where(path, extent.tensor.name) + ": ends at byte " + std::to_string(extent.end) +
                     ", the file has " + std::to_string(data_bytes) + " bytes of data");
  }
  std::int64_t expected = 0;
  for (const Extent& extent : sorted) {
    if (extent.begin != expected) {
      return invalid_argument(tensor_where(path, extent.tensor.name) +
                              (extent.begin < expected ? ": overlaps another" : ": a gap before it") + " at byte " +
                              std::to_string(extent.begin));
    }
    expected = extent.end;
  }
  if (expected == data_bytes) return ok_status();
  return invalid_argument(path + ": " + std::to_string(data_bytes - expected) + " bytes that belong to no tensor");
}

}  // namespace

std::string_view to_string(StoredType type) {
  switch (type) {
    case StoredType::kFloat32: return "F32";
    case StoredType::kFloat16: return "F16";
    case StoredType::kBfloat16: return "BF16";
  }
  return "";
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t size : shape) {
    if (!text.empty()) text += 'x';
    text += std::to_string(size);
  }
  return text.empty() ? "scalar" : text;
}

Result<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  SafetensorsFile opened;
  NODE_ASSIGN_OR_RETURN(opened.file_, MappedFile::open(path));
  const MappedFile& file = *opened.file_;
  NODE_ASSIGN_OR_RETURN(const std::string_view text, header_of(file));
  NODE_ASSIGN_OR_RETURN(JsonObject header, JsonObject::parse(text, path + ": header"));
  NODE_RETURN_IF_ERROR(check_metadata(header));

  std::vector<Extent> extents;
  for (const std::string& name : header.keys()) {
    if (name == "__metadata__") continue;
    NODE_ASSIGN_OR_RETURN(JsonObject entry, header.object(name, tensor_where(path, name)));
    NODE_ASSIGN_OR_RETURN(Extent extent, read_entry(name, std::move(entry)));
    extents.push_back(std::move(extent));
  }
  std::sort(extents.begin(), extents.end(),
            [](const Extent& a, const Extent& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  const std::byte* const data = reinterpret_cast<const std::byte*>(text.data()) + text.size();
  NODE_RETURN_IF_ERROR(check_layout(extents, file.data() + file.size() - data, path));
  for (Extent& extent : extents) {
    extent.tensor.tensor.data = data + extent.begin;
    opened.tensors_.push_back(std::move(extent.tensor));
  }
  return opened;
}

}  // namespace node::inference
