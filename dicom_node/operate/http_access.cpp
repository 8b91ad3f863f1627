#include "dicom_node/operate/http_access.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <utility>

#include "config/base/network.h"
#include "dicom_node/audit/audit.h"
#include "dicom_node/operate/http_query.h"
#include "dicom_node/operate/listing_json.h"

namespace node::operate {
namespace {

constexpr std::size_t kSessionsMax = 1000, kAddressesMax = 10'000;
constexpr std::ptrdiff_t kSessionsOfOneMax = 20;
constexpr std::chrono::minutes kWindow{1};
constexpr std::string_view kBearer = "Bearer ";

HttpAnswer answer(int status, std::string_view error) { return {status, error_json(error) + "\n"}; }

bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string random_id() {
  std::array<unsigned char, 32> bytes{};
  if (RAND_bytes(bytes.data(), bytes.size()) != 1) return "";
  return fmt::format("{:02x}", fmt::join(bytes, ""));
}

// Of "a=1; b=2" every value of `name`.
std::vector<std::string_view> cookies(std::string_view header, std::string_view name) {
  std::vector<std::string_view> found;
  for (std::string_view pair : split(header, ';')) {
    pair.remove_prefix(std::min(pair.find_first_not_of(' '), pair.size()));
    if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=') {
      found.push_back(pair.substr(name.size() + 1));
    }
  }
  return found;
}

}  // namespace

HttpAccess::HttpAccess(HttpAccessOptions options, std::vector<NamedToken> tokens, const Clock& clock)
    : options_(std::move(options)), clock_(clock), tokens_(std::move(tokens)) {}

void HttpAccess::set_tokens(std::vector<NamedToken> tokens) {
  MutexLock lock(mutex_);
  tokens_ = std::move(tokens);
  std::erase_if(sessions_, [this](const Session& session) REQUIRES(mutex_) {
    return std::find(tokens_.begin(), tokens_.end(), session.of) == tokens_.end();
  });
}

bool HttpAccess::has_tokens() const {
  MutexLock lock(mutex_);
  return !tokens_.empty();
}

// Looks at each, so that the time it takes does not say which one is near.
const NamedToken* HttpAccess::find(std::string_view token) const {
  const NamedToken* found = nullptr;
  for (const NamedToken& one : tokens_) {
    if (same(token, one.token)) found = &one;
  }
  return found;
}

const HttpAccess::Session* HttpAccess::find_session(const HttpRequest& request) const {
  const SteadyTime now = clock_.steady_now();
  const Session* found = nullptr;
  for (const std::string_view id : cookies(request.cookie, options_.cookie)) {
    for (const Session& session : sessions_) {
      if (same(id, session.id) && now < session.ends) found = &session;
    }
  }
  return found;
}

std::optional<Caller> HttpAccess::caller(const HttpRequest& request) const {
  MutexLock lock(mutex_);
  if (!request.authorization.empty()) {  // What is said of one request counts before what the browser always sends.
    if (!request.authorization.starts_with(kBearer)) return std::nullopt;
    const NamedToken* token = find(request.authorization.substr(kBearer.size()));
    if (token == nullptr) return std::nullopt;
    // A person's token says whose it is; only what nobody in particular holds may say for whom it is shown.
    return Caller{token->name, /*by_session=*/false,
                  token->name == kSharedTokenName ? std::string(request.local_user) : ""};
  }
  const Session* session = find_session(request);
  return session != nullptr ? std::optional(Caller{session->of.name, /*by_session=*/true}) : std::nullopt;
}

// A browser says in Sec-Fetch-Site what it knows best, and over plain HTTP, where it does not, in Origin.
bool HttpAccess::is_same_origin(const HttpRequest& request) {
  if (!request.sec_fetch_site.empty()) return request.sec_fetch_site == "same-origin";
  const std::size_t scheme = request.origin.find("://");
  if (scheme == std::string_view::npos || request.named.empty()) return false;
  const std::string_view authority = request.origin.substr(scheme + 3);
  return std::equal(authority.begin(), authority.end(), request.named.begin(), request.named.end(), [](char a, char b) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    return lower(a) == lower(b);
  });
}

bool HttpAccess::is_from_elsewhere(const HttpRequest& request) {
  return !(request.sec_fetch_site.empty() && request.origin.empty()) && !is_same_origin(request);
}

bool HttpAccess::guesses_too_much(std::string_view network) const {
  const auto found = wrong_.find(network);
  return found != wrong_.end() && std::ssize(found->second) >= kWrongTokensMax &&
         clock_.steady_now() - found->second.front() < kWindow;
}

