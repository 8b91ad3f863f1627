// PeerConfig, ReceiveConfig, DeliveryConfig: the `node:` and `peers:` of node.yaml, for the network.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "config/tls_config.h"

namespace node::config {

struct PeerConfig {
  std::string name;
  std::string ae_title;  // 1 to 16 characters, PS3.5 VR AE.
  std::string host;
  std::uint16_t port = 0;                                  // 0: it only sends to us.
  std::chrono::milliseconds study_quiet_period{10'000};    // A study of its is closed after so long without an image.
  bool whole_study_per_association = false;
  bool transcode = true;                                   // What it does not take as stored is sent uncompressed.
  bool commitment = false;                                 // Asked to commit to what it got; until then all is kept.
  bool commitment_same_association = false;                // It waits for our report on the association it asked over.
  int associations_max = 0;                                // At once; 0: as many as its host may have.
  TlsConfig tls{};                                         // It is called, and calls, with TLS only.
  std::vector<std::string> certificates{};                 // "sha256:64 hex digits" or "CN=name": it shows one of these.
  bool operator==(const PeerConfig&) const = default;
};

struct ReceiveConfig {
  std::string ae_title = "SKELEX";
  std::string bind = "0.0.0.0";
  std::uint16_t port = 11112;
  TlsConfig tls{};                                       // Both sides show certificates.
  std::uint16_t tls_port = 0;                            // 0: `port` speaks TLS and nothing else does.
  int associations_max = 32;
  int associations_per_host_max = 16;
  bool accept_unknown = false;                           // Calling AE titles that are no peer's.
  bool check_hosts = false;                              // A peer with a host may call from there only.
  std::vector<std::string> more_sop_classes;             // UIDs accepted beside the node's own, to store and forward.
  std::vector<std::string> transfer_syntaxes;            // UIDs preferred over the sender's order, best first.
  std::chrono::seconds acse_timeout{30};
  std::chrono::seconds dimse_timeout{60};                // Between two parts of a message, and between two messages.
  std::chrono::seconds message_timeout{600};             // Of one message, from its first byte to its answer.
  std::chrono::seconds stop_grace{10};                   // For associations in progress at a stop.
  std::uint64_t object_bytes_max = 1024ull * 1024 * 1024;
  bool keep_first_on_conflict = false;                   // storage.conflict
  bool report_skipped = false;                           // results.report_skipped
  bool commit_after_delivery = false;                    // node.commitment: delivered
  std::vector<PeerConfig> peers;
  bool operator==(const ReceiveConfig&) const = default;
};

struct DeliveryConfig {
  std::string ae_title = "SKELEX";                       // We call as.
  std::chrono::seconds connect_timeout{10};
  std::chrono::seconds dimse_timeout{60};
  std::chrono::milliseconds retry_first{1'000};          // Doubles with every attempt, with jitter,
  std::chrono::milliseconds retry_max{300'000};          // up to this.
  std::chrono::milliseconds give_up_after{7 * 86'400'000};  // Pending for longer, a delivery is parked for a person.
  int objects_per_association_max = 100;
  std::chrono::seconds commitment_answer_within{24 * 3600};  // Then a peer is asked to commit again.
  bool commit_after_delivery = false;                        // node.commitment: delivered
  std::vector<PeerConfig> peers;
  bool operator==(const DeliveryConfig&) const = default;
};

}  // namespace node::config
