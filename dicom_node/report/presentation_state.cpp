#include "dicom_node/report/presentation_state.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <utility>

#include "dicom_node/object/dataset_text.h"
#include "dicom_node/object/part10.h"
#include "dicom_node/object/result_identity.h"
#include "dicom_node/report/finding_notes.h"
#include "dicom_node/report/finding_summary.h"
#include "dicom_node/report/image_object.h"
#include "dicom_node/report/map_peak.h"
#include "dicom_node/report/presented_image.h"
#include "dicom_node/report/region_picture.h"
#include "dicom_node/report/study_sources.h"

namespace node::report {
namespace {

constexpr SeriesText kSeries{"PR", "9004", "SKELEX marks - NOT FOR DIAGNOSIS"};
constexpr const char* kLayer = "SKELEX";
constexpr std::size_t kUnformattedTextMax = 1024;  // VR ST
constexpr const char* kMore = "More in the report";

void put_floats(DcmItem& item, const DcmTagKey& tag, const std::vector<Float32>& values) {
  item.putAndInsertFloat32Array(tag, values.data(), static_cast<unsigned long>(values.size()));
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

// A closed line along the outer edges of the pixels.
void put_box(DcmItem& annotation, double left, double top, double right, double bottom) {
  DcmItem* graphic = new_item(annotation, DCM_GraphicObjectSequence);
  if (graphic == nullptr) return;
  std::vector<Float32> points;
  for (const auto& [x, y] : {std::pair(left, top), std::pair(right, top), std::pair(right, bottom),
                             std::pair(left, bottom), std::pair(left, top)})
    points.insert(points.end(), {static_cast<Float32>(x), static_cast<Float32>(y)});
  graphic->putAndInsertString(DCM_GraphicAnnotationUnits, "PIXEL");
  graphic->putAndInsertUint16(DCM_GraphicDimensions, 2);
  graphic->putAndInsertUint16(DCM_NumberOfGraphicPoints, static_cast<Uint16>(points.size() / 2));
  put_floats(*graphic, DCM_GraphicData, points);
  graphic->putAndInsertString(DCM_GraphicType, "POLYLINE");
  graphic->putAndInsertString(DCM_GraphicFilled, "N");
}

// The boxes that a region task looked at, each with its number and score; with a mark at the one that decides.
void put_regions(DcmItem& annotation, const inference::Prediction& prediction, const OwnText& text) {
  const int score = deciding_score(prediction);
  const int deciding = score < 0 ? -1 : prediction.scores[static_cast<std::size_t>(score)].region;
  for (std::size_t r = 0; r < prediction.regions.size(); ++r) {
    const inference::Region& region = prediction.regions[r];
    if (region.source == inference::RegionSource::kWholeImage) continue;
    const auto left = static_cast<Float32>(region.box.left), top = static_cast<Float32>(region.box.top),
               right = static_cast<Float32>(region.box.right), bottom = static_cast<Float32>(region.box.bottom);
    put_box(annotation, left, top, right, bottom);
    put_text(annotation, "PIXEL", {left, top}, {right, std::min(bottom, top + (bottom - top) / 4)},
             text(fmt::format("{}{}", r, std::cmp_equal(r, deciding) ? " decides" : "")));
  }
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
  if (peak) lines.push_back(fmt::format("Marked: highest patch error {:.4f}, no finding by itself", peak->error));
  for (const std::string& note : image_notes(image, context.config, frame)) lines.push_back(note);
  put_text(*annotation, "DISPLAY", {0.01F, 0.01F}, {0.6F, 0.3F}, fitting(lines, text));
  if (peak) put_box(*annotation, peak->left, peak->top, peak->right, peak->bottom);
  for (const object::FindingRecord& finding : image.findings)
    if (finding.frame == frame) put_regions(*annotation, finding.prediction, text);
}

void put_presentation(DcmItem& source, DcmItem& result, const ReportedImage& image,
                      const object::DicomDateTime& moment) {
  DcmItem* series = new_item(result, DCM_ReferencedSeriesSequence);
  if (series != nullptr) {
    series->putAndInsertString(DCM_SeriesInstanceUID, image.record.series_instance_uid.c_str());
    put_image_reference(*series, DCM_ReferencedImageSequence, image, 0);
  }
  const auto put_layer = [&](const char* name, const char* order, const char* description) {
    DcmItem* layer = new_item(result, DCM_GraphicLayerSequence);
    if (layer == nullptr) return;
    layer->putAndInsertString(DCM_GraphicLayer, name);
    layer->putAndInsertString(DCM_GraphicLayerOrder, order);
    layer->putAndInsertString(DCM_GraphicLayerDescription, description);
  };
  put_layer(kLayer, "1", "AI findings");
  if (has_overlays(source)) put_layer(kOverlayLayer, "2", "The image's own overlays");
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
  put_presentation(source, result, image, object::to_dicom_time(time, source));
  put_displayed_area(source, result, rows, columns);
  put_grey_values(source, result, image.findings.front().rendering);
  put_shutter(source, result);
  put_overlay_activation(source, result);
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
