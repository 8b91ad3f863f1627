// characters: what of a text is ASCII, and what stands for the rest where nothing else can.
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
