#include "dicom_node/report/structured_report.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmsr/cmr/tid1500.h>
#include <dcmtk/dcmsr/dsrdoc.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <memory>
#include <set>

#include "dicom_node/object/dataset_text.h"
#include "dicom_node/object/image_loader.h"
#include "dicom_node/object/map_percentiles.h"
#include "dicom_node/object/part10.h"
#include "dicom_node/object/result_identity.h"
#include "dicom_node/object/sha256.h"
#include "dicom_node/report/codes.h"
#include "dicom_node/report/finding_summary.h"

namespace node::report {
namespace {

using Types = DSRTypes;

constexpr const char* kSeriesNumber = "9001";
constexpr const char* kSeriesDescription = "SKELEX AI findings - NOT FOR DIAGNOSIS";
constexpr std::size_t kDecimalStringMax = 16;  // VR DS

// An image with its data set, opened up to the pixel data.
struct Source {
  const ReportedImage* image = nullptr;
  std::unique_ptr<DcmFileFormat> file;

  DcmDataset& dataset() const { return *file->getDataset(); }
};

// Fixed point, at most 16 characters, "." whatever the locale.
std::string decimal(double value, int digits) {
  std::array<char, 400> buffer{};
  for (; digits >= 0; --digits) {
    const auto end =
        std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed, digits);
    const std::string text(buffer.data(), end.ptr);
    if (end.ec == std::errc() && text.size() <= kDecimalStringMax) return text;
  }
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific, 8);
  return {buffer.data(), end.ptr};
}

// Adds content items below the current one; open() makes a new item the current one until close(). The first error is
// kept, so that the tree is written without a check at every line.
class TreeWriter {
 public:
  TreeWriter(DSRDocumentTree& tree, const OwnText& text) : tree_(tree), text_(text) {}

  DSRCodedEntryValue coded(const Code& code) const {
    return {code.value.c_str(), code.scheme.c_str(), text_(code.meaning).c_str()};
  }

  void container(Types::E_RelationshipType relationship, const Code& concept_name, const char* template_id) {
    if (!add(relationship, Types::VT_Container, &concept_name)) return;
    check(tree_.getCurrentContentItem().setTemplateIdentification(template_id, "DCMR"), concept_name);
  }
  void text(Types::E_RelationshipType relationship, const Code& concept_name, const std::string& utf8) {
    if (utf8.empty() || !add(relationship, Types::VT_Text, &concept_name)) return;
    check(tree_.getCurrentContentItem().setStringValue(text_(utf8).c_str(), OFFalse), concept_name);
    close();
  }
  void uid(Types::E_RelationshipType relationship, const Code& concept_name, const storage::Uid& uid) {
    if (!add(relationship, Types::VT_UIDRef, &concept_name)) return;
    check(tree_.getCurrentContentItem().setStringValue(uid.str().c_str()), concept_name);
    close();
  }
  // Stays open: the caller may add modifiers, and closes.
  void open_code(Types::E_RelationshipType relationship, const Code& concept_name, const Code& value) {
    if (!add(relationship, Types::VT_Code, &concept_name)) return;
    check(tree_.getCurrentContentItem().setCodeValue(coded(value)), concept_name);
  }
  void code(Types::E_RelationshipType relationship, const Code& concept_name, const Code& value) {
    open_code(relationship, concept_name, value);
    close();
  }
  // Stays open. A value that is no number is said to be so.
  void open_number(Types::E_RelationshipType relationship, const Code& concept_name, double value, int digits,
                   const Code& unit) {
    if (!add(relationship, Types::VT_Num, &concept_name)) return;
    const DSRNumericMeasurementValue number =
        std::isfinite(value) ? DSRNumericMeasurementValue(decimal(value, digits).c_str(), coded(unit))
                             : DSRNumericMeasurementValue(coded(kNotANumber));
    check(tree_.getCurrentContentItem().setNumericValue(number), concept_name);
  }
  void image(Types::E_RelationshipType relationship, const Code& concept_name, const std::string& sop_class_uid,
             const storage::Uid& sop_instance_uid, int frame = 0) {
    if (!add(relationship, Types::VT_Image, &concept_name)) return;
    DSRImageReferenceValue reference(sop_class_uid.c_str(), sop_instance_uid.str().c_str());
    if (frame > 0) reference.getFrameList().addItem(frame);
    check(tree_.getCurrentContentItem().setImageReference(reference), concept_name);
    close();
  }
  void close() {
    if (status_.ok()) tree_.goUp();
  }

