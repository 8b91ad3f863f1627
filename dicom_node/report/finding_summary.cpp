#include "dicom_node/report/finding_summary.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/base/rounding.h"
#include "dicom_node/object/map_percentiles.h"
#include "dicom_node/report/codes.h"

namespace node::report {
namespace {

using config::OutputKind;

// As a person writes it: no trailing zeros, no more than `digits` after the point.
std::string short_number(double value, int digits) {
  std::string text = fmt::format("{:.{}f}", value, digits);
  if (text.find('.') == std::string::npos) return text;
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

std::string short_digest(std::string_view digest) {
  constexpr std::string_view kPrefix = "sha256:";
  if (digest.substr(0, kPrefix.size()) == kPrefix) digest.remove_prefix(kPrefix.size());
  return std::string(digest.substr(0, 8));
}

// Of how many images it is a percentile stands beside it: few images make a coarse one.
std::string anomaly_line(const inference::AnomalyMap& map) {
  if (!object::is_calibrated(map)) return fmt::format("Anomaly score {:.4f} (uncalibrated)", map.score);
  return fmt::format("Anomaly score {:.4f}, percentile {} of {} normal images, {}", map.score,
                     percentile_text(object::score_percentile(map)), map.reference.images, map.reference.body_part);
}

// In two digits, or as many as it needs beside the limit from which on it is held against something.
std::string text_beside(double value, double limit) { return fixed_text(value, digits_beside(value, 2, {limit})); }

}  // namespace

int score_digits(const config::TaskConfig& task, double value, int digits) {
  return digits_beside(value, digits, {task.threshold_doubtful, task.threshold_certain});
}

std::string score_text(const config::TaskConfig& task, double value) {
  if (value < 0.005) return "<0.01";
  if (value > 0.995) return ">0.99";
  return fixed_text(value, score_digits(task, value, 2));
}

std::string share_text(double value) {
  if (value < 0.005) return "<0.01";
  return value > 0.995 ? ">0.99" : text_beside(value, kSureOfBone);
}

// Never rounded to 0 or 100, which would say more than the table knows.
std::string percentile_text(double percentile) {
  if (percentile < 0.1) return "<0.1";
  if (percentile > 99.9) return ">99.9";
  return fmt::format("{:.1f}", percentile);
}

std::string_view to_string(Level level) {
  switch (level) {
    case Level::kNegative: return "negative";
    case Level::kDoubtful: return "doubtful";
    case Level::kCertain: return "certain";
  }
  return "unknown";
}

Level level_of(const config::TaskConfig& task, double probability) {
  if (probability >= task.threshold_certain) return Level::kCertain;
  return probability >= task.threshold_doubtful ? Level::kDoubtful : Level::kNegative;
}

Level level_of(const config::TaskConfig& task, const inference::Prediction& prediction) {
  const int leading = leading_label(prediction);
  if (leading < 0 || task.output == OutputKind::kAnomalyMap) return Level::kDoubtful;
  if (task.output == OutputKind::kRegression) return Level::kCertain;
  return level_of(task, prediction.scores[static_cast<std::size_t>(leading)].value);
}

int leading_label(const inference::Prediction& prediction) {
  const auto& scores = prediction.scores;
  if (scores.empty()) return -1;
  const auto highest =
      std::max_element(scores.begin(), scores.end(), [](const auto& a, const auto& b) { return a.value < b.value; });
  return static_cast<int>(highest - scores.begin());
}

Outcome outcome_of(const config::TaskConfig& task, const inference::Prediction& prediction) {
  const int leading = leading_label(prediction);
  if (leading < 0) return Outcome::kNeither;
  const auto named = [&](const std::vector<std::string>& labels) {
    return std::find(labels.begin(), labels.end(), prediction.scores[static_cast<std::size_t>(leading)].label) !=
           labels.end();
  };
  const bool negative = level_of(task, prediction) == Level::kNegative;
  switch (task.output) {
    case OutputKind::kSigmoid: return negative ? Outcome::kNothingFound : Outcome::kFound;
    case OutputKind::kSoftmax:
      if (task.negative_labels.empty() || negative) return Outcome::kNeither;
      return named(task.negative_labels) ? Outcome::kNothingFound : Outcome::kFound;
    case OutputKind::kRegression:
    case OutputKind::kAnomalyMap: break;
  }
  return Outcome::kNeither;
}

Outcome outcome_of(const std::vector<config::TaskConfig>& tasks, const std::vector<object::FindingRecord>& findings) {
  Outcome outcome = Outcome::kNeither;
  for (const object::FindingRecord& finding : findings)
    outcome = std::max(outcome, outcome_of(find_task(tasks, finding.prediction), finding.prediction));
  return outcome;
}

std::string region_name(const inference::Prediction& prediction, int region) {
  if (region < 0 || region >= std::ssize(prediction.regions)) return "";
  const inference::Region& one = prediction.regions[static_cast<std::size_t>(region)];
  return one.source == inference::RegionSource::kDetector ? fmt::format("region {} {}", region, one.label) : one.label;
}

std::string_view half_words(const inference::Prediction& prediction) {
  if (prediction.part.side.empty()) return "";
  return prediction.part.side == "R" ? "Right half: " : "Left half: ";
}

std::vector<FindingLine> finding_lines(const config::TaskConfig& task, const inference::Prediction& prediction) {
  std::vector<FindingLine> lines;
  if (!prediction.not_asked.empty()) {
    lines.push_back({fmt::format("{} not asked: {}", prediction.task, prediction.not_asked), std::nullopt});
    return lines;
  }
  const std::string_view where = half_words(prediction);
  const auto add = [&](const inference::Score& score, Level level) {
    const std::string region = region_name(prediction, score.region);
    // A softmax without labels that say "nothing" tells what an image shows, such as a body part: no finding, sure or
    // not.
    const bool classifies = task.output == OutputKind::kSoftmax && task.negative_labels.empty();
    lines.push_back({fmt::format("{}{} {} {}{}{}", where, score.label, score_text(task, score.value), to_string(level),
                                 region.empty() ? "" : ", ", region),
                     classifies ? std::nullopt : std::optional(level)});
  };
  switch (task.output) {
    case OutputKind::kSigmoid:
      for (const inference::Score& score : prediction.scores) add(score, level_of(task, score.value));
      break;
    case OutputKind::kSoftmax:
      if (const int leading = leading_label(prediction); leading >= 0)
        add(prediction.scores[static_cast<std::size_t>(leading)], level_of(task, prediction));
      break;
    case OutputKind::kRegression:
      for (const inference::Score& score : prediction.scores)
        lines.push_back({fmt::format("{}{} {} {}", where, score.label.empty() ? task.name : score.label,
                                     short_number(score.value, 1), score.unit),
                         std::nullopt});
      break;
    case OutputKind::kAnomalyMap: lines.push_back({anomaly_line(prediction.map), std::nullopt}); break;
  }
  return lines;
}

std::vector<FindingLine> finding_lines(const std::vector<config::TaskConfig>& tasks,
                                       const object::FindingRecord& finding,
                                       const std::vector<object::FindingRecord>& of_image) {
  const inference::Prediction& own = finding.prediction;
  const config::TaskConfig task = find_task(tasks, own);
  const std::string name = name_in_file(task);
  const auto others_have = [&](const std::string& label) {
    return std::any_of(of_image.begin(), of_image.end(), [&](const object::FindingRecord& other) {
      const auto& scores = other.prediction.scores;
      return name_in_file(find_task(tasks, other.prediction)) != name &&
             std::any_of(scores.begin(), scores.end(), [&](const auto& score) { return score.label == label; });
    });
  };
  const std::string_view where = half_words(own);
  std::vector<FindingLine> lines = finding_lines(task, own);
  for (FindingLine& line : lines) {
    for (const inference::Score& score : own.scores) {
      if (!std::string_view(line.text).substr(where.size()).starts_with(score.label + " ")) continue;
      if (task.output != OutputKind::kSoftmax && !others_have(score.label)) continue;
      line.text += " (" + name + ")";
      break;
    }
  }
  return lines;
}

std::string model_line(const inference::Prediction& prediction) {
  std::string line = fmt::format("{}: {} {}", prediction.task, prediction.model, short_digest(prediction.model_digest));
  if (prediction.map.size > 0)
    line += fmt::format(", {}, {} passes, seed {}", prediction.map.mode, prediction.map.passes, prediction.map.seed);
  if (object::is_calibrated(prediction.map)) line += ", calibration " + short_digest(prediction.map.reference.digest);
  return line;
}

namespace {

// Of the surest detected region that shows a part of the body which has nothing in common with the route's.
std::string detector_disagreement(const config::RegionHead& head, const storage::RouteDecision& route,
                                  const std::vector<object::FindingRecord>& findings) {
  for (const object::FindingRecord& finding : findings) {
    for (const inference::Region& region : finding.prediction.regions) {  // The surest first.
      if (region.source != inference::RegionSource::kDetector || region.detector_score < kSureOfBone) continue;
      const std::string term = head.term_of(region.label);
      if (!head.contradict(term, route.body_part)) continue;
      return fmt::format("{} shows {} ({}), the detector {} ({}: {} {})",
                         route.pending.empty() ? "The header" : "The whole image", route.body_part,
                         route.body_part_evidence, term, finding.prediction.task, region.label,
                         text_beside(region.detector_score, kSureOfBone));
    }
  }
  return "";
}

}  // namespace

std::string body_part_disagreement(const config::RegionHead& head, const storage::RouteDecision& route,
                                   const std::vector<object::FindingRecord>& findings) {
  const std::string of_detector = detector_disagreement(head, route, findings);
  for (const object::FindingRecord& finding : findings) {
    const int leading = leading_label(finding.prediction);
    if (head.task.empty() || finding.prediction.task != head.task || leading < 0) continue;
    const inference::Score& score = finding.prediction.scores[static_cast<std::size_t>(leading)];
    const auto term = head.terms.find(score.label);
    if (term == head.terms.end() || score.value < head.probability_min) continue;
    if (!head.contradict(term->second, route.body_part)) continue;
    return fmt::format("The header shows {} ({}), the pixels {} ({}: {} {}){}{}", route.body_part,
                       route.body_part_evidence, term->second, head.task, score.label,
                       text_beside(score.value, head.probability_min), of_detector.empty() ? "" : "; ", of_detector);
  }
  return of_detector;
}

config::TaskConfig find_task(const std::vector<config::TaskConfig>& tasks, const inference::Prediction& prediction) {
  const auto found =
      std::find_if(tasks.begin(), tasks.end(), [&](const auto& task) { return task.name == prediction.task; });
  if (found != tasks.end()) return *found;
  config::TaskConfig task;
  task.name = prediction.task;
  if (prediction.map.size > 0) task.output = OutputKind::kAnomalyMap;
  return task;
}

}  // namespace node::report
