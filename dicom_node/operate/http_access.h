// HttpAccess: who asks over HTTP, and whether that may be: by a bearer token, or by the session that a login with one
// began.
//
// Guarantee: tokens are compared in constant time, and neither they nor sessions are ever logged. A session is 256
//            random bits in a cookie that no script reads and no other site's page sends (HttpOnly, SameSite=Strict,
//            Secure with TLS); it ends by a logout, at its age, for the
//            twenty-first of its token, with its token, and with the process. After 20 wrong
//            tokens in a minute from one address, of IPv6 from one /64, further ones are answered 429, not recorded
//            each. A right one always passes: to compare costs nothing, and nobody is locked out by who guesses behind
//            the same proxy.
// Threads:   any.
// Source:    RFC 6750 (bearer tokens), RFC 6265bis (cookies, __Host-), W3C Fetch Metadata (Sec-Fetch-Site).
#pragma once

#include <chrono>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/clock.h"
#include "config/base/mutex.h"
#include "dicom_node/operate/http_message.h"
#include "dicom_node/operate/http_tokens.h"

namespace node::operate {

inline constexpr int kWrongTokensMax = 20;  // Of one address or, of IPv6, /64, in a minute.

struct HttpAccessOptions {
  bool needed_by_all = false;  // Every path but a few wants a token, not only a change.
  bool secure = false;         // Browsers come by TLS.
  std::string cookie;          // Its name.
  std::chrono::seconds session_max{};
};

struct Caller {
  std::string name;         // Of the token.
  bool by_session = false;  // Else by the bearer token itself.
  std::string for_user{};   // Of the token of http.token_file: the local user for whom it is shown, so it says.
};

class HttpAccess {
 public:
  // `clock` must outlive it. `tokens` empty: nothing can be changed.
  HttpAccess(HttpAccessOptions options, std::vector<NamedToken> tokens, const Clock& clock);

  // In force from now on; sessions of a token that is gone or another one end.
  void set_tokens(std::vector<NamedToken> tokens);

  bool needed_by_all() const { return options_.needed_by_all; }
  bool has_tokens() const;
  // Nobody where no credential is shown, or one that is not good.
  std::optional<Caller> caller(const HttpRequest& request) const;
  // Whether a change comes from the page itself: no other site can make a browser send this.
  static bool is_same_origin(const HttpRequest& request);
  // Whether a browser says that another site asks. Programs say neither, and a proxy may add the token of its own.
  static bool is_from_elsewhere(const HttpRequest& request);

  // The 401 or 429 of a request that has no good credential; counts the wrong ones.
  HttpAnswer refusal(const HttpRequest& request);
  // POST /login with "token=..." (a form), POST /logout; GET /api/session: {"user": "anna", "session": true, "needed":
  // true}.
  HttpAnswer log_in(const HttpRequest& request);
  HttpAnswer log_out(const HttpRequest& request);
  HttpAnswer session(const HttpRequest& request);

 private:
  struct Session {
    std::string id;
    NamedToken of;
    SteadyTime ends;
  };
  const HttpAccessOptions options_;
  const Clock& clock_;
  mutable Mutex mutex_;
  std::vector<NamedToken> tokens_ GUARDED_BY(mutex_);
  std::list<Session> sessions_ GUARDED_BY(mutex_);                                       // The oldest first.
  std::map<std::string, std::deque<SteadyTime>, std::less<>> wrong_ GUARDED_BY(mutex_);  // By network_of().

  std::string set_cookie(const std::string& value, bool ends) const;
  const NamedToken* find(std::string_view token) const REQUIRES(mutex_);
  const Session* find_session(const HttpRequest& request) const REQUIRES(mutex_);
  bool guesses_too_much(std::string_view network) const REQUIRES(mutex_);
  HttpAnswer wrong_token(std::string_view host, const std::string& how) REQUIRES(mutex_);
};

}  // namespace node::operate
