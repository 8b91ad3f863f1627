#include "inference/preprocess_config.h"

#include <algorithm>
#include <initializer_list>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "inference/detector_input.h"
#include "inference/json_object.h"
#include "inference/preprocess.h"

namespace node::inference {
namespace {

constexpr std::int64_t kSideMax = 16384;

// `family`: ViT or Yolos.
Status check_class(JsonObject& config, const std::string& family) {
  const std::set<std::string> understood{family + "ImageProcessor", family + "ImageProcessorFast",
                                         family + "ImageProcessorPil", family + "FeatureExtractor"};
  for (const char* key : {"image_processor_type", "feature_extractor_type"}) {
    std::string name = family + "ImageProcessor";
    NODE_RETURN_IF_ERROR(config.text(key, name));
    if (!understood.contains(name)) return config.not_supported(key, "not understood: " + name.substr(0, 80));
  }
  return ok_status();
}

// A side, [height, width] or {height, width}; with one number `default_to_square` says what it means.
Status read_size(JsonObject& config, std::int32_t& height, std::int32_t& width) {
  bool to_square = true;
  NODE_RETURN_IF_ERROR(config.boolean("default_to_square", to_square));
  std::vector<std::int64_t> sides{height, width};
  if (config.is_object("size")) {
    NODE_ASSIGN_OR_RETURN(JsonObject size, config.object("size"));
    if (!size.has("height") || !size.has("width")) return config.not_supported("size", "height and width are needed");
    NODE_RETURN_IF_ERROR(size.integer("height", 1, kSideMax, sides[0]));
    NODE_RETURN_IF_ERROR(size.integer("width", 1, kSideMax, sides[1]));
    NODE_RETURN_IF_ERROR(size.refuse_unknown());
  } else {
    if (config.has("size") && !config.is_list("size") && !to_square) {
      return config.not_supported("default_to_square",
                                  "false: only a size that gives up the aspect ratio is supported");
    }
    NODE_RETURN_IF_ERROR(config.integers("size", 1, kSideMax, sides));
    if (sides.empty() || sides.size() > 2) return config.wrong("size", "one number or two are needed");
  }
  height = static_cast<std::int32_t>(sides.front());
  width = static_cast<std::int32_t>(sides.back());
  return ok_status();
}

Status read_channels(JsonObject& config, const std::string& key, std::array<double, 3>& values) {
  std::vector<double> numbers(values.begin(), values.end());
  NODE_RETURN_IF_ERROR(config.numbers(key, numbers));
  if (numbers.size() == 1 && !config.is_list(key)) numbers.assign(3, numbers.front());
  if (numbers.size() != 3) return config.wrong(key, "three numbers are needed");
  std::copy_n(numbers.begin(), 3, values.begin());
  return ok_status();
}

Status read_resample(JsonObject& config, Resample& resample) {
  std::int64_t number = static_cast<std::int64_t>(resample);
  NODE_RETURN_IF_ERROR(config.integer("resample", 0, 1000, number));
  Result<Resample> filter = resample_from_pil(number);
  if (!filter.ok()) return filter.status().within(config.where());
  resample = *filter;
  return ok_status();
}

// Steps that we do not have, and layouts of what Python takes and gives.
Status refuse_other_steps(JsonObject& config, std::initializer_list<const char*> steps) {
  for (const char* key : steps) {
    bool wanted = false;
    NODE_RETURN_IF_ERROR(config.boolean(key, wanted));
    if (wanted) return config.not_supported(key, "only false is supported");
  }
  std::string layout = "channels_first";
  NODE_RETURN_IF_ERROR(config.text("data_format", layout));
  if (layout != "channels_first" && layout != "ChannelDimension.FIRST") {
    return config.not_supported("data_format", "channels_first is needed, not " + layout.substr(0, 80));
  }
  // do_convert_rgb: our input is grey and becomes three equal channels, which is what it asks for. crop_size, pad_size:
  // of steps that are off.
  config.without_effect({"do_convert_rgb", "input_data_format", "device", "return_tensors", "crop_size", "pad_size",
                         "size_divisor", "processor_class", "disable_grouping", "_valid_processor_keys",
                         "_processor_class", "image_seq_length"});
  return ok_status();
}

// What is done to the pixels, whatever the size.
Status read_values(JsonObject& config, PreprocessConfig& preprocess) {
  NODE_RETURN_IF_ERROR(read_resample(config, preprocess.resample));
  NODE_RETURN_IF_ERROR(config.boolean("do_resize", preprocess.do_resize));
  NODE_RETURN_IF_ERROR(config.boolean("do_rescale", preprocess.do_rescale));
  NODE_RETURN_IF_ERROR(config.number("rescale_factor", preprocess.rescale_factor));
  NODE_RETURN_IF_ERROR(config.boolean("do_normalize", preprocess.do_normalize));
  NODE_RETURN_IF_ERROR(read_channels(config, "image_mean", preprocess.mean));
  return read_channels(config, "image_std", preprocess.std);
}

// {shortest_edge, longest_edge}, {height, width}, or the shortest edge as a number and max_size.
Status read_edges(JsonObject& config, DetectorInput& input) {
  std::int64_t shortest = input.shortest_edge, longest = input.longest_edge;
  if (config.is_object("size")) {
    NODE_ASSIGN_OR_RETURN(JsonObject size, config.object("size"));
    if (size.has("height") || size.has("width")) {
      std::int64_t height = 0, width = 0;
      NODE_RETURN_IF_ERROR(size.integer("height", 1, kSideMax, height));
      NODE_RETURN_IF_ERROR(size.integer("width", 1, kSideMax, width));
      if (height == 0 || width == 0) return config.not_supported("size", "height and width are needed");
      input.fit = Fit::kStretch;
      input.values.height = static_cast<std::int32_t>(height);
      input.values.width = static_cast<std::int32_t>(width);
      return size.refuse_unknown();
    }
    if (!size.has("shortest_edge") || !size.has("longest_edge")) {
      return config.not_supported("size", "shortest_edge and longest_edge, or height and width, are needed");
    }
    NODE_RETURN_IF_ERROR(size.integer("shortest_edge", 1, kSideMax, shortest));
    NODE_RETURN_IF_ERROR(size.integer("longest_edge", 1, kSideMax, longest));
    NODE_RETURN_IF_ERROR(size.refuse_unknown());
  } else {
    NODE_RETURN_IF_ERROR(config.integer("size", 1, kSideMax, shortest));
    NODE_RETURN_IF_ERROR(config.integer("max_size", 1, kSideMax, longest));
  }
  input.shortest_edge = static_cast<std::int32_t>(shortest);
  input.longest_edge = static_cast<std::int32_t>(longest);
  return ok_status();
}

}  // namespace

Result<DetectorInput> read_yolos_input(JsonObject config) {
  DetectorInput input;
  NODE_RETURN_IF_ERROR(check_class(config, "Yolos"));
  NODE_RETURN_IF_ERROR(read_edges(config, input));
  NODE_RETURN_IF_ERROR(read_values(config, input.values));
  if (!input.values.do_resize) return config.not_supported("do_resize", "only true is supported");
  NODE_RETURN_IF_ERROR(refuse_other_steps(config, {"do_center_crop"}));
  // Padding makes images of a batch alike; ours are batched by size. The rest is about the boxes of training images.
  config.without_effect({"do_pad", "pad_and_return_pixel_mask", "pad_size", "max_size", "default_to_square", "format",
                         "do_convert_annotations", "do_reduce_labels"});
  NODE_RETURN_IF_ERROR(config.refuse_unknown());
  PreprocessConfig any = input.values;
  if (const Result<Preprocessor> possible = Preprocessor::create(any); !possible.ok()) {
    return possible.status().within(config.where());
  }
  return input;
}

Result<PreprocessConfig> read_preprocess_config(JsonObject config) {
  PreprocessConfig preprocess;
  preprocess.mean = preprocess.std = {0.5, 0.5, 0.5};
  NODE_RETURN_IF_ERROR(check_class(config, "ViT"));
  NODE_RETURN_IF_ERROR(read_size(config, preprocess.height, preprocess.width));
  NODE_RETURN_IF_ERROR(read_values(config, preprocess));
  NODE_RETURN_IF_ERROR(refuse_other_steps(config, {"do_center_crop", "do_pad"}));
  NODE_RETURN_IF_ERROR(config.refuse_unknown());
  if (const Result<Preprocessor> possible = Preprocessor::create(preprocess); !possible.ok()) {
    return possible.status().within(config.where());
  }
  return preprocess;
}

}  // namespace node::inference
