// loader_tool [--stored] FILE OUT [FRAME]: writes the pixels of an image, or of one frame of several, as load_frame()
// gives them, as raw float32, and prints one line: rows, columns, aspect, and what was done. --stored: the stored
// values, as int32, samples interleaved, and rows, columns, samples, Photometric Interpretation. For comparison with
// other readers, by the *_test.py beside it.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "dicom_node/object/image_loader.h"
#include "dicom_node/object/stored_pixels.h"

namespace {

using node::Result;
using node::Status;

template <typename Value>
Status write(const char* path, const std::vector<Value>& values) {
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(Value)));
  return out.good() ? node::ok_status() : node::internal_error("cannot write");
}

Status write_stored(const char* file, const char* out, int frame) {
  NODE_ASSIGN_OR_RETURN(const auto reader,
                        node::object::PixelReader::open(file, node::object::LoadOptions().pixels_max));
  NODE_ASSIGN_OR_RETURN(const auto pixels, reader->read_frame(frame - 1, node::object::UnusedBits::kDrop));
  std::vector<std::int32_t> values(pixels.count());
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = pixels.at(i);
    if (pixels.is_signed) values[i] = pixels.bits_allocated == 8 ? std::int8_t(values[i]) : std::int16_t(values[i]);
  }
  std::printf("%d %d %d %s\n", pixels.rows, pixels.columns, pixels.samples, pixels.photometric_interpretation.c_str());
  return write(out, values);
}

Status write_shown(const char* file, const char* out, int frame) {
  NODE_ASSIGN_OR_RETURN(const auto image,
                        node::object::load_frame(file, frame, {.render_for_processing = true, .keep_pixels = true}));
  std::printf("%d %d %.6f", image.radiograph.rows, image.radiograph.columns, image.pixel_aspect);
  for (const std::string& step : image.rendering) std::printf(" [%s]", step.c_str());
  std::printf("\n");
  return write(out, image.radiograph.pixels);
}

}  // namespace

int main(int argc, char** argv) {
  const bool stored = argc > 1 && std::string(argv[1]) == "--stored";
  char** arguments = argv + (stored ? 2 : 1);
  const int count = argc - (stored ? 2 : 1);
  if (count != 2 && count != 3) return 2;
  const int frame = count == 3 ? std::atoi(arguments[2]) : 1;
  const Status status = (stored ? write_stored : write_shown)(arguments[0], arguments[1], frame);
  if (status.ok()) return 0;
  std::printf("%s: %s\n", std::string(to_string(status.code())).c_str(), status.message().c_str());
  return 1;
}