  const Status& status() const { return status_; }

 private:
  bool add(Types::E_RelationshipType relationship, Types::E_ValueType type, const Code* concept_name) {
    if (!status_.ok()) return false;
    if (tree_.addContentItem(relationship, type, Types::AM_belowCurrent) == 0) {
      status_ = internal_error("add content item " + concept_name->meaning + ": not allowed here");
      return false;
    }
    check(tree_.getCurrentContentItem().setConceptName(coded(*concept_name)), *concept_name);
    return status_.ok();
  }
  void check(const OFCondition& condition, const Code& concept_name) {
    if (condition.bad() && status_.ok())
      status_ = internal_error("set content item " + concept_name.meaning + ": " + condition.text());
  }

  DSRDocumentTree& tree_;
  const OwnText& text_;
  Status status_;
};

// ----- What one image and task has to say -----

// The region from the term that routed the image; else the source's own code, if it has one.
std::optional<Code> finding_site(const Source& source) {
  if (auto code = region_code(source.image->record.route.body_part)) return code;
  DcmItem* region = nullptr;
  if (source.dataset().findAndGetSequenceItem(DCM_AnatomicRegionSequence, region).bad() || region == nullptr)
    return std::nullopt;
  Code code{object::text_of(*region, DCM_CodeValue), object::text_of(*region, DCM_CodingSchemeDesignator),
            object::text_of(*region, DCM_CodeMeaning)};
  if (code.value.empty() || code.scheme.empty() || code.meaning.empty() || !is_ascii(code.meaning)) return std::nullopt;
  return code;
}

std::string side_of(const Source& source) {
  const std::string side = object::text_of(source.dataset(), DCM_ImageLaterality);
  return side.empty() ? object::text_of(source.dataset(), DCM_Laterality) : side;
}

void add_finding_site(TreeWriter& tree, const Source& source) {
  const std::optional<Code> site = finding_site(source);
  if (!site) return;
  tree.open_code(Types::RT_hasConceptMod, kFindingSite, *site);
  if (const std::optional<Code> side = laterality_code(side_of(source)))
    tree.code(Types::RT_hasConceptMod, kLaterality, *side);
  tree.close();
}

void add_algorithm(TreeWriter& tree, const object::FindingRecord& finding, const config::TaskConfig& task) {
  const inference::Prediction& prediction = finding.prediction;
  const auto parameter = [&](const std::string& text) {
    tree.text(Types::RT_hasConceptMod, kAlgorithmParameters, text);
  };
  tree.text(Types::RT_hasConceptMod, kAlgorithmName, prediction.model);
  tree.text(Types::RT_hasConceptMod, kAlgorithmVersion, prediction.model_version);
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
  tree.code(Types::RT_hasConceptMod, kAlgorithmFamily, kArtificialIntelligence);
}

// One number per label; of several, each says which by a Finding of its own.
void add_probabilities(TreeWriter& tree, const config::TaskConfig& task, const inference::Prediction& prediction) {
  for (std::size_t i = 0; i < prediction.scores.size(); ++i) {
    const inference::Score& score = prediction.scores[i];
    tree.open_number(Types::RT_contains, kProbability, std::clamp(score.value, 0.0, 1.0), 4, unit_code("1"));
    if (prediction.scores.size() > 1) tree.code(Types::RT_hasConceptMod, kFinding, label_code(task, i, score.label));
    tree.close();
  }
}

