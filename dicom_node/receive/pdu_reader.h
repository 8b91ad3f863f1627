// PduReader: what a peer sends over an accepted association, one presentation data value at a time.
//
// Guarantee: no length is trusted before it is checked against what was announced, and nothing is allocated for it. No
//            wait is longer than `silence_max`, and no message longer than `message_max`, however busily it is sent.
//            DCMTK 3.6.7 reads here only the bytes of the request: in a PDU with three values or more it loses its
//            place and reads beyond its buffer, and a PDU that does not belong into an association makes it spin.
// Threads:   of one association's thread.
// Source:    PS3.8 9.3.5 (P-DATA-TF), 9.3.6 (A-RELEASE-RQ), 9.3.8 (A-ABORT), Annex E (fragments).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace node::receive {

enum class Ending { kReleased, kPeerAborted, kPeerGone, kTimeout, kStopping, kProtocol };
std::string_view to_string(Ending ending);

struct PresentationDataValue {
  std::uint8_t context = 0;
  bool is_command = false;
  bool is_last = false;
  std::string_view fragment;  // Until the next call.
};

struct PduLimits {
  std::uint32_t pdu_bytes_max;  // As announced to the peer.
  std::chrono::milliseconds silence_max;
  std::chrono::milliseconds message_max;
};

class PduReader {
 public:
  // Both descriptors stay the caller's. `stop_event`: readable once the node stops, which ends a wait between messages.
  PduReader(int socket, int stop_event, const PduLimits& limits);

  // False: the association is over, see ending(). A message, and its time, begin with the first byte after
  // end_message().
  bool next(PresentationDataValue& value);
  void end_message();

  Ending ending() const { return ending_; }
  std::string_view problem() const { return problem_; }  // What a protocol error was.
  // For what only the caller can see: a protocol error, or another ending. Both return false.
  bool fail(std::string_view problem);
  bool end(Ending ending);

 private:
  bool read_pdu_header();
  bool fill(std::size_t bytes);
  bool await();
  std::uint32_t big_endian(std::size_t at) const;

  const int socket_, stop_event_;
  const PduLimits limits_;
  std::vector<unsigned char> buffer_;  // Holds a whole PDU; what is unread lies from begin_ to end_.
  std::size_t begin_ = 0, end_ = 0;
  std::size_t pdu_left_ = 0;  // Bytes of the P-DATA-TF in hand that are not consumed.
  std::optional<std::chrono::steady_clock::time_point> deadline_;  // Of the message in progress.
  Ending ending_ = Ending::kPeerGone;
  std::string_view problem_;
};

}  // namespace node::receive
