#include "dicom_node/deliver/message_sender.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <fstream>
#include <iterator>

#include "dicom_node/deliver/connection.h"
#include "dicom_node/deliver/http_exchange.h"

namespace node::deliver {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using storage::DeliveryState;

constexpr std::size_t kAcknowledgementBytesMax = 1 << 20;
constexpr char kBlockStart = '\x0B', kBlockEnd = '\x1C', kCarriageReturn = '\r';

Result<std::string> read_all(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return invalid_argument("the stored message cannot be opened");
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

// What is between separators; empty where there are fewer.
std::string_view part(std::string_view text, char separator, int number) {
  for (; number > 0; --number) {
    const std::size_t end = text.find(separator);
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  return text.substr(0, text.find(separator));
}

// The first segment of that name, or nothing. MSH-2 is part 1 of MSH, MSA-1 is part 1 of MSA.
std::string_view segment(std::string_view message, std::string_view name) {
  while (!message.empty()) {
    const std::size_t end = message.find_first_of("\r\n");
    const std::string_view line = message.substr(0, end);
    if (line.starts_with(name) && line.substr(name.size()).starts_with('|')) return line;
    if (end == std::string_view::npos) break;
    message.remove_prefix(end + 1);
  }
  return {};
}

milliseconds left_until(steady_clock::time_point deadline) {
  return std::max(milliseconds(1), std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now()));
}

class MllpSender : public Sender {
 public:
  MllpSender(std::unique_ptr<Connection> connection, milliseconds timeout)
      : connection_(std::move(connection)), timeout_(timeout) {}

  Result<Answer> send(const std::filesystem::path& file, const ObjectKind&, const std::string& uid) override {
    const std::string what = "send " + uid;
    auto message = read_all(file);
    if (!message.ok()) return message.status().within(what);
    const std::string control_id(part(segment(*message, "MSH"), '|', 9));
    NODE_RETURN_IF_ERROR(
        connection_->write(kBlockStart + *message + kBlockEnd + kCarriageReturn, timeout_).within(what));
    auto acknowledgement = receive();
    if (!acknowledgement.ok()) return acknowledgement.status().within(what + ": no acknowledgement");
    auto answer = judge_acknowledgement(*acknowledgement, control_id);
    if (!answer.ok()) return answer.status().within(what);
    return answer;
  }

 private:
  // One block; what stands before it is skipped: the CR of the block before, stray bytes.
  Result<std::string> receive() {
    const auto deadline = steady_clock::now() + timeout_;
    std::size_t begin = std::string::npos;
    while (true) {
      if (begin == std::string::npos) {
        begin = buffer_.find(kBlockStart);
        if (begin == std::string::npos) buffer_.clear();
      }
      const std::size_t end = begin == std::string::npos ? begin : buffer_.find(kBlockEnd, begin);
      if (end != std::string::npos) {
        std::string block = buffer_.substr(begin + 1, end - begin - 1);
        buffer_.erase(0, end + 1);
        return block;
      }
      if (buffer_.size() > kAcknowledgementBytesMax) return unavailable("it is longer than 1 MiB");
      if (steady_clock::now() >= deadline) return unavailable("it did not come whole in time");
      NODE_ASSIGN_OR_RETURN(const std::string more, connection_->read(left_until(deadline)));
      buffer_ += more;
    }
  }

  std::unique_ptr<Connection> connection_;
  const milliseconds timeout_;
  std::string buffer_;
};

class WebhookSender : public Sender {
 public:
  using Reconnect = std::function<Result<std::unique_ptr<Connection>>()>;
  WebhookSender(std::unique_ptr<Connection> connection, Reconnect reconnect, const config::MessageConfig& config)
      : connection_(std::move(connection)), reconnect_(std::move(reconnect)), config_(config) {}

  Result<Answer> send(const std::filesystem::path& file, const ObjectKind&, const std::string& uid) override {
    const std::string what = "post " + uid;
    auto body = read_all(file);
    if (!body.ok()) return body.status().within(what);
    if (!connection_) {
      NODE_ASSIGN_OR_RETURN(connection_, reconnect_());
    }
    NODE_RETURN_IF_ERROR(connection_->write(request(*body, uid), config_.answer_timeout).within(what));

    const auto response = read_response(*connection_, config_.answer_timeout);
    if (!response.ok()) return response.status().within(what);
    if (!response->keep_alive) connection_.reset();
    return judge_http(response->status, response->reason, response->body);
  }

 private:
  std::string request(const std::string& body, const std::string& uid) const {
    std::string head = fmt::format(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: skelex-node\r\nContent-Type: application/json\r\n"
        "Content-Length: {}\r\nIdempotency-Key: {}\r\n",
        config_.path, host_header(config_.host, config_.port), body.size(), uid);
    if (!config_.secret.empty()) head += "X-Skelex-Signature: " + signature(config_.secret, body) + "\r\n";
    return head + "\r\n" + body;
  }

  std::unique_ptr<Connection> connection_;
  const Reconnect reconnect_;
  const config::MessageConfig config_;
};

}  // namespace

std::string printable(std::string_view text, std::size_t characters_max) {
  std::string line;
  for (char c : text.substr(0, characters_max)) line += c >= 0x20 && c < 0x7F ? c : '?';
  return line;
}

Result<Answer> judge_acknowledgement(std::string_view acknowledgement, std::string_view control_id) {
  const std::string_view msa = segment(acknowledgement, "MSA");
  const std::string_view code = part(msa, '|', 1);
  if (part(msa, '|', 2) != control_id) return unavailable("the acknowledgement is of another message");
  const std::string_view error = segment(acknowledgement, "ERR");
  const std::string_view error_code = part(part(error, '|', 3), '^', 0);
  Answer answer;
  answer.words = printable(fmt::format("{}{}{} {}", code, error_code.empty() ? "" : " ", error_code,
                                       error.empty() ? part(msa, '|', 3) : part(error, '|', 8)));
  answer.words.erase(answer.words.find_last_not_of(' ') + 1);
  if (code == "AA" || code == "CA" || error_code == "205") {
    answer.state = DeliveryState::kDelivered;
  } else if (code == "AE" || code == "CE") {
    answer.state = DeliveryState::kPending;
    answer.offers_max = kOffersAfterError;
  } else if (code == "AR" || code == "CR") {
    const bool unsupported = error_code >= "200" && error_code <= "203" && error_code.size() == 3;
    answer.state = unsupported ? DeliveryState::kParked : DeliveryState::kPending;
  } else {
    return unavailable("the acknowledgement says neither AA, AE nor AR");
  }
  return answer;
}

Answer judge_http(int status, std::string_view reason, std::string_view body) {
  Answer answer;
  const bool taken = status >= 200 && status < 300;
  answer.words = printable(fmt::format("HTTP {} {}{}{}", status, reason, taken || body.empty() ? "" : ": ",
                                       taken ? std::string_view() : body));
  answer.state = taken                                                              ? DeliveryState::kDelivered
                 : status >= 500 || status == 408 || status == 425 || status == 429 ? DeliveryState::kPending
                                                                                    : DeliveryState::kParked;
  return answer;
}

std::string signature(std::string_view secret, std::string_view body) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(body.data()), body.size(), digest.data(), &size);
  std::string text = "sha256=";
  for (unsigned i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

OpenSender message_sender(const config::DeliveryConfig& delivery, const config::MessageConfig& config) {
  const auto connect = [config, timeout = milliseconds(delivery.connect_timeout)] {
    return Connection::open(config.host, config.port, config.tls, timeout);
  };
  return [config, connect](const std::vector<ObjectKind>&) -> Result<std::unique_ptr<Sender>> {
    auto connection = connect();
    if (!connection.ok()) return connection.status();
    if (config.kind == config::MessageKind::kOru) {
      return std::unique_ptr<Sender>(std::make_unique<MllpSender>(*std::move(connection), config.answer_timeout));
    }
    return std::unique_ptr<Sender>(std::make_unique<WebhookSender>(*std::move(connection), connect, config));
  };
}

}  // namespace node::deliver
