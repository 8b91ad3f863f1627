#include "dicom_node/object/valid_values.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "dicom_node/object/character_sets.h"
#include "dicom_node/object/characters.h"
#include "dicom_node/object/dataset_text.h"
#include "storage/uid.h"

namespace node::object {
namespace {

constexpr std::size_t kCodeMeaningMax = 64;  // VR LO

// Bytes of every text of the header, run together.
void collect_text(DcmItem& item, std::string& bytes) {
  for (DcmElement* element : all_elements(item)) {
    if (auto* sequence = dynamic_cast<DcmSequenceOfItems*>(element)) {
      for (DcmItem* each : all_items(*sequence)) collect_text(*each, bytes);
    } else if (element->isaString()) {
      bytes += raw_text(*element) + '\n';
    }
  }
}

// Control characters of eight bits, which no text may hold: in Latin-1 mostly letters of Windows.
bool has_controls(std::string_view bytes) {
  return std::any_of(bytes.begin(), bytes.end(), [](char c) {
    return static_cast<unsigned char>(c) >= 0x80 && static_cast<unsigned char>(c) < 0xA0;
  });
}

// Whether the bytes can be what the header says they are, as far as that can be known.
bool set_is_true(DcmItem& header, const std::vector<std::string>& sets, const std::string& bytes) {
  static const std::set<std::string> known{"ISO_IR 100",
                                           "ISO_IR 101",
                                           "ISO_IR 109",
                                           "ISO_IR 110",
                                           "ISO_IR 144",
                                           "ISO_IR 127",
                                           "ISO_IR 126",
                                           "ISO_IR 138",
                                           "ISO_IR 148",
                                           "ISO_IR 203",
                                           "ISO_IR 13",
                                           "ISO_IR 166",
                                           "ISO_IR 192",
                                           "GB18030",
                                           "GBK",
                                           "ISO 2022 IR 6",
                                           "ISO 2022 IR 100",
                                           "ISO 2022 IR 101",
                                           "ISO 2022 IR 109",
                                           "ISO 2022 IR 110",
                                           "ISO 2022 IR 144",
                                           "ISO 2022 IR 127",
                                           "ISO 2022 IR 126",
                                           "ISO 2022 IR 138",
                                           "ISO 2022 IR 148",
                                           "ISO 2022 IR 203",
                                           "ISO 2022 IR 13",
                                           "ISO 2022 IR 166",
                                           "ISO 2022 IR 87",
                                           "ISO 2022 IR 159",
                                           "ISO 2022 IR 149",
                                           "ISO 2022 IR 58",
                                           "ISO_IR 6",
                                           ""};
  if (std::any_of(sets.begin(), sets.end(), [](const std::string& set) { return !known.contains(set); })) return false;
  if (is_plain(bytes)) return true;
  if (sets.empty()) return false;
  // The first set by default, and the 94 x 94 ones of Japan, are of seven bits.
  const bool seven_bits = std::all_of(sets.begin(), sets.end(), [](const std::string& set) {
    return set.empty() || set == "ISO_IR 6" || set == "ISO 2022 IR 6" || set == "ISO 2022 IR 87" ||
           set == "ISO 2022 IR 159";
  });
  if (seven_bits && !is_ascii(bytes)) return false;
  if (sets.size() == 1 && sets[0] == "ISO_IR 100" && has_controls(bytes)) return false;
  return is_written_in(header, character_set_of(header));
}

void declare_characters(DcmItem& header) {
  std::vector<std::string> sets = texts_of(header, DCM_SpecificCharacterSet);
  if (std::all_of(sets.begin(), sets.end(), [](const std::string& set) { return set.empty(); })) sets.clear();
  std::string bytes;
  collect_text(header, bytes);
  if (set_is_true(header, sets, bytes)) return;
  if (sets.size() == 1 && sets[0] == "ISO_IR 13" && !is_utf8(bytes) && make_unicode(header, kShiftJis)) return;
  if (has_controls(bytes) && !is_utf8(bytes) && make_unicode(header, kWindows1252)) return;
  header.findAndDeleteElement(DCM_SpecificCharacterSet);
  if (!is_ascii(bytes))
    header.putAndInsertString(DCM_SpecificCharacterSet, is_utf8(bytes) ? "ISO_IR 192" : "ISO_IR 100");
}

// One letter for each character beyond ASCII: what counts them and looks for control characters need know no set.
std::string plain_letters(const std::string& text, const std::string& set, bool& known) {
  const std::optional<std::string> utf8 = to_utf8(text, set);
  known = utf8.has_value();
  std::string letters = utf8.value_or(text);
  for (std::size_t at = 0; known && (at = letters.find('\xC2', at)) != std::string::npos; ++at)
    if (at + 1 < letters.size() && has_controls(letters.substr(at + 1, 1))) letters[at + 1] = '\x01';  // One of ASCII.
  return ascii_only(letters, 'x');
}

bool is_day(const std::string& text) {
  int year = 0, month = 0, day = 0, end = 0;
  if (std::sscanf(text.c_str(), "%4d%2d%2d%n", &year, &month, &day, &end) != 3 &&
      std::sscanf(text.c_str(), "%4d.%2d.%2d%n", &year, &month, &day, &end) != 3)
    return false;
  using namespace std::chrono;
  return static_cast<std::size_t>(end) == text.size() && text.size() >= 8 && year > 0 &&
         year_month_day{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                        std::chrono::day(static_cast<unsigned>(day))}
             .ok();
}

// No value, no component group of a name, may be longer; DCMTK's checks do not count.
bool is_too_long(std::string_view text, char separator, std::size_t most) {
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t to = std::min(text.find_first_of(std::string{'\\', separator}, from), text.size());
    if (to - from > most) return true;
    from = to + 1;
  }
  return false;
}

// Leading zeros of old devices stay: it is the image's UID that a result has to name.
std::string fault_of_uids(std::string_view text, std::string_view vm) {
  if (vm == "1" && text.find('\\') != std::string_view::npos) return "of more values than one";
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t to = std::min(text.find('\\', from), text.size());
    if (!storage::Uid::parse(text.substr(from, to - from)).ok()) return "not a value of its VR";
    from = to + 1;
  }
  return "";
}

