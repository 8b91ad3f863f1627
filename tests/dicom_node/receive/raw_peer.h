// RawPeer: the other end of an association, byte by byte, so that a test can send what no toolkit would.
//
// Source: PS3.8 9.3 (PDUs).
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace node::receive {

inline std::string big_endian(std::uint64_t value, int bytes) {
  std::string out;
  for (int i = bytes; i > 0; --i) out += static_cast<char>(value >> (8 * (i - 1)) & 0xFF);
  return out;
}
inline std::string little_endian(std::uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
  return out;
}

struct ProposedContext {
  std::string abstract_syntax;
  std::vector<std::string> transfer_syntaxes;
};

inline std::string item(int type, const std::string& content) {
  return big_endian(static_cast<std::uint64_t>(type) << 8, 2) + big_endian(content.size(), 2) + content;
}

// Contexts get the ids 1, 3, 5, ...
inline std::string associate_request(const std::string& calling, const std::string& called,
                                     const std::vector<ProposedContext>& contexts,
                                     const std::string& application_context = "1.2.840.10008.3.1.1.1",
                                     const std::string& more_user_information = "") {
  const auto title = [](std::string text) {
    text.resize(16, ' ');
    return text;
  };
  std::string items = item(0x10, application_context);
  int id = 1;
  for (const ProposedContext& context : contexts) {
    std::string content = big_endian(static_cast<std::uint64_t>(id) << 24, 4) + item(0x30, context.abstract_syntax);
    for (const std::string& syntax : context.transfer_syntaxes) content += item(0x40, syntax);
    items += item(0x20, content);
    id += 2;
  }
  items += item(0x50, item(0x51, big_endian(16384, 4)) + item(0x52, "1.2.826.0.1.9") + more_user_information);
  const std::string body =
      big_endian(1, 2) + std::string(2, '\0') + title(called) + title(calling) + std::string(32, '\0') + items;
  return big_endian(0x0100, 2) + big_endian(body.size(), 4) + body;
}

inline std::string command_element(std::uint16_t number, std::string value) {
  if (value.size() % 2 != 0) value += '\0';
  return little_endian(0, 2) + little_endian(number, 2) + little_endian(value.size(), 4) + value;
}

inline std::string store_command(const std::string& sop_class_uid, const std::string& sop_instance_uid) {
  return command_element(0x0002, sop_class_uid) + command_element(0x0100, little_endian(0x0001, 2)) +
         command_element(0x0110, little_endian(1, 2)) + command_element(0x0700, little_endian(0, 2)) +
         command_element(0x0800, little_endian(0, 2)) + command_element(0x1000, sop_instance_uid);
}

inline std::string echo_command() {
  return command_element(0x0002, "1.2.840.10008.1.1") + command_element(0x0100, little_endian(0x0030, 2)) +
         command_element(0x0110, little_endian(1, 2)) + command_element(0x0800, little_endian(0x0101, 2));
}

inline std::string presentation_data(int context, const std::string& fragment, bool is_command, bool is_last) {
  const int header = (is_command ? 1 : 0) | (is_last ? 2 : 0);
  return big_endian(fragment.size() + 2, 4) + big_endian(static_cast<std::uint64_t>(context), 1) +
         big_endian(static_cast<std::uint64_t>(header), 1) + fragment;
}

inline std::string data_pdu(const std::string& presentation_data_values) {
  return big_endian(0x0400, 2) + big_endian(presentation_data_values.size(), 4) + presentation_data_values;
}

struct Pdu {
  int type = 0;
  std::string body;
};

struct StoreResponse {
  std::uint16_t status = 0;
  std::string error_comment;
};

class RawPeer {
 public:
  explicit RawPeer(std::uint16_t port, const std::string& source = "127.0.0.1") {
    socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int no_delay = 1;
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof no_delay);
    sockaddr_in from{}, to{};
    from.sin_family = to.sin_family = AF_INET;
    ::inet_pton(AF_INET, source.c_str(), &from.sin_addr);
    to.sin_port = htons(port);
    ::inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    connected_ = ::bind(socket_, reinterpret_cast<sockaddr*>(&from), sizeof from) == 0 &&
                 ::connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  }
  RawPeer(RawPeer&& other) noexcept
      : socket_(std::exchange(other.socket_, -1)), connected_(other.connected_), buffer_(std::move(other.buffer_)) {}
  ~RawPeer() { close(); }

  bool connected() const { return connected_; }
  void close() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  }

  bool send(const std::string& bytes) {
    std::size_t sent = 0;
    while (sent < bytes.size()) {
      const auto now = ::send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (now <= 0) return false;
      sent += static_cast<std::size_t>(now);
    }
    return true;
  }

  // Nothing: the other side closed, or said nothing for ten seconds (see closed()).
  std::optional<Pdu> receive() {
    if (!fill(6)) return std::nullopt;
    std::size_t length = 0;
    for (int i = 2; i < 6; ++i) length = length << 8 | static_cast<unsigned char>(buffer_[static_cast<std::size_t>(i)]);
    if (!fill(6 + length)) return std::nullopt;
    Pdu pdu{buffer_[0], buffer_.substr(6, length)};
    buffer_.erase(0, 6 + length);
    return pdu;
  }
  bool closed() const { return closed_; }

  // Whether anything comes, the end of the connection included.
  bool hears_within(std::chrono::milliseconds time) {
    pollfd descriptor{socket_, POLLIN, 0};
    return ::poll(&descriptor, 1, static_cast<int>(time.count())) > 0;
  }

  // The type of the answer: 2 accepted, 3 rejected.
  int associate(const std::string& request) {
    if (!send(request)) return 0;
    const auto answer = receive();
    last_body_ = answer ? answer->body : "";
    return answer ? answer->type : 0;
  }
  const std::string& last_body() const { return last_body_; }

  std::optional<StoreResponse> receive_response() {
    std::string command;
    while (true) {
      const auto pdu = receive();
      if (!pdu || pdu->type != 0x04 || pdu->body.size() < 6) return std::nullopt;
      command += pdu->body.substr(6);
      if ((pdu->body[5] & 2) != 0) break;
    }
    StoreResponse response;
    for (std::size_t at = 0; at + 8 <= command.size();) {
      const auto number = [&](std::size_t offset, int bytes) {
        std::uint32_t value = 0;
        for (int i = bytes; i > 0; --i) {
          value = value << 8 | static_cast<unsigned char>(command[offset + static_cast<std::size_t>(i) - 1]);
        }
        return value;
      };
      const std::uint32_t element = number(at + 2, 2), length = number(at + 4, 4);
      if (element == 0x0900) response.status = static_cast<std::uint16_t>(number(at + 8, 2));
      if (element == 0x0902) response.error_comment = command.substr(at + 8, length);
      at += 8 + length;
    }
    return response;
  }

 private:
  bool fill(std::size_t wanted) {
    while (buffer_.size() < wanted) {
      pollfd descriptor{socket_, POLLIN, 0};
      if (::poll(&descriptor, 1, 10'000) <= 0) return false;
      char bytes[65536];
      const auto got = ::recv(socket_, bytes, sizeof bytes, 0);
      if (got <= 0) {
        closed_ = true;
        return false;
      }
      buffer_.append(bytes, static_cast<std::size_t>(got));
    }
    return true;
  }

  int socket_ = -1;
  bool connected_ = false;
  bool closed_ = false;
  std::string buffer_, last_body_;
};

}  // namespace node::receive
