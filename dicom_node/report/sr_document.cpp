#include "dicom_node/report/sr_document.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmsr/dsrdoc.h>

#include <algorithm>
#include <set>

#include "dicom_node/object/dataset_text.h"
#include "dicom_node/object/part10.h"
#include "dicom_node/object/result_identity.h"
#include "dicom_node/report/codes.h"

namespace node::report {
namespace {

Status add_references(DSRDocument& document, const DocumentFrame& frame) {
  const ReportedStudy& study = frame.study;
  const ResultReference& reference = frame.reference;
  const ResultContext& context = frame.context;
  const OFString study_uid = study.study_instance_uid.str().c_str();
  // UIDs were checked by Uid: DCMTK would refuse those with a leading zero.
  auto& evidence = document.getCurrentRequestedProcedureEvidence();
  for (const Source& source : frame.sources) {
    const storage::InstanceRecord& record = source.image->record;
    NODE_RETURN_IF_ERROR(
        to_status(evidence.addItem(study_uid, record.series_instance_uid.c_str(), record.sop_class_uid.c_str(),
                                   record.sop_instance_uid.str().c_str(), OFFalse),
                  "evidence"));
  }
  for (const ResultReference& overlay : study.illustrations)
    NODE_RETURN_IF_ERROR(
        to_status(evidence.addItem(study_uid, overlay.series_instance_uid.str().c_str(), overlay.sop_class_uid.c_str(),
                                   overlay.sop_instance_uid.str().c_str(), OFFalse),
                  "evidence of overlay"));
  // A reader who got the usual report before the configuration changed has no other one to replace.
  const auto is_before = [&](const Predecessor& before, const std::string& kind) {
    return before.kind == kind && before.source_uid == reference.source_uid;
  };
  const bool same_kind = std::any_of(study.predecessors.begin(), study.predecessors.end(), [&](const Predecessor& p) {
    return is_before(p, context.referring_kind(reference.form));
  });
  const std::string kind = same_kind ? context.referring_kind(reference.form) : context.kind(reference.form);
  for (const Predecessor& before : study.predecessors) {
    if (!is_before(before, kind)) continue;
    NODE_RETURN_IF_ERROR(to_status(document.getPredecessorDocuments().addItem(
                                       study_uid, before.series_instance_uid.str().c_str(),
                                       before.sop_class_uid.c_str(), before.sop_instance_uid.str().c_str(), OFFalse),
                                   "predecessor"));
  }
  auto& schemes = document.getCodingSchemeIdentification();
  NODE_RETURN_IF_ERROR(
      to_status(schemes.addItem(kPrivateScheme, private_scheme_uid().str().c_str(), kPrivateSchemeName, kManufacturer),
                "coding scheme"));
  std::set<std::string> own{kPrivateScheme};
  for (const config::TaskConfig& task : context.config.tasks) {
    std::vector<Code> codes = task.label_codes;
    codes.push_back(task.code);
    for (const Code& code : codes)
      if (code.scheme.substr(0, 2) == "99" && own.insert(code.scheme).second)
        NODE_RETURN_IF_ERROR(to_status(schemes.addItem(code.scheme.c_str()), "coding scheme"));
  }
  return ok_status();
}

}  // namespace

Status to_status(const OFCondition& condition, const char* what) {
  return condition.good() ? ok_status() : internal_error(std::string(what) + ": " + condition.text());
}

std::vector<Code> procedures_reported(const std::vector<Source>& sources) {
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

void add_observer(ContentTree& tree, const ResultContext& context) {
  tree.code(Relation::kHasConceptMod, kLanguage, kLanguageEnglish);
  tree.code(Relation::kHasObsContext, kObserverType, kDevice);
  tree.uid(Relation::kHasObsContext, kDeviceObserverUid, *storage::Uid::parse(context.node_uid));
  tree.text(Relation::kHasObsContext, kDeviceObserverName, context.config.ae_title);
  tree.text(Relation::kHasObsContext, kDeviceObserverManufacturer, kManufacturer);
  tree.text(Relation::kHasObsContext, kDeviceObserverModel, kModelName);
}

Result<ResultObject> finish_document(DSRDocument& document, const DocumentFrame& frame) {
  NODE_RETURN_IF_ERROR(add_references(document, frame));
  document.setSpecificCharacterSet(frame.text.character_set().c_str());
  if (document.getDocumentType() != DSRTypes::DT_KeyObjectSelectionDocument) {
    document.setPreliminaryFlag(DSRTypes::PF_Preliminary);  // A machine's output that nobody has read.
    NODE_RETURN_IF_ERROR(to_status(document.completeDocument(), "complete"));
  }
  DcmFileFormat file;
  DcmDataset& result = *file.getDataset();
  NODE_RETURN_IF_ERROR(to_status(document.write(result), "write"));

  // DSRDocument draws its own UIDs and the current time, and knows only some of what is to be copied.
  const ResultReference& reference = frame.reference;
  DcmDataset& identity = frame.identity.dataset();
  NODE_RETURN_IF_ERROR(object::copy_identity(identity, result, /*is_sr=*/true));
  put_common(result, identity, frame.context, frame.time, models_of(frame.study), frame.text);
  result.putAndInsertString(DCM_StudyInstanceUID, frame.study.study_instance_uid.str().c_str());
  result.putAndInsertString(DCM_SOPInstanceUID, reference.sop_instance_uid.str().c_str());
  result.putAndInsertString(DCM_SeriesInstanceUID, reference.series_instance_uid.str().c_str());
  result.putAndInsertString(DCM_SeriesNumber, frame.series_number);
  result.putAndInsertString(DCM_SeriesDescription, frame.series_description);
  result.putAndInsertString(DCM_InstanceNumber, "1");
  NODE_ASSIGN_OR_RETURN(std::string bytes, object::encode_part10(file));
  return ResultObject{reference.sop_instance_uid, reference.series_instance_uid,
                      reference.sop_class_uid,    frame.context.referring_kind(reference.form),
                      reference.source_uid,       "",
                      frame.study.revision,       std::move(bytes)};
}

}  // namespace node::report
