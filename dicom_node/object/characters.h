// characters: what of a text is ASCII or UTF-8, and what stands for the rest where nothing else can.
//
// Threads: any.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace node::object {

inline bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

inline bool is_utf8(std::string_view bytes) {
  std::size_t follow = 0;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (follow > 0) {
      if ((byte & 0xC0) != 0x80) return false;
      --follow;
    } else if (byte >= 0x80) {
      if (byte < 0xC2 || byte > 0xF4) return false;
      follow = byte >= 0xF0 ? 3 : byte >= 0xE0 ? 2 : 1;
    }
  }
  return follow == 0;
}

// `stand_in` for each character (not byte) beyond ASCII.
inline std::string ascii_only(std::string_view utf8, char stand_in) {
  std::string ascii;
  for (const char c : utf8) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80)
      ascii += c;
    else if (byte >= 0xC0)
      ascii += stand_in;  // Of a character the first byte; continuation bytes are left out.
  }
  return ascii;
}

}  // namespace node::object
