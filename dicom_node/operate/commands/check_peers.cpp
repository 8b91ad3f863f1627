#include "dicom_node/operate/commands/check_peers.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <string_view>
#include <vector>

#include "dicom_node/deliver/commitment_scu.h"
#include "dicom_node/deliver/connection.h"
#include "dicom_node/deliver/store_scu.h"
#include "dicom_node/report/result_forms.h"

namespace node::operate {

void Findings::good(const std::string& line) { fmt::print("ok    {}\n", line); }
void Findings::note(const std::string& line) { fmt::print("note  {}\n", line); }
void Findings::bad(const std::string& line) {
  fmt::print("FAIL  {}\n", line);
  failed_ = true;
}

namespace {

// Which of the usual mistakes a failed association is, and what mends it. `why`: in DCMTK's words.
std::string remedy(const config::NodeConfig& config, const config::PeerConfig& peer, const std::string& why) {
  const auto says = [&](std::string_view words) { return why.find(words) != std::string::npos; };
  if (says("Called AE Title Not Recognized")) {
    return fmt::format("it is there, but is not called {}: set peers.{}.ae_title to its own AE title", peer.ae_title,
                       peer.name);
  }
  if (says("Calling AE Title Not Recognized")) {
    return fmt::format("it is there, but does not know us: register {} with this machine's address there",
                       config.receive.ae_title);
  }
  if (says("certificate")) {
    return fmt::format(
        "TLS: are the certificates right, ours in peers.{0}.tls.certificate_file and its in "
        "peers.{0}.tls.ca_file, and is peers.{0}.host the name that its own bears?",
        peer.name);
  }
  if (says("Unrecognized PDU")) {
    return fmt::format("something else than DICOM answers on port {}: is peers.{}.port right?", peer.port, peer.name);
  }
  if (says("TLS") || says("tls") || says("SSL") || says("ssl")) {
    return fmt::format("it may not speak TLS on port {}: is peers.{}.port the one with TLS?", peer.port, peer.name);
  }
  if (says("aborted") || says("closed")) {
    return fmt::format("it is there, but broke off: does it want TLS on port {} (peers.{}.tls)? Its own log says more",
                       peer.port, peer.name);
  }
  if (says("rejected")) return "it is there, but takes no association from us: its own log says why";
  if (says("onnection refused")) {
    return fmt::format("the host is there, but nothing listens on port {}: is it running, is peers.{}.port right?",
                       peer.port, peer.name);
  }
  return fmt::format("it does not answer: is peers.{}.host right, is it on, does a firewall stand between?", peer.name);
}

bool gets_results(const config::NodeConfig& config, const std::string& peer) {
  const std::vector<std::string>& skipped_to = config.report.skipped_to;  // Study objects, of what was not routed.
  if (config.report.report_skipped && std::find(skipped_to.begin(), skipped_to.end(), peer) != skipped_to.end())
    return true;
  return std::any_of(config.router.routes.begin(), config.router.routes.end(), [&](const config::RouteRule& rule) {
    return !rule.shadow && std::find(rule.send_to.begin(), rule.send_to.end(), peer) != rule.send_to.end();
  });
}

void check_commitment(const config::NodeConfig& config, const config::PeerConfig& peer, Findings& findings) {
  const Status taken = deliver::takes_commitment(config.delivery, peer);
  if (taken.ok()) return findings.good(fmt::format("peer {}: takes requests for storage commitment", peer.name));
  findings.bad(fmt::format(
      "peer {}: {}: what it gets would be kept here and parked; let it take storage commitment from {}, or set "
      "peers.{}.commitment: false",
      peer.name, taken.message(), config.receive.ae_title, peer.name));
}

// One association asks for C-ECHO and all forms of results that the peer would be sent.
void check_peer(const config::NodeConfig& config, const config::PeerConfig& peer, Findings& findings) {
  std::vector<const report::Form*> forms;
  std::vector<deliver::ObjectKind> kinds;
  for (const report::Form& form : report::forms()) {
    if (!gets_results(config, peer.name) || !report::takes(config.report, peer.name, form.word)) continue;
    forms.push_back(&form);
    kinds.push_back({std::string(form.sop_class_uid), std::string(form.transfer_syntax_uid)});
  }
  auto scu = deliver::StoreScu::open(config.delivery, peer, kinds);
  const Status answered = scu.ok() ? (*scu)->echo() : scu.status();
  if (!answered.ok())
    return findings.bad(
        fmt::format("peer {}: {}; {}", peer.name, answered.message(), remedy(config, peer, answered.message())));
  std::vector<std::string_view> taken;
  for (std::size_t i = 0; i < forms.size(); ++i) {
    const report::Form* form = forms[i];
    const bool takes_class = (*scu)->takes(kinds[i].sop_class_uid);
    const bool compressed = form->transfer_syntax_uid != "1.2.840.10008.1.2.1";
    if ((*scu)->takes_as_stored(kinds[i]) || (takes_class && peer.transcode && !compressed)) {
      taken.push_back(form->word);
    } else if (takes_class && peer.transcode) {
      findings.note(
          fmt::format("peer {}: takes {} only uncompressed: so it is sent, as large as sc", peer.name, form->word));
    } else if (takes_class) {
      findings.bad(
          fmt::format("peer {}: takes {} only uncompressed, and peers.{}.transcode is false: such results would be "
                      "parked; leave it out in results.forms.{}, or let it be decoded",
                      peer.name, form->word, peer.name, peer.name));
    } else {
      findings.bad(fmt::format(
          "peer {}: takes no {} (SOP class {}): such results would be parked; leave it out in results.forms.{}",
          peer.name, form->word, form->sop_class_uid, peer.name));
    }
  }
  findings.good(fmt::format("peer {}: {} at {}:{} answers C-ECHO{}{}", peer.name, peer.ae_title, peer.host, peer.port,
                            taken.empty() ? "" : ", takes ", fmt::join(taken, ", ")));
  scu->reset();  // Some take one association at a time.
  check_originals(config, peer, findings);
  if (peer.commitment) check_commitment(config, peer, findings);
}

// Peers to which no route and no rule sends anything.
std::set<std::string> destinations_without_use(const config::NodeConfig& config) {
  std::set<std::string> unused;
  for (const config::PeerConfig& peer : config.delivery.peers) {
    if (peer.port != 0) unused.insert(peer.name);
  }
  for (const config::RouteRule& rule : config.router.routes) {
    for (const std::string& name : rule.send_to) unused.erase(name);
  }
  for (const config::ForwardRule& rule : config.router.forward) {
    for (const std::string& name : rule.send_to) unused.erase(name);
  }
  for (const std::string& name : config.report.skipped_to) unused.erase(name);
  return unused;
}

}  // namespace

void check_peers(const config::NodeConfig& config, Findings& findings) {
  const std::set<std::string> unused = destinations_without_use(config);
  for (const config::PeerConfig& peer : config.delivery.peers) {
    if (peer.port == 0) {
      findings.good(fmt::format("peer {}: only sends to us, as {}", peer.name, peer.ae_title));
    } else {
      if (unused.contains(peer.name)) findings.note(fmt::format("peer {}: no route sends anything to it", peer.name));
      check_peer(config, peer, findings);
    }
  }
}

void check_connections(const config::NodeConfig& config, Findings& findings) {
  constexpr std::chrono::seconds kSecondThought{1};  // In which a server says what it thinks of our certificate.
  const auto look = [&](const char* kind, const auto& destination) {
    const std::string what = fmt::format("{} {}", kind, destination.name);
    const auto connection =
        deliver::Connection::open(destination.host, destination.port, destination.tls, config.delivery.connect_timeout);
    Status taken = connection.status();
    if (taken.ok() && destination.tls.on) taken = (*connection)->stays_open(kSecondThought);
    if (!taken.ok()) return findings.bad(what + ": " + taken.message());
    findings.good(fmt::format("{}: {}:{} takes connections{}", what, destination.host, destination.port,
                              destination.tls.on ? ", with TLS" : ""));
  };
  for (const auto& message : config.messages) look("messages", message);
  for (const auto& server : config.dicomweb) look("dicomweb", server);
  struct Syslog {
    std::string name, host;
    std::uint16_t port;
    config::TlsConfig tls;
  };
  if (!config.audit.host.empty())
    look("audit", Syslog{"syslog", config.audit.host, config.audit.port, config.audit.tls});
}

}  // namespace node::operate
