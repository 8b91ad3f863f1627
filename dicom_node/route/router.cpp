#include "dicom_node/route/router.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <initializer_list>
#include <map>
#include <regex>
#include <set>
#include <utility>

namespace node::route {
namespace {

using config::BodyPartTable;
using config::Code;
using config::ForProcessing;
using config::RouteMatch;
using config::RouteRule;
using object::InstanceHeader;

using Words = std::vector<std::string>;

// Longer descriptions than LO allows (64 characters) are cut, so that no header keeps the regular expressions busy.
constexpr std::size_t kDescriptionMax = 128;

bool contains(const Words& list, std::string_view value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

std::string join(const Words& list, std::string_view separator) {
  std::string text;
  for (const std::string& item : list) {
    if (!text.empty()) text += separator;
    text += item;
  }
  return text;
}

std::string upper(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return result;
}

// The Latin letters U+00C0 to U+00FF without their accents, as they are written where a code string cannot hold them.
constexpr std::array<const char*, 64> kLatin1Letters = {
    "A", "A", "A", "A", "A", "A", "AE", "C", "E", "E", "E", "E", "I", "I", "I",  "I",  //
    "D", "N", "O", "O", "O", "O", "O",  " ", "O", "U", "U", "U", "U", "Y", "TH", "SS",
    "A", "A", "A", "A", "A", "A", "AE", "C", "E", "E", "E", "E", "I", "I", "I",  "I",  //
    "D", "N", "O", "O", "O", "O", "O",  " ", "O", "U", "U", "U", "U", "Y", "TH", "Y"};

// Upper case ASCII of UTF-8 or, where that does not fit, of Latin-1, which devices write whatever character set they
// declare; every run of other characters becomes one space: "Knie_re." -> "KNIE RE", "Épaule" -> "EPAULE".
std::string fold(std::string_view text) {
  std::string result;
  const auto append_separator = [&result] {
    if (!result.empty() && result.back() != ' ') result += ' ';
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned c = static_cast<unsigned char>(text[i]);
    const unsigned next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0;
    if ((c == 0xC2 || c == 0xC3) && (next & 0xC0) == 0x80) {
      c = (c & 0x03) << 6 | (next & 0x3F);
      ++i;
    }
    if (c < 0x80 && std::isalnum(static_cast<int>(c))) {
      result += static_cast<char>(std::toupper(static_cast<int>(c)));
    } else if (c >= 0xC0 && c <= 0xFF && *kLatin1Letters[c - 0xC0] != ' ') {
      result += kLatin1Letters[c - 0xC0];
    } else {
      append_separator();
    }
  }
  if (!result.empty() && result.back() == ' ') result.pop_back();
  return result;
}

Words split(std::string_view text) {
  Words words;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    if (end > begin) words.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

// Words that say from where or of which side, not what. Only dropped from a value that is no alias as a whole:
// "L SPINE" is the lumbar spine, "L KNEE" the left knee.
bool is_view_word(const std::string& word) {
  static const std::set<std::string> kWords = {
      "AP",       "PA",      "LAT",    "LATERAL", "OBL",      "OBLIQUE", "AX",   "AXIAL", "SEITL",
      "SEITLICH", "SCHRAEG", "SCHRAG", "FACE",    "PROFIL",   "DP",      "DV",   "VIEW",  "VIEWS",
      "LL",       "RL",      "LLO",    "RLO",     "STANDING", "STEHEND", "WB",   "XR",    "XRAY",
      "RX",       "CR",      "DX",     "DR",      "EBENEN",   "EB",      "NATIV"};
  return kWords.contains(word) ||
         std::all_of(word.begin(), word.end(), [](unsigned char c) { return std::isdigit(c); });
}

bool is_side_word(const std::string& word) {
  static const std::set<std::string> kWords = {
      "L",        "R",         "LT",        "RT",     "LE",        "LI",      "RE",      "LFT",       "RGT",
      "LEFT",     "RIGHT",     "LINKS",     "RECHTS", "LINKE",     "RECHTE",  "LINKER",  "RECHTER",   "LINKES",
      "RECHTES",  "G",         "D",         "GAUCHE", "DROIT",     "DROITE",  "DRT",     "GCHE",      "IZQ",
      "IZDA",     "IZQUIERDA", "IZQUIERDO", "DER",    "DCHA",      "DERECHA", "DERECHO", "SIN",       "SINISTER",
      "SINISTRA", "DEXTER",    "DEXTRA",    "BOTH",   "B",         "BIL",     "BILAT",   "BILATERAL", "BEIDSEITS",
      "BDS",      "BEIDE",     "AMBOS",     "AMBAS",  "BILATERALE"};
  return kWords.contains(word);
}

std::string scheme_key(const Code& code) {
  // SNM3 and 99SDM are older designators of SNOMED-RT codes, PS3.16 section 8.
  const std::string scheme = upper(code.scheme);
  return (scheme == "SNM3" || scheme == "99SDM" ? "SRT" : scheme) + "|" + upper(code.value);
}

struct BodyPart {
  std::string term;           // Empty: nobody named one.
  std::string evidence;       // The attribute that did.
  std::string contradiction;  // "HAND (code), CHEST"; empty: none.
  std::string unrecognised;   // Body Part Examined, if it was there and names nothing known.
};

// BodyPartTable with its keys folded and its patterns compiled.
class BodyParts {
 public:
  Status compile(const BodyPartTable& table) {
    for (const auto& [alias, term] : table.terms) aliases_[squeeze(fold(alias))] = upper(term);
    for (const auto& [term, groups] : table.groups) {
      groups_[upper(term)] = std::set<std::string>(groups.begin(), groups.end());
      aliases_.try_emplace(squeeze(fold(term)), upper(term));
    }
    for (const auto& [code, term] : table.codes) codes_[upper(code)] = upper(term);
    for (const auto& [code, term] : table.procedure_codes) procedure_codes_[upper(code)] = upper(term);
    for (const auto& [pattern, term] : table.description_patterns) {
      try {
        patterns_.emplace_back(std::regex(pattern, std::regex::ECMAScript | std::regex::icase | std::regex::optimize),
                               upper(term));
      } catch (const std::regex_error& error) {
        return invalid_argument("body part " + term + ": pattern '" + pattern + "': " + error.what());
      }
    }
    return ok_status();
  }

  // The term that a written body part stands for; empty if none.
  std::string term_of(std::string_view written) const {
    Words words = split(fold(written));
    const auto known = [this](const Words& candidate) {
      const auto found = aliases_.find(join(candidate, ""));
      return found == aliases_.end() ? std::string() : found->second;
    };
    std::string term = known(words);
    if (term.empty() && std::erase_if(words, is_view_word) > 0) term = known(words);
    if (term.empty() && std::erase_if(words, is_side_word) > 0) term = known(words);
    return term;
  }

  BodyPart find(const InstanceHeader& header) const {
    BodyPart part;
    Words said, terms;  // What region codes and Body Part Examined say, and in whose words.
    for (const Code& code : header.anatomic_region) {
      const auto found = codes_.find(scheme_key(code));
      if (found == codes_.end() || contains(terms, found->second)) continue;
      terms.push_back(found->second);
      said.push_back(found->second + " (code)");
    }
    if (!terms.empty()) part = {terms.front(), "Anatomic Region Sequence", "", ""};
    const std::string examined = term_of(header.body_part_examined);
    if (!examined.empty()) {
      terms.push_back(examined);
      said.push_back(examined);
      if (part.term.empty()) part = {examined, "Body Part Examined", "", ""};
    } else {
      part.unrecognised = fold(header.body_part_examined).substr(0, 16);
    }
    if (contradict(terms)) return {"", "", join(said, ", "), ""};
    if (!part.term.empty()) return part;

    for (const Code& code : header.procedure_codes) {
      const auto found = procedure_codes_.find(scheme_key(code));
      if (found != procedure_codes_.end()) return {found->second, "procedure code", "", part.unrecognised};
    }
    const std::pair<const std::string*, const char*> descriptions[] = {
        {&header.protocol_name, "Protocol Name"},
        {&header.series_description, "Series Description"},
        {&header.study_description, "Study Description"}};
    for (const auto& [description, name] : descriptions) {
      const std::string text = fold(std::string_view(*description).substr(0, kDescriptionMax));
      Words hits;
      for (const auto& [pattern, term] : patterns_) {
        if (!contains(hits, term) && std::regex_search(text, pattern)) hits.push_back(term);
      }
      // A description of several exams ("XR CHEST, XR HAND") says nothing of this image.
      if (!hits.empty() && !contradict(hits)) return {hits.front(), name, "", part.unrecognised};
    }
    return part;
  }

 private:
  static std::string squeeze(std::string text) {
    std::erase(text, ' ');
    return text;
  }

  bool contradict(const Words& terms) const {
    for (std::size_t i = 0; i < terms.size(); ++i) {
      for (std::size_t j = i + 1; j < terms.size(); ++j) {
        if (terms[i] != terms[j] && !share_group(terms[i], terms[j])) return true;
      }
    }
    return false;
  }

  bool share_group(const std::string& a, const std::string& b) const {
    const auto of_a = groups_.find(a), of_b = groups_.find(b);
    if (of_a == groups_.end() || of_b == groups_.end()) return false;
    return std::any_of(of_a->second.begin(), of_a->second.end(),
                       [&](const std::string& group) { return of_b->second.contains(group); });
  }

  std::map<std::string, std::string> aliases_, codes_, procedure_codes_;
  std::map<std::string, std::set<std::string>> groups_;
  std::vector<std::pair<std::regex, std::string>> patterns_;
};

constexpr std::string_view kComputedRadiography = "1.2.840.10008.5.1.4.1.1.1";
constexpr std::string_view kDigitalXRay = "1.2.840.10008.5.1.4.1.1.1.1";
constexpr std::string_view kDigitalXRayForProcessing = "1.2.840.10008.5.1.4.1.1.1.1.1";
constexpr std::string_view kSecondaryCapture = "1.2.840.10008.5.1.4.1.1.7";  // And .7.1 to .7.4, multi-frame.

bool is_secondary_capture(const InstanceHeader& header) {
  const std::string& uid = header.sop_class_uid;
  return uid == kSecondaryCapture || uid.starts_with(std::string(kSecondaryCapture) + ".");
}

// Presentation states, documents and key objects under an image's SOP class are no radiographs either.
bool is_radiograph(const InstanceHeader& header) {
  const bool image_class = header.sop_class_uid == kComputedRadiography || header.sop_class_uid == kDigitalXRay ||
                           header.sop_class_uid == kDigitalXRayForProcessing || is_secondary_capture(header);
  static const std::set<std::string> kNoImage = {"SR", "PR", "KO", "DOC", "SEG", "AU", "ECG", "REG"};
  return image_class && !kNoImage.contains(upper(header.modality));
}

bool is_for_processing(const InstanceHeader& header) {
  return fold(header.presentation_intent_type) == "FOR PROCESSING" || header.sop_class_uid == kDigitalXRayForProcessing;
}

// Why no model may read the image whatever its rule says; empty if one may.
std::string why_unreadable(const InstanceHeader& header) {
  if (!is_radiograph(header)) {
    return "not a radiograph: " + (header.modality.empty() ? "no modality" : header.modality.substr(0, 16)) +
           ", SOP class " + header.sop_class_uid.substr(0, 64);
  }
  if (header.number_of_frames > 1) return "several frames: " + std::to_string(header.number_of_frames);
  return header.pixel_data_problem();
}

struct Facts {  // Of one image: what rules are matched against.
  std::string modality, laterality, view;
  std::string from;
  BodyPart part;
  bool secondary_capture = false;
};

// Empty if `match` holds; else why not: "body part is HAND, not KNEE".
std::string why_not(const RouteMatch& match, const Facts& facts) {
  const auto differs = [](const char* what, const std::string& value, const Words& wanted) -> std::string {
    if (wanted.empty() || contains(wanted, value)) return "";
    return std::string(what) + " is " + (value.empty() ? "unknown" : value) + ", not " + join(wanted, " or ");
  };
  std::string reason = differs("modality", facts.modality, match.modality);
  if (reason.empty()) reason = differs("body part", facts.part.term, match.body_part);
  if (reason.empty()) reason = differs("laterality", facts.laterality, match.laterality);
  if (reason.empty()) reason = differs("view", facts.view, match.view);
  if (reason.empty() && !match.from.empty() && !contains(match.from, facts.from)) {
    reason = "sent by " + (facts.from.empty() ? std::string("nobody (a file)") : facts.from) + ", not " +
             join(match.from, " or ");
  }
  return reason;
}

std::string why_rule_not(const RouteRule& rule, const Facts& facts) {
  if (!facts.part.contradiction.empty()) return "body part contradictory: " + facts.part.contradiction;
  if (facts.secondary_capture && rule.match.modality.empty()) {
    return "a Secondary Capture needs a rule that names its modality";
  }
  return why_not(rule.match, facts);
}

std::string no_rule_reason(const Facts& facts) {
  std::string reason = "no rule for " + (facts.modality.empty() ? "no modality" : facts.modality.substr(0, 16));
  if (!facts.part.term.empty()) return reason + ", " + facts.part.term;
  if (facts.part.unrecognised.empty()) return reason + ", body part unknown";
  return reason + ", body part unknown: \"" + facts.part.unrecognised + "\"";
}

// Empty if the task is meant for this image; else why not: "bone-age: age is unknown".
std::string why_out_of_scope(const std::string& task, const config::TaskScope& scope, const Facts& facts,
                             int age_years) {
  if (!scope.views.empty() && !contains(scope.views, facts.view)) {
    return task + ": view is " + (facts.view.empty() ? "unknown" : facts.view) + ", not " + join(scope.views, " or ");
  }
  if (!scope.age_years_min && !scope.age_years_max) return "";
  if (age_years < 0) return task + ": age is unknown";
  if (age_years < scope.age_years_min.value_or(0) || age_years > scope.age_years_max.value_or(age_years)) {
    return task + ": age is outside its limits";
  }
  return "";
}

}  // namespace

struct Router::Rules {
  config::RouterConfig config;
  BodyParts body_parts;

  Facts facts_of(const InstanceHeader& header, std::string_view from) const {
    return {upper(header.modality), upper(header.laterality), upper(header.view_position),
            std::string(from),      body_parts.find(header),  is_secondary_capture(header)};
  }
};

Result<Router> Router::create(const config::RouterConfig& config, const std::vector<std::string>& known_tasks) {
  auto rules = std::make_shared<Rules>();
  rules->config = config;
  NODE_RETURN_IF_ERROR(rules->body_parts.compile(config.body_parts));

  const auto normalise = [&rules](RouteMatch& match) {
    for (Words* list : {&match.modality, &match.laterality, &match.view}) {
      for (std::string& value : *list) value = upper(value);
    }
    for (std::string& value : match.body_part) {
      const std::string term = rules->body_parts.term_of(value);
      value = term.empty() ? upper(value) : term;
    }
  };
  std::set<std::string> names;
  for (RouteRule& rule : rules->config.routes) {
    if (!names.insert(rule.name).second) return invalid_argument("route " + rule.name + ": the name repeats");
    for (const std::string& task : rule.tasks) {
      if (!contains(known_tasks, task)) return invalid_argument("route " + rule.name + ": no task named " + task);
    }
    normalise(rule.match);
  }
  for (config::ForwardRule& rule : rules->config.forward) normalise(rule.match);
  return Router(std::move(rules));
}

RouteDecision Router::route(const InstanceHeader& header, std::string_view from) const {
  const Facts facts = rules_->facts_of(header, from);
  RouteDecision decision;
  decision.body_part = facts.part.term;
  decision.body_part_evidence = facts.part.evidence;

  for (const config::ForwardRule& rule : rules_->config.forward) {
    if (!why_not(rule.match, facts).empty()) continue;
    for (const std::string& peer : rule.send_to) {
      if (peer != from && !contains(decision.forward_to, peer)) decision.forward_to.push_back(peer);
    }
  }

  decision.reason = why_unreadable(header);
  if (!is_radiograph(header)) return decision;
  const auto& routes = rules_->config.routes;
  const auto rule = std::find_if(routes.begin(), routes.end(), [&facts](const RouteRule& candidate) {
    return why_rule_not(candidate, facts).empty();
  });
  if (rule == routes.end()) {
    if (decision.reason.empty()) {
      decision.reason = facts.part.contradiction.empty() ? no_rule_reason(facts)
                                                         : "body part contradictory: " + facts.part.contradiction;
    }
    return decision;
  }
  decision.rule = rule->name;
  decision.priority = rule->priority;
  decision.results_to = rule->send_to;
  decision.shadow = rule->shadow;
  if (decision.reason.empty() && is_for_processing(header) && rule->for_processing == ForProcessing::kSkip) {
    decision.reason = "FOR PROCESSING";
  }
  if (decision.reason.empty() && rule->tasks.empty()) decision.reason = "rule " + rule->name + " has no tasks";
  if (!decision.reason.empty()) return decision;
  for (const std::string& task : rule->tasks) {
    const auto scope = rules_->config.scopes.find(task);
    const std::string outside = scope == rules_->config.scopes.end()
                                    ? std::string()
                                    : why_out_of_scope(task, scope->second, facts, header.age_years);
    if (outside.empty()) {
      decision.tasks.push_back(task);
    } else {
      decision.reason += (decision.reason.empty() ? "out of scope: " : "; ") + outside;
    }
  }
  return decision;
}

std::vector<RuleOutcome> Router::explain(const InstanceHeader& header, std::string_view from) const {
  const Facts facts = rules_->facts_of(header, from);
  std::vector<RuleOutcome> outcomes;
  for (const RouteRule& rule : rules_->config.routes) {
    const std::string reason = is_radiograph(header) ? why_rule_not(rule, facts) : why_unreadable(header);
    outcomes.push_back({rule.name, reason.empty(), reason});
    if (reason.empty()) break;
  }
  return outcomes;
}

}  // namespace node::route
