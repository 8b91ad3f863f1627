#include "dicom_node/receive/pdu_reader.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace node::receive {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kPduHeaderBytes = 6;
constexpr std::size_t kValueHeaderBytes = 6;  // Length, presentation context ID, message control header.
constexpr std::size_t kReleaseBytes = 4;
constexpr unsigned char kData = 0x04, kReleaseRq = 0x05, kAbort = 0x07;
constexpr unsigned char kCommandBit = 1, kLastBit = 2;

}  // namespace

std::string_view to_string(Ending ending) {
  switch (ending) {
    case Ending::kReleased: return "released";
    case Ending::kPeerAborted: return "peer_aborted";
    case Ending::kPeerGone: return "peer_gone";
    case Ending::kTimeout: return "timeout";
    case Ending::kStopping: return "stopping";
    case Ending::kProtocol: return "protocol_error";
  }
  return "unknown";
}

PduReader::PduReader(int socket, int stop_event, const PduLimits& limits)
    : socket_(socket), stop_event_(stop_event), limits_(limits), buffer_(kPduHeaderBytes + limits.pdu_bytes_max) {}

bool PduReader::next(PresentationDataValue& value) {
  if (pdu_left_ == 0 && !read_pdu_header()) return false;
  if (pdu_left_ < kValueHeaderBytes) return fail("a presentation data value is cut");
  if (!fill(kValueHeaderBytes)) return false;
  const std::size_t length = big_endian(begin_);  // Counts context and control header, but not itself.
  if (length < 2 || length > pdu_left_ - 4) return fail("a presentation data value is longer than its PDU");
  value.context = buffer_[begin_ + 4];
  value.is_command = (buffer_[begin_ + 5] & kCommandBit) != 0;
  value.is_last = (buffer_[begin_ + 5] & kLastBit) != 0;
  if (length % 2 != 0) return fail("a fragment of odd length");
  if (!fill(4 + length)) return false;
  value.fragment = {reinterpret_cast<const char*>(buffer_.data() + begin_ + kValueHeaderBytes), length - 2};
  begin_ += 4 + length;
  pdu_left_ -= 4 + length;
  return true;
}

void PduReader::end_message() { deadline_.reset(); }

bool PduReader::fail(std::string_view problem) {
  problem_ = problem;
  return end(Ending::kProtocol);
}

bool PduReader::read_pdu_header() {
  if (!fill(kPduHeaderBytes)) return false;
  const unsigned char type = buffer_[begin_];
  const std::size_t length = big_endian(begin_ + 2);
  begin_ += kPduHeaderBytes;
  switch (type) {
    case kData:
      if (length < kValueHeaderBytes) return fail("a P-DATA-TF PDU without a value");
      if (length > limits_.pdu_bytes_max) return fail("a P-DATA-TF PDU longer than was announced");
      pdu_left_ = length;
      return true;
    case kReleaseRq:
      if (length != kReleaseBytes) return fail("an A-RELEASE-RQ PDU of another length than 4");
      return fill(kReleaseBytes) && end(Ending::kReleased);
    case kAbort: return end(Ending::kPeerAborted);
    default: return fail("a PDU that does not belong into an association");
  }
}

// Reads as much as there is, and waits until `bytes` are there; never more than one PDU is asked for.
bool PduReader::fill(std::size_t bytes) {
  if (begin_ + bytes > buffer_.size()) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (begin_ == end_) begin_ = end_ = 0;
  while (true) {
    if (end_ > begin_ && !deadline_) deadline_ = steady_clock::now() + limits_.message_max;
    if (end_ - begin_ >= bytes) return true;
    if (deadline_ && steady_clock::now() >= *deadline_) return end(Ending::kTimeout);
    const auto got = ::recv(socket_, buffer_.data() + end_, buffer_.size() - end_, MSG_DONTWAIT);
    if (got > 0) {
      end_ += static_cast<std::size_t>(got);
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
      return end(Ending::kPeerGone);
    } else if (!await()) {
      return false;
    }
  }
}

bool PduReader::await() {
  auto until = steady_clock::now() + limits_.silence_max;
  if (deadline_) until = std::min(until, *deadline_);
  pollfd descriptors[2] = {{socket_, POLLIN, 0}, {stop_event_, POLLIN, 0}};
  const auto time = std::chrono::ceil<milliseconds>(until - steady_clock::now());
  const int ready = ::poll(descriptors, deadline_ ? 1 : 2, static_cast<int>(std::max(time, milliseconds(0)).count()));
  if (ready == 0) return end(Ending::kTimeout);
  if (ready > 0 && descriptors[0].revents == 0) return end(Ending::kStopping);
  return true;
}

bool PduReader::end(Ending ending) {
  ending_ = ending;
  return false;
}

std::uint32_t PduReader::big_endian(std::size_t at) const {
  return std::uint32_t{buffer_[at]} << 24 | std::uint32_t{buffer_[at + 1]} << 16 | std::uint32_t{buffer_[at + 2]} << 8 |
         std::uint32_t{buffer_[at + 3]};
}

}  // namespace node::receive
