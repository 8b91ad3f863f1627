#include "dicom_node/object/result_identity.h"

#include <dcmtk/dcmdata/dcdeftag.h>
#include <dcmtk/dcmdata/dcitem.h>
#include <dcmtk/dcmdata/dcsequen.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <optional>
#include <set>

#include "dicom_node/object/dataset_text.h"

namespace node::object {
namespace {

constexpr std::array<unsigned char, 16> kNamespace = {0x6f, 0x3c, 0x1a, 0x52, 0x8a, 0x0e, 0x5d, 0x5b,
                                                      0x9a, 0x86, 0x3a, 0x1f, 0x0c, 0x6f, 0x7e, 0x11};

std::string decimal(unsigned __int128 number) {
  std::string text;
  do {
    text += static_cast<char>('0' + static_cast<int>(number % 10));
    number /= 10;
  } while (number != 0);
  std::reverse(text.begin(), text.end());
  return text;
}

DcmElement* find(DcmItem& item, const DcmTagKey& tag) {
  DcmElement* element = nullptr;
  return item.findAndGetElement(tag, element).good() ? element : nullptr;
}

// Of a copied sequence: what its items hold privately stays behind, and an empty Coding Scheme Version, which has a
// value or is not there (PS3.3 8.2). Depth is bounded by the walk over the source.
void drop_private(DcmElement& element) {
  auto* sequence = dynamic_cast<DcmSequenceOfItems*>(&element);
  if (sequence == nullptr) return;
  for (DcmItem* const each : all_items(*sequence)) {
    DcmItem& item = *each;
    for (unsigned long j = item.card(); j-- > 0;) {
      DcmElement& inner = *item.getElement(j);
      const bool empty_version = inner.getTag() == DCM_CodingSchemeVersion && inner.isEmpty();
      if (inner.getGTag() % 2 != 0 || empty_version) {
        delete item.remove(j);
      } else {
        drop_private(inner);
      }
    }
  }
}

Status insert(DcmItem& into, std::unique_ptr<DcmElement> element) {
  const OFCondition done = into.insert(element.get(), OFTrue);
  if (done.bad()) return internal_error(std::string("copy an attribute: ") + done.text());
  element.release();
  return ok_status();
}

enum class IfAbsent { kLeaveOut, kEmpty };

Status copy(DcmItem& from, DcmItem& into, const DcmTagKey& tag, IfAbsent if_absent) {
  if (DcmElement* element = find(from, tag)) {
    // The elements of a file that was read lazily are loaded now: it may be gone when the copy is written.
    if (element->loadAllDataIntoMemory().bad()) return data_loss("copy an attribute: its value cannot be read");
    std::unique_ptr<DcmElement> clone(dynamic_cast<DcmElement*>(element->clone()));
    drop_private(*clone);
    return insert(into, std::move(clone));
  }
  if (if_absent == IfAbsent::kLeaveOut) return ok_status();
  const OFCondition done = into.insertEmptyElement(tag, OFTrue);
  return done.good() ? ok_status() : internal_error(std::string("an empty attribute: ") + done.text());
}

// Dates and times as they were written before 1993, "1995.07.20" and "12:30:00", as they are now; others stay.
void modernise(DcmItem& item, const DcmTagKey& tag, char separator) {
  std::string text = text_of(item, tag);
  if (std::erase(text, separator) != 2) return;
  if (std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || c == '.'; }))
    item.putAndInsertString(tag, text.c_str());
}

// Request Attributes Sequence says which request an image was made for; a report names the same request in a sequence
// of its own (PS3.3 C.17.2).
Status refer_to_requests(DcmItem& source, DcmItem& result) {
  DcmSequenceOfItems* requests = nullptr;
  if (source.findAndGetSequence(DCM_RequestAttributesSequence, requests).bad() || requests->card() == 0) {
    return ok_status();
  }
  auto referenced = std::make_unique<DcmSequenceOfItems>(DCM_ReferencedRequestSequence);
  for (DcmItem* const each : all_items(*requests)) {
    DcmItem& request = *each;
    auto item = std::make_unique<DcmItem>();
    for (const DcmTagKey& tag : {DCM_StudyInstanceUID, DCM_AccessionNumber}) {
      DcmItem& from = text_of(request, tag).empty() ? source : request;
      NODE_RETURN_IF_ERROR(copy(from, *item, tag, IfAbsent::kEmpty));
    }
    DcmItem& issuer = text_of(request, DCM_AccessionNumber).empty() ? source : request;
    NODE_RETURN_IF_ERROR(copy(issuer, *item, DCM_IssuerOfAccessionNumberSequence, IfAbsent::kLeaveOut));
    for (const DcmTagKey& tag :
         {DCM_ReferencedStudySequence, DCM_RequestedProcedureID, DCM_RequestedProcedureDescription,
          DCM_RequestedProcedureCodeSequence, DCM_PlacerOrderNumberImagingServiceRequest,
          DCM_FillerOrderNumberImagingServiceRequest}) {
      NODE_RETURN_IF_ERROR(copy(request, *item, tag, IfAbsent::kEmpty));
    }
    if (referenced->append(item.get()).bad()) return internal_error("Referenced Request Sequence: append");
    item.release();
  }
  return insert(result, std::move(referenced));
}