void add_decisions(TreeWriter& tree, const config::TaskConfig& task, const inference::Prediction& prediction) {
  if (task.output == config::OutputKind::kSigmoid) {
    for (std::size_t i = 0; i < prediction.scores.size(); ++i) {
      const inference::Score& score = prediction.scores[i];
      const Level level = level_of(task, score.value);
      tree.code(Types::RT_contains, label_code(task, i, score.label),
                level == Level::kCertain    ? kPresent
                : level == Level::kDoubtful ? kUndetermined
                                            : kAbsent);
    }
  } else if (const int leading = leading_label(prediction); leading >= 0) {
    const auto i = static_cast<std::size_t>(leading);
    if (level_of(task, prediction) == Level::kNegative) {
      return tree.code(Types::RT_contains, task_code(task), kUndetermined);  // No class is likely enough to be named.
    }
    tree.code(Types::RT_contains, task_code(task), label_code(task, i, prediction.scores[i].label));
    tree.code(Types::RT_contains, kCertainty, level_of(task, prediction) == Level::kCertain ? kCertain : kDoubtful);
  }
}

void add_values(TreeWriter& tree, const config::TaskConfig& task, const inference::Prediction& prediction) {
  switch (task.output) {
    case config::OutputKind::kSigmoid:
    case config::OutputKind::kSoftmax:
      add_probabilities(tree, task, prediction);
      add_decisions(tree, task, prediction);
      break;
    case config::OutputKind::kRegression:
      for (const inference::Score& score : prediction.scores) {
        tree.open_number(Types::RT_contains, task_code(task), score.value, 4, unit_code(score.unit));
        tree.close();
      }
      break;
    case config::OutputKind::kAnomalyMap:
      tree.open_number(Types::RT_contains, kAnomalyScore, prediction.map.score, 6, unit_code("1"));
      tree.close();
      if (!object::is_calibrated(prediction.map)) break;
      tree.open_number(Types::RT_contains, kAnomalyPercentile, object::score_percentile(prediction.map), 1,
                       unit_code("%"));
      tree.close();
      break;
  }
}

// "Asked because tumour Bone tumour 0.83 is 0.5 or more".
std::string asked_because(const config::TaskCondition& when, const ReportedImage& image, int frame) {
  std::string found = when.task;
  for (const object::FindingRecord& gate : image.findings) {
    if (gate.frame != frame || gate.prediction.task != when.task) continue;
    for (const inference::Score& score : gate.prediction.scores)
      if (when.label.empty() || score.label == when.label) found += fmt::format(" {} {:.4f}", score.label, score.value);
  }
  return fmt::format("Asked because {} is {:g} or more", found, when.at_least);
}

void add_notes(TreeWriter& tree, const Source& source, const config::TaskConfig& task,
               const object::FindingRecord& finding, const config::RegionHead& region_head) {
  const inference::AnomalyMap& map = finding.prediction.map;
  const storage::RouteDecision& route = source.image->record.route;
  const auto note = [&](const std::string& text) { tree.text(Types::RT_contains, kQualityNote, text); };
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
  if (task.when) note(asked_because(*task.when, *source.image, finding.frame));
  for (const std::string& what : object::quality_notes(finding.rendering)) note(what);
}

