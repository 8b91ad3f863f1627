#include "dicom_node/report/measurement_groups.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <fmt/format.h>

#include <algorithm>

#include "config/base/rounding.h"
#include "dicom_node/object/characters.h"
#include "dicom_node/object/dataset_text.h"
#include "dicom_node/object/image_loader.h"
#include "dicom_node/object/map_percentiles.h"
#include "dicom_node/object/result_identity.h"
#include "dicom_node/report/content_tree.h"
#include "dicom_node/report/finding_notes.h"
#include "dicom_node/report/finding_summary.h"
#include "dicom_node/report/map_peak.h"
#include "dicom_node/report/region_groups.h"

namespace node::report {
namespace {

void add_finding_site(ContentTree& tree, const Source& source, const std::string& side_seen) {
  const std::optional<Code> site = finding_site(source);
  if (!site) return;
  tree.open_code(Relation::kHasConceptMod, kFindingSite, *site);
  if (const std::optional<Code> side = laterality_code(side_seen))
    tree.code(Relation::kHasConceptMod, kLaterality, *side);
  tree.close();
}

// One number per label; of several, each says which by a Finding of its own, and of a task of regions where from.
void add_probabilities(ContentTree& tree, const storage::InstanceRecord& record, const config::TaskConfig& task,
                       const object::FindingRecord& finding) {
  const inference::Prediction& prediction = finding.prediction;
  for (std::size_t i = 0; i < prediction.scores.size(); ++i) {
    const inference::Score& score = prediction.scores[i];
    const double value = std::clamp(score.value, 0.0, 1.0);
    tree.open_number(Relation::kContains, kProbability, value, score_digits(task, value, 4), unit_code("1"));
    if (prediction.scores.size() > 1) tree.code(Relation::kHasConceptMod, kFinding, label_code(task, i, score.label));
    add_deciding_region(tree, prediction, score.region, record, finding.frame);
    tree.close();
  }
}

void add_decisions(ContentTree& tree, const config::TaskConfig& task, const inference::Prediction& prediction) {
  if (task.output == config::OutputKind::kSigmoid) {
    for (std::size_t i = 0; i < prediction.scores.size(); ++i) {
      const inference::Score& score = prediction.scores[i];
      const Level level = level_of(task, score.value);
      tree.code(Relation::kContains, label_code(task, i, score.label),
                level == Level::kCertain    ? kPresent
                : level == Level::kDoubtful ? kUndetermined
                                            : kAbsent);
    }
  } else if (const int leading = leading_label(prediction); leading >= 0) {
    const auto i = static_cast<std::size_t>(leading);
    if (level_of(task, prediction) == Level::kNegative) {
      return tree.code(Relation::kContains, task_code(task), kUndetermined);  // No class is likely enough to be named.
    }
    tree.code(Relation::kContains, task_code(task), label_code(task, i, prediction.scores[i].label));
    tree.code(Relation::kContains, kCertainty, level_of(task, prediction) == Level::kCertain ? kCertain : kDoubtful);
  }
}

// The number with its place: a number inferred from a region of the image (TID 320), so that viewers can go there.
void add_peak(ContentTree& tree, const Source& source, const object::FindingRecord& finding) {
  const auto size = [&](const DcmTagKey& tag) { return object::word_of(source.dataset(), tag).value_or(0); };
  const std::optional<MapPeak> peak = map_peak(finding.prediction.map, size(DCM_Rows), size(DCM_Columns));
  if (!peak) return;
  const storage::InstanceRecord& record = source.image->record;
  tree.open_number(Relation::kContains, kPeakError, peak->error, 6, unit_code("1"));
  tree.open_region(Relation::kInferredFrom, kSourceOfMeasurement, outline(*peak));
  tree.image(Relation::kSelectedFrom, nullptr, record.sop_class_uid, record.sop_instance_uid, finding.frame);
  tree.close();
  tree.close();
}

void add_values(ContentTree& tree, const Source& source, const config::TaskConfig& task,
                const object::FindingRecord& finding) {
  const inference::Prediction& prediction = finding.prediction;
  switch (task.output) {
    case config::OutputKind::kSigmoid:
    case config::OutputKind::kSoftmax:
      add_probabilities(tree, source.image->record, task, finding);
      add_decisions(tree, task, prediction);
      break;
    case config::OutputKind::kRegression:
      for (const inference::Score& score : prediction.scores) {
        tree.open_number(Relation::kContains, task_code(task), score.value, 4, unit_code(score.unit));
        tree.close();
      }
      break;
    case config::OutputKind::kAnomalyMap:
      tree.open_number(Relation::kContains, kAnomalyScore, prediction.map.score, 6, unit_code("1"));
      tree.close();
      if (object::is_calibrated(prediction.map)) {
        tree.open_number(Relation::kContains, kAnomalyPercentile, object::score_percentile(prediction.map), 1,
                         unit_code("%"));
        tree.close();
      }
      add_peak(tree, source, finding);
      break;
  }
}

// "Asked because tumour Bone tumour 0.83 is 0.5 or more".
std::string asked_because(const config::TaskCondition& when, const ReportedImage& image, int frame) {
  std::string found = when.task;
  for (const object::FindingRecord& gate : image.findings) {
    if (gate.frame != frame || gate.prediction.task != when.task) continue;
    for (const inference::Score& score : gate.prediction.scores)
      if (when.label.empty() || score.label == when.label)
        found +=
            fmt::format(" {} {}", score.label, fixed_text(score.value, digits_beside(score.value, 4, {when.at_least})));
  }
  return fmt::format("Asked because {} is {:g} or more", found, when.at_least);
}

void add_notes(ContentTree& tree, const Source& source, const config::TaskConfig& task,
               const object::FindingRecord& finding, const config::RegionHead& region_head) {
  const inference::AnomalyMap& map = finding.prediction.map;
  const storage::RouteDecision& route = source.image->record.route;
  const auto note = [&](const std::string& text) { tree.text(Relation::kContains, kQualityNote, text); };
  if (!route.body_part.empty())
    note(fmt::format("Body part {}, taken from {}", route.body_part, route.body_part_evidence));
  const std::string disagreement = body_part_disagreement(region_head, route, source.image->findings);
  if (!disagreement.empty()) note(disagreement);
  if (!route.reason.empty()) note(route.reason);  // Tasks that were left out: "out of scope: ...".
  if (object::is_calibrated(map))
    note(fmt::format("The anomaly score's percentile is among {} normal images of {}", map.reference.images,
                     map.reference.body_part));
  else if (task.output == config::OutputKind::kAnomalyMap)
    note("The anomaly score is uncalibrated: it has no reference of healthy images");
  else if (task.output != config::OutputKind::kRegression)
    note("The probability is uncalibrated");
  if (task.output == config::OutputKind::kRegression && task.unit == "mo")
    if (const std::string sex = object::text_of(source.dataset(), DCM_PatientSex); sex == "M" || sex == "F")
      note("The model does not know the patient's sex; norms for comparison: those of sex " + sex);
  for (const inference::Score& score : finding.prediction.scores)
    if (const std::string region = region_name(finding.prediction, score.region); !region.empty())
      note(fmt::format("{}: from {}{}", score.label, region == "whole image" ? "the " : "", region));
  for (const std::string& line : region_notes(finding.prediction)) note(line);
  if (task.when) note(asked_because(*task.when, *source.image, finding.frame));
  for (const std::string& what : object::quality_notes(finding.rendering)) note(what);
}

void add_measurement_group(ContentTree& tree, const Source& source, const object::FindingRecord& finding,
                           const ReportedStudy& study, const ResultContext& context) {
  const storage::InstanceRecord& record = source.image->record;
  const inference::Prediction& prediction = finding.prediction;
  const config::TaskConfig task = find_task(context.config.tasks, prediction);
  const inference::ImagePart& part = prediction.part;
  const std::string side = side_of(source, prediction);
  const Tracking tracking = tracking_of(source, finding, context);

  tree.container(Relation::kContains, kMeasurementGroup, part.side.empty() ? "1501" : "1410");
  tree.text(Relation::kHasObsContext, kTrackingIdentifier, tracking.identifier);
  tree.uid(Relation::kHasObsContext, kTrackingUniqueIdentifier, tracking.uid);
  tree.code(Relation::kContains, kFinding, task_code(task));
  add_finding_site(tree, source, side);
  add_algorithm(tree, finding, task);
  add_values(tree, source, task, finding);
  add_notes(tree, source, task, finding, context.config.region_head);
  if (part.side.empty()) {
    tree.image(Relation::kContains, &kSourceOfMeasurement, record.sop_class_uid, record.sop_instance_uid,
               finding.frame);
  } else {
    add_image_region(tree, part.box, record, finding.frame);
  }
  for (const ResultReference& overlay : study.illustrations) {
    if (overlay.source_uid == record.sop_instance_uid.str() && overlay.task == object::finding_key(finding))
      tree.image(Relation::kContains, &kBestIllustration, overlay.sop_class_uid, overlay.sop_instance_uid);
  }
  tree.close();
}

}  // namespace

// Of a film of both sides the half that was looked at.
std::string side_of(const Source& source, const inference::Prediction& prediction) {
  return prediction.part.side.empty() ? source.side() : prediction.part.side;
}

void add_algorithm(ContentTree& tree, const object::FindingRecord& finding, const config::TaskConfig& task) {
  const inference::Prediction& prediction = finding.prediction;
  const auto parameter = [&](const std::string& text) {
    tree.text(Relation::kHasConceptMod, kAlgorithmParameters, text);
  };
  tree.text(Relation::kHasConceptMod, kAlgorithmName, prediction.model);
  tree.text(Relation::kHasConceptMod, kAlgorithmVersion, prediction.model_version);
  parameter("digest=" + prediction.model_digest);  // Of the checkpoint, whole; the version has its beginning.
  if (task.output == config::OutputKind::kSigmoid || task.output == config::OutputKind::kSoftmax) {
    parameter(fmt::format("threshold_doubtful={}", task.threshold_doubtful));
    parameter(fmt::format("threshold_certain={}", task.threshold_certain));
  }
  if (prediction.map.size > 0) {
    parameter("mode=" + prediction.map.mode);
    parameter(fmt::format("passes={}", prediction.map.passes));
    parameter(fmt::format("mask_ratio={:.4g}", prediction.map.mask_ratio));
    parameter(fmt::format("seed={}", prediction.map.seed));
    if (object::is_calibrated(prediction.map)) parameter("calibration=" + prediction.map.reference.digest);
  }
  for (const std::string& rendering : finding.rendering) parameter("rendering " + rendering);
  tree.code(Relation::kHasConceptMod, kAlgorithmFamily, kArtificialIntelligence);
}

std::optional<Code> finding_site(const Source& source) {
  if (auto code = region_code(source.image->record.route.body_part)) return code;
  DcmItem* region = nullptr;
  if (source.dataset().findAndGetSequenceItem(DCM_AnatomicRegionSequence, region).bad() || region == nullptr)
    return std::nullopt;
  Code code{object::text_of(*region, DCM_CodeValue), object::text_of(*region, DCM_CodingSchemeDesignator),
            object::text_of(*region, DCM_CodeMeaning)};
  if (code.value.empty() || code.scheme.empty() || code.meaning.empty() || !object::is_ascii(code.meaning))
    return std::nullopt;
  return code;
}

Tracking tracking_of(const Source& source, const object::FindingRecord& finding, const ResultContext& context) {
  const storage::InstanceRecord& record = source.image->record;
  const std::string& task = finding.prediction.task;
  const std::string side = side_of(source, finding.prediction);
  std::string identifier = task;
  for (const std::string& word :
       {record.route.body_part, side == "U" ? "" : side, fmt::format("image {}", source.image->number),
        finding.frame == 0 ? "" : "frame " + std::to_string(finding.frame)})
    if (!word.empty()) identifier += " " + word;
  return {identifier, object::derive_uid(context.kind("tracking"), record.sop_instance_uid.str(),
                                         finding.frame == 0 ? task : object::finding_key(finding), "", "")};
}

Status add_measurement_groups(DSRDocumentTree& document, const std::vector<Source>& sources, const ReportedStudy& study,
                              const ResultContext& context, const OwnText& text) {
  const bool any =
      std::any_of(sources.begin(), sources.end(), [](const Source& s) { return !s.image->findings.empty(); });
  if (!any) return ok_status();
  ContentTree tree(document, text);
  if (!tree.go_to(kImagingMeasurements))
    return internal_error("structured report: template without " + kImagingMeasurements.meaning);
  for (const Source& source : sources)
    for (const object::FindingRecord& finding : source.image->findings)
      if (finding.prediction.not_asked.empty()) {
        add_measurement_group(tree, source, finding, study, context);
        add_region_groups(tree, source, finding, context);
      }
  return tree.status();
}

}  // namespace node::report
