#include "inference/readable.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>

namespace node::inference {
namespace {

// Bytes of the character that begins here; 0: this is no UTF-8 (overlong forms, surrogates and half ones are none).
std::size_t character_at(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t size = first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
  if (size == 0 || size > text.size()) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const bool possible = !(first == 0xE0 && byte(1) < 0xA0) && !(first == 0xED && byte(1) >= 0xA0) &&
                        !(first == 0xF0 && byte(1) < 0x90) && !(first == 0xF4 && byte(1) >= 0x90);
  return possible ? size : 0;
}

// C0, DEL and C1: what a terminal obeys. Its number, or -1.
int control_at(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x20 || first == 0x7F) return first;
  const bool c1 = first == 0xC2 && text.size() > 1 && static_cast<unsigned char>(text[1]) < 0xA0;
  return c1 && character_at(text) == 2 ? static_cast<unsigned char>(text[1]) : -1;
}

std::string escaped(int control) {
  if (control == '\n') return "\\n";
  if (control == '\r') return "\\r";
  if (control == '\t') return "\\t";
  char text[8];
  std::snprintf(text, sizeof text, "\\x%02x", static_cast<unsigned>(control));
  return text;
}

}  // namespace

std::string readable(std::string_view text, std::size_t characters_max) {
  std::string line;
  for (std::size_t count = 0; !text.empty(); ++count) {
    if (count == characters_max) return line + "...";
    const std::size_t size = character_at(text);
    const int control = control_at(text);
    line += control >= 0 ? escaped(control) : size == 0 ? std::string("?") : std::string(text.substr(0, size));
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return line;
}

std::string why_no_label(std::string_view name) {
  if (std::all_of(name.begin(), name.end(), [](char c) { return c == ' '; })) return "is blank";
  for (; !name.empty(); name.remove_prefix(std::max<std::size_t>(character_at(name), 1))) {
    if (name.front() == '\\') return "holds a backslash, which separates values in DICOM";
    if (const int control = control_at(name); control >= 0) return "holds a control character, " + escaped(control);
    if (character_at(name) == 0) return "is no UTF-8";
  }
  return "";
}

std::string whole_only(const std::string& why) { return why + ", whole image only"; }

}  // namespace node::inference
