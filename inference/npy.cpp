#include "inference/npy.h"

#include <array>
#include <bit>
#include <fstream>
#include <ios>
#include <iterator>
#include <regex>

namespace node::inference {
namespace {

constexpr char kMagic[] = "\x93NUMPY\x01";  // Then a zero, which ends the literal: version 1.0.
constexpr std::size_t kPreamble = 10;       // Magic, version, and the length of the header that follows.
static_assert(std::endian::native == std::endian::little);

}  // namespace

Result<std::vector<GreyImage>> read_npy_images(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return not_found(path + ": cannot be read");
  const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (bytes.size() < kPreamble || bytes.compare(0, 8, kMagic, 8) != 0) {
    return unsupported(path + ": not a .npy file of version 1.0");
  }
  const std::size_t header_bytes = static_cast<std::uint8_t>(bytes[8]) + 256U * static_cast<std::uint8_t>(bytes[9]);
  const std::string header = bytes.substr(kPreamble, header_bytes);
  static const std::regex kImages(
      R"(\{'descr': '\|u1', 'fortran_order': False, 'shape': \((\d{1,6}), (\d{1,5}), (\d{1,5})\), \}\s*)");
  std::smatch shape;
  if (!std::regex_match(header, shape, kImages)) {
    return unsupported(path + ": uint8 [N, rows, columns] in C order is needed, not " + header.substr(0, 100));
  }
  const std::size_t count = std::stoul(shape[1]);
  GreyImage image;
  image.rows = std::stoi(shape[2]);
  image.columns = std::stoi(shape[3]);
  const std::size_t size = static_cast<std::size_t>(image.rows) * static_cast<std::size_t>(image.columns);
  if (count == 0 || size == 0) return unsupported(path + ": holds no image");
  if (bytes.size() - kPreamble - header.size() != count * size) return data_loss(path + ": truncated, or too long");
  std::vector<GreyImage> images;
  auto next = bytes.begin() + static_cast<std::ptrdiff_t>(kPreamble + header.size());
  for (std::size_t i = 0; i < count; ++i) {
    image.pixels.assign(next, next + static_cast<std::ptrdiff_t>(size));
    next += static_cast<std::ptrdiff_t>(size);
    images.push_back(image);
  }
  return images;
}

Status write_npy_floats(const std::string& path, const std::vector<std::int64_t>& shape,
                        const std::vector<float>& values) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
  for (const std::int64_t side : shape) header += std::to_string(side) + ", ";
  header += "), }";
  header.append(63 - (kPreamble + header.size()) % 64, ' ');  // The data begin at a multiple of 64 bytes.
  header += '\n';
  std::ofstream file(path, std::ios::binary);
  file.write(kMagic, 8);
  file.put(static_cast<char>(header.size() & 255)).put(static_cast<char>(header.size() >> 8));
  file << header;
  file.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
  file.close();
  return file ? ok_status() : resource_exhausted(path + ": cannot be written");
}

}  // namespace node::inference
