// Predictor: all that the rest of the node knows about inference. Standard library only.
//
// Guarantee: every request is answered exactly once, also at shutdown.
// Threads:   submit() may be called from any thread and never waits for the device.
// Shapes:    a Radiograph is rows x columns, row-major float32, larger = brighter, in its own range;
//            the model's input, [N, 3, S, S], stays behind this header.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "config/base/histogram.h"
#include "config/base/status.h"

namespace node::inference {

struct Radiograph {
  std::int32_t rows = 0;
  std::int32_t columns = 0;
  std::vector<float> pixels;         // rows * columns, after Modality LUT, VOI LUT, MONOCHROME1 inversion.
  std::vector<std::uint8_t> grey{};  // Or, in their place, the grey_level() of each: all that a model sees of them.
};

// The model's 8 bit grey of a pixel: the image's whole range on 0 to 255, in float32, truncated; a constant image is
// black.
inline std::uint8_t grey_level(float pixel, float least, float range) {
  return range > 0 ? static_cast<std::uint8_t>(static_cast<std::int32_t>((pixel - least) / range * 255.0F)) : 0;
}

struct Score {
  std::string label;
  double value = 0;  // A probability in [0, 1] (unit "1"), or a quantity in UCUM units ("mo").
  std::string unit = "1";
  int region = -1;  // Where it comes from, an index of Prediction::regions; -1: of a task that looks at no regions.
};

struct Box {  // In pixels of the radiograph: columns left to right - 1, rows top to bottom - 1.
  std::int32_t left = 0, top = 0, right = 0, bottom = 0;

  bool operator==(const Box&) const = default;
};

enum class RegionSource { kWholeImage, kDetector, kTile };

struct Region {  // A part of the image that a region task looked at.
  RegionSource source = RegionSource::kWholeImage;
  std::string label;          // "distal femur", as the detector says; "tile 2"; "whole image".
  double detector_score = 0;  // Of a detected one.
  Box box;
  std::vector<float> logits;
  std::vector<Score> scores;  // Of this region alone, as of Prediction::scores.
  std::string bone;           // What the head takes it for, likeliest of its 29, and the probability.
  double bone_probability = 0;
};

struct MapReference {     // Normal images that a map is ranked among. Empty: the map is uncalibrated.
  std::string digest;     // Of the calibration: "sha256:" and 64 hex digits.
  std::string body_part;  // What the images show.
  std::int64_t images = 0;
  std::vector<double> levels;       // Percent, ascending from 0 to 100.
  std::vector<double> patch_error;  // At each level the quantile of the mean error of a patch.
  std::vector<double> image_score;  // The same of AnomalyMap::score.
};

struct AnomalyMap {           // Empty if the task draws none.
  std::int32_t size = 0;      // S: the map is S x S over the whole image, aspect ratio not kept.
  std::vector<float> values;  // [S, S] row-major mean squared error in [0, 1], 0 where never masked.
  double score = 0;           // Mean over the map.
  std::int32_t passes = 0;
  std::string mode;       // "partition" or "random".
  double mask_ratio = 0;  // Share of the patches hidden in each pass.
  std::uint64_t seed = 0;
  std::int32_t patch_size = 0;  // P: patches are P x P of the map, the unit in which the model hides and redraws.
  MapReference reference;       // Not the engine's work: of the task's calibration, for the request's body part.
};

struct ImagePart {   // Of a film of both sides the half that a task looked at.
  std::string side;  // The patient's: "R", "L". Empty: the whole image.
  Box box;
};

struct Prediction {  // Of one task.
  std::string task;
  std::string model;          // Its name in the configuration.
  std::string model_version;  // Name and digest of the checkpoint: "demo-fracture@sha256:0123..."; goes into the SR.
  std::string model_digest;   // "sha256:" and 64 hex digits over the checkpoint's weights and configuration files.
  std::vector<float> logits;
  std::vector<Score> scores;  // Per label.
  AnomalyMap map;
  // Of a region task: the whole image, which is always looked at, then the others, the surest first. Its scores are the
  // greatest of them all, its logits the whole image's.
  std::vector<Region> regions;
  std::string regions_note;  // "no regions found, whole image only"; what was left out. Mostly empty.
  ImagePart part;            // All that the task looked at, where that is not the whole image.
  std::string not_asked;  // Why the task, which waits for another, has no result: "tumour 0.12 below 0.5". Else empty.
};

struct AnalysisRequest {
  Radiograph image;                // Reduced to each model's input inside submit(), then dropped.
  std::vector<std::string> tasks;  // Heads on one backbone share its pass.
  std::uint64_t seed = 0;          // Fixes the masks of a map.
  int priority = 0;
  std::string body_part;  // As the router names it; chooses a map's reference. Empty: not known.
  // Answers of an earlier request about the same image, for tasks that wait for theirs. Not among the answers of this.
  std::vector<Prediction> known{};
};

struct TaskInfo {
  std::string task, model, model_version, model_digest, precision, device;
  std::vector<std::string> labels;
  std::string unit;
  std::int64_t parameters = 0;
  int pass = 0;           // Tasks of one number share one pass of an encoder: the second costs next to nothing.
  std::string waits_for;  // The task whose result decides whether this one is asked; empty: none.
  std::string note;       // What `check` should say of the model; mostly nothing.
};

struct DeviceMemory {  // Of a GPU, or of the machine where the device is the CPU. 0: not known.
  std::string device;
  std::uint64_t free_bytes = 0, total_bytes = 0;  // Whoever uses it. The CPU's: what it could give without swapping.
};

inline constexpr int kFailuresInARow = 5;

struct PredictorStats {
  std::uint64_t requests = 0, failures = 0;
  std::uint64_t backbone_passes = 0;  // Rows through an encoder: less than tasks x images where a backbone is shared.
  std::uint64_t halved_batches = 0;   // Device memory did not suffice: went on in passes of half as many rows.
  std::int64_t waiting = 0;
  HistogramSnapshot batch_rows{};  // Of each batch.
  // Of each model on each device that failed the last kFailuresInARow images it was given: what it said of the last.
  std::vector<std::string> failing{};
  std::vector<DeviceMemory> memory{};  // Of each device that has models.
};

class Predictor {
 public:
  virtual ~Predictor() = default;                   // Refuses new work, finishes accepted work, joins its threads.
  virtual std::vector<TaskInfo> tasks() const = 0;  // For the router, `models`, `check` and the report.
  // Preprocesses on the caller's thread, never waits for the device. `done` is called once, from a device thread (or,
  // for a request that is refused at once, from the caller's). Predictions come in the order of `tasks`. Errors:
  // kInvalidArgument (shape, unknown task, one that waits for a task neither asked nor known), kUnavailable (stopping),
  // kResourceExhausted (device memory), kInternal.
  virtual void submit(AnalysisRequest request, std::function<void(Result<std::vector<Prediction>>)> done) = 0;
  virtual PredictorStats stats() const = 0;
};

}  // namespace node::inference
