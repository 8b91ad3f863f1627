// skelex-pixels FILE...: how long a file takes on its way to a model's input, on one thread. For
// tools/benchmark/pixels.
//
// Prints one JSON line a file, times in milliseconds, one entry per repetition: "decode" until the stored values are in
// memory, "total" until the model's 224 x 224 input is. --input FILE writes the last input as raw float32.
#include <CLI/CLI.hpp>
#include <chrono>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "dicom_node/object/image_loader.h"
#include "dicom_node/object/stored_pixels.h"
#include "inference/preprocess.h"

namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

node::Status decode(const std::string& file) {
  NODE_ASSIGN_OR_RETURN(const auto reader,
                        node::object::PixelReader::open(file, node::object::LoadOptions().pixels_max));
  return reader->read_frame(0, node::object::UnusedBits::kKeep).status();
}

node::Status to_input(const std::string& file, const node::inference::Preprocessor& preprocessor,
                      std::vector<float>& input) {
  NODE_ASSIGN_OR_RETURN(node::object::LoadedImage image, node::object::load_image(file));
  return preprocessor.run(std::move(image.radiograph), input);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> files;
  std::string input_file;
  int repeat = 1;
  CLI::App app("Times a DICOM file's way to a model's input.");
  app.add_option("FILE", files, "DICOM files of one frame")->required();
  app.add_option("--repeat", repeat, "How often each file is read")->check(CLI::Range(1, 1000));
  app.add_option("--input", input_file, "Where to write the last input, 3 x 224 x 224 float32");
  CLI11_PARSE(app, argc, argv);

  const auto preprocessor = node::inference::Preprocessor::create({});
  if (!preprocessor.ok()) {
    std::cerr << "skelex-pixels: " << preprocessor.status().message() << "\n";
    return 1;
  }
  std::vector<float> input(preprocessor->input_size());
  for (const std::string& file : files) {
    nlohmann::json line = {{"file", file}, {"decode", nlohmann::json::array()}, {"total", nlohmann::json::array()}};
    for (int i = 0; i < repeat; ++i) {
      auto start = Clock::now();
      node::Status status = decode(file);
      line["decode"].push_back(milliseconds_since(start));
      start = Clock::now();
      if (status.ok()) status = to_input(file, *preprocessor, input);
      line["total"].push_back(milliseconds_since(start));
      if (!status.ok()) {
        std::cerr << "skelex-pixels: " << file << ": " << status.message() << "\n";
        return 1;
      }
    }
    std::cout << line.dump() << std::endl;
  }
  if (!input_file.empty()) {
    std::ofstream out(input_file, std::ios::binary);
    out.write(reinterpret_cast<const char*>(input.data()), static_cast<std::streamsize>(input.size() * sizeof(float)));
    if (!out) return 1;
  }
  return 0;
}
