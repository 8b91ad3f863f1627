// Command: what we need of a DIMSE command set, read without DCMTK's parser.
//
// Guarantee: no recursion and no allocation beyond the input. DCMTK 3.6.7 would recurse on a sequence that a peer hides
//            in a command set, nested as deep as it likes, before anybody could look at it.
// Threads:   reentrant.
// Source:    PS3.7 6.3.1 (Implicit VR Little Endian, group 0000 only), 9.3.1, 9.3.5; PS3.7 Annex E.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "config/base/status.h"

namespace node::receive {

inline constexpr std::size_t kCommandBytesMax = 16 * 1024;  // Real ones have some 200.

struct Command {
  std::uint16_t field = 0;       // (0000,0100)
  std::uint16_t message_id = 0;  // (0000,0110)
  bool has_data_set = false;     // (0000,0800) is not 0x0101.
  std::string sop_class_uid;     // (0000,0002) or, requested, (0000,0003); padding stripped, else as the peer wrote it.
  std::string sop_instance_uid;  // (0000,1000) or, requested, (0000,1001); likewise.
  std::uint16_t type_id = 0;     // Event (0000,1002) or Action Type ID (0000,1008).
  std::uint16_t status = 0;      // (0000,0900), of a response.
};

// Errors: kInvalidArgument: a length beyond the end, another group, no command field.
Result<Command> parse_command(std::string_view bytes);

}  // namespace node::receive
