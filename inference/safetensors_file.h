// SafetensorsFile: the tensors of one *.safetensors file, checked and mapped.
//
// Guarantee: each tensor lies whole within the file and has as many bytes as its type and shape need; together they
// fill
//            the data without gap or overlap. Nothing is read beyond the file's end, whatever it says. The numbers
//            themselves are not looked at.
// Threads:   immutable after open(). The file is mapped while it lives.
// Errors:    kNotFound (no such file), kDataLoss (truncated), kInvalidArgument (malformed), kUnsupported (a type or
//            layout that is legal, but not understood). All name file and tensor.
// Source:    safetensors format: 8 bytes header length, little endian; JSON; data.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/status.h"
#include "inference/mapped_file.h"

namespace node::inference {

enum class StoredType { kFloat32, kFloat16, kBfloat16 };
std::string_view to_string(StoredType type);  // "F32", "F16", "BF16"

struct StoredTensor {  // Row-major, in the mapped file; not necessarily aligned.
  StoredType type = StoredType::kFloat32;
  std::vector<std::int64_t> shape;
  const std::byte* data = nullptr;
  std::size_t size_bytes = 0;
  std::array<std::uint8_t, 32> sha256{};  // Of the bytes; filled in by Checkpoint.
};

std::string shape_text(const std::vector<std::int64_t>& shape);  // "3x4", "scalar"

struct NamedTensor {
  std::string name;
  StoredTensor tensor;
};

class SafetensorsFile {
 public:
  static Result<SafetensorsFile> open(const std::string& path);

  const std::vector<NamedTensor>& tensors() const { return tensors_; }  // In the file's order.

 private:
  std::unique_ptr<MappedFile> file_;
  std::vector<NamedTensor> tensors_;
};

}  // namespace node::inference
