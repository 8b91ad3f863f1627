#include "dicom_node/report/image_object.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include <algorithm>

#include "dicom_node/object/dataset_text.h"
#include "dicom_node/object/stored_pixels.h"

namespace node::report {
namespace {

// As VR CS wants it: capitals, digits, spaces, underscores, at most 16. Empty: it cannot be had without other words.
std::string code_string(std::string text) {
  for (char& c : text) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  const bool fits = text.size() <= 16 && std::all_of(text.begin(), text.end(), [](char c) {
                      return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == ' ' || c == '_';
                    });
  return fits ? text : "";
}

std::string side_of(DcmItem& source) {
  const std::string side = object::text_of(source, DCM_ImageLaterality);
  return side.empty() ? object::text_of(source, DCM_Laterality) : side;
}

// What `of` says of each source, if it is the same of all.
std::string common(const std::vector<DcmItem*>& sources, std::string (*of)(DcmItem&)) {
  const std::string first = sources.empty() ? "" : of(*sources.front());
  const bool same = std::all_of(sources.begin(), sources.end(), [&](DcmItem* source) { return of(*source) == first; });
  return same ? first : "";
}

}  // namespace

void put_code(DcmItem& item, const DcmTagKey& sequence, const Code& code) {
  DcmItem* inner = nullptr;
  item.findOrCreateSequenceItem(sequence, inner, -2);
  if (inner == nullptr) return;
  inner->putAndInsertString(DCM_CodeValue, code.value.c_str());
  inner->putAndInsertString(DCM_CodingSchemeDesignator, code.scheme.c_str());
  inner->putAndInsertString(DCM_CodeMeaning, code.meaning.c_str());
}

void put_coding_scheme(DcmItem& result, const Code& code) {
  if (code.scheme.substr(0, 2) != "99") return;
  DcmItem* scheme = nullptr;
  result.findOrCreateSequenceItem(DCM_CodingSchemeIdentificationSequence, scheme, -2);
  if (scheme == nullptr) return;
  scheme->putAndInsertString(DCM_CodingSchemeDesignator, code.scheme.c_str());
  if (code.scheme != kPrivateScheme) return;
  scheme->putAndInsertString(DCM_CodingSchemeUID, private_scheme_uid().str().c_str());
  scheme->putAndInsertString(DCM_CodingSchemeName, kPrivateSchemeName);
  scheme->putAndInsertString(DCM_CodingSchemeResponsibleOrganization, kManufacturer);
}

void copy_element(DcmItem& source, DcmItem& result, const DcmTagKey& tag) {
  if (source.tagExists(tag)) source.findAndInsertCopyOfElement(tag, &result);
}

void put_series(const std::vector<DcmItem*>& sources, DcmItem& result, const ResultReference& reference,
                const SeriesText& text) {
  result.putAndInsertString(DCM_SOPClassUID, reference.sop_class_uid.c_str());
  result.putAndInsertString(DCM_SOPInstanceUID, reference.sop_instance_uid.str().c_str());
  result.putAndInsertString(DCM_SeriesInstanceUID, reference.series_instance_uid.str().c_str());
  result.putAndInsertString(DCM_Modality, text.modality);
  result.putAndInsertString(DCM_SeriesNumber, text.number);
  result.putAndInsertString(DCM_SeriesDescription, text.description);
  result.putAndInsertString(DCM_InstanceNumber, "1");
  const std::string body_part =
      common(sources, [](DcmItem& source) { return code_string(object::text_of(source, DCM_BodyPartExamined)); });
  if (!body_part.empty()) result.putAndInsertString(DCM_BodyPartExamined, body_part.c_str());
  if (is_unpaired(body_part)) return;
  const std::string side = common(sources, side_of);
  result.putAndInsertString(DCM_Laterality, side == "R" || side == "L" ? side.c_str() : "");  // Empty: not known.
}

void put_general_image(DcmItem& source, DcmItem& result, const char* image_type) {
  copy_element(source, result, DCM_PatientOrientation);
  if (!result.tagExists(DCM_PatientOrientation)) result.putAndInsertString(DCM_PatientOrientation, "");
  DcmSequenceOfItems* region = nullptr;  // One item, or none at all.
  if (source.findAndGetSequence(DCM_AnatomicRegionSequence, region).good() && region->card() == 1)
    copy_element(source, result, DCM_AnatomicRegionSequence);
  result.putAndInsertString(DCM_ImageType, image_type);
}

void put_source_image(DcmItem& item, const ReportedImage& image, int frame, bool unscaled) {
  DcmItem* reference = put_image_reference(item, DCM_SourceImageSequence, image, frame);
  if (reference == nullptr) return;
  put_code(*reference, DCM_PurposeOfReferenceCodeSequence, kSourceImage);
  reference->putAndInsertString(DCM_SpatialLocationsPreserved, unscaled ? "YES" : "NO");
}

DcmItem* new_item(DcmItem& item, const DcmTagKey& sequence) {
  DcmItem* inner = nullptr;
  item.findOrCreateSequenceItem(sequence, inner, -2);
  return inner;
}

bool is_lossy(DcmDataset& source) {
  return object::text_of(source, DCM_LossyImageCompression) == "01" ||
         object::is_lossy_transfer_syntax(DcmXfer(source.getOriginalXfer()).getXferID());
}

void put_lossy_history(DcmItem& source, DcmItem& result, bool lossy) {
  result.putAndInsertString(DCM_LossyImageCompression, lossy ? "01" : "00");
  if (!lossy) return;
  for (const DcmTagKey& tag : {DCM_LossyImageCompressionRatio, DCM_LossyImageCompressionMethod})
    if (!object::text_of(source, tag).empty()) copy_element(source, result, tag);
}

DcmItem* put_image_reference(DcmItem& item, const DcmTagKey& sequence, const ReportedImage& image, int frame) {
  DcmItem* reference = nullptr;
  item.findOrCreateSequenceItem(sequence, reference, -2);
  if (reference == nullptr) return nullptr;
  reference->putAndInsertString(DCM_ReferencedSOPClassUID, image.record.sop_class_uid.c_str());
  reference->putAndInsertString(DCM_ReferencedSOPInstanceUID, image.record.sop_instance_uid.str().c_str());
  if (frame > 0) reference->putAndInsertString(DCM_ReferencedFrameNumber, std::to_string(frame).c_str());
  return reference;
}

void put_secondary_capture(DcmItem& result, const object::DicomDateTime& moment) {
  result.putAndInsertString(DCM_ConversionType, "WSD");
  result.putAndInsertString(DCM_DateOfSecondaryCapture, moment.date.c_str());
  result.putAndInsertString(DCM_TimeOfSecondaryCapture, moment.time.c_str());
  OFString own;
  for (const auto& [from, to] : {std::pair{DCM_Manufacturer, DCM_SecondaryCaptureDeviceManufacturer},
                                 std::pair{DCM_ManufacturerModelName, DCM_SecondaryCaptureDeviceManufacturerModelName},
                                 std::pair{DCM_SoftwareVersions, DCM_SecondaryCaptureDeviceSoftwareVersions}}) {
    result.findAndGetOFString(from, own);
    result.putAndInsertOFStringArray(to, own);
  }
}

bool is_recognizable(const std::vector<DcmItem*>& sources) {
  return std::any_of(sources.begin(), sources.end(),
                     [](DcmItem* source) { return object::text_of(*source, DCM_RecognizableVisualFeatures) == "YES"; });
}

void put_rgb(DcmItem& result, int rows, int columns, bool recognizable) {
  result.putAndInsertString(DCM_BurnedInAnnotation, "YES");
  result.putAndInsertString(DCM_RecognizableVisualFeatures, recognizable ? "YES" : "NO");
  result.putAndInsertUint16(DCM_SamplesPerPixel, 3);
  result.putAndInsertString(DCM_PhotometricInterpretation, "RGB");
  result.putAndInsertUint16(DCM_PlanarConfiguration, 0);
  result.putAndInsertUint16(DCM_Rows, static_cast<Uint16>(rows));
  result.putAndInsertUint16(DCM_Columns, static_cast<Uint16>(columns));
  result.putAndInsertUint16(DCM_BitsAllocated, 8);
  result.putAndInsertUint16(DCM_BitsStored, 8);
  result.putAndInsertUint16(DCM_HighBit, 7);
  result.putAndInsertUint16(DCM_PixelRepresentation, 0);
}

void put_pixels(DcmItem& result, const RgbImage& image, bool recognizable) {
  put_rgb(result, image.rows, image.columns, recognizable);
  result.putAndInsertUint8Array(DCM_PixelData, image.pixels.data(), image.pixels.size());
}

}  // namespace node::report