// What is wrong with the text for that VR; empty: nothing, or nothing that can be known.
std::string fault_of(DcmEVR vr, const std::string& raw, const std::string& set, const char* vm) {
  if (raw.empty()) return "";
  bool known = false;
  const std::string text = plain_letters(raw, set, known);
  const auto checked = [](const OFCondition& done) {
    return done.good()                            ? std::string()
           : done == EC_MaximumLengthViolated     ? std::string("too long")
           : done == EC_ValueMultiplicityViolated ? std::string("of more values than one")
                                                  : std::string("not a value of its VR");
  };
  switch (vr) {
    case EVR_PN:
      if (known && is_too_long(text, '=', 64)) return "too long";
      return known ? checked(DcmPersonName::checkStringValue(text.c_str(), vm)) : "";
    case EVR_LO:
      if (known && is_too_long(text, '\\', 64)) return "too long";
      return known ? checked(DcmLongString::checkStringValue(text.c_str(), vm)) : "";
    case EVR_SH:
      if (known && is_too_long(text, '\\', 16)) return "too long";
      return known ? checked(DcmShortString::checkStringValue(text.c_str(), vm)) : "";
    case EVR_ST: return known ? checked(DcmShortText::checkStringValue(text.c_str())) : "";
    case EVR_LT: return known ? checked(DcmLongText::checkStringValue(text.c_str())) : "";
    case EVR_DA: return is_day(text) ? "" : "no day of the calendar";
    case EVR_TM: {
      std::string digits = text;  // "12:30:00" is how it was written before 1993.
      if (std::erase(digits, ':') != 2) digits = text;
      if (!digits.empty() && digits.substr(0, 2) > "23") return "no time of day";
      return checked(DcmTime::checkStringValue(digits.c_str(), vm));
    }
    case EVR_AS: return checked(DcmAgeString::checkStringValue(text.c_str(), vm));
    case EVR_IS: return checked(DcmIntegerString::checkStringValue(text.c_str(), vm));
    case EVR_CS: return checked(DcmCodeString::checkStringValue(text.c_str(), vm));
    case EVR_DS:
      if (is_too_long(text, '\\', 16)) return "too long";
      return checked(DcmDecimalString::checkStringValue(text.c_str(), vm));
    case EVR_UI: return fault_of_uids(text, vm);
    default: return "";
  }
}

bool names_the_patient(const DcmTagKey& tag) {
  return tag == DCM_PatientName || tag == DCM_PatientID || tag == DCM_IssuerOfPatientID || tag == DCM_AccessionNumber;
}

