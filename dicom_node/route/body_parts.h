// BodyParts: which body part a header names, and which of its attributes says so.
//
// Guarantee: a pure function of header and table; no header keeps its regular expressions busy.
// Threads:   immutable after create().
// Source:    PS3.16 Annex L (terms and their codes); the table that ships is config/body_parts.yaml.
#pragma once

#include <map>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/base/status.h"
#include "config/router_config.h"
#include "dicom_node/object/instance_header.h"
#include "dicom_node/route/folded_text.h"

namespace node::route {

// One of those that patterns are tried on.
struct Description {
  const char* attribute;
  std::wstring folded;   // As fold() does.
  std::wstring written;  // Its letters folded, all else as it stands.
};
std::vector<Description> descriptions_of(const object::InstanceHeader& header);

// A regular expression over descriptions, folded; one that has punctuation of its own ("knie_re") over their letters as
// they are written too, since folded text has none.
class Pattern {
 public:
  // Errors: kInvalidArgument, a message that begins with `what`.
  static Result<Pattern> compile(const std::string& pattern, const std::string& what);
  bool fits(const Description& description) const;

 private:
  std::wregex regex_;
  bool has_punctuation_ = false;
};

struct BodyPart {
  std::string term;           // Empty: nobody named one.
  std::string evidence;       // The attribute that did.
  std::string contradiction;  // "HAND (code), CHEST"; empty: none.
  std::string unrecognised;   // Body Part Examined, if it was there and names nothing known.

  bool unknown() const { return term.empty() && contradiction.empty(); }
};

struct SourceOutcome {    // For `skelex-node route`: each source in order of trust.
  std::string attribute;  // "Body Part Examined"
  std::string says;       // "KNIE, which is KNEE"; "absent"; "names none". Of descriptions the term only.
  std::string term;       // Empty: names none.
};

class BodyParts {
 public:
  // Errors: kInvalidArgument: a description pattern is no regular expression.
  static Result<BodyParts> create(const config::BodyPartTable& table);

  // The term that a written body part stands for; empty if none.
  std::string term_of(std::string_view written) const;
  // From the first source that names one: an anatomic region code, Body Part Examined, performed protocol codes,
  // procedure codes, the site's patterns over Protocol Name, Series, Study and Requested Procedure Description.
  BodyPart find(const object::InstanceHeader& header) const;
  std::vector<SourceOutcome> explain(const object::InstanceHeader& header) const;

 private:
  struct Said {  // By one source: terms, and in whose words.
    Words terms, words;
  };
  Said by_regions(const object::InstanceHeader& header) const;
  Said by_codes(const std::vector<config::Code>& codes) const;  // Of procedures and protocols.
  // None where several exams are named ("XR CHEST, XR HAND"): that says nothing of this image.
  std::string by_description(const Description& description) const;
  bool contradict(const Words& terms) const;

  std::map<std::string, std::string> aliases_, codes_, procedure_codes_;
  std::map<std::string, std::set<std::string>> groups_;
  std::vector<std::pair<Pattern, std::string>> patterns_;
};

// "LN|24721-3": scheme and value as the tables have them. SNM3 and 99SDM are older designators of SNOMED-RT codes.
// Source: PS3.16 section 8.
std::string code_key(const config::Code& code);

}  // namespace node::route
