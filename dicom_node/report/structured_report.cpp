#include "dicom_node/report/structured_report.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmsr/cmr/tid1500.h>
#include <dcmtk/dcmsr/dsrdoc.h>
#include <fmt/format.h>

#include <algorithm>

#include "dicom_node/object/dataset_text.h"
#include "dicom_node/object/result_identity.h"
#include "dicom_node/report/codes.h"
#include "dicom_node/report/finding_notes.h"
#include "dicom_node/report/finding_summary.h"
#include "dicom_node/report/measurement_groups.h"
#include "dicom_node/report/sr_document.h"
#include "dicom_node/report/study_sources.h"

namespace node::report {
namespace {

constexpr const char* kSeriesNumber = "9001";
constexpr const char* kSeriesDescription = "SKELEX AI findings - NOT FOR DIAGNOSIS";

// Root, observer, procedures, image library and what was not analysed: DCMTK's own templates.
Status fill_template(TID1500_MeasurementReport& report, const std::vector<Source>& sources,
                     const ResultContext& context, const OwnText& text) {
  const auto coded = [&](const Code& code) {
    return DSRCodedEntryValue(code.value.c_str(), code.scheme.c_str(), text(code.meaning).c_str());
  };
  NODE_RETURN_IF_ERROR(to_status(report.setLanguage(coded(kLanguageEnglish)), "language"));
  NODE_RETURN_IF_ERROR(to_status(
      report.getObservationContext().addDeviceObserver(context.node_uid.c_str(), text(context.config.ae_title).c_str(),
                                                       kManufacturer, kModelName, context.node_uid.c_str()),
      "device observer"));
  for (const Code& procedure : procedures_reported(sources)) {
    // As it stands in the source, whose character set the report inherits.
    const DSRCodedEntryValue value(procedure.value.c_str(), procedure.scheme.c_str(), procedure.meaning.c_str());
    NODE_RETURN_IF_ERROR(to_status(report.addProcedureReported(value), "procedure reported"));
  }
  TID1600_ImageLibrary& library = report.getImageLibrary();
  NODE_RETURN_IF_ERROR(to_status(library.createNewImageLibrary(), "image library"));
  NODE_RETURN_IF_ERROR(to_status(library.addImageGroup(), "image library group"));
  for (const Source& source : sources) {
    // U says that the side is not known or there is none; the template would make it "Unilateral".
    if (object::text_of(source.dataset(), DCM_ImageLaterality) == "U")
      source.dataset().findAndDeleteElement(DCM_ImageLaterality);
    // A value that the template refuses must not cost the image its entry.
    OFCondition added = library.addImageEntry(source.dataset(), TID1600_ImageLibrary::withAllDescriptors);
    if (added.bad())
      added = library.addImageEntry(source.dataset(), TID1600_ImageLibrary::withoutDescriptors, {}, OFFalse);
    NODE_RETURN_IF_ERROR(to_status(added, "image library entry"));
  }
  NODE_RETURN_IF_ERROR(to_status(
      report.addQualitativeEvaluation(coded(kComment), OFString(text(context.config.disclaimer).c_str()), OFFalse),
      "disclaimer"));
  Outcome overall = Outcome::kNeither;
  for (const Source& source : sources)
    overall = std::max(overall, outcome_of(context.config.tasks, source.image->findings));
  if (overall != Outcome::kNeither) {
    const Code& result = overall == Outcome::kFound ? kFindingsPresent : kNothingFound;
    NODE_RETURN_IF_ERROR(
        to_status(report.addQualitativeEvaluation(coded(kOverallResult), coded(result), OFFalse), "overall result"));
  }
  for (const Source& source : sources) {
    const storage::InstanceRecord& record = source.image->record;
    for (const object::FindingRecord& finding : source.image->findings) {
      if (finding.prediction.not_asked.empty()) continue;
      const std::string frame = finding.frame == 0 ? "" : fmt::format(", frame {}", finding.frame);
      const std::string not_asked =
          fmt::format("{}{}, {}: {} was not asked: {}", image_name(*source.image), frame, record.sop_instance_uid.str(),
                      finding.prediction.task, finding.prediction.not_asked);
      NODE_RETURN_IF_ERROR(to_status(
          report.addQualitativeEvaluation(coded(kNotAsked), OFString(text(not_asked).c_str()), OFFalse), "not asked"));
    }
    if (!source.image->findings.empty()) continue;
    const std::string why = fmt::format("{}, {}: {}: {}", image_name(*source.image), record.sop_instance_uid.str(),
                                        to_string(record.state), why_not_analysed(*source.image));
    NODE_RETURN_IF_ERROR(to_status(
        report.addQualitativeEvaluation(coded(kNotAnalysed), OFString(text(why).c_str()), OFFalse), "skipped image"));
  }
  return ok_status();
}

bool is_asked(const ReportedImage& image) { return !image.record.route.tasks.empty() || !image.findings.empty(); }

Result<ResultObject> write_report(const ReportedStudy& study, const ResultReference& reference,
                                  const ResultContext& context, WallTime time) {
  NODE_ASSIGN_OR_RETURN(const OpenStudy opened, open_study(study, context, /*is_sr=*/true));
  const auto& [sources, identity, text] = opened;

  TID1500_MeasurementReport report(CID7021_MeasurementReportDocumentTitles::ImagingMeasurementReport);
  NODE_RETURN_IF_ERROR(fill_template(report, sources, context, text));
  DSRDocument document;
  NODE_RETURN_IF_ERROR(to_status(document.setTreeFromRootTemplate(report, OFTrue), "root"));
  // A TID 1500 root makes an Enhanced SR, whatever is wanted.
  const auto type = DSRTypes::sopClassUIDToDocumentType(reference.sop_class_uid.c_str());
  NODE_RETURN_IF_ERROR(to_status(document.changeDocumentType(type), "document type"));
  NODE_RETURN_IF_ERROR(add_measurement_groups(document.getTree(), sources, study, context, text));
  return finish_document(
      document, {study, sources, *identity, reference, context, text, time, kSeriesNumber, kSeriesDescription});
}

}  // namespace

std::vector<ResultReference> report_references(std::string_view form, std::string_view sop_class_uid, bool per_image,
                                               const ReportedStudy& study, const ResultContext& context) {
  if (!per_image) return {study_reference(form, sop_class_uid, study, context)};
  std::vector<ResultReference> references;
  for (const ReportedImage& image : study.images)
    if (is_asked(image)) references.push_back(image_reference(form, sop_class_uid, image, study, context));
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