// Attributes of results that have one value, whatever their VR could have.
const char* multiplicity_of(const DcmTagKey& tag) {
  static const std::set<DcmTagKey> single{DCM_PatientName,
                                          DCM_PatientID,
                                          DCM_IssuerOfPatientID,
                                          DCM_AccessionNumber,
                                          DCM_StudyID,
                                          DCM_StudyDescription,
                                          DCM_StudyDate,
                                          DCM_StudyTime,
                                          DCM_PatientBirthDate,
                                          DCM_PatientAge,
                                          DCM_InstanceNumber,
                                          DCM_SeriesNumber,
                                          DCM_StudyInstanceUID,
                                          DCM_SOPInstanceUID,
                                          DCM_SeriesInstanceUID,
                                          DCM_CodeMeaning,
                                          DCM_ReferringPhysicianName};
  return single.contains(tag) ? "1" : "1-n";
}

// The directions of rows and columns (PS3.3 C.7.6.1.1.1): of a biped one to three of A, P, R, L, H, F each.
bool is_orientation(const std::string& text) {
  const std::size_t middle = text.find('\\');
  if (middle == std::string::npos || text.find('\\', middle + 1) != std::string::npos) return false;
  const auto is_direction = [](const std::string& letters) {
    return !letters.empty() && letters.size() <= 3 && letters.find_first_not_of("APRLHF") == std::string::npos;
  };
  return is_direction(text.substr(0, middle)) && is_direction(text.substr(middle + 1));
}

std::string fault_of_attribute(DcmItem& item, const DcmTag& tag, const std::string& text, const std::string& set) {
  if (tag == DCM_PatientSex) return text.empty() || text == "M" || text == "F" || text == "O" ? "" : "not M, F or O";
  if (tag == DCM_PatientSize || tag == DCM_PatientWeight) {
    const auto values = decimals_of(item, tag);
    return text.empty() || (values.size() == 1 && values[0] && text.size() <= 16) ? "" : "no number";
  }
  if (tag == DCM_PatientOrientation) return text.empty() || is_orientation(text) ? "" : "no directions";
  if (tag == DCM_TimezoneOffsetFromUTC) {
    int hours = 0, minutes = 0, end = 0;
    const bool is_offset = text.size() == 5 && (text[0] == '+' || text[0] == '-') &&
                           std::sscanf(text.c_str() + 1, "%2d%2d%n", &hours, &minutes, &end) == 2 && end == 4 &&
                           hours <= 14 && minutes <= 59;
    return text.empty() || is_offset ? "" : "no offset";
  }
  return fault_of(tag.getEVR(), text, set, multiplicity_of(tag));
}

// The text in the VR that the attribute has, if the source gave it another.
void restore_vr(DcmItem& item, const DcmTag& tag, DcmElement& element) {
  if (element.ident() == tag.getEVR()) return;
  DcmElement* same = nullptr;
  std::string text = raw_text(element);
  if (element.ident() == EVR_UN) {
    Uint8* bytes = nullptr;
    if (element.getUint8Array(bytes).good() && bytes != nullptr)
      text.assign(reinterpret_cast<const char*>(bytes), element.getLength());
    text.erase(text.find_last_not_of(std::string_view(" \0", 2)) + 1);
  }
  item.findAndDeleteElement(tag);
  if (DcmItem::newDicomElement(same, tag).bad() || same == nullptr) return;
  if (same->putString(text.c_str()).bad() || item.insert(same, OFTrue).bad()) delete same;
}

// Sequences that results copy, and of which an item has to hold something to say anything: codes (PS3.3 8.8), issuers
// (10.14), other Patient IDs (C.7.1.1), references, requests.
enum class ItemKind { kOther, kCode, kIssuer, kPatientId, kReference, kRequest };

ItemKind items_of(DcmTag sequence) {
  if (std::string_view(sequence.getTagName()).ends_with("CodeSequence") || sequence == DCM_AnatomicRegionSequence ||
      sequence == DCM_AnatomicRegionModifierSequence)
    return ItemKind::kCode;
  if (sequence == DCM_IssuerOfAccessionNumberSequence || sequence == DCM_IssuerOfPatientIDQualifiersSequence)
    return ItemKind::kIssuer;
  if (sequence == DCM_OtherPatientIDsSequence) return ItemKind::kPatientId;
  if (sequence == DCM_ReferencedStudySequence) return ItemKind::kReference;
  return sequence == DCM_RequestAttributesSequence ? ItemKind::kRequest : ItemKind::kOther;
}

