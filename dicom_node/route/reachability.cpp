#include "dicom_node/route/reachability.h"

#include <algorithm>
#include <set>

namespace node::route {
namespace {

using config::RouteMatch;

// A route is taken apart into routes of one value each, as far as these steps go.
constexpr int kStepsMax = 20'000;

constexpr Words RouteMatch::*kLists[] = {&RouteMatch::modality,   &RouteMatch::sop_class, &RouteMatch::body_part,
                                         &RouteMatch::laterality, &RouteMatch::view,      &RouteMatch::sex,
                                         &RouteMatch::from,       &RouteMatch::ae_title,  &RouteMatch::station,
                                         &RouteMatch::institution};
// Of these an image may meet several values at once: they are compared, not taken apart.
constexpr Words RouteMatch::*kSets[] = {&RouteMatch::procedure_code, &RouteMatch::description};

bool holds(const Words& wide, const Words& narrow) {
  if (wide.empty()) return true;
  return !narrow.empty() &&
         std::all_of(narrow.begin(), narrow.end(), [&wide](const std::string& word) { return contains(wide, word); });
}

bool holds_ages(const RouteMatch& wide, const RouteMatch& narrow) {
  if (!wide.age_years_min && !wide.age_years_max) return true;
  if (!narrow.age_years_min && !narrow.age_years_max) return false;  // Takes unknown ages too.
  return wide.age_years_min.value_or(0) <= narrow.age_years_min.value_or(0) &&
         wide.age_years_max.value_or(1000) >= narrow.age_years_max.value_or(1000);
}

// Whether a route may take images of all sorts, by its SOP classes and its modalities.
bool takes(const RouteMatch& match, ImageKind kind) {
  const Words classes =
      match.sop_class.empty() ? Words{"1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.7"} : match.sop_class;
  const Words modalities = match.modality.empty() ? Words{""} : match.modality;
  for (const std::string& sop_class : classes) {
    for (const std::string& modality : modalities) {
      if (image_kind(sop_class, modality) != kind) continue;
      if (kind != ImageKind::kOnlyIfNamed || !match.modality.empty()) return true;
    }
  }
  return false;
}

// Whether every image that `narrow` takes is taken by `wide` as well.
bool covers(const RouteMatch& wide, const RouteMatch& narrow) {
  for (const auto list : kLists) {
    if (!holds(wide.*list, narrow.*list)) return false;
  }
  for (const auto set : kSets) {
    if (!holds(wide.*set, narrow.*set)) return false;
  }
  return holds_ages(wide, narrow) && (takes(wide, ImageKind::kOnlyIfNamed) || !takes(narrow, ImageKind::kOnlyIfNamed));
}

class Cover {
 public:
  Cover(const std::vector<config::RouteRule>& routes, const std::vector<Match>& matches, std::size_t index)
      : routes_(routes), matches_(matches), index_(index) {}

  // Whether the routes before take all of `match`, in pieces if need be; which, is gathered in takers().
  bool is_covered(const RouteMatch& match) {
    if (++steps_ > kStepsMax) return false;
    for (std::size_t i = 0; i < index_; ++i) {
      if (!covers(matches_[i].config(), match)) continue;
      takers_.insert(i);
      return true;
    }
    for (const auto list : kLists) {
      if ((match.*list).size() < 2) continue;
      return std::all_of((match.*list).begin(), (match.*list).end(), [&](const std::string& value) {
        RouteMatch piece = match;
        piece.*list = {value};
        return is_covered(piece);
      });
    }
    return false;
  }
  Words takers() const {
    Words names;
    for (const std::size_t index : takers_) names.push_back(routes_[index].name);
    return names;
  }

 private:
  const std::vector<config::RouteRule>& routes_;
  const std::vector<Match>& matches_;
  const std::size_t index_;
  int steps_ = 0;
  std::set<std::size_t> takers_;
};

}  // namespace

std::string why_never(const std::vector<config::RouteRule>& routes, const std::vector<Match>& matches,
                      std::size_t index) {
  const RouteMatch& match = matches[index].config();
  if (!takes(match, ImageKind::kRadiograph) && !takes(match, ImageKind::kOnlyIfNamed)) {
    return "none of its SOP classes and modalities holds radiographs that a rule may take";
  }
  Cover cover(routes, matches, index);
  if (!cover.is_covered(match)) return "";
  return "all its images are taken before by " + join(cover.takers(), ", ");
}

}  // namespace node::route
