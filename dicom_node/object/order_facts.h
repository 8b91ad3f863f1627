// OrderFacts: what a message about a study says of patient and order, as they came with one of its images.
//
// Threads: reentrant.
// Source:  PS3.3 C.7.1.1 (Patient), C.7.2.1 (General Study), C.4.12 (Imaging Service Request); PS3.5 6.2 (PN).
#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "config/task_config.h"

namespace node::object {

struct OrderFacts {  // In UTF-8, if the character set is what the file says; else as written.
  std::string patient_id, patient_id_issuer, birth_date, sex;
  std::vector<std::array<std::string, 5>> patient_name;  // Up to three groups, of which the first is alphabetic:
                                                         // family, given, middle name, prefix, suffix.
  std::string accession_number, placer_order_number, filler_order_number, requested_procedure_id, study_id;
  std::string study_date, study_time, referring_physician;
  std::vector<config::Code> procedure;  // One, or none.
};

// Errors: as read_instance_header().
Result<OrderFacts> read_order_facts(const std::filesystem::path& file);

}  // namespace node::object
