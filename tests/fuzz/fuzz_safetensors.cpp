// A checkpoint that somebody downloaded. Every byte that a tensor claims is read.
#include "inference/safetensors_file.h"
#include "tests/fuzz/fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const node::fuzz::FuzzFile file(data, size);
  const auto opened = node::inference::SafetensorsFile::open(file.path());
  unsigned sum = 0;
  if (opened.ok()) {
    for (const auto& [name, tensor] : opened->tensors()) {
      for (std::size_t i = 0; i < tensor.size_bytes; ++i) sum += static_cast<unsigned>(tensor.data[i]);
    }
  }
  return sum == 0xFFFFFFFF ? -1 : 0;
}
