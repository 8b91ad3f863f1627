// DetectorManifest: what a TorchScript detector must be told of, because its file does not say it: manifest.json beside
// it.
//
// Guarantee: complete: nothing is guessed. What the file itself knows (an Ultralytics export's config.txt) must agree.
// Source:    the layouts of inference/README.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "inference/detector_input.h"
#include "inference/json_object.h"

namespace node::inference {

enum class BoxLayout {
  kYolov5,  // [N, boxes, 5 + C]: centre, size, objectness, classes: the score is objectness times class.
  kYolov8,  // [N, 4 + C, boxes]: centre, size, classes.
  kBoxes,   // [N, boxes, 6]: corners, score, class; already suppressed.
  kDetr,    // logits [N, boxes, C + 1] and boxes [N, boxes, 4], centre and size as shares; softmax, the last is none.
  kRtDetr,  // logits [N, boxes, C] and the same boxes; a sigmoid each.
};

struct DetectorManifest {
  std::string file;  // In the manifest's folder.
  DetectorInput input;
  BoxLayout layout = BoxLayout::kYolov8;
  double score_min = 0, overlap_max = 0;
  std::vector<std::string> classes;  // As the file calls them, in the order of its scores.
  std::vector<std::string> labels;   // One each: the region of that class.
};

// Errors: kInvalidArgument (a key that is missing or cannot be), kUnsupported (one that is not understood). All name
//         file and key.
Result<DetectorManifest> read_detector_manifest(JsonObject json);

// `config_txt`: the extra file of that name in the TorchScript file; empty: none.
// Errors: kInvalidArgument naming the key that contradicts the manifest.
Status check_against_file(const DetectorManifest& manifest, const std::string& config_txt, const std::string& where);

}  // namespace node::inference
