// stow_sender: the way out for DICOM objects to a DICOMweb server: STOW-RS, one object a request.
//
// Guarantee: the stored file goes out as it is; it counts as taken only when the server names no failure of it.
// Threads:   as Sender.
// Source:    PS3.18 10.5 (Store), 8.7.3 (multipart), Annex I.2 (the response's content).
#pragma once

#include <string_view>

#include "config/message_config.h"
#include "config/peer_config.h"
#include "dicom_node/deliver/sender.h"

namespace node::deliver {

OpenSender stow_sender(const config::DeliveryConfig& delivery, const config::DicomWebConfig& config);

// A Failure Reason (0008,1197) in the body decides as a C-STORE status does; without one 2xx is DELIVERED; 401, 403,
// 408, 425, 429 and 5xx, which are of the server and not of the object, PENDING; all else PARKED.
Answer judge_stow(int status, std::string_view reason, std::string_view body);

}  // namespace node::deliver
