// readable: names and reasons out of a model's files, as a person is shown them on a terminal and in a report.
//
// Threads:   pure functions. Standard library only.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace node::inference {

// One line of at most `characters_max` characters ("..." where it goes on): control characters as \n or \x1b, bytes
// that are no UTF-8 as '?'. Never half a character.
std::string readable(std::string_view text, std::size_t characters_max);

// Why a report cannot hold the name of a class or a label (a value of one DICOM attribute); empty: it can.
// "holds a backslash, which separates values in DICOM".
std::string why_no_label(std::string_view name);

// The note of an image of which no region is looked at: "no regions found, whole image only".
std::string whole_only(const std::string& why);

}  // namespace node::inference
