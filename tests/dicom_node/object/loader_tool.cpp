// loader_tool FILE OUT: writes the pixels that load_image() gives as raw float32 and prints one line: rows, columns,
// aspect, and what was done. For comparison with other readers, by loader_against_pydicom_test.py.
#include <cstdio>
#include <fstream>

#include "dicom_node/object/image_loader.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto image = node::object::load_image(argv[1], {.render_for_processing = true});
  if (!image.ok()) {
    std::printf("%s: %s\n", std::string(to_string(image.status().code())).c_str(), image.status().message().c_str());
    return 1;
  }
  const auto& pixels = image->radiograph.pixels;
  std::ofstream out(argv[2], std::ios::binary);
  out.write(reinterpret_cast<const char*>(pixels.data()), static_cast<std::streamsize>(pixels.size() * sizeof(float)));
  std::printf("%d %d %.6f", image->radiograph.rows, image->radiograph.columns, image->pixel_aspect);
  for (const std::string& step : image->rendering) std::printf(" [%s]", step.c_str());
  std::printf("\n");
  return out.good() ? 0 : 1;
}
