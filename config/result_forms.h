// The words of `results.forms`: what a destination may be sent of a study.
//
// dicom_node/report/result_forms.cpp says what each is and how it is made; a test holds the two lists together.
#pragma once

#include <array>
#include <string_view>

namespace node::config {

inline constexpr std::array<std::string_view, 15> kResultForms{
    "sc",          "sc-rle",       "sc-jpeg",         "sc-multiframe",         "summary", "seg",  "sr", "sr-3d",
    "sr-enhanced", "sr-per-image", "sr-3d-per-image", "sr-enhanced-per-image", "sr-text", "gsps", "kos"};

// Of a destination that the configuration gives no forms.
inline constexpr std::array<std::string_view, 2> kDefaultResultForms{"sc", "sr"};

}  // namespace node::config
