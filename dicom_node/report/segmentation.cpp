#include "dicom_node/report/segmentation.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <fmt/format.h>

#include <algorithm>

#include "dicom_node/object/dataset_text.h"
#include "dicom_node/object/part10.h"
#include "dicom_node/object/result_identity.h"
#include "dicom_node/object/stored_pixels.h"
#include "dicom_node/report/finding_summary.h"
#include "dicom_node/report/image_object.h"
#include "dicom_node/report/measurement_groups.h"
#include "dicom_node/report/overlay_picture.h"
#include "dicom_node/report/study_sources.h"

namespace node::report {
namespace {

constexpr SeriesText kSeries{"SEG", "9007", "SKELEX anomaly SEG - NOT FOR DIAGNOSIS"};
constexpr int kFractionMax = 255;

std::string map_version(const inference::Prediction& map, const ResultContext& context) {
  return fmt::format("{} format={} scale={}", map.model_version, kObjectFormat,
                     find_task(context.config.tasks, map).map_scale_max);
}

// Region and side of the image.
void put_site(DcmItem& segment, const Source& source) {
  const std::optional<Code> site = finding_site(source);
  if (!site) return;
  put_code(segment, DCM_AnatomicRegionSequence, *site);
  DcmItem* region = nullptr;
  segment.findAndGetSequenceItem(DCM_AnatomicRegionSequence, region);
  if (const std::optional<Code> side = laterality_code(source.side()); side && region != nullptr)
    put_code(*region, DCM_AnatomicRegionModifierSequence, *side);
}

void put_segment(DcmItem& result, const Source& source, const object::FindingRecord& finding,
                 const config::TaskConfig& task, const ResultContext& context, const OwnText& text) {
  const inference::Prediction& map = finding.prediction;
  Code what = task_code(task);
  put_coding_scheme(result, what);
  what.meaning = text(what.meaning);
  const Tracking tracking = tracking_of(source, finding, context);
  DcmItem& segment = *new_item(result, DCM_SegmentSequence);
  put_code(segment, DCM_SegmentedPropertyCategoryCodeSequence, kAlteredStructure);
  segment.putAndInsertUint16(DCM_SegmentNumber, 1);
  segment.putAndInsertString(DCM_SegmentLabel, "Anomaly map");
  segment.putAndInsertString(
      DCM_SegmentDescription,
      text(fmt::format("Masked reconstruction error as a share of its colour scale, {}. No probability. {}",
                       scale_in_words(map.map, task.map_scale_max), context.config.disclaimer))
          .c_str());
  DcmItem& algorithm = *new_item(segment, DCM_SegmentationAlgorithmIdentificationSequence);
  put_code(algorithm, DCM_AlgorithmFamilyCodeSequence, kArtificialIntelligence);
  algorithm.putAndInsertString(DCM_AlgorithmVersion, text(shorten(map.model_version, 64)).c_str());
  algorithm.putAndInsertString(DCM_AlgorithmName, text(shorten(map.model, 64)).c_str());
  algorithm.putAndInsertString(DCM_AlgorithmParameters,
                               fmt::format("mode={} passes={} mask_ratio={:.4g} seed={}", map.map.mode, map.map.passes,
                                           map.map.mask_ratio, map.map.seed)
                                   .c_str());
  segment.putAndInsertString(DCM_SegmentAlgorithmType, "AUTOMATIC");
  segment.putAndInsertString(DCM_SegmentAlgorithmName, text(shorten(map.model, 64)).c_str());
  put_code(segment, DCM_SegmentedPropertyTypeCodeSequence, what);
  put_site(segment, source);
  segment.putAndInsertString(DCM_TrackingID, text(tracking.identifier).c_str());
  segment.putAndInsertString(DCM_TrackingUID, tracking.uid.str().c_str());
}

// One dimension, the segment, and one frame of it, made from one image.
void put_frame(DcmItem& result, const ReportedImage& image, const ResultReference& reference) {
  const storage::Uid dimension = object::derive_uid("dimension", reference.sop_instance_uid.str(), "", "", "");
  new_item(result, DCM_DimensionOrganizationSequence)
      ->putAndInsertString(DCM_DimensionOrganizationUID, dimension.str().c_str());
  DcmItem& index = *new_item(result, DCM_DimensionIndexSequence);
  index.putAndInsertString(DCM_DimensionOrganizationUID, dimension.str().c_str());
  index.putAndInsertTagKey(DCM_DimensionIndexPointer, DCM_ReferencedSegmentNumber);
  index.putAndInsertTagKey(DCM_FunctionalGroupPointer, DCM_SegmentIdentificationSequence);
  index.putAndInsertString(DCM_DimensionDescriptionLabel, "Segment");
  result.putAndInsertString(DCM_NumberOfFrames, "1");

  new_item(*new_item(result, DCM_SharedFunctionalGroupsSequence), DCM_SegmentIdentificationSequence)
      ->putAndInsertUint16(DCM_ReferencedSegmentNumber, 1);
  DcmItem& frame = *new_item(result, DCM_PerFrameFunctionalGroupsSequence);
  DcmItem& derivation = *new_item(frame, DCM_DerivationImageSequence);
  put_source_image(derivation, image, reference.frame, /*unscaled=*/true);
  put_code(derivation, DCM_DerivationCodeSequence, kSegmentation);
  new_item(frame, DCM_FrameContentSequence)->putAndInsertUint32(DCM_DimensionIndexValues, 1);

  DcmItem& series = *new_item(result, DCM_ReferencedSeriesSequence);
  series.putAndInsertString(DCM_SeriesInstanceUID, image.record.series_instance_uid.c_str());
  put_image_reference(series, DCM_ReferencedInstanceSequence, image, 0);
}

void put_fractions(DcmItem& result, const std::vector<float>& shares, int rows, int columns) {
  result.putAndInsertString(DCM_SegmentationType, "FRACTIONAL");
  result.putAndInsertString(DCM_SegmentationFractionalType, "PROBABILITY");
  result.putAndInsertUint16(DCM_MaximumFractionalValue, kFractionMax);
  result.putAndInsertString(DCM_SegmentsOverlap, "NO");
  result.putAndInsertUint16(DCM_SamplesPerPixel, 1);
  result.putAndInsertString(DCM_PhotometricInterpretation, "MONOCHROME2");
  result.putAndInsertString(DCM_PresentationLUTShape, "IDENTITY");
  result.putAndInsertUint16(DCM_Rows, static_cast<Uint16>(rows));
  result.putAndInsertUint16(DCM_Columns, static_cast<Uint16>(columns));
  result.putAndInsertUint16(DCM_BitsAllocated, 8);
  result.putAndInsertUint16(DCM_BitsStored, 8);
  result.putAndInsertUint16(DCM_HighBit, 7);
  result.putAndInsertUint16(DCM_PixelRepresentation, 0);
  std::vector<Uint8> values(shares.size());
  std::transform(shares.begin(), shares.end(), values.begin(),
                 [](float share) { return static_cast<Uint8>(share * kFractionMax + 0.5F); });
  result.putAndInsertUint8Array(DCM_PixelData, values.data(), static_cast<unsigned long>(values.size()));
}

}  // namespace

std::vector<ResultReference> segmentation_references(std::string_view form, const ReportedStudy& study,
                                                     const ResultContext& context) {
  std::vector<ResultReference> references;
  for (const ReportedImage& image : study.images) {
    const std::string source = image.record.sop_instance_uid.str(), revision = image_revision(image, context);
    for (const object::FindingRecord& finding : image.findings) {
      if (finding.prediction.map.size <= 0) continue;
      const std::string key = object::finding_key(finding), version = map_version(finding.prediction, context);
      references.push_back({std::string(form), source, key, finding.frame,
                            object::derive_uid(context.kind(form), source, key, version, revision),
                            object::derive_uid(context.kind(form) + "-series", source, key, version, revision),
                            UID_SegmentationStorage});
    }
  }
  return references;
}

Result<ResultObject> make_segmentation(const ReportedStudy& whole, const ResultReference& reference,
                                       const ResultContext& context) {
  const std::string what = reference.form + " of " + reference.source_uid;
  const ReportedStudy study = one_image(whole, reference.source_uid);
  if (study.images.empty()) return not_found(what + ": no such image");
  const ReportedImage& image = study.images.front();
  const auto finding = std::find_if(image.findings.begin(), image.findings.end(), [&](const object::FindingRecord& f) {
    return object::finding_key(f) == reference.task && f.prediction.map.size > 0;
  });
  if (finding == image.findings.end()) return not_found(what + ": no map of task " + reference.task);
  Result<std::vector<Source>> sources = open_sources(study, own_words(context.config, study.images));
  if (!sources.ok()) return sources.status().within(what);
  DcmDataset& source = sources->front().dataset();
  const int rows = object::word_of(source, DCM_Rows).value_or(0),
            columns = object::word_of(source, DCM_Columns).value_or(0);
  const config::TaskConfig task = find_task(context.config.tasks, finding->prediction);
  Result<std::vector<float>> shares = map_shares(finding->prediction.map, task.map_scale_max, rows, columns);
  if (!shares.ok()) return shares.status().within(what);

  DcmFileFormat file;
  DcmDataset& result = *file.getDataset();
  NODE_RETURN_IF_ERROR(object::copy_identity(source, result, /*is_sr=*/false));
  const OwnText text(result);
  inference::Prediction model = finding->prediction;
  model.map = {};
  put_common(result, source, context, image_time(image, context), {model}, text);
  put_series({&source}, result, reference, kSeries);
  result.findAndDeleteElement(DCM_Laterality);  // Not of the series here, but of the segment.
  put_general_image(source, result, "DERIVED\\PRIMARY");
  put_lossy_history(source, result, is_lossy(source));
  result.putAndInsertString(DCM_ContentLabel, "ANOMALY_MAP");
  result.putAndInsertString(DCM_ContentDescription, "Anomaly map - NOT FOR DIAGNOSIS");
  result.putAndInsertString(DCM_ContentCreatorName, "");
  put_segment(result, sources->front(), *finding, task, context, text);
  put_frame(result, image, reference);
  put_fractions(result, *shares, rows, columns);

  NODE_ASSIGN_OR_RETURN(std::string bytes, object::encode_part10(file));
  return ResultObject{reference.sop_instance_uid, reference.series_instance_uid,
                      reference.sop_class_uid,    context.kind(reference.form),
                      reference.source_uid,       reference.task,
                      image.record.version,       std::move(bytes)};
}

}  // namespace node::report
