// build_study_objects: all objects of one study, from its findings; what `serve` and `predict` have in common.
//
// Guarantee: pictures first, the reports that refer to them after, key objects last; each object is handed over as soon
//            as it is made, so that one picture at a time is in memory.
// Threads:   reentrant.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "config/base/status.h"
#include "dicom_node/report/result_forms.h"
#include "dicom_node/report/result_object.h"

namespace node::report {

// A form's word, and the SOP Instance UID of an image or the Study Instance UID: what of which is wanted.
using WantedForms = std::set<std::pair<std::string, std::string>>;

using TakeObject = std::function<Status(const Form& form, const ResultReference& reference, ResultObject object)>;

// The pictures of that form that are wanted and are there, or can still be made.
std::vector<ResultReference> pictures_of(const ReportedStudy& study, const Form& form, const WantedForms& wanted,
                                         const std::set<storage::Uid>& made_before, const ResultContext& context);

// Makes what is wanted and was not made before. The reports refer to the study's illustrations and the pictures
// that are wanted, made now or before.
// Errors: as the forms' make(), and what `take` returns; nothing is made after an error.
Status build_study_objects(ReportedStudy study, const WantedForms& wanted, const std::set<storage::Uid>& made_before,
                           const ResultContext& context, const TakeObject& take);

}  // namespace node::report
