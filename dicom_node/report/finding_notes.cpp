#include "dicom_node/report/finding_notes.h"

#include <fmt/format.h>

#include <algorithm>

#include "dicom_node/object/image_loader.h"
#include "dicom_node/report/finding_summary.h"

namespace node::report {

std::vector<std::string> region_disagreements(const inference::Prediction& prediction) {
  std::vector<std::string> lines;
  for (std::size_t r = 1; r < prediction.regions.size(); ++r) {
    const inference::Region& region = prediction.regions[r];
    if (region.source != inference::RegionSource::kDetector || region.label == region.bone ||
        region.bone_probability < kSureOfBone)
      continue;
    lines.push_back(fmt::format("region {}: detected as {}, taken for {} ({})", r, region.label, region.bone,
                                share_text(region.bone_probability)));
  }
  return lines;
}

std::vector<std::string> region_notes(const inference::Prediction& prediction) {
  std::vector<std::string> lines = region_disagreements(prediction);
  if (!prediction.regions_note.empty()) lines.insert(lines.begin(), "Regions: " + prediction.regions_note);
  return lines;
}

std::vector<std::string> image_notes(const ReportedImage& image, const config::ReportConfig& config,
                                     std::optional<int> frame) {
  std::vector<std::string> notes;
  const auto add = [&](const std::string& note) {
    if (!note.empty() && std::find(notes.begin(), notes.end(), note) == notes.end()) notes.push_back(note);
  };
  if (image.findings.empty()) return notes;
  add(body_part_disagreement(config.region_head, image.record.route, image.findings));
  add(image.record.route.reason);  // "out of scope: ...".
  for (const object::FindingRecord& finding : image.findings) {
    if (frame && finding.frame != *frame) continue;
    const std::string where = frame || finding.frame == 0 ? "" : fmt::format("frame {}: ", finding.frame);
    for (const std::string& note : region_notes(finding.prediction)) add(where + note);
    for (const std::string& note : object::quality_notes(finding.rendering)) add(where + note);
  }
  return notes;
}

const std::string& why_not_analysed(const ReportedImage& image) {
  return image.record.reason.empty() ? image.record.route.reason : image.record.reason;
}

}  // namespace node::report
