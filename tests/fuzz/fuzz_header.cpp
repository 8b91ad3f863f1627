// Whatever a peer sends as a data set is walked, read up to the pixel data, and routed or refused.
#include <cstdlib>
#include <string_view>

#include "dicom_node/object/image_loader.h"
#include "dicom_node/object/instance_header.h"
#include "tests/fuzz/fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool registered = (node::object::register_codecs(), true);
  const node::fuzz::FuzzFile file(data, size);
  const node::object::ReadLimits limits{.inflated_bytes_max = 1 << 22, .elements_max = 10'000};
  const auto header = node::object::read_instance_header(file.path(), limits);
  const auto in_memory =
      node::object::parse_instance_header(std::string_view(reinterpret_cast<const char*>(data), size), limits);
  if (header.ok() != in_memory.ok() || (header.ok() && *header != *in_memory)) std::abort();
  if (header.ok()) (void)header->pixel_data_problem();
  return registered ? 0 : -1;
}
