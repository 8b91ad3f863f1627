// result_forms: the forms that results are sent in, one table from the word in `results.forms` to what makes it.
//
// To add a form: its word in config/result_forms.h, its row in result_forms.cpp.
// Guarantee: each form has a kind of its own in every derived UID: its word.
// Threads:   any.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/status.h"
#include "dicom_node/report/result_object.h"

namespace node::report {

enum class FormOf { kImage, kStudy };  // What an object of the form speaks of, hence the source in its UIDs.

struct Form {
  std::string_view word;
  std::string_view sop_class_uid;
  storage::DeliveryStage stage;
  FormOf of;
  std::string_view transfer_syntax_uid;
  bool illustrates;  // The reports show it as best illustration of its finding.
  bool refers;       // To what illustrates.
  // All objects of this form that the study gives, without making them. Errors are for make().
  std::vector<ResultReference> (*references)(const Form& form, const ReportedStudy& study,
                                             const ResultContext& context);
  // One of them, the same bytes for the same input. `study.illustrations` holds the pictures that go out with it.
  Result<ResultObject> (*make)(const ReportedStudy& study, const ResultReference& reference,
                               const ResultContext& context);
};

// In the order in which they are made and delivered: pictures before the reports that refer to them.
const std::vector<Form>& forms();

// Whether `destination` gets the form: what the configuration names for it, else config::kDefaultResultForms.
bool takes(const config::ReportConfig& config, const std::string& destination, std::string_view word);
bool is_default(std::string_view word);
// The first form that illustrates and that one of the destinations takes; null: none. What reports refer to.
const Form* picture_form(const config::ReportConfig& config, const std::set<std::string>& destinations);

// "sr.dcm", "sr-per-image-SOPUID.dcm", "sc-SOPUID-MODEL.dcm", "sc-SOPUID-MODEL-frame-0002.dcm"; of two tasks on one
// model that both draw "sc-SOPUID-MODEL-TASK.dcm". No two of a study have one name.
std::string file_name(const ReportedStudy& study, const ResultReference& reference);

}  // namespace node::report
