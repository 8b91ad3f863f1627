// Sender: one way out of the node, to one destination, over one connection: what DeliveryWorker needs to know of it.
//
// Guarantee: never waits without end: connecting, every answer and the end have a deadline.
// Threads:   one thread per object; several objects may be used at the same time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/status.h"
#include "storage/study_store.h"

namespace node::deliver {

struct ObjectKind {  // What is negotiated for one object; empty for a message.
  std::string sop_class_uid;
  std::string transfer_syntax_uid;  // As stored.
  friend bool operator==(const ObjectKind&, const ObjectKind&) = default;
};

struct Answer {
  std::uint16_t status = 0;  // PS3.4 Table B.2-1
  std::string words;         // The peer's own, in printable ASCII; empty if it said none.
  // Where there is no such status, what the answer comes to. PENDING: PARKED once it was offered `offers_max` times.
  std::optional<storage::DeliveryState> state{};
  int offers_max = 0;  // 0: as long as delivery.give_up_after says.
};

class Sender {
 public:
  virtual ~Sender() = default;  // Ends the connection.

  // Sends one stored file. Errors: kUnsupported: the peer takes nothing of that kind; kInvalidArgument: the file cannot
  // be read or decoded; kUnavailable: the connection broke, nothing is known of this object.
  virtual Result<Answer> send(const std::filesystem::path& file, const ObjectKind& kind,
                              const std::string& sop_instance_uid) = 0;
};

// Connects to a destination, for objects of these kinds. Errors: kUnavailable: no connection, refused or rejected; the
// message says which and in whose words.
using OpenSender = std::function<Result<std::unique_ptr<Sender>>(const std::vector<ObjectKind>& kinds)>;

// A peer's text goes into lists on terminals and pages: one line, no control characters, no code page to guess.
std::string printable(std::string_view text, std::size_t characters_max = 64);

}  // namespace node::deliver
