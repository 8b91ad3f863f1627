// dataset_text: single values out of a data set, as written, where DCMTK's own accessors would guess or drop.
//
// Threads:   as the data set.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

class DcmElement;
class DcmItem;
class DcmSequenceOfItems;
class DcmTagKey;

namespace node::object {

// The bytes of a text element without leading spaces and trailing spaces and NULs; NULs inside stay. Several values are
// one text with backslashes. Empty if absent or no text.
std::string raw_text(DcmElement& element);
std::string text_of(DcmItem& item, const DcmTagKey& tag);
// The same, split at the backslashes, each value without padding. Not for texts of multi-byte character sets.
std::vector<std::string> texts_of(DcmItem& item, const DcmTagKey& tag);

// All items, all elements, in order and in one walk: DCMTK's getItem(i) and getElement(i) count from the first each time,
// which takes a peer's sequence of many items the square of their number.
std::vector<DcmItem*> all_items(DcmSequenceOfItems& sequence);
std::vector<DcmElement*> all_elements(DcmItem& item);

// The 16 bit words of a US, SS or OW element whatever its VR says about the sign; empty for other VRs.
std::vector<std::uint16_t> raw_words(DcmElement& element);
std::optional<std::uint16_t> word_of(DcmItem& item, const DcmTagKey& tag);

// Values of a DS element, read strictly: nothing where one is no finite decimal number.
std::vector<std::optional<double>> decimals_of(DcmItem& item, const DcmTagKey& tag);

}  // namespace node::object
