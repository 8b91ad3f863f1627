// messages: what a system without DICOM is told of a study: an HL7 v2.5.1 ORU^R01, or JSON for a webhook.
//
// Guarantee: the same study, revision and destination give the same bytes, under the same UID and control ID: what is
//            sent again is recognised.
// Threads:   reentrant.
// Source:    HL7 v2.5.1 2.15 (control), 3.4.2 (PID), 4.5 (ORC, OBR), 7.3, 7.4 (ORU, OBX).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/message_config.h"
#include "dicom_node/object/order_facts.h"
#include "dicom_node/report/finding_summary.h"
#include "dicom_node/report/result_object.h"

namespace node::report {

// Priorities that a worklist can sort by: what SKX-PRIO says.
enum class ReadingPriority { kUrgent = 1, kFindings = 2, kRoutine = 3 };

struct MessageStudy {
  const ReportedStudy* study = nullptr;
  const object::OrderFacts* order = nullptr;
  std::string urgent;                       // Which finding made the study urgent; empty: none.
  std::optional<ReadingPriority> priority;  // None where nothing was analysed: it says nothing of the study then.
  std::vector<std::string> impression;      // In words, a line an image and finding.
  std::string control_id;                   // 20 digits; of study, revision and destination.
};

// Whatever of a study a message to `destination` says; the bytes are made by the two below.
MessageStudy describe(const ReportedStudy& study, const object::OrderFacts& order, const std::string& urgent,
                      const std::string& control_id, const ResultContext& context);

// Segments end in CR; in the characters that the site wants, '?' for what it lacks.
std::string encode_oru(const MessageStudy& message, const config::MessageConfig& config, const ResultContext& context);
// Nothing that names the patient: accession number and UIDs.
std::string encode_webhook(const MessageStudy& message, const ResultContext& context);

// The message of a study to one destination. Errors: kInvalidArgument: no image of the study can be read.
Result<ResultObject> make_message(const ReportedStudy& study, const std::string& urgent,
                                  const config::MessageConfig& config, const ResultContext& context);

}  // namespace node::report