void add_measurement_group(TreeWriter& tree, const Source& source, const object::FindingRecord& finding,
                           const ReportedStudy& study, const ResultContext& context) {
  const storage::InstanceRecord& record = source.image->record;
  const inference::Prediction& prediction = finding.prediction;
  const config::TaskConfig task = find_task(context.config.tasks, prediction);
  const std::string side = side_of(source), instance_number = object::text_of(source.dataset(), DCM_InstanceNumber);
  std::string tracking = prediction.task;
  for (const std::string& word :
       {record.route.body_part, side == "U" ? "" : side, instance_number.empty() ? "" : "image " + instance_number,
        finding.frame == 0 ? "" : "frame " + std::to_string(finding.frame)})
    if (!word.empty()) tracking += " " + word;

  tree.container(Types::RT_contains, kMeasurementGroup, "1501");
  tree.text(Types::RT_hasObsContext, kTrackingIdentifier, tracking);
  // Neither model nor revision: the finding of a later run is the same thing, tracked.
  tree.uid(Types::RT_hasObsContext, kTrackingUniqueIdentifier,
           object::derive_uid(context.kind("tracking"), record.sop_instance_uid.str(),
                              finding.frame == 0 ? task.name : object::finding_key(finding), "", ""));
  tree.code(Types::RT_contains, kFinding, task_code(task));
  add_finding_site(tree, source);
  add_algorithm(tree, finding, task);
  add_values(tree, task, prediction);
  add_notes(tree, source, task, finding, context.config.region_head);
  tree.image(Types::RT_contains, kSourceOfMeasurement, record.sop_class_uid, record.sop_instance_uid, finding.frame);
  for (const ResultReference& overlay : study.illustrations) {
    if (overlay.source_uid == record.sop_instance_uid.str() && overlay.task == object::finding_key(finding))
      tree.image(Types::RT_contains, kBestIllustration, overlay.sop_class_uid, overlay.sop_instance_uid);
  }
  tree.close();
}

// ----- The document -----

Status failed(const OFCondition& condition, const char* what) {
  return condition.good() ? ok_status() : internal_error(std::string(what) + ": " + condition.text());
}

// Opens the images. One without findings may be damaged, one that was reported before may be purged; the report then
// names it by what the store knows.
Result<std::vector<Source>> open_sources(const ReportedStudy& study) {
  std::vector<Source> sources;
  for (const ReportedImage& image : study.images) {
    Source source{&image, std::make_unique<DcmFileFormat>()};
    const bool purged = image.record.purged_at.has_value();
    const Status opened =
        purged ? not_found("purged") : object::load_dataset(image.file, *source.file, object::Extent::kUpToPixelData);
    if (!opened.ok()) {
      if (!purged && !image.findings.empty()) return opened.within("image " + image.record.sop_instance_uid.str());
      source.file = std::make_unique<DcmFileFormat>();
      DcmDataset& known = source.dataset();
      known.putAndInsertString(DCM_SOPClassUID, image.record.sop_class_uid.c_str());
      known.putAndInsertString(DCM_SOPInstanceUID, image.record.sop_instance_uid.str().c_str());
    }
    sources.push_back(std::move(source));
  }
  return sources;
}

// The first image with findings, else the first that has a study: its patient and study are the report's.
const Source* identity_source(const std::vector<Source>& sources) {
  for (const Source& source : sources)
    if (!source.image->findings.empty() && !source.image->record.purged_at) return &source;
  for (const Source& source : sources)
    if (!object::text_of(source.dataset(), DCM_StudyInstanceUID).empty()) return &source;
  return nullptr;
}

// The imaging procedures that made the images (0008,1032), each once.
std::vector<Code> procedures(const std::vector<Source>& sources) {
  std::vector<Code> codes;
  for (const Source& source : sources) {
    for (const DcmTagKey& tag : {DCM_ProcedureCodeSequence, DCM_RequestedProcedureCodeSequence}) {
      DcmItem* item = nullptr;
      if (source.dataset().findAndGetSequenceItem(tag, item).bad() || item == nullptr) continue;
      const Code code{object::text_of(*item, DCM_CodeValue), object::text_of(*item, DCM_CodingSchemeDesignator),
                      object::text_of(*item, DCM_CodeMeaning)};
      const bool usable = !code.value.empty() && !code.scheme.empty() && !code.meaning.empty();
      const bool known = std::any_of(codes.begin(), codes.end(), [&](const Code& other) {
        return other.value == code.value && other.scheme == code.scheme;
      });
      if (usable && !known) codes.push_back(code);
      if (usable) break;
    }
  }
  if (codes.empty()) codes.push_back(kProcedureUnspecified);
  return codes;
}

