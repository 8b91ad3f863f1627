// Words of a configuration: taking text apart, comparing it, and saying in a mistake what was meant.
//
// Threads:   pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace node::config {

using Words = std::vector<std::string>;

std::string upper(std::string text);  // ASCII letters only.
std::string lower(std::string text);
std::string trimmed(std::string_view text);    // Of blanks and tabs.
std::string in_quotes(std::string_view text);  // For a mistake: one line, at most 60 characters of it.
Words split(std::string_view text, std::string_view separator);
std::string join(const Words& words, std::string_view separator);
std::size_t characters(std::string_view utf8);
std::wstring wide(std::string_view utf8);  // A character each, as regular expressions have to see them.
// "; did you mean 'port'?", else what there is, if that is not much.
std::string suggestion(const std::string& word, const Words& known);
std::string range_text(double low, double high, const std::string& unit);

}  // namespace node::config
