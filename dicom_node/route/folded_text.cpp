#include "dicom_node/route/folded_text.h"

#include <algorithm>
#include <array>
#include <cctype>

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

// The UTF-8 character at `i`, or the byte as Latin-1.
Character character_at(std::string_view text, std::size_t i) {
  const auto byte = [&](std::size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u; };
  const auto continues = [&](std::size_t at) { return (byte(at) & 0xC0) == 0x80; };
  const unsigned first = byte(i);
  if (first >= 0xC2 && first <= 0xDF && continues(i + 1)) return {(first & 0x1F) << 6 | (byte(i + 1) & 0x3F), 2};
  if (first >= 0xE0 && first <= 0xEF && continues(i + 1) && continues(i + 2)) {
    return {(first & 0x0F) << 12 | (byte(i + 1) & 0x3F) << 6 | (byte(i + 2) & 0x3F), 3};
  }
  return {first, 1};
}

std::string utf8_of(unsigned code) {
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

// A letter or digit in upper case; empty for everything else.
std::string folded(unsigned code) {
  if (code < 0x80) {
    if (std::isalnum(static_cast<int>(code)) == 0) return "";
    return {static_cast<char>(std::toupper(static_cast<int>(code)))};
  }
  if (code >= 0xC0 && code < 0xC0 + kLatinLetters.size()) return kLatinLetters[code - 0xC0];
  if (code >= 0x0391 && code <= 0x03A9) return utf8_of(code);  // Greek.
  if (code >= 0x03B1 && code <= 0x03C9) return utf8_of(code == 0x03C2 ? 0x03A3 : code - 0x20);
  if (code >= 0x0400 && code <= 0x042F) return utf8_of(code);  // Cyrillic.
  if (code >= 0x0430 && code <= 0x044F) return utf8_of(code - 0x20);
  if (code >= 0x0450 && code <= 0x045F) return utf8_of(code - 0x50);
  return "";
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

std::string fold_pattern(std::string_view pattern) {
  std::string result;
  for (std::size_t i = 0; i < pattern.size();) {
    const Character character = character_at(pattern, i);
    result += character.code < 0x80 ? std::string(1, pattern[i]) : folded(character.code);
    i += character.bytes;
  }
  return result;
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
