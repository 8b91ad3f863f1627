// What was stored is decoded, for the models and to compare it with another of its UID.
#include "dicom_node/object/image_loader.h"
#include "tests/fuzz/fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const node::fuzz::FuzzFile file(data, size);
  const auto image = node::object::load_image(file.path(), {.render_for_processing = true, .pixels_max = 512ull * 512});
  if (image.ok()) (void)node::object::make_preview(*image, 64);
  return 0;
}
