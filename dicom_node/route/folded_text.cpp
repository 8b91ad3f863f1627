#include "dicom_node/route/folded_text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

namespace node::route {
namespace {

// U+00C0 to U+017F without their accents, as they are written where a code string cannot hold them; "" is no letter.
constexpr std::array<const char*, 192> kLatinLetters = {
    "A", "A", "A",  "A",  "A", "A", "AE", "C", "E", "E", "E", "E", "I", "I", "I",  "I",   // U+00C0
    "D", "N", "O",  "O",  "O", "O", "O",  "",  "O", "U", "U", "U", "U", "Y", "TH", "SS",  // U+00D0
    "A", "A", "A",  "A",  "A", "A", "AE", "C", "E", "E", "E", "E", "I", "I", "I",  "I",   // U+00E0
    "D", "N", "O",  "O",  "O", "O", "O",  "",  "O", "U", "U", "U", "U", "Y", "TH", "Y",   // U+00F0
    "A", "A", "A",  "A",  "A", "A", "C",  "C", "C", "C", "C", "C", "C", "C", "D",  "D",   // U+0100
    "D", "D", "E",  "E",  "E", "E", "E",  "E", "E", "E", "E", "E", "G", "G", "G",  "G",   // U+0110
    "G", "G", "G",  "G",  "H", "H", "H",  "H", "I", "I", "I", "I", "I", "I", "I",  "I",   // U+0120
    "I", "I", "IJ", "IJ", "J", "J", "K",  "K", "K", "L", "L", "L", "L", "L", "L",  "L",   // U+0130
    "L", "L", "L",  "N",  "N", "N", "N",  "N", "N", "N", "N", "N", "O", "O", "O",  "O",   // U+0140
    "O", "O", "OE", "OE", "R", "R", "R",  "R", "R", "R", "S", "S", "S", "S", "S",  "S",   // U+0150
    "S", "S", "T",  "T",  "T", "T", "T",  "T", "U", "U", "U", "U", "U", "U", "U",  "U",   // U+0160
    "U", "U", "U",  "U",  "W", "W", "Y",  "Y", "Y", "Z", "Z", "Z", "Z", "Z", "Z",  "S"};  // U+0170

struct Character {
  unsigned code = 0;
  std::size_t bytes = 1;
};

// U+0386 to U+03CE with an accent, and the letter without it.
constexpr std::array<std::pair<unsigned, unsigned>, 22> kGreekAccents = {
    {{0x386, 0x391}, {0x388, 0x395}, {0x389, 0x397}, {0x38A, 0x399}, {0x38C, 0x39F}, {0x38E, 0x3A5},
     {0x38F, 0x3A9}, {0x390, 0x399}, {0x3AA, 0x399}, {0x3AB, 0x3A5}, {0x3AC, 0x391}, {0x3AD, 0x395},
     {0x3AE, 0x397}, {0x3AF, 0x399}, {0x3B0, 0x3A5}, {0x3C2, 0x3A3}, {0x3CA, 0x399}, {0x3CB, 0x3A5},
     {0x3CC, 0x39F}, {0x3CD, 0x3A5}, {0x3CE, 0x3A9}, {0x3CF, 0x3A9}}};

// The UTF-8 character at `i`, or the byte as Latin-1.
Character character_at(std::string_view text, std::size_t i) {
  const auto byte = [&](std::size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u; };
  const auto continues = [&](std::size_t at) { return (byte(at) & 0xC0) == 0x80; };
  const unsigned first = byte(i);
  if (first >= 0xC2 && first <= 0xDF && continues(i + 1)) return {(first & 0x1F) << 6 | (byte(i + 1) & 0x3F), 2};
  if (first >= 0xE0 && first <= 0xEF && continues(i + 1) && continues(i + 2)) {
    return {(first & 0x0F) << 12 | (byte(i + 1) & 0x3F) << 6 | (byte(i + 2) & 0x3F), 3};
  }
  if (first >= 0xF0 && first <= 0xF4 && continues(i + 1) && continues(i + 2) && continues(i + 3)) {
    return {(first & 0x07) << 18 | (byte(i + 1) & 0x3F) << 12 | (byte(i + 2) & 0x3F) << 6 | (byte(i + 3) & 0x3F), 4};
  }
  return {first, 1};
}

std::string utf8_of(unsigned code) {
  const auto continued = [code](int shift) { return static_cast<char>(0x80 | (code >> shift & 0x3F)); };
  if (code < 0x800) return {static_cast<char>(0xC0 | code >> 6), continued(0)};
  if (code < 0x10000) return {static_cast<char>(0xE0 | code >> 12), continued(6), continued(0)};
  return {static_cast<char>(0xF0 | code >> 18), continued(12), continued(6), continued(0)};
}

// Of scripts without upper and lower case; everything in their blocks but spaces and punctuation that is common.
bool is_letter(unsigned code) {
  return (code >= 0x0531 && code <= 0x1FFF) || (code >= 0x3005 && code <= 0x3007) ||
         (code >= 0x3041 && code <= 0xD7FF && code != 0x30FB) || (code >= 0xF900 && code <= 0xFAFF) ||
         (code >= 0xFF66 && code <= 0xFFDC) || (code >= 0x20000 && code <= 0x3FFFF);
}

// A letter or digit in upper case; empty for everything else.
std::string folded(unsigned code) {
  if (code < 0x80) {
    if (std::isalnum(static_cast<int>(code)) == 0) return "";
    return {static_cast<char>(std::toupper(static_cast<int>(code)))};
  }
  if (code >= 0xC0 && code < 0xC0 + kLatinLetters.size()) return kLatinLetters[code - 0xC0];
  for (const auto& [accented, letter] : kGreekAccents) {
    if (code == accented) return utf8_of(letter);
  }
  if (code >= 0x0391 && code <= 0x03A9) return utf8_of(code);  // Greek.
  if (code >= 0x03B1 && code <= 0x03C9) return utf8_of(code - 0x20);
  if (code == 0x0401 || code == 0x0451) return utf8_of(0x0415);  // Cyrillic, whose IO is mostly written as IE.
  if (code >= 0x0400 && code <= 0x042F) return utf8_of(code);
  if (code >= 0x0430 && code <= 0x044F) return utf8_of(code - 0x20);
  if (code >= 0x0450 && code <= 0x045F) return utf8_of(code - 0x50);
  if (code >= 0xFF01 && code <= 0xFF5E) return folded(code - 0xFEE0);  // ASCII in the width of a Chinese character.
  return is_letter(code) ? utf8_of(code) : "";
}

}  // namespace

std::string fold(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    const Character character = character_at(text, i);
    i += character.bytes;
    const std::string letters = folded(character.code);
    result += letters;
    if (letters.empty() && !result.empty() && result.back() != ' ') result += ' ';
  }
  if (!result.empty() && result.back() == ' ') result.pop_back();
  return result;
}

std::string fold_letters(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    const Character character = character_at(text, i);
    result += character.code < 0x80 ? std::string(1, text[i]) : folded(character.code);
    i += character.bytes;
  }
  return result;
}

bool has_punctuation(std::string_view pattern) {
  constexpr std::string_view kOfExpressions = "^$.*+?()[]{}|";
  for (std::size_t i = 0; i < pattern.size();) {
    const Character character = character_at(pattern, i);
    if (character.code >= 0x80) {
      if (folded(character.code).empty()) return true;
    } else if (character.code == '\\') {
      if (++i < pattern.size() && std::ispunct(static_cast<unsigned char>(pattern[i])) != 0) return true;
    } else if (pattern.substr(i, 2) == "(?") {
      i += 2;  // And a colon, an equals sign or an exclamation mark.
    } else if (character.code == '{') {
      i = std::min(pattern.find('}', i), pattern.size());
    } else if (std::ispunct(static_cast<int>(character.code)) != 0 &&
               kOfExpressions.find(pattern[i]) == std::string_view::npos) {
      return true;
    }
    i += character.bytes;
  }
  return false;
}

Words split_words(std::string_view text) {
  Words words;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    if (end > begin) words.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

bool contains(const Words& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace node::route
