#include "dicom_node/deliver/stow_sender.h"

#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>
#include <vector>

#include "dicom_node/deliver/connection.h"
#include "dicom_node/deliver/delivery_worker.h"
#include "dicom_node/deliver/http_exchange.h"

namespace node::deliver {
namespace {

using Json = nlohmann::json;
using std::chrono::milliseconds;
using storage::DeliveryState;

constexpr std::size_t kPieceBytes = 256 * 1024;
constexpr milliseconds kEarlyAnswer{500};

// Failed SOP Sequence (0008,1198), its first item's Failure Reason.
std::optional<std::uint16_t> failure_reason(std::string_view body) {
  const Json json = Json::parse(body, nullptr, false);
  const Json* at = &json;
  for (const char* key : {"00081198", "Value"}) {
    if (!at->is_object() || !at->contains(key)) return std::nullopt;
    at = &(*at)[key];
  }
  if (!at->is_array() || at->empty()) return std::nullopt;
  at = &(*at)[0];
  for (const char* key : {"00081197", "Value"}) {
    if (!at->is_object() || !at->contains(key)) return std::uint16_t{0x0110};
    at = &(*at)[key];
  }
  if (!at->is_array() || at->empty() || !(*at)[0].is_number_integer()) return std::uint16_t{0x0110};
  return static_cast<std::uint16_t>((*at)[0].get<std::int64_t>());
}

class StowSender : public Sender {
 public:
  using Reconnect = std::function<Result<std::unique_ptr<Connection>>()>;
  StowSender(std::unique_ptr<Connection> connection, Reconnect reconnect, const config::DicomWebConfig& config)
      : connection_(std::move(connection)), reconnect_(std::move(reconnect)), config_(config) {}

  Result<Answer> send(const std::filesystem::path& file, const ObjectKind&, const std::string& uid) override {
    const std::string what = "store " + uid;
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(file, error);
    std::ifstream stream(file, std::ios::binary);
    if (error || !stream) return invalid_argument(what + ": the stored object cannot be opened");
    if (!connection_) {
      NODE_ASSIGN_OR_RETURN(connection_, reconnect_());
    }
    const std::string boundary = "part-" + uid;  // 69 characters at most; RFC 2046 allows 70.
    const std::string before = "--" + boundary + "\r\nContent-Type: application/dicom\r\n\r\n";
    const std::string behind = "\r\n--" + boundary + "--\r\n";
    std::string head = fmt::format(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: skelex-node\r\nAccept: application/dicom+json\r\n"
        "Content-Type: multipart/related; type=\"application/dicom\"; boundary={}\r\nContent-Length: {}\r\n",
        config_.path, host_header(config_.host, config_.port), boundary, before.size() + size + behind.size());
    if (!config_.token.empty()) head += "Authorization: Bearer " + config_.token + "\r\n";
    Status sent = connection_->write(head + "\r\n" + before, config_.answer_timeout);
    std::vector<char> piece(kPieceBytes);
    while (sent.ok() && (stream.read(piece.data(), std::ssize(piece)) || stream.gcount() > 0))
      sent = connection_->write({piece.data(), static_cast<std::size_t>(stream.gcount())}, config_.answer_timeout);
    if (sent.ok()) sent = connection_->write(behind, config_.answer_timeout);
    // A server that has heard enough answers and closes (RFC 9112 9.5): its answer may lie here although a write
    // failed.
    const auto response = read_response(*connection_, sent.ok() ? config_.answer_timeout : kEarlyAnswer);
    if (!response.ok()) return (sent.ok() ? response.status() : sent).within(what);
    if (!response->keep_alive || !sent.ok()) connection_.reset();
    return judge_stow(response->status, response->reason, response->body);
  }

 private:
  std::unique_ptr<Connection> connection_;
  const Reconnect reconnect_;
  const config::DicomWebConfig config_;
};

}  // namespace

Answer judge_stow(int status, std::string_view reason, std::string_view body) {
  Answer answer;
  const bool taken = status >= 200 && status < 300;
  const auto failure = taken || status == 409 ? failure_reason(body) : std::nullopt;
  if (failure) {
    answer.state = judge(*failure);
    answer.words = fmt::format("HTTP {}, failure reason {:04X}H, {}", status, *failure, meaning(*failure));
    return answer;
  }
  answer.words = printable(fmt::format("HTTP {} {}{}{}", status, reason, taken || body.empty() ? "" : ": ",
                                       taken ? std::string_view() : body));
  const bool of_the_server =
      status >= 500 || status == 401 || status == 403 || status == 408 || status == 425 || status == 429;
  answer.state = taken ? DeliveryState::kDelivered : of_the_server ? DeliveryState::kPending : DeliveryState::kParked;
  return answer;
}

OpenSender stow_sender(const config::DeliveryConfig& delivery, const config::DicomWebConfig& config) {
  const auto connect = [config, timeout = milliseconds(delivery.connect_timeout)] {
    return Connection::open(config.host, config.port, config.tls, timeout);
  };
  return [config, connect](const std::vector<ObjectKind>&) -> Result<std::unique_ptr<Sender>> {
    auto connection = connect();
    if (!connection.ok()) return connection.status();
    return std::unique_ptr<Sender>(std::make_unique<StowSender>(*std::move(connection), connect, config));
  };
}

}  // namespace node::deliver
