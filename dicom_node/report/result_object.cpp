#include "dicom_node/report/result_object.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "dicom_node/object/character_sets.h"
#include "dicom_node/object/characters.h"
#include "dicom_node/object/result_identity.h"
#include "dicom_node/report/codes.h"

namespace node::report {
namespace {

void put_contributing_equipment(DcmItem& result, const ResultContext& context, const std::string& date_time,
                                const std::vector<inference::Prediction>& models, const OwnText& text) {
  std::set<std::string> seen;
  for (const inference::Prediction& model : models) {
    if (!seen.insert(model.model_version).second) continue;
    DcmItem* item = nullptr;
    result.findOrCreateSequenceItem(DCM_ContributingEquipmentSequence, item, -2);
    if (item == nullptr) continue;
    DcmItem* purpose = nullptr;
    item->findOrCreateSequenceItem(DCM_PurposeOfReferenceCodeSequence, purpose, -2);
    if (purpose != nullptr) {
      purpose->putAndInsertString(DCM_CodeValue, kProcessingEquipment.value.c_str());
      purpose->putAndInsertString(DCM_CodingSchemeDesignator, kProcessingEquipment.scheme.c_str());
      purpose->putAndInsertString(DCM_CodeMeaning, kProcessingEquipment.meaning.c_str());
    }
    item->putAndInsertString(DCM_Manufacturer, kManufacturer);
    item->putAndInsertString(DCM_ManufacturerModelName, text(shorten(model.model, 64)).c_str());
    // A retrained model is another device: the digest in its version makes the UID.
    const storage::Uid device = object::derive_uid("device", context.node_uid, "", model.model_version, "");
    item->putAndInsertString(DCM_DeviceUID, device.str().c_str());
    item->putAndInsertString(DCM_SoftwareVersions, text(shorten(model.model_version, 64)).c_str());
    item->putAndInsertString(DCM_ContributionDateTime, date_time.c_str());
    item->putAndInsertString(DCM_ContributionDescription, "Inference");
  }
}

}  // namespace

std::string shorten(const std::string& utf8, std::size_t characters_max) {
  std::size_t characters = 0;
  for (std::size_t i = 0; i < utf8.size(); ++i) {
    if ((static_cast<unsigned char>(utf8[i]) & 0xC0) != 0x80 && characters++ == characters_max)
      return utf8.substr(0, i);
  }
  return utf8;
}

storage::Uid private_scheme_uid() { return object::derive_uid("coding-scheme", kPrivateScheme, "", "", ""); }

void ReportedStudy::add(ReportedImage image) {
  image.number = images.size() + 1;
  images.push_back(std::move(image));
}

std::string image_name(const ReportedImage& image) {
  const std::string& body_part = image.record.route.body_part;
  return fmt::format("Image {}{}{}", image.number, body_part.empty() ? "" : ", ", body_part);
}

const ReportedImage* find_image(const ReportedStudy& study, const std::string& sop_instance_uid) {
  for (const ReportedImage& image : study.images)
    if (image.record.sop_instance_uid.str() == sop_instance_uid) return &image;
  return nullptr;
}

std::string image_revision(const ReportedImage& image, const ResultContext& context) {
  return context.stamp ? *context.stamp : std::to_string(image.record.version);
}

WallTime image_time(const ReportedImage& image, const ResultContext& context) {
  return context.stamp ? context.time : image.record.predicted_at.value_or(context.time);
}

std::string own_words(const config::ReportConfig& config, const std::vector<ReportedImage>& images) {
  std::string words;
  const auto add = [&](const std::string& text) {
    if (!object::is_ascii(text)) words += text + "\n";
  };
  add(config.disclaimer);
  add(config.ae_title);
  for (const config::TaskConfig& task : config.tasks) {
    add(task.name);
    add(task.code.meaning);
    for (const config::Code& code : task.label_codes) add(code.meaning);
  }
  for (const ReportedImage& image : images) {
    add(image.record.reason);
    add(image.record.route.body_part);
    for (const object::FindingRecord& finding : image.findings) {
      add(finding.prediction.model_version);
      add(finding.prediction.model);
      for (const inference::Score& score : finding.prediction.scores) add(score.label);
    }
  }
  return words;
}

OwnText::OwnText(DcmItem& identity) : character_set_(object::character_set_of(identity)) {}

std::string OwnText::operator()(const std::string& utf8) const {
  return object::from_utf8(utf8, character_set_).value_or(object::ascii_only(utf8, '?'));
}

void put_common(DcmItem& result, DcmItem& source, const ResultContext& context, WallTime time,
                const std::vector<inference::Prediction>& models, const OwnText& text) {
  if (!text.character_set().empty()) result.putAndInsertString(DCM_SpecificCharacterSet, text.character_set().c_str());

  const object::DicomDateTime moment = object::to_dicom_time(time, source);
  for (const DcmTagKey& tag : {DCM_InstanceCreationDate, DCM_SeriesDate, DCM_ContentDate})
    result.putAndInsertString(tag, moment.date.c_str());
  for (const DcmTagKey& tag : {DCM_InstanceCreationTime, DCM_SeriesTime, DCM_ContentTime})
    result.putAndInsertString(tag, moment.time.c_str());

  result.putAndInsertString(DCM_InstanceCreatorUID, context.node_uid.c_str());
  result.putAndInsertString(DCM_Manufacturer, kManufacturer);
  result.putAndInsertString(DCM_ManufacturerModelName, kModelName);
  result.putAndInsertString(DCM_StationName, text(shorten(context.config.ae_title, 16)).c_str());
  result.putAndInsertString(DCM_DeviceSerialNumber, context.node_uid.c_str());
  result.putAndInsertString(DCM_SoftwareVersions, shorten(context.config.node_version, 64).c_str());
  // What no authority has cleared is research (PS3.3 C.8.13.2.1.1).
  result.putAndInsertString(DCM_ContentQualification, "RESEARCH");
  put_contributing_equipment(result, context, moment.date + moment.time, models, text);
}

}  // namespace node::report