HttpAnswer HttpAccess::wrong_token(std::string_view host, const std::string& how) {
  const SteadyTime now = clock_.steady_now();
  const std::string network = network_of(std::string(host));
  const auto too_many = [] {
    HttpAnswer refused = answer(429, "too many wrong tokens came from your address: wait a minute");
    refused.refused = "a wrong token after too many";
    refused.wrong_token = true;
    return refused;
  };
  if (guesses_too_much(network)) return too_many();
  if (wrong_.size() >= kAddressesMax) {
    std::erase_if(wrong_, [now](const auto& one) { return now - one.second.back() >= kWindow; });
    if (wrong_.size() >= kAddressesMax) return too_many();
  }
  std::deque<SteadyTime>& times = wrong_[network];
  times.push_back(now);
  if (std::ssize(times) > kWrongTokensMax) times.pop_front();
  HttpAnswer refused = answer(401, "that token is not this node's");
  refused.refused = how;
  refused.wrong_token = true;
  return refused;
}

HttpAnswer HttpAccess::refusal(const HttpRequest& request) {
  MutexLock lock(mutex_);
  if (!request.authorization.empty()) return wrong_token(request.host, "a wrong bearer token");
  HttpAnswer refused = answer(401, "needs a login, or the bearer token of http.token_file");
  refused.refused = cookies(request.cookie, options_.cookie).empty() ? "no bearer token" : "a session that has ended";
  return refused;
}

std::string HttpAccess::set_cookie(const std::string& value, bool ends) const {
  return fmt::format("{}={}; Path=/; HttpOnly; SameSite=Strict{}{}", options_.cookie, value,
                     options_.secure ? "; Secure" : "", ends ? "; Max-Age=0" : "");
}

HttpAnswer HttpAccess::log_in(const HttpRequest& request) {
  if (!is_same_origin(request))
    return answer(403, "a login comes from the page itself; programs send the bearer token");
  constexpr std::string_view kField = "token=";
  const auto token = request.body.starts_with(kField) ? decode_percent(request.body.substr(kField.size()))
                                                      : invalid_argument("token=... is wanted");
  if (!token.ok()) return answer(400, token.status().message());
  MutexLock lock(mutex_);
  if (tokens_.empty()) return answer(403, "http.token_file is not set, so there is nothing to log in with");
  const NamedToken* of = find(*token);
  if (of == nullptr) return wrong_token(request.host, "a wrong token at the login");
  const std::string id = random_id();
  if (id.empty()) return answer(500, "no random numbers are to be had");
  const SteadyTime now = clock_.steady_now();
  std::erase_if(sessions_, [now](const Session& session) { return session.ends <= now; });
  const auto is_of_same = [of](const Session& session) { return session.of == *of; };
  if (std::count_if(sessions_.begin(), sessions_.end(), is_of_same) >= kSessionsOfOneMax) {
    sessions_.erase(std::find_if(sessions_.begin(), sessions_.end(), is_of_same));
  }
  if (sessions_.size() >= kSessionsMax) sessions_.pop_front();
  sessions_.push_back({id, *of, now + options_.session_max});
  spdlog::info("event=http_login user=\"{}\" host={}", of->name, request.host);
  audit::logged_in({of->name, std::string(request.host)});
  HttpAnswer welcome{200, fmt::format("{{\"user\":{}}}\n", text_json(of->name))};
  welcome.cookie = set_cookie(id, /*ends=*/false);
  return welcome;
}

HttpAnswer HttpAccess::log_out(const HttpRequest& request) {
  if (!is_same_origin(request)) return answer(403, "a logout comes from the page itself");
  MutexLock lock(mutex_);
  const std::vector<std::string_view> shown = cookies(request.cookie, options_.cookie);
  const SteadyTime now = clock_.steady_now();
  std::erase_if(sessions_, [&](const Session& session) {
    if (std::none_of(shown.begin(), shown.end(), [&](std::string_view id) { return same(id, session.id); }))
      return false;
    if (now < session.ends) {
      spdlog::info("event=http_logout user=\"{}\" host={}", session.of.name, request.host);
      audit::logged_out({session.of.name, std::string(request.host)});
    }
    return true;
  });
  HttpAnswer gone{200, "{\"user\":\"\"}\n"};
  gone.cookie = set_cookie("", /*ends=*/true);
  return gone;
}

HttpAnswer HttpAccess::session(const HttpRequest& request) {
  const std::optional<Caller> who = caller(request);
  if (!who && !request.authorization.empty()) return refusal(request);
  return {200, fmt::format("{{\"user\":{},\"session\":{},\"needed\":{}}}\n", text_json(who ? who->name : ""),
                           who && who->by_session, options_.needed_by_all)};
}

}  // namespace node::operate
