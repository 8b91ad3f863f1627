// MessageConfig, DicomWebConfig: the `messages:` and `dicomweb:` of node.yaml: destinations that are no DICOM peers.
//
// Source: HL7 v2.5.1 chapters 2 (control), 3 (PID), 4 (ORC, OBR), 7 (OBX); MLLP: HL7 transport, release 1.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "config/tls_config.h"

namespace node::config {

enum class MessageKind { kOru, kWebhook };
enum class Hl7Characters { kUtf8, kLatin1, kAscii };  // MSH-18.

// What a field of an ORU^R01 may be filled with, beside a text in single quotes. Written alone or several with '|'
// between, of which the first counts that is not empty.
inline constexpr std::array<std::string_view, 19> kHl7Sources{
    "ae_title",   "patient_id",         "patient_id_issuer",   "patient_name",        "birth_date",
    "sex",        "accession_number",   "placer_order_number", "filler_order_number", "requested_procedure_id",
    "study_id",   "study_instance_uid", "procedure",           "study_time",          "report_time",
    "control_id", "priority_code",      "priority_number",     "referring_physician"};

struct MessageConfig {
  std::string name;
  MessageKind kind = MessageKind::kOru;
  std::string host;
  std::uint16_t port = 0;
  std::string path = "/";  // Webhook: of the URL, with its query.
  TlsConfig tls;
  std::chrono::seconds answer_timeout{30};
  std::string after;   // The destination that has the study's results first, delivered or parked; empty: no wait.
  std::string secret;  // Webhook: the key of the signature; empty: not signed.
  // ORU: over the default mapping, "OBR-18" or "PID-3.4" -> what fills it.
  std::map<std::string, std::string> fields;
  Hl7Characters characters = Hl7Characters::kUtf8;
  bool study_uid_as_text = false;  // OBX-2 of the Study Instance UID: HD, or ST where an engine refuses HD.
  bool operator==(const MessageConfig&) const = default;
};

struct DicomWebConfig {  // Gets objects by STOW-RS, PS3.18 10.5.
  std::string name;
  std::string host;
  std::uint16_t port = 0;
  std::string path;  // Of the URL, with its query: ".../studies".
  TlsConfig tls;
  std::string token;  // Bearer, RFC 6750; empty: none.
  std::chrono::seconds answer_timeout{60};
  bool operator==(const DicomWebConfig&) const = default;
};

}  // namespace node::config
