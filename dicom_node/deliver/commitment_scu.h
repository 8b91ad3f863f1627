// commitment_scu: the associations of storage commitment that we ask for: to ask a peer, and to answer one.
//
// Guarantee: as Requestor: nothing waits without end.
// Threads:   reentrant.
// Source:    PS3.4 Annex J; PS3.7 10.1.1 (N-EVENT-REPORT), 10.1.4 (N-ACTION), D.3.3.4 (role selection).
#pragma once

#include <chrono>
#include <functional>

#include "config/base/status.h"
#include "config/peer_config.h"
#include "dicom_node/object/commitment_data.h"

namespace node::deliver {

// Asks the peer to commit to what is referenced. What it reports on the same association, within `same_association`,
// goes to `record`, and is answered 0000 once that took it; mostly it reports later, on one of its own. Errors:
// kUnavailable: no association, no answer; kUnsupported: the peer knows no storage commitment, or refuses the request:
// in the words that say which status.
Status ask_for_commitment(const config::DeliveryConfig& config, const config::PeerConfig& peer,
                          const object::CommitmentData& request, std::chrono::seconds same_association,
                          const std::function<Status(const object::CommitmentData&)>& record);

// Whether the peer could be asked; could be reported to: an association, and nothing sent. Errors: as above.
Status takes_commitment(const config::DeliveryConfig& config, const config::PeerConfig& peer);
Status takes_reports(const config::DeliveryConfig& config, const config::PeerConfig& peer);

// Reports to the peer that asked, in the role of SCP. Errors: as above.
Status report_commitment(const config::DeliveryConfig& config, const config::PeerConfig& peer,
                         const object::CommitmentData& report);

}  // namespace node::deliver
