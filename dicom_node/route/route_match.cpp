#include "dicom_node/route/route_match.h"

#include <algorithm>
#include <set>
#include <utility>

namespace node::route {
namespace {

using config::RouteMatch;

// Criteria on one value each: what it is called, what is wanted, what the image has.
struct Criterion {
  const char* what;
  Words RouteMatch::*wanted;
  const std::string& (*value)(const Facts& facts);
};

constexpr Criterion kCriteria[] = {
    {"modality", &RouteMatch::modality, [](const Facts& f) -> const std::string& { return f.modality; }},
    {"SOP class", &RouteMatch::sop_class, [](const Facts& f) -> const std::string& { return f.sop_class; }},
    {"body part", &RouteMatch::body_part, [](const Facts& f) -> const std::string& { return f.part.term; }},
    {"laterality", &RouteMatch::laterality, [](const Facts& f) -> const std::string& { return f.laterality; }},
    {"view", &RouteMatch::view, [](const Facts& f) -> const std::string& { return f.view; }},
    {"sex", &RouteMatch::sex, [](const Facts& f) -> const std::string& { return f.sex; }},
    {"sender", &RouteMatch::from, [](const Facts& f) -> const std::string& { return f.from; }},
    {"AE title", &RouteMatch::ae_title, [](const Facts& f) -> const std::string& { return f.ae_title; }},
    {"station", &RouteMatch::station, [](const Facts& f) -> const std::string& { return f.station; }},
    {"institution", &RouteMatch::institution, [](const Facts& f) -> const std::string& { return f.institution; }},
};

std::string why_age_not(const RouteMatch& match, int age_years) {
  const auto& [low, high] = std::pair(match.age_years_min, match.age_years_max);
  if (!low && !high) return "";
  const std::string wanted = !low    ? "at most " + std::to_string(*high)
                             : !high ? "at least " + std::to_string(*low)
                                     : std::to_string(*low) + " to " + std::to_string(*high);
  if (age_years < 0) return "age is unknown, not " + wanted;
  if (age_years >= low.value_or(0) && age_years <= high.value_or(age_years)) return "";
  return "age is " + std::to_string(age_years) + ", not " + wanted;
}

}  // namespace

ImageKind image_kind(const std::string& sop_class, const std::string& modality) {
  // Presentation states, documents and key objects under an image's SOP class are no radiographs either.
  static const std::set<std::string> kNoImage = {"SR", "PR", "KO", "DOC", "SEG", "AU", "ECG", "REG"};
  static const std::set<std::string> kRadiographs = {"1.2.840.10008.5.1.4.1.1.1",    // Computed Radiography
                                                     "1.2.840.10008.5.1.4.1.1.1.1",  // Digital X-Ray, for presentation
                                                     "1.2.840.10008.5.1.4.1.1.1.1.1"};  // and for processing.
  static const std::set<std::string> kOfAllSorts = {
      "1.2.840.10008.5.1.4.1.1.1.2",    // Digital Mammography, for presentation
      "1.2.840.10008.5.1.4.1.1.1.2.1",  // and for processing.
      "1.2.840.10008.5.1.4.1.1.12.1",   // X-Ray Angiographic
      "1.2.840.10008.5.1.4.1.1.12.2",   // X-Ray Radiofluoroscopic
      "1.2.840.10008.5.1.4.1.1.7",      // Secondary Capture, and its multi-frame forms.
      "1.2.840.10008.5.1.4.1.1.7.1",   "1.2.840.10008.5.1.4.1.1.7.2",
      "1.2.840.10008.5.1.4.1.1.7.3",   "1.2.840.10008.5.1.4.1.1.7.4"};
  if (kNoImage.contains(modality)) return ImageKind::kOther;
  if (kRadiographs.contains(sop_class)) return ImageKind::kRadiograph;
  return kOfAllSorts.contains(sop_class) ? ImageKind::kOnlyIfNamed : ImageKind::kOther;
}

Result<Match> Match::create(RouteMatch config, const BodyParts& body_parts) {
  Match match;
  for (Words* words : {&config.modality, &config.laterality, &config.view, &config.sex, &config.procedure_code}) {
    for (std::string& word : *words) word = upper(word);
  }
  for (Words* words : {&config.station, &config.institution}) {
    for (std::string& word : *words) {
      const std::string folded = fold(word);
      if (folded.empty()) return invalid_argument("'" + word + "' has no letter or digit");
      word = folded;
    }
  }
  for (std::string& word : config.body_part) {
    const std::string term = body_parts.term_of(word);
    word = term.empty() ? upper(word) : term;
  }
  for (const std::string& pattern : config.description) {
    NODE_ASSIGN_OR_RETURN(Pattern compiled, Pattern::compile(pattern, "description"));
    match.descriptions_.push_back(std::move(compiled));
  }
  match.config_ = std::move(config);
  return match;
}

std::string Match::why_not(const Facts& facts) const {
  Words reasons;
  for (const Criterion& criterion : kCriteria) {
    const Words& wanted = config_.*criterion.wanted;
    const std::string& value = criterion.value(facts);
    if (wanted.empty() || contains(wanted, value)) continue;
    const bool of_file = criterion.wanted == &RouteMatch::from && value.empty();
    const std::string is = !value.empty() ? value : of_file ? "nobody (a file)" : "unknown";
    reasons.push_back(std::string(criterion.what) + " is " + is + ", not " + join(wanted, " or "));
  }
  if (const std::string age = why_age_not(config_, facts.age_years); !age.empty()) reasons.push_back(age);
  const auto has_code = [&facts](const std::string& code) { return contains(facts.procedure_codes, code); };
  if (!config_.procedure_code.empty() &&
      std::none_of(config_.procedure_code.begin(), config_.procedure_code.end(), has_code)) {
    reasons.push_back("no procedure code is " + join(config_.procedure_code, " or "));
  }
  const auto found = [&facts](const Pattern& pattern) {
    return std::any_of(facts.descriptions.begin(), facts.descriptions.end(),
                       [&pattern](const Description& description) { return pattern.fits(description); });
  };
  if (!descriptions_.empty() && std::none_of(descriptions_.begin(), descriptions_.end(), found)) {
    reasons.push_back("no description fits " + join(config_.description, " or "));
  }
  return join(reasons, "; ");
}

}  // namespace node::route
