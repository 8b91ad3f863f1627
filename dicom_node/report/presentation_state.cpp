#include "dicom_node/report/presentation_state.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>

#include "dicom_node/object/dataset_text.h"
#include "dicom_node/object/part10.h"
#include "dicom_node/object/result_identity.h"
#include "dicom_node/report/finding_notes.h"
#include "dicom_node/report/finding_summary.h"
#include "dicom_node/report/image_object.h"
#include "dicom_node/report/map_peak.h"
#include "dicom_node/report/study_sources.h"

namespace node::report {
namespace {

constexpr SeriesText kSeries{"PR", "9004", "SKELEX marks - NOT FOR DIAGNOSIS"};
constexpr const char* kLayer = "SKELEX";
constexpr std::size_t kUnformattedTextMax = 1024;  // VR ST
constexpr const char* kMore = "More in the report";

DcmItem* new_item(DcmItem& item, const DcmTagKey& sequence) {
  DcmItem* inner = nullptr;
  item.findOrCreateSequenceItem(sequence, inner, -2);
  return inner;
}

void put_floats(DcmItem& item, const DcmTagKey& tag, const std::vector<Float32>& values) {
  item.putAndInsertFloat32Array(tag, values.data(), static_cast<unsigned long>(values.size()));
}

// Without what some writers put behind a number.
void copy_text(DcmItem& source, DcmItem& result, const DcmTagKey& tag) {
  result.putAndInsertString(tag, object::text_of(source, tag).c_str());
}

// The same curve with entries of 16 bits: of 9 to 15, as detectors have them, not every reader of presentation states
// takes.
void widen_table(DcmItem& table) {
  DcmElement *descriptor = nullptr, *data = nullptr;
  if (table.findAndGetElement(DCM_LUTDescriptor, descriptor).bad() || table.findAndGetElement(DCM_LUTData, data).bad())
    return;
  std::vector<Uint16> shape = object::raw_words(*descriptor), entries = object::raw_words(*data);
  if (shape.size() != 3 || shape[2] <= 8 || shape[2] >= 16) return;
  const std::uint32_t most = (1U << shape[2]) - 1;
  for (Uint16& entry : entries)
    entry = static_cast<Uint16>((std::min<std::uint32_t>(entry, most) * 65535U + most / 2) / most);
  shape[2] = 16;
  const DcmEVR vr = descriptor->ident();  // SS or US, as the pixels are.
  table.putAndInsertUint16Array(DcmTag(DCM_LUTData, EVR_OW), entries.data(),
                                static_cast<unsigned long>(entries.size()));
  if (vr == EVR_SS) {
    const std::vector<Sint16> values(shape.begin(), shape.end());
    table.putAndInsertSint16Array(DcmTag(DCM_LUTDescriptor, EVR_SS), values.data(), 3);
  } else {
    table.putAndInsertUint16Array(DcmTag(DCM_LUTDescriptor, EVR_US), shape.data(), 3);
  }
}

// Modality LUT, Softcopy VOI LUT and Presentation LUT: the presentation state's take the place of the image's.
void put_grey_values(DcmItem& source, DcmItem& result) {
  if (source.tagExists(DCM_ModalityLUTSequence)) {
    copy_element(source, result, DCM_ModalityLUTSequence);
  } else if (source.tagExists(DCM_RescaleSlope) && source.tagExists(DCM_RescaleIntercept)) {
    for (const DcmTagKey& tag : {DCM_RescaleIntercept, DCM_RescaleSlope}) copy_text(source, result, tag);
    const std::string type = object::text_of(source, DCM_RescaleType);
    result.putAndInsertString(DCM_RescaleType, type.empty() ? "US" : type.c_str());  // Type 1 here.
  }
  const auto centers = object::decimals_of(source, DCM_WindowCenter),
             widths = object::decimals_of(source, DCM_WindowWidth);
  const bool window = !centers.empty() && centers.size() == widths.size() && centers[0] && widths[0] && *widths[0] >= 1;
  if (window || source.tagExists(DCM_VOILUTSequence)) {
    DcmItem* voi = new_item(result, DCM_SoftcopyVOILUTSequence);
    if (voi == nullptr) return;
    if (window) {
      for (const DcmTagKey& tag :
           {DCM_WindowCenter, DCM_WindowWidth, DCM_WindowCenterWidthExplanation, DCM_VOILUTFunction})
        if (source.tagExists(tag)) copy_text(source, *voi, tag);
    } else {
      copy_element(source, *voi, DCM_VOILUTSequence);
      DcmItem* table = nullptr;
      for (long i = 0; voi->findAndGetSequenceItem(DCM_VOILUTSequence, table, i).good(); ++i) widen_table(*table);
    }
  }
  const bool inverse = object::text_of(source, DCM_PhotometricInterpretation) == "MONOCHROME1";
  result.putAndInsertString(DCM_PresentationLUTShape, inverse ? "INVERSE" : "IDENTITY");
}

void put_displayed_area(DcmItem& source, DcmItem& result, int rows, int columns) {
  DcmItem* area = new_item(result, DCM_DisplayedAreaSelectionSequence);
  if (area == nullptr) return;
  const auto put_corner = [&](const DcmTagKey& tag, const std::array<Sint32, 2>& corner) {
    auto element = std::make_unique<DcmSignedLong>(tag);
    if (element->putSint32Array(corner.data(), 2).good() && area->insert(element.get()).good()) element.release();
  };
  put_corner(DCM_DisplayedAreaTopLeftHandCorner, {1, 1});
  put_corner(DCM_DisplayedAreaBottomRightHandCorner, {columns, rows});
  area->putAndInsertString(DCM_PresentationSizeMode, "SCALE TO FIT");
  const std::string aspect = object::text_of(source, DCM_PixelAspectRatio);
  area->putAndInsertString(DCM_PresentationPixelAspectRatio, aspect.empty() ? "1\\1" : aspect.c_str());
}

// As many whole lines as there is room for, in the characters of the object; where some are left out the last says so.
std::string fitting(const std::vector<std::string>& lines, const OwnText& text) {
  const std::string more = "\r\n" + text(kMore);
  std::string all;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string line = (i == 0 ? "" : "\r\n") + text(lines[i]);
    const std::size_t kept_free = i + 1 < lines.size() ? more.size() : 0;
    if (all.size() + line.size() + kept_free > kUnformattedTextMax) return all + more;
    all += line;
  }
  return all;
}

void put_text(DcmItem& annotation, const std::string& units, const std::vector<Float32>& top_left,
              const std::vector<Float32>& bottom_right, const std::string& encoded) {
  DcmItem* text = new_item(annotation, DCM_TextObjectSequence);
  if (text == nullptr) return;
  text->putAndInsertString(DCM_BoundingBoxAnnotationUnits, units.c_str());
  text->putAndInsertString(DCM_UnformattedTextValue, encoded.c_str());
  put_floats(*text, DCM_BoundingBoxTopLeftHandCorner, top_left);
  put_floats(*text, DCM_BoundingBoxBottomRightHandCorner, bottom_right);
  text->putAndInsertString(DCM_BoundingBoxTextHorizontalJustification, "LEFT");
}

void put_outline(DcmItem& annotation, const MapPeak& peak) {
  DcmItem* graphic = new_item(annotation, DCM_GraphicObjectSequence);
  if (graphic == nullptr) return;
  std::vector<Float32> points;
  for (const auto& [x, y] : outline(peak))
    points.insert(points.end(), {static_cast<Float32>(x), static_cast<Float32>(y)});
  graphic->putAndInsertString(DCM_GraphicAnnotationUnits, "PIXEL");
  graphic->putAndInsertUint16(DCM_GraphicDimensions, 2);
  graphic->putAndInsertUint16(DCM_NumberOfGraphicPoints, static_cast<Uint16>(points.size() / 2));
  put_floats(*graphic, DCM_GraphicData, points);
  graphic->putAndInsertString(DCM_GraphicType, "POLYLINE");
  graphic->putAndInsertString(DCM_GraphicFilled, "N");
}

// The findings of one frame: the text at the top left of the display, the patch where it is.
void put_annotation(DcmItem& result, const ReportedImage& image, int frame, int rows, int columns,
                    const ResultContext& context, const OwnText& text) {
  DcmItem* annotation = new_item(result, DCM_GraphicAnnotationSequence);
  if (annotation == nullptr) return;
  put_image_reference(*annotation, DCM_ReferencedImageSequence, image, frame);
  annotation->putAndInsertString(DCM_GraphicLayer, kLayer);
  std::vector<std::string> lines{context.config.disclaimer};
  std::optional<MapPeak> peak;
  for (const object::FindingRecord& finding : image.findings) {
    if (finding.frame != frame) continue;
    for (const FindingLine& line : finding_lines(context.config.tasks, finding, image.findings))
      lines.push_back(line.text);
    if (!peak) peak = map_peak(finding.prediction.map, rows, columns);
  }
  if (peak) lines.push_back(fmt::format("Marked: highest patch error {:.4f}", peak->error));
  for (const std::string& note : image_notes(image, context.config, frame)) lines.push_back(note);
  put_text(*annotation, "DISPLAY", {0.01F, 0.01F}, {0.6F, 0.3F}, fitting(lines, text));
  if (peak) put_outline(*annotation, *peak);
}

void put_presentation(DcmItem& result, const ReportedImage& image, const object::DicomDateTime& moment) {
  DcmItem* series = new_item(result, DCM_ReferencedSeriesSequence);
  if (series != nullptr) {
    series->putAndInsertString(DCM_SeriesInstanceUID, image.record.series_instance_uid.c_str());
    put_image_reference(*series, DCM_ReferencedImageSequence, image, 0);
  }
  DcmItem* layer = new_item(result, DCM_GraphicLayerSequence);
  if (layer != nullptr) {
    layer->putAndInsertString(DCM_GraphicLayer, kLayer);
    layer->putAndInsertString(DCM_GraphicLayerOrder, "1");
    layer->putAndInsertString(DCM_GraphicLayerDescription, "AI findings");
  }
  result.putAndInsertString(DCM_ContentLabel, kLayer);
  result.putAndInsertString(DCM_ContentDescription, "AI findings");
  result.putAndInsertString(DCM_ContentCreatorName, "");
  result.putAndInsertString(DCM_PresentationCreationDate, moment.date.c_str());
  result.putAndInsertString(DCM_PresentationCreationTime, moment.time.c_str());
}

}  // namespace

