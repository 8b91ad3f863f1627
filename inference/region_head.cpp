#include "inference/region_head.h"

#include <algorithm>
#include <cmath>

namespace node::inference {
namespace {

using Probabilities = std::array<double, kRegionLogits>;

constexpr int kBehaviour = 1, kBone = 5, kFracture = 34, kImplant = 37;  // Where each group begins.

void softmax(std::span<const float> logits, int first, int end, Probabilities& out) {
  const double greatest = *std::max_element(logits.begin() + first, logits.begin() + end);
  double sum = 0;
  for (int i = first; i < end; ++i) sum += out[i] = std::exp(logits[i] - greatest);
  for (int i = first; i < end; ++i) out[i] /= sum;
}

double sigmoid(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }

Probabilities probabilities(std::span<const float> logits) {
  Probabilities p{};
  p[0] = sigmoid(logits[0]);
  softmax(logits, kBehaviour, kBone, p);
  softmax(logits, kBone, kFracture, p);
  softmax(logits, kFracture, kImplant, p);
  p[kImplant] = sigmoid(logits[kImplant]);
  return p;
}

}  // namespace

const std::vector<std::string>& region_head_labels() {
  static const std::vector<std::string> labels{"Abnormal",
                                               "malignant",
                                               "intermediate",
                                               "benign",
                                               "no bone tumour",
                                               "carpal bones",
                                               "clavicle",
                                               "distal femur",
                                               "distal fibula",
                                               "distal humerus",
                                               "distal radius",
                                               "distal tibia",
                                               "distal ulna",
                                               "femur diaphysis",
                                               "fibula diaphysis",
                                               "finger phalanges",
                                               "hindfoot",
                                               "humerus diaphysis",
                                               "metacarpal",
                                               "metatarsal",
                                               "midfoot",
                                               "patella",
                                               "pelvis",
                                               "proximal femur",
                                               "proximal fibula",
                                               "proximal humerus",
                                               "proximal radius",
                                               "proximal tibia",
                                               "proximal ulna",
                                               "radius diaphysis",
                                               "scapula",
                                               "tibia diaphysis",
                                               "toe phalanges",
                                               "ulna diaphysis",
                                               "neoplastic pathologic fracture",
                                               "non-pathologic fracture",
                                               "no fracture",
                                               "Implant"};
  return labels;
}

std::span<const std::string> bone_labels() { return std::span(region_head_labels()).subspan(kBone, kFracture - kBone); }

std::vector<Score> region_scores(const std::vector<std::string>& labels, std::span<const float> logits) {
  const Probabilities p = probabilities(logits);
  const std::array values{p[0], p[1] + p[2] + p[3], p[1], p[2], p[3], p[kFracture], p[kFracture + 1], p[kImplant]};
  std::vector<Score> scores;
  for (std::size_t i = 0; i < values.size(); ++i) scores.push_back({labels[i], values[i], "1"});
  return scores;
}

void read_region(const std::vector<std::string>& labels, Region& region) {
  region.scores = region_scores(labels, region.logits);
  const Probabilities p = probabilities(region.logits);
  const auto* const likeliest = std::max_element(p.begin() + kBone, p.begin() + kFracture);
  region.bone = region_head_labels()[static_cast<std::size_t>(likeliest - p.begin())];
  region.bone_probability = *likeliest;
}

std::vector<Score> greatest_scores(const std::vector<Region>& regions) {
  std::vector<Score> greatest;
  for (std::size_t r = 0; r < regions.size(); ++r) {
    for (std::size_t i = 0; i < regions[r].scores.size(); ++i) {
      const Score& score = regions[r].scores[i];
      if (i == greatest.size()) greatest.push_back({score.label, -1, score.unit});
      if (score.value <= greatest[i].value) continue;
      greatest[i].value = score.value;
      greatest[i].region = static_cast<int>(r);
    }
  }
  return greatest;
}

}  // namespace node::inference
