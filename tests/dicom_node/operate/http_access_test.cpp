#include "dicom_node/operate/http_access.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "config/base/network.h"
#include "tests/fakes/fake_clock.h"

namespace node::operate {
namespace {

constexpr char kToken[] = "0123456789abcdef", kAnnas[] = "anna56789abcdef0";

class HttpAccessTest : public ::testing::Test {
 protected:
  HttpRequest from_page(std::string_view body, std::string_view cookie = {}, std::string_view host = "10.0.0.1") const {
    return {.method = "POST",
            .target = "/login",
            .cookie = cookie,
            .origin = "https://Node:8043",
            .named = "node:8043",
            .body = body,
            .host = host};
  }
  std::string logged_in(const std::string& token) {
    const HttpAnswer answer = access.log_in(from_page("token=" + token));
    EXPECT_EQ(answer.status, 200) << answer.body;
    return answer.cookie.substr(0, answer.cookie.find(';'));
  }
  std::string user(const HttpRequest& request) const {
    const auto who = access.caller(request);
    return who ? who->name : "";
  }
  std::string user_of(const std::string& cookie) const { return user({.cookie = cookie, .host = "10.0.0.1"}); }
  std::string user_of_bearer(const std::string& bearer, std::string_view host = "10.0.0.1") const {
    return user({.authorization = bearer, .host = host});
  }

