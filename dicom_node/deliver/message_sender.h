// message_sender: the ways out for messages: HL7 over MLLP, and JSON posted to a webhook.
//
// Guarantee: the stored bytes go out unchanged, so that what is sent again has the control ID it had. A message counts
//            as taken only when the peer says so of that very message.
// Threads:   as Sender.
// Source:    HL7 v2.5.1 2.9 (acknowledgement), 2.14.8 (MSA), 2.14.5 (ERR); MLLP release 1; RFC 9110; RFC 2104 (HMAC).
#pragma once

#include <string_view>

#include "config/message_config.h"
#include "config/peer_config.h"
#include "dicom_node/deliver/sender.h"

namespace node::deliver {

// An ORU is offered so often to a system that answers AE, before it is parked: what it does not like is in the message.
inline constexpr int kOffersAfterError = 5;

OpenSender message_sender(const config::DeliveryConfig& delivery, const config::MessageConfig& config);

// What an acknowledgement says of the message with that control ID: AA, CA and a duplicate (ERR-3 205) are DELIVERED;
// AE, CE PENDING, a few times; AR, CR PENDING, or PARKED if the peer does not support the kind of message (ERR-3 200 to
// 203). Errors: kUnavailable: it is none of this message.
Result<Answer> judge_acknowledgement(std::string_view acknowledgement, std::string_view control_id);

// 2xx DELIVERED; 408, 425, 429, 5xx PENDING; all else PARKED.
Answer judge_http(int status, std::string_view reason, std::string_view body);

// "sha256=" and HMAC-SHA256 of the body, in lower case hexadecimal digits: what X-Skelex-Signature holds.
std::string signature(std::string_view secret, std::string_view body);

}  // namespace node::deliver
