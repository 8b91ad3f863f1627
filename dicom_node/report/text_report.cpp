#include "dicom_node/report/text_report.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmsr/dsrdoc.h>
#include <fmt/format.h>

#include "dicom_node/object/result_identity.h"
#include "dicom_node/report/finding_notes.h"
#include "dicom_node/report/finding_summary.h"
#include "dicom_node/report/sr_document.h"

namespace node::report {
namespace {

constexpr const char* kSeriesNumber = "9001";
constexpr const char* kSeriesDescription = "SKELEX AI findings - NOT FOR DIAGNOSIS";

// "Image 2, KNEE, left".
std::string name_of(const Source& source) {
  std::string name = image_name(*source.image);
  if (const std::string side = source.side(); side == "L" || side == "R") name += side == "L" ? ", left" : ", right";
  return name;
}

// What was found in the image and with what, or why nothing was looked for; a line each.
std::vector<std::string> sentences(const Source& source, const ResultContext& context) {
  const storage::InstanceRecord& record = source.image->record;
  std::vector<std::string> lines;
  for (const object::FindingRecord& finding : source.image->findings) {
    const std::string frame = finding.frame == 0 ? "" : fmt::format("frame {}: ", finding.frame);
    for (const FindingLine& line : finding_lines(context.config.tasks, finding, source.image->findings))
      lines.push_back(frame + line.text);
    if (finding.prediction.not_asked.empty()) lines.push_back(frame + "by " + model_line(finding.prediction));
  }
  for (const std::string& note : image_notes(*source.image, context.config)) lines.push_back(note);
  if (lines.empty())
    lines.push_back(fmt::format("Not analysed: {}: {}", to_string(record.state), why_not_analysed(*source.image)));
  return lines;
}

// The lines of what was found, doubtful or certain; nothing else.
std::vector<std::string> positives(const ReportedImage& image, const config::ReportConfig& config) {
  std::vector<std::string> found;
  for (const object::FindingRecord& finding : image.findings) {
    const config::TaskConfig task = find_task(config.tasks, finding.prediction);
    if (outcome_of(task, finding.prediction) != Outcome::kFound) continue;
    for (const FindingLine& line : finding_lines(config.tasks, finding, image.findings))
      if (line.level && *line.level != Level::kNegative) found.push_back(line.text);
  }
  return found;
}

}  // namespace

std::string impression(const ReportedStudy& study, const config::ReportConfig& config) {
  std::string text = config.disclaimer + "\r\n";  // First: this may be taken for a report.
  bool any = false;
  std::size_t analysed = 0, negative = 0;
  for (const ReportedImage& image : study.images) {
    analysed += image.findings.empty() ? 0 : 1;
    switch (outcome_of(config.tasks, image.findings)) {
      case Outcome::kNeither: break;
      case Outcome::kNothingFound: ++negative; break;
      case Outcome::kFound:
        any = true;
        text += fmt::format("{}: {}.\r\n", image_name(image), fmt::join(positives(image, config), "; "));
    }
  }
  if (negative > 0)
    text +=
        fmt::format("Nothing found in {} {}image{}.\r\n", negative, any ? "further " : "", negative == 1 ? "" : "s");
  else if (!any)
    text += "No task that was asked decides whether something is there.\r\n";
  if (analysed < study.images.size())
    text += fmt::format("Not analysed: {} of {} images.\r\n", study.images.size() - analysed, study.images.size());
  text.erase(text.find_last_not_of("\r\n") + 1);
  return text;
}

Result<ResultObject> make_text_report(const ReportedStudy& study, const ResultReference& reference,
                                      const ResultContext& context) {
  NODE_ASSIGN_OR_RETURN(const OpenStudy opened, open_study(study, context, /*is_sr=*/true));
  const auto& [sources, identity, text] = opened;

  DSRDocument document;
  NODE_RETURN_IF_ERROR(to_status(document.createNewDocument(DSRTypes::DT_BasicTextSR), "basic text report"));
  ContentTree tree(document.getTree(), text);
  tree.root(kDiagnosticImagingReport, "2000");
  add_observer(tree, context);
  tree.container(Relation::kContains, kFindings);
  for (const Source& source : sources) {
    const storage::InstanceRecord& record = source.image->record;
    tree.text(Relation::kContains, kFinding,
              fmt::format("{}\r\n{}", name_of(source), fmt::join(sentences(source, context), "\r\n")));
    tree.image(Relation::kContains, &kSourceOfMeasurement, record.sop_class_uid, record.sop_instance_uid);
    for (const ResultReference& picture : study.illustrations)
      if (picture.source_uid == record.sop_instance_uid.str())
        tree.image(Relation::kContains, &kBestIllustration, picture.sop_class_uid, picture.sop_instance_uid);
  }
  tree.close();
  tree.container(Relation::kContains, kImpressions);
  tree.text(Relation::kContains, kImpression, impression(study, context.config));
  tree.close();
  NODE_RETURN_IF_ERROR(tree.status());
  return finish_document(
      document, {study, sources, *identity, reference, context, text, context.time, kSeriesNumber, kSeriesDescription});
}

}  // namespace node::report
