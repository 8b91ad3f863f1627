#include "config/config_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <tuple>

namespace node::config {
namespace {

// Characters to put in, take out, replace, or swap with their neighbour, of short words.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  return text;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return text;
}

std::string trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(" \t") - begin + 1));
}

std::string in_quotes(std::string_view text) {
  // A mistake is one line, however long the value.
  std::string result = "'";
  for (const char c : text.substr(0, 60)) result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  return result + (text.size() > 60 ? "...'" : "'");
}

Words split(std::string_view text, std::string_view separator) {
  Words parts;
  for (std::size_t begin = 0;;) {
    const std::size_t end = text.find(separator, begin);
    parts.emplace_back(text.substr(begin, end == std::string_view::npos ? end : end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + separator.size();
  }
}

std::string join(const Words& words, std::string_view separator) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) text += separator;
    text += word;
  }
  return text;
}

std::wstring wide(std::string_view utf8) {
  std::wstring text;
  for (const char c : utf8) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0) != 0x80 || text.empty()) {  // The first byte has as many bits as the length leaves.
      text += static_cast<wchar_t>(byte < 0x80 ? byte : byte & (byte < 0xE0 ? 0x1F : byte < 0xF0 ? 0x0F : 0x07));
    } else {
      text.back() = static_cast<wchar_t>(text.back() << 6 | (byte & 0x3F));
    }
  }
  return text;
}

std::size_t characters(std::string_view utf8) {
  return static_cast<std::size_t>(
      std::count_if(utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string suggestion(const std::string& word, const Words& known) {
  std::string best;
  std::size_t best_distance = std::min(word.size(), 1 + std::clamp<std::size_t>(word.size() / 3, 2, 4));
  if (word.size() <= 64) {
    for (const std::string& candidate : known) {
      const std::size_t d = distance(lower(word), lower(candidate));
      if (d < best_distance) std::tie(best, best_distance) = std::tuple(candidate, d);
    }
  }
  if (!best.empty()) return "; did you mean " + in_quotes(best) + "?";
  if (known.empty()) return "; there is none";
  return known.size() <= 24 ? "; there is " + join(known, ", ") : "";
}

std::string range_text(double low, double high, const std::string& unit) {
  const auto plain = [](double value) {
    std::array<char, 32> buffer;
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
    return std::string(buffer.data(), end);
  };
  const std::string suffix = unit.empty() ? "" : " " + unit;
  if (high >= std::numeric_limits<double>::max()) return plain(low) + suffix + " or more";
  return plain(low) + " to " + plain(high) + suffix;
}

}  // namespace node::config
