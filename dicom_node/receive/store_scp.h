// StoreScp: accepts associations; answers each C-STORE after its object and its route are durable.
//
// Guarantee: what a peer is told is what Intake decided, after it was durable. A peer that is slow, silent, busy with
//            a message that never ends, or gone keeps at most its own thread waiting, no longer than the timeouts of
//            the configuration: on each read and write, and on each message as a whole.
// Threads:   one that accepts (AssociationAcceptor) and one per association, up to ReceiveConfig::associations_max.
//            open() and stop() from one thread; stats() from any.
// Source:    PS3.8 9.3 (association), PS3.7 9.1.1, 9.1.5 (C-STORE, C-ECHO), PS3.4 B (storage service class).
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "config/base/histogram.h"
#include "config/base/status.h"
#include "config/peer_config.h"
#include "dicom_node/tls/tls_context.h"
#include "dicom_node/route/router.h"
#include "storage/spool.h"
#include "storage/study_store.h"

namespace node::receive {

inline constexpr std::uint32_t kPduBytesMax = 131'072;  // Of a P-DATA-TF, as announced to the peer.

struct StoreScpStats {
  int associations_open = 0;
  std::uint64_t associations_total = 0;         // Accepted.
  std::uint64_t aborted_total = 0;              // Of them, ended otherwise than by a release.
  std::uint64_t rejected_called_ae_total = 0;   // Not our AE title.
  std::uint64_t rejected_calling_ae_total = 0;  // No peer's.
  std::uint64_t rejected_certificate_total = 0;  // A peer's AE title, without TLS or with another's certificate.
  std::uint64_t rejected_limit_total = 0;       // Too many associations, of all or of one host.
  std::uint64_t rejected_other_total = 0;       // Malformed, or no presentation context that we accept.
  std::uint64_t requests_expired_total = 0;     // Connections without a whole association request in time.
  std::uint64_t tls_failures_total = 0;         // Connections without agreement on TLS.
  std::uint64_t echoes_total = 0;
  std::uint64_t received_total = 0;  // Stored as new.
  std::uint64_t not_analysed_total = 0;  // Of those and of corrections: no task is asked.
  std::uint64_t received_bytes = 0;  // Of all objects whose data set came whole.
  std::uint64_t resends_total = 0;
  std::uint64_t corrections_total = 0;
  std::uint64_t conflicts_total = 0;
  std::uint64_t own_results_total = 0;
  std::map<std::uint16_t, std::uint64_t> refused_by_status;
  HistogramSnapshot store_seconds{};  // From a C-STORE's command to its answer.
};

class StoreScp {
 public:
  // configure_dcmtk() was called before; all arguments outlive the StoreScp.
  // Errors: kInvalidArgument (bind address, certificates, a transfer syntax that is preferred but can never be received), kUnavailable (port in use or not permitted).
  static Result<std::unique_ptr<StoreScp>> open(const config::ReceiveConfig& config, storage::Spool& spool,
                                                storage::StudyStore& store, const route::Router& router);
  ~StoreScp();

  std::uint16_t port() const;      // Of ReceiveConfig::port.
  std::uint16_t tls_port() const;  // Where TLS is spoken; 0: nowhere.
  StoreScpStats stats() const;
  bool turns(std::chrono::milliseconds patience) const;  // Whether each port is there for the next caller by then.

  // Of `config` peers, accept_unknown and check_hosts, from the next association on. Threads: any.
  void set_callers(const config::ReceiveConfig& config);
  tls::ServerContext* tls() const;  // Null: nobody calls with TLS.

  // Accepts no more, ends associations between two requests, lets requests in progress end and be answered within
  // ReceiveConfig::stop_grace, then aborts; joins every thread. May be called twice.
  void stop();

 private:
  struct Impl;
  explicit StoreScp(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace node::receive