// Root, observer, procedures, image library and what was not analysed: DCMTK's own templates.
Status fill_template(TID1500_MeasurementReport& report, const std::vector<Source>& sources,
                     const ResultContext& context, const OwnText& text) {
  const auto coded = [&](const Code& code) {
    return DSRCodedEntryValue(code.value.c_str(), code.scheme.c_str(), text(code.meaning).c_str());
  };
  NODE_RETURN_IF_ERROR(failed(report.setLanguage(coded(kLanguageEnglish)), "language"));
  NODE_RETURN_IF_ERROR(failed(
      report.getObservationContext().addDeviceObserver(context.node_uid.c_str(), text(context.config.ae_title).c_str(),
                                                       "SKELEX project", "SKELEX node", context.node_uid.c_str()),
      "device observer"));
  for (const Code& procedure : procedures(sources)) {
    // As it stands in the source, whose character set the report inherits.
    const DSRCodedEntryValue value(procedure.value.c_str(), procedure.scheme.c_str(), procedure.meaning.c_str());
    NODE_RETURN_IF_ERROR(failed(report.addProcedureReported(value), "procedure reported"));
  }
  TID1600_ImageLibrary& library = report.getImageLibrary();
  NODE_RETURN_IF_ERROR(failed(library.createNewImageLibrary(), "image library"));
  NODE_RETURN_IF_ERROR(failed(library.addImageGroup(), "image library group"));
  for (const Source& source : sources) {
    // U says that the side is not known or there is none; the template would make it "Unilateral".
    if (object::text_of(source.dataset(), DCM_ImageLaterality) == "U")
      source.dataset().findAndDeleteElement(DCM_ImageLaterality);
    // A value that the template refuses must not cost the image its entry.
    OFCondition added = library.addImageEntry(source.dataset(), TID1600_ImageLibrary::withAllDescriptors);
    if (added.bad()) added = library.addImageEntry(source.dataset(), TID1600_ImageLibrary::withoutDescriptors);
    NODE_RETURN_IF_ERROR(failed(added, "image library entry"));
  }
  NODE_RETURN_IF_ERROR(failed(
      report.addQualitativeEvaluation(coded(kComment), OFString(text(context.config.disclaimer).c_str()), OFFalse),
      "disclaimer"));
  for (const Source& source : sources) {
    const storage::InstanceRecord& record = source.image->record;
    for (const object::FindingRecord& finding : source.image->findings) {
      if (finding.prediction.not_asked.empty()) continue;
      const std::string frame = finding.frame == 0 ? "" : fmt::format(", frame {}", finding.frame);
      const std::string not_asked = fmt::format("{}{}: {} was not asked: {}", record.sop_instance_uid.str(), frame,
                                                finding.prediction.task, finding.prediction.not_asked);
      NODE_RETURN_IF_ERROR(failed(
          report.addQualitativeEvaluation(coded(kNotAsked), OFString(text(not_asked).c_str()), OFFalse), "not asked"));
    }
    if (!source.image->findings.empty()) continue;
    const std::string why = fmt::format("{}: {}: {}", record.sop_instance_uid.str(), to_string(record.state),
                                        record.reason.empty() ? record.route.reason : record.reason);
    NODE_RETURN_IF_ERROR(failed(
        report.addQualitativeEvaluation(coded(kNotAnalysed), OFString(text(why).c_str()), OFFalse), "skipped image"));
  }
  return ok_status();
}

Status add_findings(DSRDocumentTree& tree, const std::vector<Source>& sources, const ReportedStudy& study,
                    const ResultContext& context, const OwnText& text) {
  TreeWriter writer(tree, text);
  const bool any =
      std::any_of(sources.begin(), sources.end(), [](const Source& s) { return !s.image->findings.empty(); });
  if (!any) return ok_status();
  if (tree.gotoNamedNode(writer.coded(kImagingMeasurements)) == 0)
    return internal_error("structured report: template without " + kImagingMeasurements.meaning);
  for (const Source& source : sources)
    for (const object::FindingRecord& finding : source.image->findings)
      if (finding.prediction.not_asked.empty()) add_measurement_group(writer, source, finding, study, context);
  return writer.status();
}

