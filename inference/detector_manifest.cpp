#include "inference/detector_manifest.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "inference/readable.h"

namespace node::inference {
namespace {

constexpr std::int64_t kSideMax = 4096;
constexpr std::size_t kClassesMax = 1000;

template <typename T>
Status choose(JsonObject& json, const std::string& key, const std::map<std::string, T>& choices, T& value) {
  std::string word, wanted;
  NODE_RETURN_IF_ERROR(json.text(key, word));
  const auto found = choices.find(word);
  if (found != choices.end()) {
    value = found->second;
    return ok_status();
  }
  for (const auto& [name, meaning] : choices) wanted += (wanted.empty() ? "" : " or ") + name;
  return json.wrong(key, word.empty() ? wanted + " is needed" : wanted + " is needed, not " + word.substr(0, 80));
}

// A probability that must be given.
Status share(JsonObject& json, const std::string& key, double& value) {
  value = -1;
  NODE_RETURN_IF_ERROR(json.number(key, value));
  return value >= 0 && value <= 1 ? ok_status() : json.wrong(key, "a number from 0 to 1 is needed");
}

Status channels(JsonObject& json, const std::string& key, std::array<double, 3>& values) {
  std::vector<double> numbers;
  NODE_RETURN_IF_ERROR(json.numbers(key, numbers));
  if (numbers.size() != 3) return json.wrong(key, "three numbers are needed, in the order of the channels");
  std::copy(numbers.begin(), numbers.end(), values.begin());
  return ok_status();
}

Result<DetectorInput> read_input(JsonObject json) {
  DetectorInput input;
  NODE_RETURN_IF_ERROR(choose<Fit>(
      json, "fit",
      {{"letterbox", Fit::kLetterbox}, {"letterbox_top_left", Fit::kLetterboxTopLeft}, {"stretch", Fit::kStretch}},
      input.fit));
  std::int64_t height = 0, width = 0, padding = -1, resample = 0;
  NODE_RETURN_IF_ERROR(json.integer("height", 1, kSideMax, height));
  NODE_RETURN_IF_ERROR(json.integer("width", 1, kSideMax, width));
  if (height == 0 || width == 0) return json.wrong("height, width", "both are needed");
  input.values.height = static_cast<std::int32_t>(height);
  input.values.width = static_cast<std::int32_t>(width);
  NODE_RETURN_IF_ERROR(json.integer("padding", 0, 255, padding));
  if ((padding < 0) != (input.fit == Fit::kStretch))
    return json.wrong("padding", "the grey of a letterbox is needed, and of no other fit");
  input.padding = static_cast<std::uint8_t>(std::max<std::int64_t>(padding, 0));
  bool bgr = false;  // Grey has three equal channels: mean and deviation are in this order already.
  NODE_RETURN_IF_ERROR(choose<bool>(json, "channel_order", {{"rgb", false}, {"bgr", true}}, bgr));
  NODE_RETURN_IF_ERROR(json.integer("resample", 1, 5, resample));
  if (resample == 0) return json.wrong("resample", "PIL's number is needed: 2 bilinear, 3 bicubic");
  NODE_ASSIGN_OR_RETURN(input.values.resample, resample_from_pil(resample));
  input.values.rescale_factor = 0;
  NODE_RETURN_IF_ERROR(json.number("scale", input.values.rescale_factor));
  if (!(input.values.rescale_factor > 0))
    return json.wrong("scale", "the factor on 0 to 255 is needed: 1, or 1/255 as 0.00392156862745098");
  input.values.do_normalize = json.has("mean") || json.has("std");
  if (input.values.do_normalize) {
    NODE_RETURN_IF_ERROR(channels(json, "mean", input.values.mean));
    NODE_RETURN_IF_ERROR(channels(json, "std", input.values.std));
  }
  NODE_RETURN_IF_ERROR(json.refuse_unknown());
  if (const auto possible = Preprocessor::create(input.values); !possible.ok())
    return possible.status().within(json.where());
  return input;
}

// Classes of the file, and the regions they are: {"Distal femur": "distal femur"}, or both alike in a list.
Status read_classes(JsonObject& json, DetectorManifest& manifest) {
  NODE_RETURN_IF_ERROR(json.texts("classes", manifest.classes));
  if (manifest.classes.empty() || manifest.classes.size() > kClassesMax) {
    return json.wrong("classes",
                      "a list of 1 to " + std::to_string(kClassesMax) + " names is needed, in the order of the scores");
  }
  const std::set<std::string> distinct(manifest.classes.begin(), manifest.classes.end());
  if (distinct.size() != manifest.classes.size()) return json.wrong("classes", "a name occurs twice");
  std::map<std::string, std::string> regions;
  NODE_RETURN_IF_ERROR(json.text_map("regions", regions));
  for (const std::string& name : manifest.classes) {
    const auto region = regions.find(name);
    manifest.labels.push_back(region == regions.end() ? name : region->second);
    if (const std::string why = why_no_label(manifest.labels.back()); !why.empty()) {
      const bool own = region == regions.end();
      return json.wrong(own ? "classes" : "regions",
                        "the name \"" + readable(manifest.labels.back(), 80) + "\" " + why +
                            ": no report can hold it; " +
                            (own ? "give the class one that can in `regions`" : "change it here"));
    }
    if (region != regions.end()) regions.erase(region);
  }
  if (regions.empty()) return ok_status();
  return json.wrong("regions", "\"" + regions.begin()->first.substr(0, 80) + "\" is none of classes");
}

}  // namespace

Result<DetectorManifest> read_detector_manifest(JsonObject json) {
  DetectorManifest manifest;
  NODE_RETURN_IF_ERROR(json.text("file", manifest.file));
  if (manifest.file.empty() || manifest.file.find('/') != std::string::npos || manifest.file == "..") {
    return json.wrong("file", "the name of a TorchScript file of this folder is needed");
  }
  NODE_ASSIGN_OR_RETURN(JsonObject input, json.object("input"));
  NODE_ASSIGN_OR_RETURN(manifest.input, read_input(std::move(input)));
  NODE_RETURN_IF_ERROR(choose<BoxLayout>(json, "layout",
                                         {{"yolov5", BoxLayout::kYolov5},
                                          {"yolov8", BoxLayout::kYolov8},
                                          {"boxes", BoxLayout::kBoxes},
                                          {"detr", BoxLayout::kDetr},
                                          {"rt-detr", BoxLayout::kRtDetr}},
                                         manifest.layout));
  NODE_RETURN_IF_ERROR(share(json, "score_min", manifest.score_min));
  NODE_RETURN_IF_ERROR(share(json, "overlap_max", manifest.overlap_max));
  NODE_RETURN_IF_ERROR(read_classes(json, manifest));
  NODE_RETURN_IF_ERROR(json.refuse_unknown());
  return manifest;
}

Status check_against_file(const DetectorManifest& manifest, const std::string& config_txt, const std::string& where) {
  if (config_txt.empty()) return ok_status();
  NODE_ASSIGN_OR_RETURN(JsonObject json, JsonObject::parse(config_txt, where + ": config.txt"));
  std::vector<std::int64_t> size;
  NODE_RETURN_IF_ERROR(json.integers("imgsz", 1, kSideMax, size));
  if (!size.empty() && (size.front() != manifest.input.values.height || size.back() != manifest.input.values.width)) {
    return json.wrong("imgsz", "is " + std::to_string(size.front()) + " x " + std::to_string(size.back()) +
                                   ", the manifest says " + std::to_string(manifest.input.values.height) + " x " +
                                   std::to_string(manifest.input.values.width));
  }
  std::map<std::string, std::string> names;
  NODE_RETURN_IF_ERROR(json.text_map("names", names));
  if (names.empty()) return ok_status();
  if (names.size() != manifest.classes.size()) {
    return json.wrong("names", "are " + std::to_string(names.size()) + ", the manifest has " +
                                   std::to_string(manifest.classes.size()) + " classes");
  }
  for (std::size_t i = 0; i < manifest.classes.size(); ++i) {
    const auto name = names.find(std::to_string(i));
    if (name != names.end() && name->second == manifest.classes[i]) continue;
    return json.wrong("names", std::to_string(i) + " is " +
                                   (name == names.end() ? "missing" : "\"" + name->second.substr(0, 80) + "\"") +
                                   ", the manifest says \"" + manifest.classes[i].substr(0, 80) + "\"");
  }
  return ok_status();
}

}  // namespace node::inference