std::vector<ResultReference> presentation_references(std::string_view form, const ReportedStudy& study,
                                                     const ResultContext& context) {
  std::vector<ResultReference> references;
  for (const ReportedImage& image : study.images)
    if (!image.findings.empty())
      references.push_back(image_reference(form, UID_GrayscaleSoftcopyPresentationStateStorage, image, study, context));
  return references;
}

Result<ResultObject> make_presentation_state(const ReportedStudy& whole, const ResultReference& reference,
                                             const ResultContext& context) {
  const std::string what = reference.form + " of " + reference.source_uid;
  const ReportedStudy study = one_image(whole, reference.source_uid);
  if (study.images.empty()) return not_found(what + ": no such image");
  const ReportedImage& image = study.images.front();
  Result<std::vector<Source>> sources = open_sources(study, own_words(context.config, study.images));
  if (!sources.ok()) return sources.status().within(what);
  DcmDataset& source = sources->front().dataset();
  const int rows = object::word_of(source, DCM_Rows).value_or(0),
            columns = object::word_of(source, DCM_Columns).value_or(0);

  DcmFileFormat file;
  DcmDataset& result = *file.getDataset();
  NODE_RETURN_IF_ERROR(object::copy_identity(source, result, /*is_sr=*/false));
  const OwnText text(result);
  const WallTime time = image_time(image, context);
  put_common(result, source, context, time, models_of(study), text);
  for (const DcmTagKey& tag : {DCM_ContentDate, DCM_ContentTime}) result.findAndDeleteElement(tag);  // Of images, SRs.
  put_series({&source}, result, reference, kSeries);
  put_presentation(result, image, object::to_dicom_time(time, source));
  put_displayed_area(source, result, rows, columns);
  put_grey_values(source, result);
  std::set<int> frames;
  for (const object::FindingRecord& finding : image.findings) frames.insert(finding.frame);
  for (const int frame : frames) put_annotation(result, image, frame, rows, columns, context, text);

  NODE_ASSIGN_OR_RETURN(std::string bytes, object::encode_part10(file));
  return ResultObject{reference.sop_instance_uid, reference.series_instance_uid,
                      reference.sop_class_uid,    context.kind(reference.form),
                      reference.source_uid,       "",
                      image.record.version,       std::move(bytes)};
}

}  // namespace node::report
