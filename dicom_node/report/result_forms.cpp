#include "dicom_node/report/result_forms.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcuid.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "config/result_forms.h"
#include "dicom_node/report/key_objects.h"
#include "dicom_node/report/multiframe_capture.h"
#include "dicom_node/report/presentation_state.h"
#include "dicom_node/report/secondary_capture.h"
#include "dicom_node/report/segmentation.h"
#include "dicom_node/report/structured_report.h"
#include "dicom_node/report/summary_page.h"
#include "dicom_node/report/text_report.h"

namespace node::report {

namespace {

using storage::DeliveryStage;
using References = std::vector<ResultReference>;

References overlays(const Form& form, const ReportedStudy& study, const ResultContext& context) {
  References references;
  for (const ReportedImage& image : study.images)
    for (ResultReference& reference : overlay_references(form.word, image, context, form.transfer_syntax_uid))
      references.push_back(std::move(reference));
  return references;
}

Result<ResultObject> make_secondary_capture(const ReportedStudy& study, const ResultReference& reference,
                                            const ResultContext& context) {
  const ReportedImage* image = find_image(study, reference.source_uid);
  if (image == nullptr) return not_found(reference.form + " of " + reference.source_uid + ": no such image");
  Result<Overlay> overlay = make_overlay(*image, reference, context);
  if (!overlay.ok()) return overlay.status().within(reference.form + " of " + reference.source_uid);
  return std::move(overlay->object);
}

References reports(const Form& form, const ReportedStudy& study, const ResultContext& context) {
  return report_references(form.word, form.sop_class_uid, form.of == FormOf::kImage, study, context);
}

References presentation_states(const Form& form, const ReportedStudy& study, const ResultContext& context) {
  return presentation_references(form.word, study, context);
}

References summaries(const Form& form, const ReportedStudy& study, const ResultContext& context) {
  return summary_references(form.word, study, context);
}

References multiframe_captures(const Form& form, const ReportedStudy& study, const ResultContext& context) {
  return multiframe_references(form.word, study, context);
}

References segmentations(const Form& form, const ReportedStudy& study, const ResultContext& context) {
  return segmentation_references(form.word, study, context);
}

References key_objects(const Form& form, const ReportedStudy& study, const ResultContext& context) {
  return key_object_references(form.word, study, context);
}

// Which class, in which syntax, delivered when: all of them explicit VR little endian, but for compressed overlays.
constexpr const char* kExplicit = UID_LittleEndianExplicitTransferSyntax;

Form overlay(std::string_view word, const char* transfer_syntax_uid) {
  return {word,
          UID_SecondaryCaptureImageStorage,
          DeliveryStage::kImageObject,
          FormOf::kImage,
          transfer_syntax_uid,
          /*illustrates=*/true,
          /*refers=*/false,
          overlays,
          make_secondary_capture};
}

Form other(std::string_view word, std::string_view sop_class_uid, DeliveryStage stage, FormOf of,
           decltype(Form::references) references, decltype(Form::make) make) {
  return {word, sop_class_uid, stage, of, kExplicit, /*illustrates=*/false, /*refers=*/false, references, make};
}

Form referring(Form form) {
  form.refers = true;
  return form;
}

Form report(std::string_view word, std::string_view sop_class_uid, FormOf of,
            decltype(Form::make) make = make_structured_report) {
  return referring(other(word, sop_class_uid, DeliveryStage::kReport, of, reports, make));
}

}  // namespace

const std::vector<Form>& forms() {
  static const std::vector<Form> table{
      overlay("sc", kExplicit),
      overlay("sc-rle", UID_RLELosslessTransferSyntax),
      overlay("sc-jpeg", UID_JPEGProcess14SV1TransferSyntax),
      other("sc-multiframe", UID_MultiframeTrueColorSecondaryCaptureImageStorage, DeliveryStage::kImageObject,
            FormOf::kStudy, multiframe_captures, make_multiframe_capture),
      other("summary", UID_SecondaryCaptureImageStorage, DeliveryStage::kImageObject, FormOf::kStudy, summaries,
            make_summary_page),
      other("seg", UID_SegmentationStorage, DeliveryStage::kImageObject, FormOf::kImage, segmentations,
            make_segmentation),
      report("sr", UID_ComprehensiveSRStorage, FormOf::kStudy),
      report("sr-3d", UID_Comprehensive3DSRStorage, FormOf::kStudy),
      report("sr-enhanced", UID_EnhancedSRStorage, FormOf::kStudy),
      report("sr-per-image", UID_ComprehensiveSRStorage, FormOf::kImage),
      report("sr-3d-per-image", UID_Comprehensive3DSRStorage, FormOf::kImage),
      report("sr-enhanced-per-image", UID_EnhancedSRStorage, FormOf::kImage),
      report("sr-text", UID_BasicTextSRStorage, FormOf::kStudy, make_text_report),
      other("gsps", UID_GrayscaleSoftcopyPresentationStateStorage, DeliveryStage::kKeyObject, FormOf::kImage,
            presentation_states, make_presentation_state),
      referring(other("kos", UID_KeyObjectSelectionDocumentStorage, DeliveryStage::kKeyObject, FormOf::kStudy,
                      key_objects, make_key_objects)),
  };
  return table;
}

bool is_default(std::string_view word) {
  return std::find(config::kDefaultResultForms.begin(), config::kDefaultResultForms.end(), word) !=
         config::kDefaultResultForms.end();
}

bool takes(const config::ReportConfig& config, const std::string& destination, std::string_view word) {
  for (const config::MessageConfig& message : config.messages)
    if (message.name == destination) return false;  // It gets a message in place of objects.
  const auto named = config.forms.find(destination);
  if (named == config.forms.end() || named->second.empty()) return is_default(word);
  return std::find(named->second.begin(), named->second.end(), word) != named->second.end();
}

const Form* picture_form(const config::ReportConfig& config, const std::set<std::string>& destinations) {
  for (const Form& form : forms())
    for (const std::string& destination : destinations)
      if (form.illustrates && takes(config, destination, form.word)) return &form;
  return nullptr;
}

// By the model, as usual; by the task too, where another picture of the image would have the same name.
std::string file_name(const ReportedStudy& study, const ResultReference& reference) {
  std::string name = reference.form;
  if (reference.source_uid != study.study_instance_uid.str()) name += "-" + reference.source_uid;
  if (const ReportedImage* image = find_image(study, reference.source_uid)) {
    for (const object::FindingRecord& finding : image->findings) {
      if (object::finding_key(finding) != reference.task) continue;
      name += "-" + finding.prediction.model;
      const auto same_name = [&](const object::FindingRecord& other) {
        return object::finding_key(other) != reference.task && other.frame == finding.frame && has_picture(other) &&
               other.prediction.model == finding.prediction.model;
      };
      if (std::any_of(image->findings.begin(), image->findings.end(), same_name)) name += "-" + finding.prediction.task;
      if (finding.frame > 0) name += fmt::format("-frame-{:04}", finding.frame);
    }
  }
  return name + ".dcm";
}

}  // namespace node::report
