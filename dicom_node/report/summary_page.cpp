#include "dicom_node/report/summary_page.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <fmt/format.h>

#include <algorithm>

#include "dicom_node/object/image_loader.h"
#include "dicom_node/object/part10.h"
#include "dicom_node/object/result_identity.h"
#include "dicom_node/report/contact_sheet.h"
#include "dicom_node/report/finding_notes.h"
#include "dicom_node/report/finding_summary.h"
#include "dicom_node/report/image_object.h"
#include "dicom_node/report/measurement_groups.h"
#include "dicom_node/report/overlay_picture.h"
#include "dicom_node/report/region_picture.h"
#include "dicom_node/report/study_sources.h"

namespace node::report {
namespace {

constexpr SeriesText kSeries{"OT", "9005", "SKELEX summary - NOT FOR DIAGNOSIS"};
constexpr int kThumbnail = 560;  // Twice what the page shows: its own shrinking smooths text and map alike.
constexpr std::size_t kTableRowsMax = 12;  // Of one table of regions.

// Those with findings first, then in order of arrival, cut to what fits.
std::vector<const ReportedImage*> shown_images(const ReportedStudy& study, const config::ReportConfig& config) {
  std::vector<const ReportedImage*> images;
  for (const ReportedImage& image : study.images) images.push_back(&image);
  std::stable_partition(images.begin(), images.end(), [&](const ReportedImage* image) {
    return outcome_of(config.tasks, image->findings) == Outcome::kFound;
  });
  if (images.size() > kSummaryImagesMax) images.resize(kSummaryImagesMax);
  return images;
}

std::vector<std::string> lines_of(const ReportedImage& image, const config::ReportConfig& config) {
  std::vector<std::string> lines;
  for (const object::FindingRecord& finding : image.findings) {
    const std::string frame = finding.frame == 0 ? "" : fmt::format("frame {}: ", finding.frame);
    for (const FindingLine& line : finding_lines(config.tasks, finding, image.findings))
      lines.push_back(frame + line.text);
  }
  for (const std::string& note : image_notes(image, config)) lines.push_back(note);
  if (lines.empty()) lines.push_back("Not analysed: " + why_not_analysed(image));
  return lines;
}

// Of those that make a picture, a map's first: its frame is the one that is shown.
int shown_frame(const ReportedImage& image) {
  const auto frame_with = [&](auto has) {
    const auto found = std::find_if(image.findings.begin(), image.findings.end(), has);
    return found == image.findings.end() ? 0 : std::max(found->frame, 1);
  };
  const int of_map = frame_with([](const object::FindingRecord& f) { return f.prediction.map.size > 0; });
  const int of_regions = frame_with([](const object::FindingRecord& f) { return !f.prediction.regions.empty(); });
  return std::max(1, of_map > 0 ? of_map : of_regions);
}

Status add_map(ContactSheetEntry& entry, const inference::Prediction& prediction, const config::TaskConfig& task) {
  NODE_ASSIGN_OR_RETURN(OverlayPicture overlay, draw_overlay(entry.radiograph, prediction.map, task.map_scale_max, {}));
  entry.overlay = std::move(overlay.image);
  entry.overlay_picture = overlay.picture;
  return ok_status();
}

// The boxes of the first task that looked at regions, the table of each.
Status add_regions(ContactSheetEntry& entry, const Source& source, const inference::Prediction& prediction,
                   const config::TaskConfig& task, const object::LoadedImage& loaded) {
  if (entry.tables.empty()) {
    NODE_ASSIGN_OR_RETURN(entry.regions, draw_region_boxes(entry.radiograph, loaded.radiograph.rows,
                                                           loaded.radiograph.columns, prediction, kThumbnail / 18));
  }
  entry.tables.push_back(
      {"Regions (" + task.name + ")",
       RegionTable(task, prediction,
                   {.size_px = kSheetTablePx, .side = side_of(source, prediction), .rows_max = kTableRowsMax})});
  return ok_status();
}

Result<ContactSheetEntry> entry_of(const Source& source, const ResultContext& context) {
  const ReportedImage& image = *source.image;
  ContactSheetEntry entry;
  entry.title = image_name(image);
  entry.lines = lines_of(image, context.config);
  const int frame = shown_frame(image);
  Result<object::LoadedImage> loaded = object::load_frame(image.file, frame, {.render_for_processing = true});
  if (!loaded.ok() || image.record.purged_at) {
    entry.radiograph = {1, 1, {0}};
    if (image.findings.empty()) return entry;  // The reason stands there.
    entry.lines.push_back("The image cannot be shown" + (loaded.ok() ? "" : ": " + loaded.status().message()));
    return entry;
  }
  entry.radiograph = object::make_preview(*loaded, kThumbnail);
  int other_frames = 0;
  for (const object::FindingRecord& finding : image.findings) {
    const inference::Prediction& prediction = finding.prediction;
    const config::TaskConfig task = find_task(context.config.tasks, prediction);
    const bool shown = std::max(finding.frame, 1) == frame;
    if (prediction.map.size > 0 && shown && entry.overlay.rows <= 0)
      NODE_RETURN_IF_ERROR(add_map(entry, prediction, task));
    if (prediction.regions.empty()) continue;
    if (!shown)
      ++other_frames;
    else
      NODE_RETURN_IF_ERROR(add_regions(entry, source, prediction, task, *loaded));
  }
  if (other_frames > 0) entry.lines.push_back(fmt::format("Regions of {} other frames: in the report", other_frames));
  return entry;
}

}  // namespace

std::vector<ResultReference> summary_references(std::string_view form, const ReportedStudy& study,
                                                const ResultContext& context) {
  const bool any = std::any_of(study.images.begin(), study.images.end(), [](const ReportedImage& image) {
    return !image.findings.empty() && !image.record.purged_at;
  });
  if (!any) return {};
  return {study_reference(form, UID_SecondaryCaptureImageStorage, study, context)};
}

Result<ResultObject> make_summary_page(const ReportedStudy& study, const ResultReference& reference,
                                       const ResultContext& context) {
  NODE_ASSIGN_OR_RETURN(const std::vector<Source> sources,
                        open_sources(study, own_words(context.config, study.images)));
  NODE_ASSIGN_OR_RETURN(const Source* identity, identity_source(sources));
  const std::vector<const ReportedImage*> shown = shown_images(study, context.config);
  std::vector<ContactSheetEntry> entries;
  for (const ReportedImage* image : shown) {
    const auto source = std::find_if(sources.begin(), sources.end(), [&](const Source& s) { return s.image == image; });
    Result<ContactSheetEntry> entry = entry_of(*source, context);
    if (!entry.ok()) return entry.status().within("summary: image " + image->record.sop_instance_uid.str());
    entries.push_back(std::move(entry).value());
  }
  std::string title = fmt::format("AI summary of {} image{}", study.images.size(), study.images.size() == 1 ? "" : "s");
  if (shown.size() < study.images.size()) title += fmt::format(", {} of them shown", shown.size());
  NODE_ASSIGN_OR_RETURN(const RgbImage page, draw_contact_sheet(entries, title, context.config.disclaimer));

  DcmDataset& source = identity->dataset();
  const std::vector<DcmItem*> pictured = datasets_of(sources, shown);
  DcmFileFormat file;
  DcmDataset& result = *file.getDataset();
  NODE_RETURN_IF_ERROR(object::copy_identity(source, result, /*is_sr=*/false));
  const OwnText text(result);
  put_common(result, source, context, context.time, models_of(study), text);
  put_series(pictured, result, reference, kSeries);
  result.putAndInsertString(DCM_PatientOrientation, "");
  result.putAndInsertString(DCM_ImageType, "DERIVED\\SECONDARY\\\\SUMMARY");
  bool lossy = false;
  for (const Source& each : sources) lossy = lossy || is_lossy(each.dataset());
  put_lossy_history(source, result, lossy);
  for (const ReportedImage* image : shown)
    if (DcmItem* item = put_image_reference(result, DCM_SourceImageSequence, *image, 0))
      put_code(*item, DCM_PurposeOfReferenceCodeSequence, kSourceImage);
  put_secondary_capture(result, object::to_dicom_time(context.time, source));
  result.putAndInsertString(DCM_DerivationDescription,
                            "Thumbnails of the study's images, their anomaly maps and findings");
  put_pixels(result, page, is_recognizable(pictured));
  NODE_ASSIGN_OR_RETURN(std::string bytes, object::encode_part10(file));
  return ResultObject{reference.sop_instance_uid,
                      reference.series_instance_uid,
                      reference.sop_class_uid,
                      context.kind(reference.form),
                      reference.source_uid,
                      "",
                      study.revision,
                      std::move(bytes)};
}

}  // namespace node::report
