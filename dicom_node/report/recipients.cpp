#include "dicom_node/report/recipients.h"

#include <algorithm>

namespace node::report {
namespace {

bool refers(const std::string& word) {
  return std::any_of(forms().begin(), forms().end(),
                     [&](const Form& form) { return form.word == word && form.refers; });
}

}  // namespace

void add_recipients(Recipients& recipients, const config::ReportConfig& config,
                    const std::vector<std::string>& destinations, FormOf of, const std::string& source_uid) {
  for (const Form& form : forms()) {
    if (form.of != of) continue;
    const std::pair<std::string, std::string> key{form.word, source_uid};
    if (destinations.empty() && is_default(form.word)) recipients[key];
    for (const std::string& destination : destinations)
      if (takes(config, destination, form.word)) recipients[key].insert(destination);
  }
}

WantedForms wanted(const Recipients& recipients) {
  WantedForms forms;
  for (const auto& [form_and_source, destinations] : recipients) forms.insert(form_and_source);
  return forms;
}

std::map<std::string, Recipients> take_out_variants(Recipients& recipients, const config::ReportConfig& config,
                                                    const std::set<std::string>& destinations) {
  std::map<std::string, Recipients> variants;
  const Form* usual = picture_form(config, destinations);
  Recipients left;
  for (const auto& [key, readers] : recipients) {
    if (!refers(key.first) || readers.empty()) left[key] = readers;
    if (!refers(key.first)) continue;
    for (const std::string& reader : readers) {
      const Form* picture = picture_form(config, {reader});
      Recipients& of = picture == usual ? left : variants[picture == nullptr ? "" : std::string(picture->word)];
      of[key].insert(reader);
    }
  }
  recipients = std::move(left);
  return variants;
}

}  // namespace node::report
