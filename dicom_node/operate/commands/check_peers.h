// check_peers: what `check` asks of those whom the node sends to, and how it says what it found.
//
// Threads: one.
#pragma once

#include <string>

#include "config/node_config.h"

namespace node::operate {

// One line for each thing that was looked at, on standard output.
class Findings {
 public:
  void good(const std::string& line);
  void note(const std::string& line);  // Right, but perhaps not meant.
  void bad(const std::string& line);   // Names what is wrong and the way out.
  bool failed() const { return failed_; }

 private:
  bool failed_ = false;
};

// C-ECHO to every peer, and what of that which it would be sent it would not take: forms of results, originals, a
// request for storage commitment.
void check_peers(const config::NodeConfig& config, Findings& findings);
// Of a peer that `forward:` names: SOP classes and transfer syntaxes. By associations alone: nothing is sent.
void check_originals(const config::NodeConfig& config, const config::PeerConfig& peer, Findings& findings);
// What is no DICOM peer takes a connection, or not; more cannot be tried without leaving something there.
void check_connections(const config::NodeConfig& config, Findings& findings);

}  // namespace node::operate
