// What a peer sends over an accepted association, up to the command sets.
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "dicom_node/receive/command_set.h"
#include "dicom_node/receive/pdu_reader.h"
#include "dicom_node/receive/store_scp.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using std::chrono::seconds;
  if (size > 100'000) return 0;  // What a socket holds.
  int sockets[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) != 0) std::abort();
  if (::write(sockets[0], data, size) != static_cast<ssize_t>(size)) std::abort();
  ::shutdown(sockets[0], SHUT_WR);
  {
    node::receive::PduReader reader(sockets[1], sockets[1], {node::receive::kPduBytesMax, seconds(1), seconds(1)});
    node::receive::PresentationDataValue value;
    std::string command;
    std::size_t received = 0;
    while (reader.next(value)) {
      received += value.fragment.size();
      if (!value.is_command) continue;
      command.append(value.fragment);
      if (!value.is_last) continue;
      (void)node::receive::parse_command(command);
      command.clear();
      reader.end_message();
    }
    if (received > size) std::abort();  // More than was sent.
  }
  ::close(sockets[0]);
  ::close(sockets[1]);
  return 0;
}
