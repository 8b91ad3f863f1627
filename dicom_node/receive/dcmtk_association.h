// DcmtkAssociation: one accepted association as DCMTK has it, from the descriptor to the end.
//
// Threads: of one association's thread; receive_request() of several associations takes turns.
#pragma once

#include <chrono>
#include <cstdint>

class OFCondition;
struct T_ASC_Association;
struct T_ASC_Network;

namespace node::receive {

struct DcmtkAssociation {
  T_ASC_Network* network = nullptr;
  T_ASC_Association* association = nullptr;

  DcmtkAssociation() = default;
  DcmtkAssociation(const DcmtkAssociation&) = delete;
  DcmtkAssociation& operator=(const DcmtkAssociation&) = delete;
  ~DcmtkAssociation();

  // Takes over `descriptor`, in which a whole request waits. `pdu_bytes_max` is announced to the peer.
  // Errors: DCMTK's; `association` may be null then.
  OFCondition receive_request(int descriptor, std::uint32_t pdu_bytes_max, std::chrono::seconds timeout);
};

}  // namespace node::receive
