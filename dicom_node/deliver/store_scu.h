// StoreScu: one association to one peer, over which many stored objects are sent by C-STORE.
//
// Guarantee: never waits without end: connecting, the association request, every answer and the release have a
//            deadline.
// Threads:   one thread per object; several objects may be used at the same time.
// Source:    PS3.4 Annex B (Storage Service Class), PS3.7 9.1.1 (C-STORE), PS3.8 (association).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "config/peer_config.h"

namespace node::deliver {

struct ObjectKind {  // What is negotiated for one object.
  std::string sop_class_uid;
  std::string transfer_syntax_uid;  // As stored.
  friend bool operator==(const ObjectKind&, const ObjectKind&) = default;
};

struct StoreAnswer {
  std::uint16_t status = 0;   // PS3.4 Table B.2-1
  std::string error_comment;  // (0000,0902), the peer's own words in printable ASCII; empty if it said none.
};

class StoreScu {
 public:
  // Two presentation contexts each and one for C-ECHO, of 128: PS3.8 9.3.2.2.
  static constexpr std::size_t kKindsMax = 63;

  // Associates, proposing presentation contexts for each of `kinds` (at most kKindsMax).
  // Errors: kUnavailable: no connection, refused or rejected; the message says which and in whose words.
  static Result<std::unique_ptr<StoreScu>> open(const config::DeliveryConfig& config, const config::PeerConfig& peer,
                                                const std::vector<ObjectKind>& kinds);
  virtual ~StoreScu() = default;  // Releases the association.

  // Sends the file: where the peer took its transfer syntax, the bytes of its data set as they are; else, unless
  // PeerConfig::transcode is off, its elements uncompressed.
  // Errors: kUnsupported: the peer took no presentation context that fits; kInvalidArgument: the file cannot be read
  //         or decoded; kUnavailable: the association broke, nothing is known of this object.
  virtual Result<StoreAnswer> store(const std::filesystem::path& file, const ObjectKind& kind,
                                    const std::string& sop_instance_uid) = 0;

  // C-ECHO. Errors: kUnavailable.
  virtual Status echo() = 0;
};

}  // namespace node::deliver