Status add_references(DSRDocument& document, const std::vector<Source>& sources, const ReportedStudy& study,
                      const ResultReference& reference, const ResultContext& context) {
  const OFString study_uid = study.study_instance_uid.str().c_str();
  auto& evidence = document.getCurrentRequestedProcedureEvidence();
  for (const Source& source : sources) {
    const storage::InstanceRecord& record = source.image->record;
    NODE_RETURN_IF_ERROR(failed(evidence.addItem(study_uid, record.series_instance_uid.c_str(),
                                                 record.sop_class_uid.c_str(), record.sop_instance_uid.str().c_str()),
                                "evidence"));
  }
  for (const ResultReference& overlay : study.illustrations)
    NODE_RETURN_IF_ERROR(failed(evidence.addItem(study_uid, overlay.series_instance_uid.str().c_str(),
                                                 overlay.sop_class_uid.c_str(), overlay.sop_instance_uid.str().c_str()),
                                "evidence of overlay"));
  for (const Predecessor& before : study.predecessors) {
    if (before.kind != context.kind(reference.form) || before.source_uid != reference.source_uid) continue;
    NODE_RETURN_IF_ERROR(failed(
        document.getPredecessorDocuments().addItem(study_uid, before.series_instance_uid.str().c_str(),
                                                   before.sop_class_uid.c_str(), before.sop_instance_uid.str().c_str()),
        "predecessor"));
  }
  auto& schemes = document.getCodingSchemeIdentification();
  NODE_RETURN_IF_ERROR(failed(
      schemes.addItem(kPrivateScheme, object::derive_uid("coding-scheme", kPrivateScheme, "", "", "").str().c_str(),
                      "SKELEX private codes", "SKELEX project"),
      "coding scheme"));
  std::set<std::string> own{kPrivateScheme};
  for (const config::TaskConfig& task : context.config.tasks) {
    std::vector<Code> codes = task.label_codes;
    codes.push_back(task.code);
    for (const Code& code : codes)
      if (code.scheme.substr(0, 2) == "99" && own.insert(code.scheme).second)
        NODE_RETURN_IF_ERROR(failed(schemes.addItem(code.scheme.c_str()), "coding scheme"));
  }
  return ok_status();
}

std::string models_digest(const ReportedStudy& study) {
  std::set<std::string> lines;
  for (const ReportedImage& image : study.images)
    for (const object::FindingRecord& finding : image.findings)
      lines.insert(finding.prediction.task + "=" + finding.prediction.model_version);
  const std::string text = fmt::format("{}", fmt::join(lines, "\n"));
  object::Sha256 digest;
  digest.update(text);
  return digest.finish_hex();
}

std::vector<inference::Prediction> models_of(const ReportedStudy& study) {
  std::vector<inference::Prediction> models;
  for (const ReportedImage& image : study.images) {
    for (const object::FindingRecord& finding : image.findings) {
      inference::Prediction& model = models.emplace_back();
      model.model = finding.prediction.model;
      model.model_version = finding.prediction.model_version;
    }
  }
  return models;
}

bool is_asked(const ReportedImage& image) { return !image.record.route.tasks.empty() || !image.findings.empty(); }

// What a report per image speaks of: that image and its pictures.
ReportedStudy one_image(const ReportedStudy& study, const std::string& source_uid) {
  ReportedStudy one{study.study_instance_uid, study.revision, {}, {}, study.predecessors};
  for (const ReportedImage& image : study.images)
    if (image.record.sop_instance_uid.str() == source_uid) one.images.push_back(image);
  for (const ResultReference& picture : study.illustrations)
    if (picture.source_uid == source_uid) one.illustrations.push_back(picture);
  return one;
}

ResultReference reference_to(std::string_view form, std::string_view sop_class_uid, const std::string& source_uid,
                             const std::string& models, const std::string& revision, const ResultContext& context) {
  return {std::string(form),
          source_uid,
          "",
          0,
          object::derive_uid(context.kind(form), source_uid, "", models, revision),
          object::derive_uid(context.kind(form) + "-series", source_uid, "", models, revision),
          std::string(sop_class_uid)};
}

