// recipients: which destination gets what of a study.
//
// Threads: any.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "config/report_config.h"
#include "dicom_node/report/result_forms.h"
#include "dicom_node/report/study_objects.h"

namespace node::report {

// By a form's word, and the SOP Instance UID of an image or the Study Instance UID.
using Recipients = std::map<std::pair<std::string, std::string>, std::set<std::string>>;

// The forms of `destinations`; with none the default ones, for nobody: they stay here.
void add_recipients(Recipients& recipients, const config::ReportConfig& config,
                    const std::vector<std::string>& destinations, FormOf of, const std::string& source_uid);

WantedForms wanted(const Recipients& recipients);

// A report, and what else refers to pictures, names those that its reader gets. Most get the same, hence share the
// object. Takes out of `recipients` what is for the others, by the word of the form in which they get their pictures;
// empty: they get none.
std::map<std::string, Recipients> take_out_variants(Recipients& recipients, const config::ReportConfig& config,
                                                    const std::set<std::string>& destinations);

}  // namespace node::report
