#include "dicom_node/report/region_groups.h"

#include <fmt/format.h>

#include <algorithm>

#include "dicom_node/object/result_identity.h"
#include "dicom_node/report/finding_summary.h"
#include "dicom_node/report/measurement_groups.h"
#include "dicom_node/report/region_picture.h"

namespace node::report {
namespace {

using inference::Box;
using inference::Region;

// Closed, along the outer edges of the pixels.
std::vector<Point> outline(const Box& box) {
  const double left = box.left, top = box.top, right = box.right, bottom = box.bottom;
  return {{left, top}, {right, top}, {right, bottom}, {left, bottom}, {left, top}};
}

// Whether it tells body parts apart, so that its codes are sites: the region head, or a softmax of their names alone.
bool tells_body_parts(const config::TaskConfig& task, const config::RegionHead& head) {
  if (!head.task.empty() && task.name == head.task) return true;
  return task.output == config::OutputKind::kSoftmax &&
         std::none_of(task.labels.begin(), task.labels.end(), [&](const auto& l) { return head.term_of(l).empty(); });
}

// The bone, by the code that a task of body parts with such a label gives it; a private one, if none does. Tiles are no
// site, nor is what another task looks for, such as an implant, unless the name is a body part's too.
std::optional<Code> site_of(const Region& region, const config::ReportConfig& config) {
  if (region.source != inference::RegionSource::kDetector) return std::nullopt;
  bool finding = false;
  for (const config::TaskConfig& task : config.tasks) {
    const auto label = std::find(task.labels.begin(), task.labels.end(), region.label);
    if (label == task.labels.end()) continue;
    const auto index = static_cast<std::size_t>(label - task.labels.begin());
    const bool site = tells_body_parts(task, config.region_head);
    if (site && index < task.label_codes.size()) return task.label_codes[index];
    finding = finding || !site;
  }
  if (finding && config.region_head.term_of(region.label).empty()) return std::nullopt;
  config::TaskConfig bone;
  bone.name = "region";
  return label_code(bone, 0, region.label);
}

}  // namespace

void add_image_region(ContentTree& tree, const Box& box, const storage::InstanceRecord& record, int frame) {
  tree.open_region(Relation::kContains, kImageRegion, outline(box));
  tree.image(Relation::kSelectedFrom, nullptr, record.sop_class_uid, record.sop_instance_uid, frame);
  tree.close();
}

void add_deciding_region(ContentTree& tree, const inference::Prediction& prediction, int region,
                         const storage::InstanceRecord& record, int frame) {
  if (region < 0 || region >= std::ssize(prediction.regions)) return;
  const Region& one = prediction.regions[static_cast<std::size_t>(region)];
  if (one.source == inference::RegionSource::kWholeImage) {
    tree.image(Relation::kInferredFrom, &kSourceOfMeasurement, record.sop_class_uid, record.sop_instance_uid, frame);
    return;
  }
  tree.open_region(Relation::kInferredFrom, kSourceOfMeasurement, outline(one.box));
  tree.image(Relation::kSelectedFrom, nullptr, record.sop_class_uid, record.sop_instance_uid, frame);
  tree.close();
}

void add_region_groups(ContentTree& tree, const Source& source, const object::FindingRecord& finding,
                       const ResultContext& context) {
  const storage::InstanceRecord& record = source.image->record;
  const inference::Prediction& prediction = finding.prediction;
  const config::TaskConfig task = find_task(context.config.tasks, prediction);
  for (std::size_t r = 0; r < prediction.regions.size(); ++r) {
    const Region& region = prediction.regions[r];
    const std::string key = fmt::format("{} region {}", object::finding_key(finding), r);
    const bool whole = region.source == inference::RegionSource::kWholeImage;
    tree.container(Relation::kContains, kMeasurementGroup, whole ? "1501" : "1410");
    tree.text(
        Relation::kHasObsContext, kTrackingIdentifier,
        fmt::format("{} image {} region {} {}", object::finding_key(finding), source.image->number, r, region.label));
    tree.uid(Relation::kHasObsContext, kTrackingUniqueIdentifier,
             object::derive_uid(context.kind("tracking"), record.sop_instance_uid.str(), key, "", ""));
    tree.code(Relation::kContains, kFinding, task_code(task));
    if (const auto site = whole ? finding_site(source) : site_of(region, context.config)) {
      tree.open_code(Relation::kHasConceptMod, kFindingSite, *site);
      const std::string film = side_of(source, prediction);  // Of a film of both sides a box is of either.
      if (const std::optional<Code> side = laterality_code(!whole && film == "B" ? "" : film))
        tree.code(Relation::kHasConceptMod, kLaterality, *side);
      tree.close();
    }
    add_algorithm(tree, finding, task);
    if (!whole) add_image_region(tree, region.box, record, finding.frame);
    for (std::size_t i = 0; i < region.scores.size(); ++i) {
      const inference::Score& score = region.scores[i];
      const double value = std::clamp(score.value, 0.0, 1.0);
      tree.open_number(Relation::kContains, kProbability, value, score_digits(task, value, 4), unit_code("1"));
      tree.code(Relation::kHasConceptMod, kFinding, label_code(task, i, score.label));
      tree.close();
    }
    tree.text(Relation::kContains, kComment, region_line(task, prediction, r));
    if (whole)
      tree.image(Relation::kContains, &kSourceOfMeasurement, record.sop_class_uid, record.sop_instance_uid,
                 finding.frame);
    tree.close();
  }
}

}  // namespace node::report
