#include "dicom_node/object/dataset_text.h"

#include <dcmtk/dcmdata/dcelem.h>
#include <dcmtk/dcmdata/dcitem.h>
#include <dcmtk/dcmdata/dcsequen.h>

#include <charconv>
#include <cmath>
#include <string_view>

namespace node::object {
namespace {

std::string_view stripped(std::string_view text) {
  while (!text.empty() && (text.back() == ' ' || text.back() == '\0')) text.remove_suffix(1);
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  return text;
}

}  // namespace

std::vector<DcmItem*> all_items(DcmSequenceOfItems& sequence) {
  std::vector<DcmItem*> items;
  for (DcmObject* at = sequence.nextInContainer(nullptr); at != nullptr; at = sequence.nextInContainer(at))
    items.push_back(static_cast<DcmItem*>(at));
  return items;
}

std::vector<DcmElement*> all_elements(DcmItem& item) {
  std::vector<DcmElement*> elements;
  for (DcmObject* at = item.nextInContainer(nullptr); at != nullptr; at = item.nextInContainer(at))
    elements.push_back(static_cast<DcmElement*>(at));
  return elements;
}

std::string raw_text(DcmElement& element) {
  char* text = nullptr;
  Uint32 size = 0;
  if (!element.isaString() || element.getString(text, size).bad() || text == nullptr) return {};
  return std::string(stripped(std::string_view(text, size)));
}

std::string text_of(DcmItem& item, const DcmTagKey& tag) {
  DcmElement* element = nullptr;
  if (item.findAndGetElement(tag, element).bad() || element == nullptr) return {};
  return raw_text(*element);
}

std::vector<std::string> texts_of(DcmItem& item, const DcmTagKey& tag) {
  const std::string text = text_of(item, tag);
  std::vector<std::string> values;
  if (text.empty()) return values;
  std::size_t start = 0;
  while (true) {
    const std::size_t end = text.find('\\', start);
    values.emplace_back(stripped(std::string_view(text).substr(start, end - start)));
    if (end == std::string::npos) return values;
    start = end + 1;
  }
}

std::vector<std::uint16_t> raw_words(DcmElement& element) {
  // Asked for once the value is in memory: until then an odd length is as written, from then on it is made even.
  const auto count = [&] { return element.getLength() / 2; };
  switch (element.ident()) {
    case EVR_SS: {
      Sint16* words = nullptr;
      if (element.getSint16Array(words).good() && words != nullptr) return {words, words + count()};
      break;
    }
    case EVR_US:
    case EVR_xs:
    case EVR_lt:
    case EVR_OW: {
      Uint16* words = nullptr;
      if (element.getUint16Array(words).good() && words != nullptr) return {words, words + count()};
      break;
    }
    default: break;
  }
  return {};
}

std::optional<std::uint16_t> word_of(DcmItem& item, const DcmTagKey& tag) {
  DcmElement* element = nullptr;
  if (item.findAndGetElement(tag, element).bad() || element == nullptr) return std::nullopt;
  const auto words = raw_words(*element);
  return words.empty() ? std::nullopt : std::optional(words.front());
}

std::vector<std::optional<double>> decimals_of(DcmItem& item, const DcmTagKey& tag) {
  std::vector<std::optional<double>> values;
  for (const std::string& text : texts_of(item, tag)) {
    std::string_view number = text;
    if (number.starts_with('+')) number.remove_prefix(1);
    double value = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
    const bool whole = error == std::errc() && end == number.data() + number.size() && std::isfinite(value);
    values.push_back(whole ? std::optional(value) : std::nullopt);
  }
  return values;
}

}  // namespace node::object
