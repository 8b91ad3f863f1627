#include "dicom_node/object/character_sets.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcspchrs.h>
#include <dcmtk/dcmdata/dctk.h>
#include <iconv.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "dicom_node/object/characters.h"
#include "dicom_node/object/dataset_text.h"

namespace node::object {
namespace {

constexpr char kEscape = '\x1B';
constexpr const char* kUnicode = "ISO_IR 192";

bool names(const std::string& set, std::string_view one) { return set.find(one) != std::string::npos; }

bool is_japanese(const std::string& set) {
  return set == "ISO_IR 13" || names(set, "2022 IR 13") || names(set, "2022 IR 87") || names(set, "2022 IR 159");
}

std::optional<std::string> convert(std::string text, const char* from, const char* to) {
  const iconv_t converter = iconv_open(to, from);
  if (converter == reinterpret_cast<iconv_t>(-1)) return std::nullopt;
  std::string out(text.size() * 6 + 16, '\0');  // An escape sequence before and behind each.
  char *in = text.data(), *into = out.data();
  std::size_t in_left = text.size(), out_left = out.size();
  bool done = iconv(converter, &in, &in_left, &into, &out_left) == 0;        // Not 0: characters were replaced.
  done = iconv(converter, nullptr, nullptr, &into, &out_left) == 0 && done;  // Back to ASCII.
  iconv_close(converter);
  if (!done) return std::nullopt;
  out.resize(out.size() - out_left);
  return out;
}

std::optional<std::string> convert_by_dcmtk(const std::string& text, const std::string& from, const std::string& to) {
  DcmSpecificCharacterSet converter;
  if (converter.selectCharacterSet(from.c_str(), to.c_str()).bad()) return std::nullopt;
  for (const char* delimiters : {"\\^=", "\\"}) {  // Behind each the set is the first one again: of names, of others.
    OFString converted;
    if (converter.convertString(text.c_str(), text.size(), converted, delimiters).good())
      return std::string(converted.c_str(), converted.size());
  }
  return std::nullopt;
}

// ISO 2022 IR 13, 87 and 159 as EUC-JP, which has the same tables in its eighth bits.
std::optional<std::string> japanese_to_utf8(std::string_view text) {
  enum class Set { kLetters, kKanji, kMoreKanji } set = Set::kLetters;
  std::string euc;
  for (std::size_t i = 0; i < text.size();) {
    const auto follows = [&](std::string_view escape) { return text.substr(i + 1).starts_with(escape); };
    if (text[i] == kEscape) {
      if (follows("(B") || follows("(J") || follows(")I")) {
        if (!follows(")I")) set = Set::kLetters;  // That one is about the eighth bit.
        i += 3;
      } else if (follows("$B") || follows("$@")) {
        set = Set::kKanji;
        i += 3;
      } else if (follows("$(D")) {
        set = Set::kMoreKanji;
        i += 4;
      } else {
        return std::nullopt;
      }
      continue;
    }
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte >= 0x80) {  // Katakana of half width.
      euc += '\x8E';
      euc += text[i++];
    } else if (set == Set::kLetters || byte <= ' ') {
      euc += text[i++];
    } else {
      if (i + 1 >= text.size()) return std::nullopt;
      if (set == Set::kMoreKanji) euc += '\x8F';
      for (int k = 0; k < 2; ++k) euc += static_cast<char>(static_cast<unsigned char>(text[i++]) | 0x80);
    }
  }
  return convert(std::move(euc), "EUC-JP", "UTF-8");
}

// Sets of eight bits that have to be announced in each line that uses them.
std::optional<std::string> announced(const std::string& utf8, const char* encoding, const std::string& escape) {
  std::optional<std::string> text = convert(utf8, "UTF-8", encoding);
  if (!text) return std::nullopt;
  std::string out = is_ascii(*text) ? "" : escape;
  for (const char c : *text) {
    out += c;
    if (c == '\n' || c == '\f' || c == '^' || c == '=') out += escape;
  }
  return out;
}

// Whose values the Specific Character Set is about (PS3.5 6.1.2.3).
bool is_affected(DcmEVR vr) {
  return vr == EVR_PN || vr == EVR_LO || vr == EVR_SH || vr == EVR_ST || vr == EVR_LT || vr == EVR_UT || vr == EVR_UC;
}

template <typename Use>
bool for_each_text(DcmItem& item, const Use& use) {
  for (DcmElement* element : all_elements(item)) {
    if (auto* sequence = dynamic_cast<DcmSequenceOfItems*>(element)) {
      for (DcmItem* each : all_items(*sequence))
        if (!for_each_text(*each, use)) return false;
    } else if (is_affected(element->ident()) && !use(*element)) {
      return false;
    }
  }
  return true;
}

}  // namespace

bool is_plain(std::string_view text) { return is_ascii(text) && text.find(kEscape) == std::string_view::npos; }

bool is_plain(DcmItem& data_set) {
  return for_each_text(data_set, [](DcmElement& element) { return is_plain(raw_text(element)); });
}

std::string character_set_of(DcmItem& data_set) {
  OFString set;
  data_set.findAndGetOFStringArray(DCM_SpecificCharacterSet, set);
  return set.c_str();
}

std::optional<std::string> to_utf8(const std::string& text, const std::string& set) {
  if (is_plain(text)) return text;
  if (set == kUnicode) return is_utf8(text) ? std::optional(text) : std::nullopt;
  if (is_japanese(set)) return japanese_to_utf8(text);
  if (set == kShiftJis) return convert(text, "SHIFT_JIS", "UTF-8");
  if (set == kWindows1252) return convert(text, "WINDOWS-1252", "UTF-8");
  return convert_by_dcmtk(text, set, kUnicode);
}

std::optional<std::string> from_utf8(const std::string& utf8, const std::string& set) {
  if (is_plain(utf8) || set == kUnicode) return utf8;
  if (names(set, "2022 IR 87")) return convert(utf8, "UTF-8", "ISO-2022-JP");
  if (names(set, "2022 IR 149")) return announced(utf8, "EUC-KR", "\x1B$)C");
  if (names(set, "2022 IR 58")) return announced(utf8, "EUC-CN", "\x1B$)A");
  std::string first = set.substr(0, set.find('\\'));
  if (const std::size_t at = first.find("ISO 2022 "); at == 0) first.replace(0, 9, "ISO_");
  return first.empty() ? std::nullopt : convert_by_dcmtk(utf8, kUnicode, first);
}

bool is_written_in(DcmItem& data_set, const std::string& set) {
  if (set != kUnicode && !is_japanese(set) && DcmSpecificCharacterSet().selectCharacterSet(set.c_str(), kUnicode).bad())
    return true;
  return for_each_text(data_set, [&](DcmElement& element) { return to_utf8(raw_text(element), set).has_value(); });
}

bool make_unicode(DcmItem& data_set, const std::string& set) {
  std::vector<std::pair<DcmElement*, std::string>> texts;
  const bool all = for_each_text(data_set, [&](DcmElement& element) {
    const std::string text = raw_text(element);
    const std::optional<std::string> utf8 = to_utf8(text, set);
    if (utf8 && *utf8 != text) texts.emplace_back(&element, *utf8);
    return utf8.has_value();
  });
  if (!all) return false;
  for (auto& [element, utf8] : texts) element->putString(utf8.c_str());
  data_set.putAndInsertString(DCM_SpecificCharacterSet, kUnicode);
  return true;
}

}  // namespace node::object
