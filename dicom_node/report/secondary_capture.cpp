#include "dicom_node/report/secondary_capture.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "dicom_node/object/dataset_text.h"
#include "dicom_node/object/map_percentiles.h"
#include "dicom_node/object/part10.h"
#include "dicom_node/object/result_identity.h"
#include "dicom_node/object/sha256.h"
#include "dicom_node/report/codes.h"
#include "dicom_node/report/finding_notes.h"
#include "dicom_node/report/finding_summary.h"
#include "dicom_node/report/image_object.h"
#include "dicom_node/report/region_picture.h"
#include "dicom_node/report/study_sources.h"

namespace node::report {
namespace {

// What its attributes call a picture. Modality not the source's: no acquisition, and our own router takes none.
struct Kind {
  SeriesText series;
  const char* image_type;
};
constexpr Kind kAnomalyMap{{"OT", "9002", "SKELEX anomaly map - NOT FOR DIAGNOSIS"},
                           "DERIVED\\SECONDARY\\\\ANOMALY_MAP"};
constexpr Kind kRegions{{"OT", "9002", "SKELEX regions - NOT FOR DIAGNOSIS"}, "DERIVED\\SECONDARY\\\\REGIONS"};

// The map's model version, and a digest of all else that changes the pixels.
std::string overlay_version(const ReportedImage& image, const object::FindingRecord& of, const ResultContext& context) {
  const inference::Prediction& map = of.prediction;
  std::string all = fmt::format("format={}\ndisclaimer={}\nscale={}\n", kObjectFormat, context.config.disclaimer,
                                find_task(context.config.tasks, map).map_scale_max);
  for (const object::FindingRecord& finding : image.findings) {
    if (finding.frame != of.frame) continue;
    const config::TaskConfig task = find_task(context.config.tasks, finding.prediction);
    all += fmt::format("{}={} {} {}\n", task.name, finding.prediction.model_version, task.threshold_doubtful,
                       task.threshold_certain);
  }
  for (const std::string& note : image_notes(image, context.config, of.frame)) all += note + "\n";
  object::Sha256 digest;
  digest.update(all);
  return map.model_version + "+" + digest.finish_hex().substr(0, 16);
}

// The image with the findings of one of its frames alone: an overlay speaks of nothing else.
ReportedImage one_frame(const ReportedImage& image, int frame) {
  ReportedImage one{image.record, image.file, {}, image.number};
  std::copy_if(image.findings.begin(), image.findings.end(), std::back_inserter(one.findings),
               [&](const object::FindingRecord& finding) { return finding.frame == frame; });
  return one;
}

OverlayText overlay_text(const ReportedImage& image, const ResultContext& context) {
  OverlayText text;
  text.disclaimer = context.config.disclaimer;
  for (const object::FindingRecord& finding : image.findings) {
    for (FindingLine& line : finding_lines(context.config.tasks, finding, image.findings))
      text.findings.push_back(std::move(line));
    text.halves = text.halves || !finding.prediction.part.side.empty();
    if (finding.prediction.not_asked.empty()) text.details.push_back(model_line(finding.prediction));
  }
  text.notes = image_notes(image, context.config, image.findings.empty() ? 0 : image.findings.front().frame);
  text.details.push_back("SKELEX node " + context.config.node_version);
  return text;
}

std::string derivation_of_map(const inference::Prediction& map, const config::TaskConfig& task) {
  return fmt::format(
      "Masked reconstruction error (squared, mean of channels) of {}, {} mode, {} passes, mask ratio {:.4g}, seed {}; "
      "colour map hot, {}, opacity up to {:.4g}",
      map.model_version, map.map.mode, map.map.passes, map.map.mask_ratio, map.map.seed,
      scale_in_words(map.map, task.map_scale_max), kOpacityMax);
}

std::string derivation_of_regions(const inference::Prediction& found) {
  return fmt::format("Regions that {} looked at: {} besides the whole image{}", found.model_version,
                     found.regions.size() - 1, found.regions_note.empty() ? "" : "; " + found.regions_note);
}

}  // namespace

bool has_picture(const object::FindingRecord& finding) {
  return finding.prediction.map.size > 0 || !finding.prediction.regions.empty();
}

std::vector<ResultReference> overlay_references(std::string_view form, const ReportedImage& image,
                                                const ResultContext& context, std::string_view transfer_syntax_uid) {
  std::vector<ResultReference> references;
  const std::string source = image.record.sop_instance_uid.str();
  for (const object::FindingRecord& finding : image.findings) {
    if (!has_picture(finding)) continue;
    const std::string key = object::finding_key(finding);
    const std::string version = overlay_version(image, finding, context);
    const std::string revision = image_revision(image, context);
    references.push_back({std::string(form), source, key, finding.frame,
                          object::derive_uid(context.kind(form), source, key, version, revision),
                          object::derive_uid(context.kind(form) + "-series", source, key, version, revision),
                          UID_SecondaryCaptureImageStorage, std::string(transfer_syntax_uid)});
  }
  return references;
}

Result<DrawnFinding> draw_finding(const ReportedImage& whole, const ResultReference& reference,
                                  const ResultContext& context, int long_side_max) {
  DrawnFinding drawn{{}, {}, 0, 0, false, one_frame(whole, reference.frame)};
  const ReportedImage& image = drawn.image;
  const inference::Prediction* map = nullptr;
  for (const object::FindingRecord& finding : image.findings)
    if (object::finding_key(finding) == reference.task) map = &finding.prediction;
  if (map == nullptr)
    return not_found("overlay of " + image.record.sop_instance_uid.str() + ": no map of task " + reference.task);

  // The image was analysed, so its route allows it to be rendered, FOR PROCESSING or not.
  NODE_ASSIGN_OR_RETURN(object::LoadedImage loaded,
                        object::load_frame(image.file, std::max(reference.frame, 1), {.render_for_processing = true}));
  drawn.rows = loaded.radiograph.rows;
  drawn.columns = loaded.radiograph.columns;
  drawn.lossy = loaded.lossy;
  drawn.radiograph = object::make_preview(loaded, long_side_max);
  loaded = {};
  const OverlayText words = overlay_text(image, context);
  const config::TaskConfig task = find_task(context.config.tasks, *map);
  NODE_ASSIGN_OR_RETURN(
      drawn.picture, map->map.size > 0 ? draw_overlay(drawn.radiograph, map->map, task.map_scale_max, words)
                                       : draw_regions(drawn.radiograph, drawn.rows, drawn.columns, task, *map, words));
  return drawn;
}

Result<Overlay> make_overlay(const ReportedImage& whole, const ResultReference& reference,
                             const ResultContext& context) {
  NODE_ASSIGN_OR_RETURN(DrawnFinding drawn, draw_finding(whole, reference, context, kPictureLongSideMax));
  const ReportedImage& image = drawn.image;
  const inference::Prediction* map = nullptr;
  std::vector<inference::Prediction> models;
  for (const object::FindingRecord& finding : image.findings) {
    if (object::finding_key(finding) == reference.task) map = &finding.prediction;
    models.push_back(finding.prediction);
    models.back().map = {};
  }
  const bool has_map = map->map.size > 0;

  DcmFileFormat source_file, file;
  NODE_RETURN_IF_ERROR(open_header(image, own_words(context.config, {image}), source_file));
  DcmDataset& source = *source_file.getDataset();
  DcmDataset& result = *file.getDataset();
  NODE_RETURN_IF_ERROR(object::copy_identity(source, result, /*is_sr=*/false));
  const OwnText text(result);
  const WallTime time = image_time(image, context);
  put_common(result, source, context, time, models, text);

  const Kind& kind = has_map ? kAnomalyMap : kRegions;
  put_series({&source}, result, reference, kind.series);
  put_general_image(source, result, kind.image_type);
  put_lossy_history(source, result, drawn.lossy);
  const bool unscaled = drawn.radiograph.rows == drawn.rows && drawn.radiograph.columns == drawn.columns;
  put_source_image(result, image, reference.frame, unscaled);

  put_secondary_capture(result, object::to_dicom_time(time, source));

  const std::string derivation = fmt::format(
      "{}; over the windowed radiograph, which lies at the top left with {} columns and {} rows, {}{}",
      has_map ? derivation_of_map(*map, find_task(context.config.tasks, *map)) : derivation_of_regions(*map),
      drawn.picture.picture.width, drawn.picture.picture.height,
      unscaled ? std::string("as in the source")
               : fmt::format("scaled from {} columns and {} rows", drawn.columns, drawn.rows),
      reference.frame > 0 ? fmt::format("; frame {} of the source", reference.frame) : "");
  result.putAndInsertString(DCM_DerivationDescription, text(derivation).c_str());
  put_pixels(result, drawn.picture.image, is_recognizable({&source}));

  NODE_ASSIGN_OR_RETURN(std::string bytes, object::encode_part10(file, reference.transfer_syntax_uid));
  return Overlay{ResultObject{reference.sop_instance_uid, reference.series_instance_uid, reference.sop_class_uid,
                              context.kind(reference.form), image.record.sop_instance_uid.str(), reference.task,
                              image.record.version, std::move(bytes), reference.transfer_syntax_uid},
                 std::move(drawn.picture), std::move(drawn.radiograph)};
}

}  // namespace node::report
