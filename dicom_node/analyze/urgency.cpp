#include "dicom_node/analyze/urgency.h"

#include <fmt/format.h>

#include "config/base/rounding.h"

namespace node::analyze {

std::string why_urgent(const UrgentWhen& urgent_when, const std::string& route,
                       const std::vector<object::FindingRecord>& findings) {
  const auto conditions = urgent_when.find(route);
  if (conditions == urgent_when.end()) return "";
  for (const config::TaskCondition& condition : conditions->second) {
    for (const object::FindingRecord& finding : findings) {
      const inference::Prediction& prediction = finding.prediction;
      if (prediction.task != condition.task || !prediction.not_asked.empty()) continue;
      const bool several = prediction.scores.size() > 1;
      for (const inference::Score& score : prediction.scores) {
        if (several && score.label != condition.label) continue;
        if (score.value < condition.at_least) continue;
        return fmt::format("{}{} {}, urgent from {:g} (route {})", prediction.task, several ? " " + score.label : "",
                           fixed_text(score.value, digits_beside(score.value, 2, {condition.at_least})),
                           condition.at_least, route);
      }
    }
  }
  return "";
}

}  // namespace node::analyze