  fakes::FakeClock clock;
  HttpAccess access{
      {.needed_by_all = true, .secure = true, .cookie = "__Host-skelex-8043", .session_max = std::chrono::hours(12)},
      {{"http", kToken}, {"anna", kAnnas}},
      clock};
};

TEST_F(HttpAccessTest, ATokenSaysWhoAsksAndNothingLikeItDoes) {
  EXPECT_EQ(user_of_bearer(std::string("Bearer ") + kToken), "http");
  EXPECT_EQ(user_of_bearer(std::string("Bearer ") + kAnnas), "anna");
  for (const std::string& wrong :
       {std::string("Bearer "), std::string("Bearer"), std::string(kToken), std::string("Bearer ") + kToken + "x",
        std::string("Bearer anna"), "Bearer " + std::string(kToken).substr(0, 15), std::string("Basic ") + kToken}) {
    EXPECT_EQ(user_of_bearer(wrong), "") << wrong;
  }
}

TEST_F(HttpAccessTest, OnlyTheTokenOfNobodyInParticularSaysForWhomItIsShown) {
  const auto for_user = [&](const HttpRequest& request) {
    const auto who = access.caller(request);
    return who ? who->for_user : "nobody asks";
  };
  const std::string shared = std::string("Bearer ") + kToken, annas = std::string("Bearer ") + kAnnas;
  EXPECT_EQ(for_user({.authorization = shared, .local_user = "ben"}), "ben");
  EXPECT_EQ(for_user({.authorization = shared}), "");
  EXPECT_EQ(for_user({.authorization = annas, .local_user = "ben"}), "") << "a token with a name is that person's";
  EXPECT_EQ(for_user({.cookie = logged_in(kToken), .local_user = "ben"}), "") << "a browser speaks for no user";
}

TEST_F(HttpAccessTest, ALoginBeginsASessionThatNoScriptReadsAndNoOtherSiteSends) {
  const HttpAnswer answer = access.log_in(from_page(std::string("token=") + kAnnas));
  EXPECT_EQ(answer.body, "{\"user\":\"anna\"}\n");
  EXPECT_TRUE(answer.cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict; Secure")) << answer.cookie;
  EXPECT_EQ(answer.cookie.find(kAnnas), std::string::npos);
  std::set<std::string> cookies;
  for (int i = 0; i < 20; ++i) cookies.insert(logged_in(kAnnas));
  EXPECT_EQ(cookies.size(), 20u);
  const std::string one = *cookies.begin();
  EXPECT_EQ(one.size(), std::string("__Host-skelex-8043=").size() + 64);
  EXPECT_EQ(user_of(one), "anna");
  EXPECT_EQ(user_of("a=b; " + one + "; c=d"), "anna");
  for (const std::string& wrong : {std::string("__Host-skelex-8043="), one.substr(0, one.size() - 1), one + "0",
                                   "x" + one, std::string("__Host-skelex-8043=") + kAnnas, std::string(";=;;")}) {
    EXPECT_EQ(user_of(wrong), "") << wrong;
  }
}

TEST_F(HttpAccessTest, ASessionEndsAtItsAgeByALogoutAndWithItsToken) {
  const std::string old = logged_in(kAnnas);
  clock.advance(std::chrono::hours(12) - std::chrono::seconds(1));
  EXPECT_EQ(user_of(old), "anna");
  const std::string left = logged_in(kAnnas), shared = logged_in(kToken);
  clock.advance(std::chrono::seconds(1));
  EXPECT_EQ(user_of(old), "");
  EXPECT_EQ(access.refusal({.cookie = old}).refused, "a session that has ended");

  const HttpAnswer gone = access.log_out(from_page("", left));
  EXPECT_NE(gone.cookie.find("Max-Age=0"), std::string::npos);
  EXPECT_EQ(user_of(left), "");
  EXPECT_EQ(user_of(shared), "http") << "another's goes on";

  const std::string again = logged_in(kAnnas);
  access.set_tokens({{"http", kToken}, {"anna", "another-of-annas"}});
  EXPECT_EQ(user_of(again), "");
  EXPECT_EQ(user_of(shared), "http");
  EXPECT_EQ(user_of_bearer(std::string("Bearer ") + kAnnas), "");
  EXPECT_EQ(user_of_bearer("Bearer another-of-annas"), "anna");
}

TEST_F(HttpAccessTest, ATokenHasTwentySessionsAndTheOldestMakesRoom) {
  const std::string shared = logged_in(kToken), first = logged_in(kAnnas), second = logged_in(kAnnas);
  for (int i = 0; i < 19; ++i) logged_in(kAnnas);
  EXPECT_EQ(user_of(first), "");
  EXPECT_EQ(user_of(second), "anna");
  EXPECT_EQ(user_of(shared), "http") << "of another token they take no place";
}

TEST_F(HttpAccessTest, ALogoutEndsAllThatIsShown) {
  const std::string one = logged_in(kAnnas), two = logged_in(kAnnas), other = logged_in(kAnnas);
  EXPECT_EQ(access.log_out(from_page("", one + "; " + two)).status, 200);
  EXPECT_EQ(user_of(one) + user_of(two), "");
  EXPECT_EQ(user_of(other), "anna");
}

TEST_F(HttpAccessTest, WhoGuessesIsRefusedForAMinuteAndWhoKnowsATokenIsNot) {
  const std::string session = logged_in(kAnnas), good = std::string("Bearer ") + kToken;
  for (int i = 0; i < kWrongTokensMax; ++i) {
    EXPECT_EQ(user_of_bearer(good), "http");
    const HttpAnswer answer = i % 2 == 0 ? access.log_in(from_page("token=guess"))
                                         : access.refusal({.authorization = "Bearer guess", .host = "10.0.0.1"});
    EXPECT_EQ(answer.status, 401);
    clock.advance(std::chrono::seconds(2));
  }
  EXPECT_EQ(access.refusal({.authorization = "Bearer guess", .host = "10.0.0.1"}).status, 429);
  EXPECT_EQ(access.log_in(from_page("token=guess")).status, 429);
  EXPECT_EQ(user_of_bearer(good), "http") << "a right one passes: others may share its address";
  EXPECT_EQ(access.log_in(from_page(std::string("token=") + kToken)).status, 200);
  EXPECT_EQ(user_of(session), "anna");
  EXPECT_EQ(access.refusal({.authorization = "Bearer guess", .host = "10.0.0.2"}).status, 401);
  clock.advance(std::chrono::seconds(20));
  EXPECT_EQ(access.refusal({.authorization = "Bearer guess", .host = "10.0.0.1"}).status, 401);
  EXPECT_EQ(access.refusal({.authorization = "Bearer guess", .host = "10.0.0.1"}).status, 429)
      << "of the last minute there are twenty again";
}

TEST_F(HttpAccessTest, WhoHasANetworkOfIPv6IsOneGuesser) {
  const auto guess = [&](const std::string& host) {
    return access.refusal({.authorization = "Bearer guess", .host = host}).status;
  };
  for (int i = 0; i < kWrongTokensMax; ++i) EXPECT_EQ(guess("2001:db8:0:1::" + std::to_string(i + 1)), 401);
  EXPECT_EQ(guess("2001:db8:0:1:ffff::1"), 429);
  EXPECT_EQ(guess("2001:db8:0:2::1"), 401);
  for (int i = 0; i < kWrongTokensMax; ++i) {
    EXPECT_EQ(guess("10.0.0." + std::to_string(i)), 401);
    EXPECT_EQ(guess("::ffff:10.0.1." + std::to_string(i)), 401) << "each IPv4 address is one";
  }
}

TEST(NetworkOf, IsTheHalfThatAnOwnerOfIPv6CannotChoose) {
  EXPECT_EQ(network_of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
  EXPECT_EQ(network_of("fe80::1%eth0"), "fe80::/64");
  EXPECT_EQ(network_of("::1"), "::/64");
  EXPECT_EQ(network_of("10.1.2.3"), "10.1.2.3");
  EXPECT_EQ(network_of("::ffff:10.1.2.3"), "10.1.2.3");
  EXPECT_EQ(network_of("unknown"), "unknown");
}

TEST_F(HttpAccessTest, GuessesOfTenThousandAddressesAreAllThatIsRemembered) {
  const auto guess = [&](int i) { return access.refusal({.authorization = "Bearer x", .host = std::to_string(i)}); };
  for (int i = 0; i < 10'000; ++i) EXPECT_EQ(guess(i).status, 401);
  EXPECT_EQ(guess(10'000).status, 429);
  clock.advance(std::chrono::minutes(1));
  EXPECT_EQ(guess(10'000).status, 401);
}

TEST_F(HttpAccessTest, OnlyThePageItselfLogsInAndChanges) {
  const auto is_page = [](std::string_view origin, std::string_view fetch_site, std::string_view named) {
    return HttpAccess::is_same_origin({.origin = origin, .sec_fetch_site = fetch_site, .named = named});
  };
  EXPECT_TRUE(is_page("https://node:8043", "", "node:8043"));
  EXPECT_TRUE(is_page("http://[::1]:8043", "", "[::1]:8043"));
  EXPECT_TRUE(is_page("https://public", "same-origin", "behind-a-proxy"));
  EXPECT_FALSE(is_page("", "", "node:8043"));
  EXPECT_FALSE(is_page("null", "", "node:8043"));
  EXPECT_FALSE(is_page("https://node:8044", "", "node:8043"));
  EXPECT_FALSE(is_page("https://evil", "", "node:8043"));
  EXPECT_FALSE(is_page("https://", "", ""));
  EXPECT_FALSE(is_page("https://node:8043.evil", "", "node:8043"));
  for (const char* site : {"same-site", "cross-site", "none"}) {
    EXPECT_FALSE(is_page("https://node:8043", site, "node:8043")) << site;
  }
  HttpRequest elsewhere = from_page(std::string("token=") + kAnnas);
  elsewhere.origin = "https://evil";
  EXPECT_EQ(access.log_in(elsewhere).status, 403);
  EXPECT_EQ(access.log_out(elsewhere).status, 403);
}

TEST_F(HttpAccessTest, ABadLoginIsAnsweredInWords) {
  EXPECT_EQ(access.log_in(from_page("")).status, 400);
  EXPECT_EQ(access.log_in(from_page("token=%4")).status, 400);
  EXPECT_EQ(access.log_in(from_page("token=")).status, 401);
  EXPECT_EQ(access.log_in(from_page("token=0123456789abcde%66")).status, 200) << "a form's letters are decoded";
  HttpAccess none({}, {}, clock);
  EXPECT_EQ(none.log_in(from_page("token=")).status, 403);
  EXPECT_FALSE(none.caller({.authorization = "Bearer "}));
}

class HttpTokensTest : public ::testing::Test {
 protected:
  ~HttpTokensTest() override { std::filesystem::remove_all(folder); }
  Result<std::vector<NamedToken>> read(const std::string& tokens, const std::string& shared = "") {
    config::HttpConfig config;
    config.tokens_file = folder / "tokens";
    std::ofstream(config.tokens_file) << tokens;
    if (!shared.empty()) {
      config.token_file = folder / "token";
      std::ofstream(config.token_file) << shared << "\n";
    }
    return read_tokens(config);
  }
  const std::filesystem::path folder = [] {
    char path[] = "/tmp/http_tokens.XXXXXX";
    return std::filesystem::path(mkdtemp(path));
  }();
};

TEST_F(HttpTokensTest, EachPersonHasALine) {
  const auto tokens = read("# who may\n\nanna : 0123456789abcdef\r\n  Dr. Ben:with:colon-89abcdef\n", "the-shared-one");
  ASSERT_TRUE(tokens.ok()) << tokens.status().message();
  EXPECT_EQ(*tokens,
            (std::vector<NamedToken>{
                {"http", "the-shared-one"}, {"anna", "0123456789abcdef"}, {"Dr. Ben", "with:colon-89abcdef"}}));
}

TEST_F(HttpTokensTest, WithoutASharedTokenNobodyIsCalledHttpEither) {
  EXPECT_NE(read("http: 1123456789abcdef\n").status().message().find("the name http"), std::string::npos);
}

TEST_F(HttpTokensTest, ElsewhereThanOnLoopbackTheSharedOneIsLongToo) {
  config::HttpConfig config;
  config.token_file = folder / "token";
  std::ofstream(config.token_file) << "0123456789abcde\n";
  EXPECT_TRUE(read_tokens(config).ok()) << "on loopback as it was";
  config.bind = "0.0.0.0";
  const auto tokens = read_tokens(config);
  ASSERT_FALSE(tokens.ok());
  EXPECT_NE(tokens.status().message().find("at least 16 characters"), std::string::npos) << tokens.status().message();
  std::ofstream(config.token_file) << "0123456789abcdef\n";
  EXPECT_TRUE(read_tokens(config).ok());
}

TEST_F(HttpTokensTest, AMistakeIsNamedWithItsLineAndNoToken) {
  for (const auto& [text, said] : std::vector<std::pair<std::string, std::string>>{
           {"anna 0123456789abcdef\n", "tokens:1: \"name: token\" is wanted"},
           {"#\nanna: 0123456789abcde\n", "tokens:2: a token has at least 16"},
           {"anna: 01234567 89abcdef\n", "tokens:1: a token is printable"},
           {"an\x01na: 0123456789abcdef\n", "tokens:1: a name is"},
           {": 0123456789abcdef\n", "tokens:1: \"name: token\""},
           {"anna: 0123456789abcdef\nanna: 1123456789abcdef\n", "tokens:2: the name is that of a line before"},
           {"anna: 0123456789abcdef\nben: 0123456789abcdef\n", "tokens:2: the token is another's"},
           {"http: 1123456789abcdef\n", "tokens:1: the name http stands for"},
           {"anonymous: 1123456789abcdef\n", "tokens:1: the name anonymous stands for"},
           {"an\"na: 0123456789abcdef\n", "tokens:1: a name is"},
           {"an\\na: 0123456789abcdef\n", "tokens:1: a name is"},
           {"ben: the-shared-token\n", "tokens:1: the token is another's"},
           {"# nobody\n", "names nobody"}}) {
    const auto tokens = read(text, "the-shared-token");
    ASSERT_FALSE(tokens.ok()) << text;
    EXPECT_NE(tokens.status().message().find(said), std::string::npos) << tokens.status().message();
    EXPECT_EQ(tokens.status().message().find("123456789"), std::string::npos) << tokens.status().message();
  }
}

}  // namespace
}  // namespace node::operate