Result<ResultObject> write_report(const ReportedStudy& study, const ResultReference& reference,
                                  const ResultContext& context, WallTime time) {
  NODE_ASSIGN_OR_RETURN(const std::vector<Source> sources, open_sources(study));
  const Source* identity = identity_source(sources);
  if (identity == nullptr) return invalid_argument("no image that names its study");
  DcmDataset copied;
  NODE_RETURN_IF_ERROR(object::copy_identity(identity->dataset(), copied, /*is_sr=*/true));
  const OwnText text(copied, needs_unicode(context.config, study.images));

  TID1500_MeasurementReport report(CID7021_MeasurementReportDocumentTitles::ImagingMeasurementReport);
  NODE_RETURN_IF_ERROR(fill_template(report, sources, context, text));
  DSRDocument document;
  NODE_RETURN_IF_ERROR(failed(document.setTreeFromRootTemplate(report, OFTrue), "root"));
  // A TID 1500 root makes an Enhanced SR, whatever is wanted.
  const auto type = Types::sopClassUIDToDocumentType(reference.sop_class_uid.c_str());
  NODE_RETURN_IF_ERROR(failed(document.changeDocumentType(type), "document type"));
  NODE_RETURN_IF_ERROR(add_findings(document.getTree(), sources, study, context, text));
  NODE_RETURN_IF_ERROR(add_references(document, sources, study, reference, context));
  document.setSpecificCharacterSet(text.character_set().c_str());
  document.setPreliminaryFlag(Types::PF_Preliminary);  // A machine's output that nobody has read.
  NODE_RETURN_IF_ERROR(failed(document.completeDocument(), "complete"));
  DcmFileFormat file;
  DcmDataset& result = *file.getDataset();
  NODE_RETURN_IF_ERROR(failed(document.write(result), "write"));

  // DSRDocument draws its own UIDs and the current time, and knows only some of what is to be copied.
  NODE_RETURN_IF_ERROR(object::copy_identity(identity->dataset(), result, /*is_sr=*/true));
  put_common(result, identity->dataset(), context, time, models_of(study), text);
  result.putAndInsertString(DCM_StudyInstanceUID, study.study_instance_uid.str().c_str());
  result.putAndInsertString(DCM_SOPInstanceUID, reference.sop_instance_uid.str().c_str());
  result.putAndInsertString(DCM_SeriesInstanceUID, reference.series_instance_uid.str().c_str());
  result.putAndInsertString(DCM_SeriesNumber, kSeriesNumber);
  result.putAndInsertString(DCM_SeriesDescription, kSeriesDescription);
  result.putAndInsertString(DCM_InstanceNumber, "1");
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

}  // namespace

std::vector<ResultReference> report_references(std::string_view form, std::string_view sop_class_uid, bool per_image,
                                               const ReportedStudy& study, const ResultContext& context) {
  if (!per_image)
    return {reference_to(form, sop_class_uid, study.study_instance_uid.str(), models_digest(study),
                         context.stamp.value_or(context.revision), context)};
  std::vector<ResultReference> references;
  for (const ReportedImage& image : study.images) {
    if (!is_asked(image)) continue;
    const std::string source_uid = image.record.sop_instance_uid.str();
    references.push_back(reference_to(form, sop_class_uid, source_uid, models_digest(one_image(study, source_uid)),
                                      image_revision(image, context), context));
  }
  return references;
}

Result<ResultObject> make_structured_report(const ReportedStudy& study, const ResultReference& reference,
                                            const ResultContext& context) {
  const auto named = [&](Result<ResultObject> object) -> Result<ResultObject> {
    if (object.ok()) return object;
    return object.status().within(reference.form + " of " + reference.source_uid);
  };
  if (reference.source_uid == study.study_instance_uid.str())
    return named(write_report(study, reference, context, context.time));
  ReportedStudy one = one_image(study, reference.source_uid);
  if (one.images.empty()) return named(not_found("no such image"));
  one.revision = one.images.front().record.version;
  return named(write_report(one, reference, context, image_time(one.images.front(), context)));
}

}  // namespace node::report
