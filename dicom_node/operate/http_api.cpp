#include "dicom_node/operate/http_api.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <charconv>
#include <optional>

#include "dicom_node/operate/changes.h"
#include "dicom_node/operate/instance_json.h"
#include "dicom_node/operate/listing_json.h"
#include "dicom_node/operate/studies_page.h"

namespace node::operate {
namespace {

constexpr std::size_t kTargetBytesMax = 2048;
constexpr int kPageDefault = 100, kPageMax = 1000;

HttpAnswer plain(int status, std::string body) { return {status, std::move(body), "text/plain; charset=utf-8"}; }
HttpAnswer refusal(int status, std::string_view message) { return {status, error_json(message) + "\n"}; }

HttpAnswer refusal(const Status& status) {
  switch (status.code()) {
    case StatusCode::kInvalidArgument: return refusal(400, status.message());
    case StatusCode::kNotFound: return refusal(404, status.message());
    case StatusCode::kUnavailable:
    case StatusCode::kResourceExhausted: return refusal(503, status.message());
    default: return refusal(500, status.message());
  }
}

HttpAnswer wrong_method(std::string allow) {
  HttpAnswer answer = refusal(405, "only " + allow + " is answered here");
  answer.allow = std::move(allow);
  return answer;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (std::size_t begin = 0;;) {
    const std::size_t end = text.find(separator, begin);
    parts.push_back(text.substr(begin, end == std::string_view::npos ? end : end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

struct Paging {
  int offset = 0, limit = kPageDefault;
  std::string_view state{};
};

// "offset=100&limit=50&state=open"
Result<Paging> parse_paging(std::string_view query) {
  Paging paging;
  for (const std::string_view pair : split(query, '&')) {
    if (pair.empty()) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    const std::string_view key = pair.substr(0, equals), value = pair.substr(std::min(equals + 1, pair.size()));
    if (key == "state") {
      paging.state = value;
      continue;
    }
    if (key != "offset" && key != "limit") {
      return invalid_argument("an unknown parameter: there is offset, limit, state");
    }
    int number = 0;
    const auto parsed = std::from_chars(value.data(), value.data() + value.size(), number);
    const bool whole = parsed.ec == std::errc() && parsed.ptr == value.data() + value.size();
    if (!whole || number < (key == "limit" ? 1 : 0) || (key == "limit" && number > kPageMax)) {
      return invalid_argument(
          fmt::format("offset is a number from 0, limit one from 1 to {}; {} is neither", kPageMax, key));
    }
    (key == "limit" ? paging.limit : paging.offset) = number;
  }
  return paging;
}

// {"studies": [...], "next": "/api/studies?offset=100&limit=100"}; `entries` holds one more than a page, if there is
// one.
HttpAnswer paged(std::string_view name, const Paging& paging, std::vector<std::string> entries) {
  const bool more = entries.size() > static_cast<std::size_t>(paging.limit);
  if (more) entries.pop_back();
  std::string next;
  if (more) {
    next = fmt::format(R"(,"next":"/api/{}?offset={}&limit={}{}{}")", name, paging.offset + paging.limit, paging.limit,
                       paging.state.empty() ? "" : "&state=", paging.state);
  }
  return {200, fmt::format("{{\"{}\":[{}]{}}}\n", name, fmt::join(entries, ","), next)};
}

}  // namespace

HttpApi::HttpApi(NodeView view, std::string token, bool token_for_all)
    : view_(std::move(view)), bearer_(token.empty() ? "" : "Bearer " + token), token_for_all_(token_for_all) {}

bool HttpApi::authorised(const HttpRequest& request) const {
  return !bearer_.empty() && request.authorization.size() == bearer_.size() &&
         CRYPTO_memcmp(request.authorization.data(), bearer_.data(), bearer_.size()) == 0;
}

HttpAnswer HttpApi::answer(const HttpRequest& request) const {
  if (request.target.size() > kTargetBytesMax) return refusal(414, "the address is too long");
  const bool reads = request.method == "GET" || request.method == "HEAD";
  const std::size_t question = std::min(request.target.find('?'), request.target.size());
  const std::string_view path = request.target.substr(0, question);
  const std::string_view query = request.target.substr(std::min(question + 1, request.target.size()));

  if (path == "/healthz") return reads ? plain(200, "ok\n") : wrong_method("GET, HEAD");
  if (token_for_all_ && !authorised(request)) return refusal(401, "needs the bearer token of http.token_file");
  const std::vector<std::string_view> parts = split(path.substr(path.starts_with('/') ? 1 : 0), '/');
  const bool studies = parts.size() > 1 && parts[0] == "api" && parts[1] == "studies";
  const bool deliveries = parts.size() > 1 && parts[0] == "api" && parts[1] == "deliveries";

  const bool retries = studies && parts.size() == 4 && parts[3] == "retry";
  if (retries || (deliveries && parts.size() == 4 && parts[3] == "release")) {
    if (request.method != "POST") return wrong_method("POST");
    if (bearer_.empty()) return refusal(403, "http.token_file is not set, so nothing can be changed over HTTP");
    if (!authorised(request)) return refusal(401, "needs the bearer token of http.token_file");
    return retries ? retry_study(parts[2]) : release_delivery(parts[2]);
  }
  if (studies && parts.size() == 2) return reads ? list_studies(query) : wrong_method("GET, HEAD");
  if (studies && parts.size() == 3) return reads ? study(parts[2]) : wrong_method("GET, HEAD");
  if (deliveries && parts.size() == 2) return reads ? list_deliveries(query) : wrong_method("GET, HEAD");
  if (path == "/api/models") {
    return reads ? HttpAnswer{200, fmt::format("{{\"models\":[{}]}}\n", fmt::join(view_.models, ","))}
                 : wrong_method("GET, HEAD");
  }
  if (path == "/" || path == "/readyz") return reads ? page(path) : wrong_method("GET, HEAD");
  return refusal(404, "no such page");
}

HttpAnswer HttpApi::page(std::string_view path) const {
  if (path == "/") return {200, studies_page(view_), "text/html; charset=utf-8"};
  const Status ready = view_.ready();
  return ready.ok() ? plain(200, "ready\n") : plain(503, ready.message() + "\n");
}

HttpAnswer HttpApi::list_studies(std::string_view query) const {
  const Result<Paging> paging = parse_paging(query);
  if (!paging.ok()) return refusal(paging.status());
  const bool conflicts = paging->state == "conflict";  // No state of a study: one that holds an object kept aside.
  const auto state = parse_study_state(paging->state);
  if (!state && !conflicts && !paging->state.empty()) {
    return refusal(400, "state is one of open, closed, finished, not_routed, failed, conflict");
  }
  const auto found = conflicts ? view_.store->list_conflicts(paging->offset, paging->limit + 1)
                               : view_.store->list_studies(state, paging->offset, paging->limit + 1);
  if (!found.ok()) return refusal(found.status());
  std::vector<std::string> entries;
  for (const storage::StudySummary& study : *found) entries.push_back(study_json(study));
  return paged("studies", *paging, std::move(entries));
}

HttpAnswer HttpApi::list_deliveries(std::string_view query) const {
  const Result<Paging> paging = parse_paging(query);
  if (!paging.ok()) return refusal(paging.status());
  const auto state = parse_delivery_state(paging->state);
  if (!state && !paging->state.empty()) return refusal(400, "state is one of pending, delivered, parked");
  const auto found = view_.store->list_deliveries(state, paging->offset, paging->limit + 1);
  if (!found.ok()) return refusal(found.status());
  std::vector<std::string> entries;
  for (const storage::DeliveryRecord& delivery : *found) entries.push_back(delivery_json(delivery));
  return paged("deliveries", *paging, std::move(entries));
}

HttpAnswer HttpApi::study(std::string_view uid_text) const {
  const auto uid = storage::Uid::parse(std::string(uid_text));
  if (!uid.ok()) return refusal(400, "no DICOM UID");
  const auto study = view_.store->find_study(*uid);
  if (!study.ok()) return refusal(study.status());
  const auto instances = view_.store->list_instances(*uid);
  if (!instances.ok()) return refusal(instances.status());
  std::vector<std::string> entries;
  for (const storage::InstanceRecord& instance : *instances) {
    entries.push_back(instance_json(instance, view_.tasks, view_.region_head, {}));
  }
  return {200, fmt::format("{{\"study\":{},\"instances\":[{}]}}\n", study_json(*study), fmt::join(entries, ","))};
}

HttpAnswer HttpApi::retry_study(std::string_view uid_text) const {
  const auto uid = storage::Uid::parse(std::string(uid_text));
  if (!uid.ok()) return refusal(400, "no DICOM UID");
  const auto done = operate::retry_study(*view_.store, *uid);
  return done.ok() ? HttpAnswer{202, *done + "\n"} : refusal(done.status());
}

HttpAnswer HttpApi::release_delivery(std::string_view id_text) const {
  const auto id = parse_delivery_id(id_text);
  if (!id.ok()) return refusal(id.status());
  const auto done = operate::release_delivery(*view_.store, *id);
  if (done.status().code() == StatusCode::kInvalidArgument) return refusal(409, done.status().message());
  return done.ok() ? HttpAnswer{202, *done + "\n"} : refusal(done.status());
}

}  // namespace node::operate
