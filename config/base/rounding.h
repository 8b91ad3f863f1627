// Rounding of a number that is read beside a threshold: "0.50, negative below 0.5" would contradict itself.
//
// Threads: any.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <initializer_list>
#include <string>

namespace node {

// `value` with so many digits after the point, whatever the locale. Of 0 to 15 digits.
inline std::string fixed_text(double value, int digits) {
  char text[400];  // The greatest double has 309 digits before the point.
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, digits).ptr;
  return {text, end};
}

// How many digits after the point `value` needs, `digits` or more, so that rounded it lies on the same side of each
// threshold as it does itself: 0.4982 beside 0.5 needs three. At most 15; a value that is no number needs no more.
inline int digits_beside(double value, int digits, std::initializer_list<double> thresholds) {
  const auto same_side = [&](int count) {
    const std::string text = fixed_text(value, count);
    double rounded = 0;
    std::from_chars(text.data(), text.data() + text.size(), rounded);
    return std::all_of(thresholds.begin(), thresholds.end(),
                       [&](double threshold) { return (rounded >= threshold) == (value >= threshold); });
  };
  constexpr int kDigitsMax = 15;
  while (std::isfinite(value) && digits < kDigitsMax && !same_side(digits)) ++digits;
  return digits;
}

}  // namespace node
