#include "dicom_node/report/study_objects.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace node::report {
namespace {

// Of a purged image nothing can be made any more.
bool is_purged(const ReportedStudy& study, const std::string& source_uid) {
  const ReportedImage* image = find_image(study, source_uid);
  return image != nullptr && image->record.purged_at.has_value();
}

// One picture stands for a finding, whatever else it is compressed as.
bool is_illustrated(const ReportedStudy& study, const ResultReference& reference) {
  return std::any_of(study.illustrations.begin(), study.illustrations.end(), [&](const ResultReference& picture) {
    return picture.source_uid == reference.source_uid && picture.task == reference.task;
  });
}

}  // namespace

std::vector<ResultReference> pictures_of(const ReportedStudy& study, const Form& form, const WantedForms& wanted,
                                         const std::set<storage::Uid>& made_before, const ResultContext& context) {
  std::vector<ResultReference> pictures;
  for (ResultReference& reference : form.references(form, study, context))
    if (wanted.contains({reference.form, reference.source_uid}) &&
        (made_before.contains(reference.sop_instance_uid) || !is_purged(study, reference.source_uid)))
      pictures.push_back(std::move(reference));
  return pictures;
}

Status build_study_objects(ReportedStudy study, const WantedForms& wanted, const std::set<storage::Uid>& made_before,
                           const ResultContext& context, const TakeObject& take) {
  for (const Form& form : forms()) {
    for (const ResultReference& reference : form.references(form, study, context)) {
      if (!wanted.contains({reference.form, reference.source_uid})) continue;
      const bool made = made_before.contains(reference.sop_instance_uid);
      if (!made && is_purged(study, reference.source_uid)) continue;
      if (form.illustrates && !is_illustrated(study, reference)) study.illustrations.push_back(reference);
      if (made) continue;
      NODE_ASSIGN_OR_RETURN(ResultObject object, form.make(study, reference, context));
      NODE_RETURN_IF_ERROR(take(form, reference, std::move(object)));
    }
  }
  return ok_status();
}

}  // namespace node::report
