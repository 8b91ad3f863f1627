// take_in_orphans: what becomes of the files that no row of the store names.
//
// A crash between an object's file and its row leaves one of which nobody was told Success. A database that has lost
// its last transactions, as one without its -wal has, leaves many of which somebody was. Nothing in a file says which,
// so each is taken in as if its sender sent it again; what the store has had before, and what the node made itself and
// makes again, is deleted.
//
// What is held stands against what is older than it: of that nobody was told Success, or it is an earlier version. A
// file that is damaged (its folder is named after its digest) or cannot be read is kept for a person to look at. Where
// store or disk fail, the rest is left for the next start.
//
// Guarantee: deletes no file that a peer may have been told to be safe before a row names a file of the same bytes.
//            After a crash it may be called again.
// Threads:   before anything else uses the spool.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "config/peer_config.h"
#include "dicom_node/receive/intake.h"

namespace node::receive {

struct Orphans {
  int taken_in = 0;                 // New to the store, or other than what it had under their UID.
  int deleted = 0;                  // Had before, or made by the node.
  std::vector<std::string> kept{};  // Keys of what could be neither: the log says why.
  int left = 0;                     // Not looked at, or again at the next start.
  std::string left_because{};
};

// `keys`: SpoolCheck::orphans. The sender of each is the peer whose AE title its file names. Logs each.
// `go_on`: asked before each, with the number of those that are done; false leaves the rest. Errors: those of the
// store.
Result<Orphans> take_in_orphans(const std::vector<std::string>& keys, const config::ReceiveConfig& config,
                                storage::Spool& spool, storage::StudyStore& store, Intake& intake,
                                const std::function<bool(int done)>& go_on);

}  // namespace node::receive
