#include "dicom_node/report/study_objects.h"

#include <utility>

namespace node::report {

Status build_study_objects(const ReportedStudy& study, const std::set<storage::Uid>& made_before,
                           const ResultContext& context, const StudyObjectTakers& take) {
  for (const ReportedImage& image : study.images) {
    for (const OverlayReference& reference : study.overlays) {
      if (reference.source_uid != image.record.sop_instance_uid.str()) continue;
      if (made_before.contains(reference.sop_instance_uid)) continue;
      Result<Overlay> overlay = make_overlay(image, reference, context);
      if (!overlay.ok()) return overlay.status().within("overlay of " + reference.source_uid);
      NODE_RETURN_IF_ERROR(take.overlay(image, std::move(overlay).value()));
    }
  }
  NODE_ASSIGN_OR_RETURN(ResultObject report, make_structured_report(study, context));
  return take.report(std::move(report));
}

}  // namespace node::report
