#include "dicom_node/route/body_parts.h"

#include <algorithm>
#include <cctype>

namespace node::route {
namespace {

using config::Code;
using object::InstanceHeader;

// Longer descriptions than LO allows (64 characters) are cut, so that no header keeps the regular expressions busy.
constexpr std::size_t kDescriptionMax = 128;
constexpr std::size_t kWordsShownMax = 16;  // Of a peer's text in a message.

constexpr const char* kRegion = "Anatomic Region Sequence";
constexpr const char* kExamined = "Body Part Examined";
constexpr const char* kPerformed = "performed protocol code";
constexpr const char* kProcedure = "procedure code";

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

std::string squeeze(std::string text) {
  std::erase(text, ' ');
  return text;
}

// As much of a peer's text as a message shows, with no character of UTF-8 cut in two.
std::string beginning(const std::string& text) {
  std::size_t end = std::min(text.size(), kWordsShownMax);
  while (end < text.size() && end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end);
}

}  // namespace

std::string code_key(const Code& code) {
  const std::string scheme = upper(code.scheme);
  return (scheme == "SNM3" || scheme == "99SDM" ? "SRT" : scheme) + "|" + upper(code.value);
}

std::vector<Description> descriptions_of(const InstanceHeader& header) {
  const auto described = [](const char* attribute, const std::string& text) {
    const std::string_view beginning = std::string_view(text).substr(0, kDescriptionMax);
    return Description{attribute, wide(fold(beginning)), wide(fold_letters(beginning))};
  };
  return {described("Protocol Name", header.protocol_name), described("Series Description", header.series_description),
          described("Study Description", header.study_description),
          described("Requested Procedure Description", header.requested_procedure_description)};
}

Result<Pattern> Pattern::compile(const std::string& text, const std::string& what) {
  const std::wstring folded = wide(fold_letters(text));
  if (folded.empty()) return invalid_argument(what + ": pattern '" + text + "' has no letter and would fit every text");
  Pattern pattern;
  pattern.has_punctuation_ = has_punctuation(text);
  try {
    pattern.regex_ = std::wregex(folded, std::regex::ECMAScript | std::regex::icase | std::regex::optimize);
  } catch (const std::regex_error& error) {
    return invalid_argument(what + ": pattern '" + text + "': " + error.what());
  }
  return pattern;
}

bool Pattern::fits(const Description& description) const {
  return std::regex_search(description.folded, regex_) ||
         (has_punctuation_ && std::regex_search(description.written, regex_));
}

Result<BodyParts> BodyParts::create(const config::BodyPartTable& table) {
  BodyParts parts;
  for (const auto& [alias, term] : table.terms) {
    const std::string folded = squeeze(fold(alias));
    if (folded.empty()) return invalid_argument("body part " + term + ": alias '" + alias + "' has no letter or digit");
    parts.aliases_[folded] = upper(term);
  }
  for (const auto& [term, groups] : table.groups) {
    parts.groups_[upper(term)] = std::set<std::string>(groups.begin(), groups.end());
    parts.aliases_.try_emplace(squeeze(fold(term)), upper(term));
  }
  for (const auto& [code, term] : table.codes) parts.codes_[upper(code)] = upper(term);
  for (const auto& [code, term] : table.procedure_codes) parts.procedure_codes_[upper(code)] = upper(term);
  for (const auto& [pattern, term] : table.description_patterns) {
    NODE_ASSIGN_OR_RETURN(Pattern compiled, Pattern::compile(pattern, "body part " + term));
    parts.patterns_.emplace_back(std::move(compiled), upper(term));
  }
  return parts;
}

std::string BodyParts::term_of(std::string_view written) const {
  Words words = split_words(fold(written));
  const auto known = [this](const Words& candidate) {
    const auto found = aliases_.find(join(candidate, ""));
    return found == aliases_.end() ? std::string() : found->second;
  };
  std::string term = known(words);
  if (term.empty() && std::erase_if(words, is_view_word) > 0) term = known(words);
  if (term.empty() && std::erase_if(words, is_side_word) > 0) term = known(words);
  return term;
}

BodyParts::Said BodyParts::by_regions(const InstanceHeader& header) const {
  Said said;
  for (const Code& code : header.anatomic_region) {
    const auto found = codes_.find(code_key(code));
    if (found == codes_.end() || contains(said.terms, found->second)) continue;
    said.terms.push_back(found->second);
    said.words.push_back(found->second + " (code)");
  }
  return said;
}

BodyParts::Said BodyParts::by_codes(const std::vector<Code>& codes) const {
  Said said;
  for (const Code& code : codes) {
    const auto found = procedure_codes_.find(code_key(code));
    if (found == procedure_codes_.end()) continue;
    said.terms.push_back(found->second);
    said.words.push_back(code.value + " (" + code.scheme + ")");
  }
  return said;
}

std::string BodyParts::by_description(const Description& description) const {
  Words hits;
  for (const auto& [pattern, term] : patterns_) {
    if (!contains(hits, term) && pattern.fits(description)) hits.push_back(term);
  }
  return hits.empty() || contradict(hits) ? std::string() : hits.front();
}

BodyPart BodyParts::find(const InstanceHeader& header) const {
  BodyPart part;
  Said said = by_regions(header);
  if (!said.terms.empty()) part = {said.terms.front(), kRegion, "", ""};
  const std::string examined = term_of(header.body_part_examined);
  if (!examined.empty()) {
    said.terms.push_back(examined);
    said.words.push_back(examined);
    if (part.term.empty()) part = {examined, kExamined, "", ""};
  } else {
    part.unrecognised = beginning(fold(header.body_part_examined));
  }
  if (contradict(said.terms)) return {"", "", join(said.words, ", "), ""};
  if (!part.term.empty()) return part;

  // What was done in its own series first: the codes of a whole study may name what another series of it shows.
  for (const auto& [source, codes] :
       {std::pair(kPerformed, &header.performed_codes), std::pair(kProcedure, &header.procedure_codes)}) {
    const Said by_code = by_codes(*codes);
    if (!by_code.terms.empty() && !contradict(by_code.terms))
      return {by_code.terms.front(), source, "", part.unrecognised};
  }
  for (const Description& description : descriptions_of(header)) {
    const std::string term = by_description(description);
    if (!term.empty()) return {term, description.attribute, "", part.unrecognised};
  }
  return part;
}

std::vector<SourceOutcome> BodyParts::explain(const InstanceHeader& header) const {
  std::vector<SourceOutcome> outcomes;
  const auto add = [&outcomes](const char* attribute, bool present, const std::string& term, const std::string& says) {
    outcomes.push_back({attribute, !present ? "absent" : term.empty() ? "names no body part known here" : says, term});
  };
  const Said regions = by_regions(header);
  add(kRegion, !header.anatomic_region.empty(), regions.terms.empty() ? "" : regions.terms.front(),
      join(regions.words, ", "));
  const std::string written = beginning(fold(header.body_part_examined));
  const std::string examined = term_of(header.body_part_examined);
  add(kExamined, !written.empty(), examined, written == examined ? examined : written + ", which is " + examined);
  if (!written.empty() && examined.empty()) outcomes.back().says = "\"" + written + "\" " + outcomes.back().says;
  for (const auto& [source, codes] :
       {std::pair(kPerformed, &header.performed_codes), std::pair(kProcedure, &header.procedure_codes)}) {
    const Said said = by_codes(*codes);
    const std::string term = said.terms.empty() ? "" : said.terms.front();
    add(source, !codes->empty(), term, term.empty() ? "" : said.words.front() + ", which is " + term);
  }
  for (const Description& description : descriptions_of(header)) {
    const std::string term = by_description(description);
    add(description.attribute, !description.folded.empty(), term, term);
  }
  return outcomes;
}

bool BodyParts::contradict(const Words& terms) const {
  const auto share_group = [this](const std::string& a, const std::string& b) {
    const auto of_a = groups_.find(a), of_b = groups_.find(b);
    if (of_a == groups_.end() || of_b == groups_.end()) return false;
    return std::any_of(of_a->second.begin(), of_a->second.end(),
                       [&](const std::string& group) { return of_b->second.contains(group); });
  };
  for (std::size_t i = 0; i < terms.size(); ++i) {
    for (std::size_t j = i + 1; j < terms.size(); ++j) {
      if (terms[i] != terms[j] && !share_group(terms[i], terms[j])) return true;
    }
  }
  return false;
}

}  // namespace node::route
