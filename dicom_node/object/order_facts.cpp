#include "dicom_node/object/order_facts.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcdeftag.h>
#include <dcmtk/dcmdata/dcfilefo.h>

#include <algorithm>

#include "dicom_node/object/character_sets.h"
#include "dicom_node/object/dataset_text.h"
#include "dicom_node/object/part10.h"

namespace node::object {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(separator, at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

class Reader {
 public:
  explicit Reader(DcmItem& data_set) : data_set_(data_set), set_(character_set_of(data_set)) {
    if (data_set.findAndGetSequenceItem(DCM_RequestAttributesSequence, request_).bad()) request_ = nullptr;
  }

  std::string text(const DcmTagKey& tag) { return utf8(data_set_, tag); }

  // Of the data set, or of the request that it is for.
  std::string of_request(const DcmTagKey& tag) {
    std::string found = text(tag);
    return found.empty() && request_ != nullptr ? utf8(*request_, tag) : found;
  }

  std::vector<config::Code> code(const DcmTagKey& tag) {
    for (DcmItem* from : {&data_set_, request_}) {
      DcmItem* item = nullptr;
      if (from == nullptr || from->findAndGetSequenceItem(tag, item).bad() || item == nullptr) continue;
      config::Code code{utf8(*item, DCM_CodeValue), utf8(*item, DCM_CodingSchemeDesignator),
                        utf8(*item, DCM_CodeMeaning)};
      if (!code.value.empty()) return {code};
    }
    return {};
  }

 private:
  std::string utf8(DcmItem& item, const DcmTagKey& tag) {  // As written where that is none of the declared set.
    const std::string text = text_of(item, tag);
    return to_utf8(text, set_).value_or(text);
  }

  DcmItem& data_set_;
  const std::string set_;
  DcmItem* request_ = nullptr;
};

}  // namespace

Result<OrderFacts> read_order_facts(const std::filesystem::path& file) {
  DcmFileFormat object;
  NODE_RETURN_IF_ERROR(load_dataset(file, object, Extent::kUpToPixelData));
  Reader read(*object.getDataset());
  OrderFacts facts;
  facts.patient_id = read.text(DCM_PatientID);
  facts.patient_id_issuer = read.text(DCM_IssuerOfPatientID);
  facts.birth_date = read.text(DCM_PatientBirthDate);
  facts.sex = read.text(DCM_PatientSex);
  for (const std::string& group : split(read.text(DCM_PatientName), '=')) {
    const std::vector<std::string> parts = split(group, '^');
    auto& name = facts.patient_name.emplace_back();
    for (std::size_t i = 0; i < std::min(parts.size(), name.size()); ++i) name[i] = parts[i];
  }
  facts.accession_number = read.of_request(DCM_AccessionNumber);
  facts.placer_order_number = read.of_request(DCM_PlacerOrderNumberImagingServiceRequest);
  facts.filler_order_number = read.of_request(DCM_FillerOrderNumberImagingServiceRequest);
  facts.requested_procedure_id = read.of_request(DCM_RequestedProcedureID);
  facts.study_id = read.text(DCM_StudyID);
  facts.study_date = read.text(DCM_StudyDate);
  facts.study_time = read.text(DCM_StudyTime);
  facts.referring_physician = read.text(DCM_ReferringPhysicianName);
  facts.procedure = read.code(DCM_ProcedureCodeSequence);
  if (facts.procedure.empty()) facts.procedure = read.code(DCM_RequestedProcedureCodeSequence);
  return facts;
}

}  // namespace node::object