// "+0100" in seconds; nothing if it is no offset.
std::optional<int> offset_seconds(const std::string& text) {
  if (text.size() != 5 || (text[0] != '+' && text[0] != '-')) return std::nullopt;
  if (!std::all_of(text.begin() + 1, text.end(), [](char c) { return c >= '0' && c <= '9'; })) return std::nullopt;
  const int hours = std::atoi(text.substr(1, 2).c_str()), minutes = std::atoi(text.substr(3, 2).c_str());
  if (hours > 14 || minutes > 59) return std::nullopt;
  return (text[0] == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
}

}  // namespace

storage::Uid derive_uid(std::string_view kind, std::string_view source_uid, std::string_view task,
                        std::string_view model_version, std::string_view revision) {
  std::string name(kNamespace.begin(), kNamespace.end());
  name += "skelex-uid-1";
  for (const std::string_view part : {kind, source_uid, task, model_version, revision}) {
    name += '\n';
    name += part;
  }
  std::array<unsigned char, SHA_DIGEST_LENGTH> bytes;
  SHA1(reinterpret_cast<const unsigned char*>(name.data()), name.size(), bytes.data());
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0F) | 0x50);  // Version 5.
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3F) | 0x80);  // The variant of RFC 9562.
  unsigned __int128 number = 0;
  for (std::size_t i = 0; i < 16; ++i) number = number << 8 | bytes[i];
  return storage::Uid::parse("2.25." + decimal(number)).value();
}

Status copy_identity(DcmItem& source, DcmItem& result, bool is_sr) {
  if (text_of(source, DCM_StudyInstanceUID).empty()) return invalid_argument("copy identity: no Study Instance UID");
  for (const DcmTagKey& tag :
       {DCM_PatientName, DCM_PatientID, DCM_PatientBirthDate, DCM_PatientSex, DCM_StudyInstanceUID, DCM_StudyDate,
        DCM_StudyTime, DCM_StudyID, DCM_AccessionNumber, DCM_ReferringPhysicianName}) {  // Type 1 and 2.
    NODE_RETURN_IF_ERROR(copy(source, result, tag, IfAbsent::kEmpty));
  }
  for (const DcmTagKey& tag :
       {DCM_SpecificCharacterSet, DCM_TimezoneOffsetFromUTC, DCM_IssuerOfPatientID,
        DCM_IssuerOfPatientIDQualifiersSequence, DCM_OtherPatientIDsSequence, DCM_IssuerOfAccessionNumberSequence,
        DCM_StudyDescription, DCM_ProcedureCodeSequence, DCM_PatientAge, DCM_PatientSize, DCM_PatientWeight}) {
    NODE_RETURN_IF_ERROR(copy(source, result, tag, IfAbsent::kLeaveOut));
  }
  NODE_RETURN_IF_ERROR(is_sr ? refer_to_requests(source, result)
                             : copy(source, result, DCM_RequestAttributesSequence, IfAbsent::kLeaveOut));
  for (const DcmTagKey& tag : {DCM_StudyDate, DCM_PatientBirthDate}) modernise(result, tag, '.');
  modernise(result, DCM_StudyTime, ':');
  return ok_status();
}

DicomDateTime to_dicom_time(WallTime time, DcmItem& source) {
  const std::int64_t milliseconds = time.time_since_epoch().count();
  std::int64_t seconds = milliseconds / 1000, rest = milliseconds % 1000;
  if (rest < 0) {
    rest += 1000;
    --seconds;
  }
  std::tm parts{};
  if (const auto offset = offset_seconds(text_of(source, DCM_TimezoneOffsetFromUTC))) {
    const std::time_t moment = seconds + *offset;
    gmtime_r(&moment, &parts);
  } else {
    const std::time_t moment = seconds;
    localtime_r(&moment, &parts);
  }
  std::array<char, 64> date, clock;
  std::snprintf(date.data(), date.size(), "%04d%02d%02d", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday);
  std::snprintf(clock.data(), clock.size(), "%02d%02d%02d.%03d", parts.tm_hour, parts.tm_min, parts.tm_sec,
                static_cast<int>(rest));
  return {date.data(), clock.data()};
}

}  // namespace node::object
