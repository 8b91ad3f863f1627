// Requestor: an association that we ask for, by DCMTK; for the .cpp files of deliver/ only.
//
// Guarantee: connecting, the handshake of TLS and the answer to the request have a deadline; the association is
//            released at the end, or aborted once it broke. A peer with TLS is the one that is meant before it hears a
//            word: by the name in its certificate, or by the certificate where PeerConfig::certificates has some.
// Threads:   one thread per object.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "config/base/status.h"
#include "config/peer_config.h"

struct T_ASC_Network;  // DCMTK.
struct T_ASC_Association;
struct T_ASC_Parameters;
class OFCondition;

namespace node::deliver {

// DCMTK's first line only: the others repeat addresses and internals.
std::string words(const OFCondition& condition);

class TlsLayer;

struct Requestor {
  std::unique_ptr<TlsLayer> tls;  // Outlives the network, which uses it.
  T_ASC_Network* network = nullptr;
  T_ASC_Association* association = nullptr;
  int dimse_timeout_s = 60;
  bool broken = false;

  Requestor();
  Requestor(const Requestor&) = delete;
  ~Requestor();

  // `propose` adds the presentation contexts. Errors: kUnavailable: no connection, refused or rejected, in whose words.
  Status associate(const config::DeliveryConfig& config, const config::PeerConfig& peer,
                   const std::function<void(T_ASC_Parameters*)>& propose);
};

}  // namespace node::deliver