bool is_complete(ItemKind kind, DcmItem& item) {
  const auto has = [&](const DcmTagKey& tag) { return !text_of(item, tag).empty(); };
  const bool universal = has(DCM_UniversalEntityID);
  switch (kind) {
    case ItemKind::kCode:
      return has(DCM_CodeMeaning) &&
             (((has(DCM_CodeValue) || has(DCM_LongCodeValue)) && has(DCM_CodingSchemeDesignator)) ||
              has(DCM_URNCodeValue));
    case ItemKind::kIssuer:
      return universal == has(DCM_UniversalEntityIDType) &&
             (universal || has(DCM_LocalNamespaceEntityID) || has(DCM_IdentifierTypeCode));
    case ItemKind::kPatientId: return has(DCM_PatientID) && has(DCM_TypeOfPatientID);
    case ItemKind::kReference: return has(DCM_ReferencedSOPClassUID) && has(DCM_ReferencedSOPInstanceUID);
    case ItemKind::kRequest: return item.card() > 0;
    case ItemKind::kOther: return true;
  }
  return true;
}

bool is_text(DcmEVR vr) {
  static const std::set<DcmEVR> texts{EVR_PN, EVR_LO, EVR_SH, EVR_ST, EVR_LT, EVR_DA,
                                      EVR_TM, EVR_AS, EVR_IS, EVR_UI, EVR_CS, EVR_DS};
  return texts.contains(vr);
}

Status make_valid(DcmItem& item, const std::string& set, bool nested) {
  std::vector<DcmTagKey> tags;
  for (DcmElement* const each : all_elements(item)) tags.push_back(each->getTag());
  for (const DcmTagKey& key : tags) {
    DcmElement* element = nullptr;
    if (item.findAndGetElement(key, element).bad() || key.getGroup() % 2 != 0) continue;
    if (auto* sequence = dynamic_cast<DcmSequenceOfItems*>(element)) {
      const ItemKind kind = items_of(DcmTag(key));
      const std::vector<DcmItem*> items = all_items(*sequence);
      for (DcmItem* const each : items) NODE_RETURN_IF_ERROR(make_valid(*each, set, /*nested=*/true));
      const auto is_good = [kind](DcmItem* each) { return is_complete(kind, *each); };
      if (!std::all_of(items.begin(), items.end(), is_good)) {
        // All out, the good ones back in: DCMTK looks for each one that it shall remove from the first item on.
        constexpr unsigned long kFirst = 0;
        while (sequence->card() > 0) static_cast<void>(sequence->remove(kFirst));
        for (DcmItem* const each : items) {
          if (!is_good(each) || sequence->append(each).bad()) delete each;
        }
      }
      if (kind != ItemKind::kOther && sequence->card() == 0) item.findAndDeleteElement(key);  // No result needs it.
      continue;
    }
    DcmTag tag(key);  // With the dictionary's VR.
    if (!is_text(tag.getEVR())) continue;
    restore_vr(item, tag, *element);
    const std::string text = text_of(item, key), fault = fault_of_attribute(item, tag, text, set);
    if (fault.empty()) continue;
    if (names_the_patient(key) && !nested) {
      char number[16];
      std::snprintf(number, sizeof number, "(%04x,%04x)", key.getGroup(), key.getElement());
      return invalid_argument(std::string(tag.getTagName()) + " " + number + " is " + fault +
                              ": no valid result can bear it; it is to be mended where the image comes from");
    }
    if (tag.getEVR() == EVR_DS) {  // Longer than a number may be, as programs print them.
      std::string shorter;
      bool numbers = true;
      for (const std::optional<double>& value : decimals_of(item, key)) {
        char number[24];
        std::snprintf(number, sizeof number, "%.10g", value.value_or(0));
        shorter += (shorter.empty() ? "" : "\\") + std::string(number);
        numbers = numbers && value.has_value();
      }
      if (numbers && fault_of_attribute(item, tag, shorter, set).empty()) {
        item.putAndInsertString(key, shorter.c_str());
        continue;
      }
    }
    std::string capitals = text;
    for (char& c : capitals) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    if (tag.getEVR() == EVR_CS && fault_of_attribute(item, tag, capitals, set).empty())
      item.putAndInsertString(key, capitals.c_str());
    else if (key == DCM_CodeMeaning && is_ascii(text))
      item.putAndInsertString(key, text.substr(0, std::min(text.find('\\'), kCodeMeaningMax)).c_str());
    else if (nested)
      item.findAndDeleteElement(key);  // There it may be of type 1C.
    else
      item.insertEmptyElement(key, OFTrue);
  }
  return ok_status();
}

}  // namespace

Status make_valid(DcmItem& header) {
  declare_characters(header);
  OFString set;
  header.findAndGetOFStringArray(DCM_SpecificCharacterSet, set);
  return make_valid(header, set.c_str(), /*nested=*/false);
}

}  // namespace node::object
