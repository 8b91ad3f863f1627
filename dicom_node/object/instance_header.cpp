#include "dicom_node/object/instance_header.h"

#include <dcmtk/dcmdata/dcdeftag.h>
#include <dcmtk/dcmdata/dcfilefo.h>
#include <dcmtk/dcmdata/dcitem.h>
#include <dcmtk/dcmdata/dcmetinf.h>
#include <dcmtk/dcmdata/dcsequen.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <initializer_list>
#include <span>
#include <string_view>
#include <utility>

#include "dicom_node/object/character_sets.h"
#include "dicom_node/object/dataset_text.h"
#include "dicom_node/object/sha256.h"
#include "dicom_node/object/structure.h"

namespace node::object {
namespace {

// What routing, rendering and results read. Not in it: what a decoder or an archive may change without changing the
// object (transfer syntax, lossy history, group lengths, Retrieve AE Title, Original Attributes, private groups), nor
// the names of station and institution, which archives coerce, though a route may ask for them.
const std::span<const DcmTagKey> attributes_that_matter() {
  static const DcmTagKey kAttributesThatMatter[] = {
      // Identity, copied into results.
      DCM_SpecificCharacterSet, DCM_TimezoneOffsetFromUTC, DCM_SOPClassUID, DCM_StudyInstanceUID, DCM_SeriesInstanceUID,
      DCM_PatientName, DCM_PatientID, DCM_IssuerOfPatientID, DCM_IssuerOfPatientIDQualifiersSequence,
      DCM_OtherPatientIDsSequence, DCM_PatientBirthDate, DCM_PatientSex, DCM_PatientAge, DCM_PatientSize,
      DCM_PatientWeight, DCM_StudyDate, DCM_StudyTime, DCM_StudyID, DCM_StudyDescription, DCM_AccessionNumber,
      DCM_IssuerOfAccessionNumberSequence, DCM_ReferringPhysicianName, DCM_ProcedureCodeSequence,
      DCM_RequestAttributesSequence,
      // Routing.
      DCM_Modality, DCM_ImageType, DCM_PresentationIntentType, DCM_BodyPartExamined, DCM_AnatomicRegionSequence,
      DCM_RequestedProcedureCodeSequence, DCM_PerformedProtocolCodeSequence, DCM_ProtocolName, DCM_SeriesDescription,
      DCM_RequestedProcedureDescription, DCM_Laterality, DCM_ImageLaterality, DCM_ViewPosition, DCM_ViewCodeSequence,
      DCM_PatientOrientation,
      // Rendering.
      DCM_SamplesPerPixel, DCM_NumberOfFrames, DCM_Rows, DCM_Columns, DCM_BitsAllocated, DCM_BitsStored, DCM_HighBit,
      DCM_PixelRepresentation, DCM_PixelAspectRatio, DCM_PixelSpacing, DCM_ImagerPixelSpacing, DCM_PixelPaddingValue,
      DCM_PixelPaddingRangeLimit, DCM_ModalityLUTSequence, DCM_RescaleIntercept, DCM_RescaleSlope, DCM_VOILUTSequence,
      DCM_WindowCenter, DCM_WindowWidth, DCM_VOILUTFunction, DCM_PresentationLUTShape};
  return kAttributesThatMatter;
}

void digest_element(Sha256& digest, DcmElement& element) {
  if (auto* sequence = dynamic_cast<DcmSequenceOfItems*>(&element)) {
    for (DcmItem* item : all_items(*sequence)) {
      digest.update("item\n");
      for (DcmElement* child : all_elements(*item)) {
        if (child->getGTag() % 2 != 0 || child->getETag() == 0) continue;  // Private; group length.
        digest.update(child->getTag().toString().c_str());
        digest_element(digest, *child);
      }
    }
    return;
  }
  digest.update("=");
  if (element.isaString()) {
    digest.update(raw_text(element));
  } else if (const auto words = raw_words(element); !words.empty()) {
    digest.update(words.data(), words.size() * sizeof words[0]);
  } else {
    OFString text;
    element.getOFStringArray(text);
    digest.update(std::string_view(text.c_str(), text.size()));
  }
  digest.update("\n");
}

std::string digest_of(DcmItem& data_set) {
  Sha256 digest;
  for (const DcmTagKey& tag : attributes_that_matter()) {
    DcmElement* element = nullptr;
    if (data_set.findAndGetElement(tag, element).bad() || element == nullptr) continue;
    digest.update(tag.toString().c_str());
    digest_element(digest, *element);
  }
  // Colour models come and go with compression; the two grey ones mean opposite things.
  const std::string photometric = text_of(data_set, DCM_PhotometricInterpretation);
  digest.update(photometric.starts_with("MONOCHROME") ? photometric : "COLOR");
  return digest.finish_hex();
}

std::vector<config::Code> codes_of(DcmItem& data_set, const DcmTagKey& tag) {
  std::vector<config::Code> codes;
  DcmSequenceOfItems* sequence = nullptr;
  if (data_set.findAndGetSequence(tag, sequence).bad() || sequence == nullptr) return codes;
  for (DcmItem* const each : all_items(*sequence)) {
    DcmItem& item = *each;
    config::Code code;
    for (const DcmTagKey& value : {DCM_CodeValue, DCM_LongCodeValue, DCM_URNCodeValue}) {
      if (code.value.empty()) code.value = text_of(item, value);
    }
    code.scheme = text_of(item, DCM_CodingSchemeDesignator);
    code.meaning = text_of(item, DCM_CodeMeaning);
    if (!code.value.empty()) codes.push_back(std::move(code));
  }
  return codes;
}

// The code of a sequence's first item in the words of `names`; empty if there is none or another.
std::string first_code(DcmItem& data_set, const DcmTagKey& tag,
                       std::initializer_list<std::pair<std::string_view, std::string_view>> names) {
  const std::vector<config::Code> codes = codes_of(data_set, tag);
  if (codes.empty()) return "";
  const auto found =
      std::find_if(names.begin(), names.end(), [&](const auto& name) { return name.first == codes[0].value; });
  return found == names.end() ? std::string() : std::string(found->second);
}

// In the words of View Position. Source: PS3.16 CID 4010.
std::string view_of(DcmItem& data_set) {
  const std::string position = text_of(data_set, DCM_ViewPosition);
  if (!position.empty()) return position;
  return first_code(data_set, DCM_ViewCodeSequence,
                    {{"399348003", "AP"},
                     {"R-10206", "AP"},
                     {"272479007", "PA"},
                     {"R-10214", "PA"},
                     {"399067008", "LATERAL"},
                     {"R-10236", "LATERAL"},
                     {"399173006", "LL"},
                     {"399198007", "RL"},
                     {"399260004", "ML"},
                     {"399352003", "LM"},
                     {"399182000", "OBLIQUE"},
                     {"399061009", "AXIAL"}});
}

// Source: PS3.16 CID 244.
std::string laterality_of(DcmItem& data_set) {
  std::string side = text_of(data_set, DCM_ImageLaterality);
  if (side.empty()) side = text_of(data_set, DCM_Laterality);
  DcmItem* region = nullptr;
  if (side.empty() && data_set.findAndGetSequenceItem(DCM_AnatomicRegionSequence, region).good() && region != nullptr) {
    side = first_code(
        *region, DCM_AnatomicRegionModifierSequence,
        {{"24028007", "R"}, {"G-A100", "R"}, {"7771000", "L"}, {"G-A101", "L"}, {"51440002", "B"}, {"G-A102", "B"}});
  }
  for (char& c : side) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  if (side == "LEFT") return "L";  // No value of the standard, but some write it.
  if (side == "RIGHT") return "R";
  return side;
}

std::string orientation_of(DcmItem& data_set) {
  const std::vector<std::string> directions = texts_of(data_set, DCM_PatientOrientation);
  if (directions.size() != 2 || directions[0].empty() || directions[1].empty()) return "";
  std::string both = directions[0] + "\\" + directions[1];
  for (char& c : both) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return both;
}

// In UTF-8; as written where it is not in the character set that the data set declares, for its items too.
std::string utf8_text_of(DcmItem& data_set, DcmItem& item, const DcmTagKey& tag) {
  const std::string text = text_of(item, tag);
  return to_utf8(text, character_set_of(data_set)).value_or(text);
}
std::string utf8_text_of(DcmItem& data_set, const DcmTagKey& tag) { return utf8_text_of(data_set, data_set, tag); }

// CR and DX images say what was asked for and done in their series: there, and in the items of its Request Attributes
// Sequence (PS3.3 C.7.3.1, table 10-9).
void read_requests(DcmItem& data_set, InstanceHeader& header) {
  std::vector<DcmItem*> places = {&data_set};
  DcmSequenceOfItems* requests = nullptr;
  if (data_set.findAndGetSequence(DCM_RequestAttributesSequence, requests).good() && requests != nullptr) {
    const std::vector<DcmItem*> items = all_items(*requests);
    places.insert(places.end(), items.begin(), items.end());
  }
  const auto describe = [&](DcmItem& item, const DcmTagKey& tag) {
    std::string& description = header.requested_procedure_description;
    if (description.empty()) description = utf8_text_of(data_set, item, tag);
  };
  for (DcmItem* item : places) {
    for (config::Code& code : codes_of(*item, DCM_RequestedProcedureCodeSequence))
      header.procedure_codes.push_back(std::move(code));
    describe(*item, DCM_RequestedProcedureDescription);
  }
  for (std::size_t i = 1; i < places.size(); ++i) {
    for (config::Code& code : codes_of(*places[i], DCM_ScheduledProtocolCodeSequence))
      header.procedure_codes.push_back(std::move(code));
    describe(*places[i], DCM_ScheduledProcedureStepDescription);
  }
  describe(data_set, DCM_PerformedProcedureStepDescription);
}

int digits(std::string_view text) {
  int value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0 ? value : -1;
}

// YYYYMMDD, or YYYY.MM.DD of old files; -1 if it is neither.
int date_number(std::string text) {
  std::erase(text, '.');
  return text.size() == 8 ? digits(text) : -1;
}

int age_of(DcmItem& data_set) {
  const std::string age = text_of(data_set, DCM_PatientAge);
  if (age.size() >= 2 && age.size() <= 4) {  // Of three digits by the standard; some write fewer.
    const int count = digits(age.substr(0, age.size() - 1));
    if (count >= 0) switch (age.back()) {
        case 'Y': return count;
        case 'M': return count / 12;
        case 'W': return count * 7 / 365;
        case 'D': return count / 365;
      }
  }
  const int born = date_number(text_of(data_set, DCM_PatientBirthDate));
  const int studied = date_number(text_of(data_set, DCM_StudyDate));
  if (born <= 0 || studied < born) return -1;
  return (studied - born) / 10000;  // Of numbers YYYYMMDD this counts birthdays.
}

}  // namespace

bool InstanceHeader::is_for_processing() const {
  static constexpr std::string_view kClasses[] = {
      "1.2.840.10008.5.1.4.1.1.1.1.1",  // Digital X-Ray
      "1.2.840.10008.5.1.4.1.1.1.2.1",  // Digital Mammography X-Ray
      "1.2.840.10008.5.1.4.1.1.1.3.1",  // Digital Intra-Oral X-Ray
  };
  std::string intent;
  for (const char c : presentation_intent_type)
    intent += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return intent == "FOR PROCESSING" ||
         std::find(std::begin(kClasses), std::end(kClasses), sop_class_uid) != std::end(kClasses);
}

std::string InstanceHeader::pixel_data_problem() const {
  if (!has_pixel_data) return "no pixel data";
  if (rows <= 0 || columns <= 0) return "rows or columns are 0 or missing";
  if (samples_per_pixel <= 0 || bits_allocated <= 0) return "samples per pixel or bits allocated are 0 or missing";
  if (bits_stored <= 0 || bits_stored > bits_allocated) return "bits stored are 0 or more than bits allocated";
  if (number_of_frames <= 0) return "number of frames is 0 or no number";
  if (pixel_data_bytes == 0) return "pixel data empty";
  if (pixel_data_cut) {
    return "the file ends inside the pixel data, of which it holds " + std::to_string(pixel_data_bytes) + " bytes";
  }
  if (!pixel_data_encapsulated) {
    // 16 + 16 + 16 + 16 + 32 bits at most: more than 64.
    const auto samples =
        static_cast<unsigned __int128>(rows) * static_cast<unsigned>(columns) * static_cast<unsigned>(number_of_frames);
    unsigned __int128 bits = samples * static_cast<unsigned>(samples_per_pixel) * static_cast<unsigned>(bits_allocated);
    if (photometric_interpretation == "YBR_FULL_422") bits = samples * 2 * static_cast<unsigned>(bits_allocated);
    if ((bits + 7) / 8 > pixel_data_bytes) {
      return "pixel data shorter than rows x columns ask: " + std::to_string(pixel_data_bytes) + " bytes for " +
             std::to_string(columns) + " x " + std::to_string(rows) + " pixels" +
             (number_of_frames > 1 ? " in " + std::to_string(number_of_frames) + " frames" : "");
    }
  }
  return {};
}

namespace {

Result<InstanceHeader> header_of(DcmFileFormat& format, const Structure& structure) {
  DcmDataset& data_set = *format.getDataset();
  if (data_set.card() == 0) return invalid_argument("not readable as DICOM: an empty data set");

  InstanceHeader header;
  header.transfer_syntax_uid = structure.transfer_syntax_uid;
  if (header.transfer_syntax_uid.empty()) {
    header.transfer_syntax_uid = DcmXfer(data_set.getOriginalXfer()).getXferID();
  }
  header.low_group = structure.low_group;
  header.sop_class_uid = text_of(data_set, DCM_SOPClassUID);
  header.sop_instance_uid = text_of(data_set, DCM_SOPInstanceUID);
  header.study_instance_uid = text_of(data_set, DCM_StudyInstanceUID);
  header.series_instance_uid = text_of(data_set, DCM_SeriesInstanceUID);
  header.instance_creator_uid = text_of(data_set, DCM_InstanceCreatorUID);
  header.modality = text_of(data_set, DCM_Modality);
  header.presentation_intent_type = text_of(data_set, DCM_PresentationIntentType);
  header.image_type = texts_of(data_set, DCM_ImageType);
  header.accession_number = text_of(data_set, DCM_AccessionNumber);
  header.body_part_examined = text_of(data_set, DCM_BodyPartExamined);
  header.anatomic_region = codes_of(data_set, DCM_AnatomicRegionSequence);
  header.procedure_codes = codes_of(data_set, DCM_ProcedureCodeSequence);
  read_requests(data_set, header);
  header.performed_codes = codes_of(data_set, DCM_PerformedProtocolCodeSequence);
  header.protocol_name = utf8_text_of(data_set, DCM_ProtocolName);
  header.series_description = utf8_text_of(data_set, DCM_SeriesDescription);
  header.study_description = utf8_text_of(data_set, DCM_StudyDescription);
  header.station_name = utf8_text_of(data_set, DCM_StationName);
  header.institution_name = utf8_text_of(data_set, DCM_InstitutionName);
  header.source_ae_title = text_of(*format.getMetaInfo(), DCM_SourceApplicationEntityTitle);
  header.patient_sex = text_of(data_set, DCM_PatientSex);
  header.laterality = laterality_of(data_set);
  header.view_position = view_of(data_set);
  header.orientation = orientation_of(data_set);
  header.age_years = age_of(data_set);
  header.rows = word_of(data_set, DCM_Rows).value_or(0);
  header.columns = word_of(data_set, DCM_Columns).value_or(0);
  header.samples_per_pixel = word_of(data_set, DCM_SamplesPerPixel).value_or(0);
  header.bits_allocated = word_of(data_set, DCM_BitsAllocated).value_or(0);
  header.bits_stored = word_of(data_set, DCM_BitsStored).value_or(0);
  const std::string frames = text_of(data_set, DCM_NumberOfFrames);
  header.number_of_frames = frames.empty() ? 1 : std::max(0, digits(frames));
  header.photometric_interpretation = text_of(data_set, DCM_PhotometricInterpretation);
  header.has_pixel_data = structure.has_pixel_data;
  header.pixel_data_encapsulated = structure.encapsulated;
  header.pixel_data_bytes = structure.pixel_data_bytes;
  header.pixel_data_cut = structure.cut;
  header.digest = digest_of(data_set);
  return header;
}

}  // namespace

Result<InstanceHeader> read_instance_header(const std::filesystem::path& file, const ReadLimits& limits) {
  DcmFileFormat format;
  NODE_ASSIGN_OR_RETURN(const Structure structure, walk_and_load(file, format, Extent::kUpToPixelData, limits));
  return header_of(format, structure);
}

Result<InstanceHeader> parse_instance_header(std::string_view bytes, const ReadLimits& limits) {
  DcmFileFormat format;
  NODE_ASSIGN_OR_RETURN(const Structure structure, walk_and_load(bytes, format, limits));
  return header_of(format, structure);
}

}  // namespace node::object
