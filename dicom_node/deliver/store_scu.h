// StoreScu: one association to one peer, over which many stored objects are sent by C-STORE.
//
// Guarantee: never waits without end: connecting, the association request, every answer and the release have a
//            deadline.
// Threads:   one thread per object; several objects may be used at the same time.
// Source:    PS3.4 Annex B (Storage Service Class), PS3.7 9.1.1 (C-STORE), PS3.8 (association).
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "config/peer_config.h"
#include "dicom_node/deliver/sender.h"

namespace node::deliver {

class StoreScu : public Sender {
 public:
  // Two presentation contexts each and one for C-ECHO, of 128: PS3.8 9.3.2.2.
  static constexpr std::size_t kKindsMax = 63;

  // Associates, proposing presentation contexts for each of `kinds` (at most kKindsMax).
  // Errors: kUnavailable: no connection, refused or rejected; the message says which and in whose words.
  static Result<std::unique_ptr<StoreScu>> open(const config::DeliveryConfig& config, const config::PeerConfig& peer,
                                                const std::vector<ObjectKind>& kinds);

  // Where the peer took the file's transfer syntax, the bytes of its data set go out as they are; else, unless
  // PeerConfig::transcode is off, its elements uncompressed. Errors: as Sender.
  Result<Answer> send(const std::filesystem::path& file, const ObjectKind& kind,
                      const std::string& sop_instance_uid) override = 0;

  // Whether the peer took a presentation context for the class; of those that were proposed.
  virtual bool takes(const std::string& sop_class_uid) const = 0;
  // Whether it took one in which such an object goes out as it is stored.
  virtual bool takes_as_stored(const ObjectKind& kind) const = 0;

  // C-ECHO. Errors: kUnavailable.
  virtual Status echo() = 0;
};

}  // namespace node::deliver
