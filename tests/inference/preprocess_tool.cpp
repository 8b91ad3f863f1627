// Reads one float32 image from standard input and writes what inference/preprocess.h makes of it to standard output:
// the 8-bit image, the resized 8-bit image, the model's input as float32. For preprocess_parity_test.py.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "inference/preprocess.h"

namespace {

using node::Result;
using node::Status;
using node::inference::GreyImage;
using node::inference::PreprocessConfig;
using node::inference::Preprocessor;
using node::inference::Radiograph;

bool parse_three(const char* text, std::array<double, 3>& values) {
  return std::sscanf(text, "%lf,%lf,%lf", &values[0], &values[1], &values[2]) == 3;
}

template <typename T>
bool write(const std::vector<T>& values) {
  return std::fwrite(values.data(), sizeof(T), values.size(), stdout) == values.size();
}

Status run(char** argv) {
  Radiograph image{std::atoi(argv[1]), std::atoi(argv[2]), {}};
  image.pixels.resize(static_cast<std::size_t>(image.rows) * image.columns);
  PreprocessConfig config;
  config.height = std::atoi(argv[3]);
  config.width = std::atoi(argv[4]);
  const std::string resample = argv[5], factor = argv[6], mean = argv[7];
  config.do_resize = resample != "-";
  if (config.do_resize) {
    NODE_ASSIGN_OR_RETURN(config.resample, node::inference::resample_from_pil(std::atoi(argv[5])));
  }
  config.do_rescale = factor != "-";
  if (config.do_rescale) config.rescale_factor = std::strtod(argv[6], nullptr);
  config.do_normalize = mean != "-";
  if (config.do_normalize && (!parse_three(argv[7], config.mean) || !parse_three(argv[8], config.std))) {
    return node::invalid_argument("MEAN and STD are three numbers a,b,c or -");
  }
  if (std::fread(image.pixels.data(), sizeof(float), image.pixels.size(), stdin) != image.pixels.size()) {
    return node::invalid_argument("too few pixels on standard input");
  }

  NODE_ASSIGN_OR_RETURN(const Preprocessor preprocessor, Preprocessor::create(config));
  NODE_ASSIGN_OR_RETURN(const GreyImage grey, node::inference::to_8_bit(image));
  NODE_ASSIGN_OR_RETURN(const GreyImage reduced, preprocessor.reduce(grey));
  std::vector<float> input(preprocessor.input_size());
  NODE_RETURN_IF_ERROR(preprocessor.run(image, input));
  if (!write(grey.pixels) || !write(reduced.pixels) || !write(input)) return node::internal_error("standard output");
  return node::ok_status();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 9) {
    std::fprintf(stderr, "usage: %s ROWS COLUMNS HEIGHT WIDTH RESAMPLE|- FACTOR|- MEAN|- STD|-\n", argv[0]);
    return 2;
  }
  const Status status = run(argv);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
