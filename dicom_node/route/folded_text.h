// folded_text: text as devices write it, made comparable: upper case, no accents, one space between words.
//
// Threads: reentrant.
#pragma once

#include <string>
#include <string_view>

#include "config/config_text.h"

namespace node::route {

using config::join;
using config::upper;
using config::wide;
using config::Words;

// "Knie_re." -> "KNIE RE", "Épaule" -> "EPAULE", "Łokieć" -> "LOKIEC": letters and digits in upper case, Latin ones
// without accents, those of other scripts in UTF-8, Greek without accents too; every run of other characters becomes
// one space. What is no UTF-8 counts as Latin-1, which devices write whatever character set they declare.
std::string fold(std::string_view text);

// Letters folded in the same way, all ASCII characters as they stand: a regular expression, and what one with
// punctuation is held against.
std::string fold_letters(std::string_view text);
// Whether a regular expression asks for characters that folded text never has.
bool has_punctuation(std::string_view pattern);

Words split_words(std::string_view text);  // At spaces.
bool contains(const Words& words, std::string_view word);

}  // namespace node::route
