#include "dicom_node/operate/http_server.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>

#include "tests/fakes/temporary_store.h"

namespace node::operate {
namespace {

constexpr char kBearer[] = "Authorization: Bearer secret-0123456789\r\n";

int connected(std::uint16_t port, int receive_bytes = 0) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (receive_bytes > 0) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return fd;
}

// One request over a socket of its own; the whole answer.
std::string ask(std::uint16_t port, const std::string& request) {
  const int fd = connected(port);
  EXPECT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  for (ssize_t n; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;) answer.append(buffer, n);
  close(fd);
  return answer;
}

std::string get(std::uint16_t port, const std::string& path, const std::string& headers = {}) {
  return ask(port, "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers + "\r\n");
}

std::string post(std::uint16_t port, const std::string& path, const std::string& headers = {}) {
  return ask(port, "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n" +
                       headers + "\r\n");
}

nlohmann::json json_of(const std::string& answer) {
  return nlohmann::json::parse(answer.substr(answer.find("\r\n\r\n") + 4));
}

class HttpServerTest : public ::testing::Test {
 protected:
  std::unique_ptr<HttpServer> open(config::HttpConfig config = {}) {
    config.port = 0;
    auto server = HttpServer::open(config, view_of_node());
    EXPECT_TRUE(server.ok()) << server.status().message();
    return std::move(server).value();
  }
  NodeView view_of_node() {
    return {.ready = [this] { return ready; },
            .stats = [this] { return stats; },
            .store = &here.store(),
            .title = "NODE <1>",
            .version = "0",
            .tasks = {},
            .models = {R"({"model":"m"})"}};
  }
  config::HttpConfig with_token() {
    config::HttpConfig config;
    config.token_file = (here.directory() / "token").string();
    std::ofstream(config.token_file) << "secret-0123456789\n";
    return config;
  }
  fakes::TemporaryStore here;
  NodeStats stats;
  Status ready;
};

TEST_F(HttpServerTest, ReadinessSaysWhyNot) {
  auto server = open();
  EXPECT_NE(get(server->port(), "/readyz").find("200 OK"), std::string::npos);
  ready = data_loss("2 stored objects are gone");
  const std::string answer = get(server->port(), "/readyz");
  EXPECT_NE(answer.find("503"), std::string::npos);
  EXPECT_NE(answer.find("2 stored objects are gone"), std::string::npos);
  EXPECT_NE(get(server->port(), "/healthz").find("200 OK"), std::string::npos);
}

TEST_F(HttpServerTest, MetricsAreThoseOfTheStages) {
  stats.receive.refused_by_status[0xA700] = 3;
  stats.receive.store_seconds = {{0.1, 1}, {2, 1, 4}, 40.5};
  stats.deliveries["pacs"] = {.delivered = 5, .warnings = 2, .reachable = false};
  auto server = open();
  const std::string answer = get(server->port(), "/metrics");
  for (const char* line : {"Content-Type: text/plain; version=0.0.4", "skelex_stores_refused_total{status=\"A700\"} 3",
                           "skelex_deliveries_total{destination=\"pacs\",outcome=\"delivered\"} 3",
                           "skelex_deliveries_total{destination=\"pacs\",outcome=\"delivered_with_warning\"} 2",
                           "skelex_destination_up{destination=\"pacs\"} 0", "skelex_store_seconds_bucket{le=\"0.1\"} 2",
                           "skelex_store_seconds_bucket{le=\"1\"} 3", "skelex_store_seconds_bucket{le=\"+Inf\"} 7",
                           "skelex_store_seconds_sum 40.5", "skelex_store_seconds_count 7", "skelex_ready 0"}) {
    EXPECT_NE(answer.find(line), std::string::npos) << line;
  }
}

TEST_F(HttpServerTest, ThePageIsPartOfTheProgramAndAllowsItselfAlone) {
  auto server = open();
  const std::string page = get(server->port(), "/");
  EXPECT_NE(page.find("Content-Type: text/html; charset=utf-8"), std::string::npos);
  EXPECT_NE(page.find("default-src 'none'; script-src 'self'; style-src 'self'"), std::string::npos);
  EXPECT_EQ(page.find("unsafe-inline"), std::string::npos);
  EXPECT_NE(get(server->port(), "/app.js").find("Content-Type: text/javascript"), std::string::npos);
  EXPECT_NE(get(server->port(), "/style.css").find("Content-Type: text/css"), std::string::npos);
}

TEST_F(HttpServerTest, EventsSayWhatIsNowAndThatSomethingHasChanged) {
  auto server = open();
  const int fd = connected(server->port());
  const std::string request = "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
  ASSERT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
  std::string answer;
  const auto read_until = [&](const char* text) {
    char buffer[4096];
    for (ssize_t n = 1; answer.find(text) == std::string::npos && n > 0;) {
      n = recv(fd, buffer, sizeof buffer, 0);
      if (n > 0) answer.append(buffer, n);
    }
    return answer.find(text) != std::string::npos;
  };
  EXPECT_TRUE(read_until("event: now\ndata: {\"title\":\"NODE <1>\"")) << answer;
  EXPECT_NE(answer.find("Content-Type: text/event-stream"), std::string::npos);
  EXPECT_TRUE(read_until("event: change")) << "the first look";
  answer.clear();
  here.add("bytes", "1.2.3.1", "1.2.3", {"fracture"});
  EXPECT_TRUE(read_until("event: change")) << answer;
  close(fd);
}

TEST_F(HttpServerTest, OnlySoManyPagesFollowTheEvents) {
  auto server = open();
  std::vector<int> open_pages;
  const std::string request = "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
  std::string last;
  for (int page = 0; page < 25; ++page) {
    open_pages.push_back(connected(server->port()));
    send(open_pages.back(), request.data(), request.size(), MSG_NOSIGNAL);
    char buffer[64];
    const ssize_t n = recv(open_pages.back(), buffer, sizeof buffer, 0);
    last.assign(buffer, std::max<ssize_t>(n, 0));
    EXPECT_EQ(last.substr(0, 15) == "HTTP/1.1 200 OK", page < 24) << page;
  }
  EXPECT_EQ(last.substr(0, 12), "HTTP/1.1 503");
  EXPECT_EQ(server->refusals().busy, 1u);
  EXPECT_NE(get(server->port(), "/healthz").find("200 OK"), std::string::npos);
  for (const int fd : open_pages) close(fd);
}

struct BadRequest {
  std::string name, request;
  int status;
};
std::ostream& operator<<(std::ostream& out, const BadRequest& bad) { return out << bad.name; }

std::string request_of(const std::string& method, const std::string& target, const std::string& headers = {}) {
  return method + " " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers + "\r\n";
}

class BadRequestTest : public HttpServerTest, public ::testing::WithParamInterface<BadRequest> {};

TEST_P(BadRequestTest, IsAnsweredWithItsStatusAndDisturbsNothing) {
  here.add("bytes", "1.2.3.1", "1.2.3", {"fracture"});
  auto server = open(with_token());
  const std::string answer = ask(server->port(), GetParam().request);
  EXPECT_EQ(answer.substr(0, 12), "HTTP/1.1 " + std::to_string(GetParam().status)) << answer;
  EXPECT_NE(get(server->port(), "/healthz").find("200 OK"), std::string::npos);
  EXPECT_EQ(here.store().find_study(storage::Uid::parse("1.2.3").value())->waiting, 1);
}

INSTANTIATE_TEST_SUITE_P(
    All, BadRequestTest,
    ::testing::Values(
        BadRequest{"Traversal", request_of("GET", "/api/studies/../../etc/passwd"), 404},
        BadRequest{"TraversalUid", request_of("GET", "/api/studies/.."), 400},
        BadRequest{"EncodedUid", request_of("GET", "/api/studies/%2e%2e"), 400},
        BadRequest{"NoUid", request_of("GET", "/api/studies/"), 400},
        BadRequest{"UidWithQuote", request_of("GET", "/api/studies/1.2'--"), 400},
        BadRequest{"LongUid", request_of("GET", "/api/studies/1." + std::string(70, '2')), 400},
        BadRequest{"UnknownStudy", request_of("GET", "/api/studies/1.2.4"), 404},
        BadRequest{"UnknownPath", request_of("GET", "/api/secrets"), 404},
        BadRequest{"LimitZero", request_of("GET", "/api/studies?limit=0"), 400},
        BadRequest{"LimitTooLarge", request_of("GET", "/api/studies?limit=100000"), 400},
        BadRequest{"LimitNoNumber", request_of("GET", "/api/deliveries?limit=1x"), 400},
        BadRequest{"KeyNegative", request_of("GET", "/api/deliveries?before=-1"), 400},
        BadRequest{"StudyNoUid", request_of("GET", "/api/deliveries?study=1..2"), 400},
        BadRequest{"SearchHalfEncoded", request_of("GET", "/api/studies?search=%4"), 400},
        BadRequest{"SearchWithNul", request_of("GET", "/api/studies?search=A%00"), 400},
        BadRequest{"PictureNoUid", request_of("GET", "/api/instances/..%2f..%2fetc/preview.png"), 400},
        BadRequest{"PictureUnknown", request_of("GET", "/api/instances/1.2.4/overlay.png"), 404},
        BadRequest{"PictureFrameZero", request_of("GET", "/api/instances/1.2.3.1/preview.png?frame=0"), 400},
        BadRequest{"PageTraversal", request_of("GET", "/../app.js"), 404},
        BadRequest{"PageInFolder", request_of("GET", "/page/app.js"), 404},
        BadRequest{"RouteOfNone", request_of("GET", "/api/studies/1.2.4/route"), 404},
        BadRequest{"PostToMetrics", request_of("POST", "/metrics", "Content-Length: 0\r\n"), 405},
        BadRequest{"UnknownState", request_of("GET", "/api/studies?state=asleep"), 400},
        BadRequest{"UnknownParameter", request_of("GET", "/api/studies?page=2"), 400},
        BadRequest{"PostToAList", request_of("POST", "/api/studies", "Content-Length: 0\r\n"), 405},
        BadRequest{"Delete", request_of("DELETE", "/api/studies/1.2.3"), 405},
        BadRequest{"PostToThePage", request_of("POST", "/", "Content-Length: 0\r\n"), 405},
        BadRequest{"GetOfAChange", request_of("GET", "/api/studies/1.2.3/retry", kBearer), 405},
        BadRequest{"PutOfAChange", request_of("PUT", "/api/deliveries/1/release", kBearer), 405},
        BadRequest{"NoToken", request_of("POST", "/api/studies/1.2.3/retry"), 401},
        BadRequest{"WrongToken",
                   request_of("POST", "/api/studies/1.2.3/retry", "Authorization: Bearer secreT-0123456789\r\n"), 401},
        BadRequest{"HalfAToken", request_of("POST", "/api/studies/1.2.3/retry", "Authorization: Bearer sec\r\n"), 401},
        BadRequest{"RetryOfAnUnknownStudy", request_of("POST", "/api/studies/1.2.4/retry", kBearer), 404},
        BadRequest{"RetryOfNoRevision", request_of("POST", "/api/studies/1.2.3/retry?revision=0", kBearer), 400},
        BadRequest{"RetryOfWhatElse", request_of("POST", "/api/studies/1.2.3/retry?force=1", kBearer), 400},
        BadRequest{"RetryOfNoUid", request_of("POST", "/api/studies/x/retry", kBearer), 400},
        BadRequest{"ReleaseOfNoNumber", request_of("POST", "/api/deliveries/1x/release", kBearer), 400},
        BadRequest{"ReleaseOfAHugeNumber", request_of("POST", "/api/deliveries/99999999999999999999/release", kBearer),
                   400},
        BadRequest{"GivingUpAnUnknown", request_of("POST", "/api/deliveries/4711/give-up", kBearer), 404},
        BadRequest{"GettingAGivingUp", request_of("GET", "/api/deliveries/1/give-up", kBearer), 405},
        BadRequest{"ReleaseOfAnUnknown", request_of("POST", "/api/deliveries/4711/release", kBearer), 404},
        BadRequest{"LongAddress", request_of("GET", "/" + std::string(3000, 'a')), 414},
        BadRequest{"EndlessAddress", request_of("GET", "/" + std::string(100'000, 'a')), 414},
        BadRequest{"LongHeader", request_of("GET", "/", "X: " + std::string(20'000, 'a') + "\r\n"), 431},
        BadRequest{"HugeBody",
                   request_of("POST", "/api/studies/1.2.3/retry", "Content-Length: 10000000000\r\n") +
                       std::string(100'000, 'a'),
                   413},
        BadRequest{"LongBodyThatIsOnlyAnnounced",
                   request_of("POST", "/api/studies/1.2.3/retry", "Content-Length: 100000\r\n"), 413},
        BadRequest{"LongBodyInPieces",
                   request_of("POST", "/api/studies/1.2.3/retry", "Transfer-Encoding: chunked\r\n") + "186a0\r\n" +
                       std::string(100'000, 'a') + "\r\n0\r\n\r\n",
                   413},
        BadRequest{"Rubbish", "rubbish\r\n\r\n", 400}, BadRequest{"NoVersion", "GET /\r\n\r\n", 400}),
    [](const auto& info) { return info.param.name; });

TEST_F(HttpServerTest, ListsAreJsonPageByPage) {
  for (int study = 1; study <= 3; ++study) {
    const std::string uid = "1.2." + std::to_string(study);
    here.add("bytes", uid + ".1", uid, {"fracture"}, {}, {"pacs"});
  }
  auto server = open();
  std::vector<std::string> studies, deliveries;
  std::string path = "/api/studies?limit=2&state=open";
  for (int page = 0; !path.empty() && page < 5; ++page) {
    const auto json = json_of(get(server->port(), path));
    for (const auto& study : json["studies"]) studies.push_back(study["study_instance_uid"]);
    EXPECT_LE(json["studies"].size(), 2u);
    path = json.value("next", "");
  }
  EXPECT_EQ(studies, (std::vector<std::string>{"1.2.3", "1.2.2", "1.2.1"}));
  EXPECT_TRUE(json_of(get(server->port(), "/api/studies?state=failed"))["studies"].empty());
  EXPECT_EQ(json_of(get(server->port(), "/api/deliveries?limit=3"))["deliveries"].size(), 3u);
  EXPECT_FALSE(json_of(get(server->port(), "/api/deliveries?limit=3")).contains("next")) << "the last page is full";
  const auto two = json_of(get(server->port(), "/api/deliveries?limit=2&state=pending"));
  EXPECT_EQ(json_of(get(server->port(), two["next"]))["deliveries"][0]["sop_instance_uid"], "1.2.1.1");
  EXPECT_EQ(json_of(get(server->port(), "/api/deliveries?study=1.2.2"))["deliveries"].size(), 1u);
  EXPECT_EQ(json_of(get(server->port(), "/api/studies?search=1%2E2%2e3"))["studies"].size(), 1u);
  EXPECT_TRUE(json_of(get(server->port(), "/api/studies?search=1.3"))["studies"].empty());
  EXPECT_EQ(json_of(get(server->port(), "/api/models"))["models"][0]["model"], "m");
}

TEST_F(HttpServerTest, AStudyShowsItsInstances) {
  here.add("bytes", "1.2.3.1", "1.2.3", {"fracture"});
  auto server = open();
  const auto json = json_of(get(server->port(), "/api/studies/1.2.3"));
  EXPECT_EQ(json["study"]["state"], "open");
  EXPECT_EQ(json["instances"][0]["sop_instance_uid"], "1.2.3.1");
  EXPECT_EQ(json["instances"][0]["state"], "received");
  EXPECT_EQ(json["instances"][0]["rule"], "test");
}

TEST_F(HttpServerTest, AHeadSaysTheLengthAndSendsNoBody) {
  auto server = open();
  const std::string answer = ask(server->port(), request_of("HEAD", "/healthz"));
  EXPECT_NE(answer.find("Content-Length: 3"), std::string::npos) << answer;
  EXPECT_EQ(answer.substr(answer.size() - 4), "\r\n\r\n");
}

TEST_F(HttpServerTest, AStudyIsRetriedAndAParkedDeliveryReleasedWithTheToken) {
  here.add("bytes", "1.2.3.1", "1.2.3", {"fracture"}, {}, {"pacs"});
  const auto claim = here.store().claim_due_deliveries("pacs", 1, std::chrono::milliseconds(0))->at(0);
  auto server = open(with_token());
  const std::string release = "/api/deliveries/" + std::to_string(claim.id) + "/release";
  EXPECT_EQ(json_of(post(server->port(), release, kBearer))["already"], true) << "it is due, and stays so";
  ASSERT_TRUE(here.store()
                  .finish_delivery(claim.token, {.state = storage::DeliveryState::kParked, .peer_status = 0xC000})
                  .ok());
  EXPECT_NE(post(server->port(), release).find("HTTP/1.1 401"), std::string::npos);
  EXPECT_EQ(here.store().stats().deliveries_parked, 1);
  const std::string released = post(server->port(), release, kBearer);
  EXPECT_NE(released.find("HTTP/1.1 202"), std::string::npos) << released;
  EXPECT_EQ(json_of(released)["state"], "pending");
  EXPECT_FALSE(json_of(released).contains("already"));
  EXPECT_EQ(here.store().stats().deliveries_parked, 0);
  const auto again = here.store().claim_due_deliveries("pacs", 1, std::chrono::milliseconds(0))->at(0);
  ASSERT_TRUE(here.store().finish_delivery(again.token, {}).ok());
  const auto twice = json_of(post(server->port(), release, kBearer));
  EXPECT_EQ(twice["state"], "delivered") << "by somebody who did not hear the first answer";
  EXPECT_EQ(twice["already"], true);
  EXPECT_EQ(json_of(post(server->port(), "/api/studies/1.2.3/retry", kBearer))["already"], true) << "it waits";
  const auto image = here.store().claim_instances(1, std::chrono::milliseconds(0))->at(0);
  ASSERT_TRUE(here.store().finish_instance(image.token, {}).ok());
  EXPECT_EQ(json_of(post(server->port(), "/api/studies/1.2.3/retry", kBearer))["already"], true) << "nothing failed";
  const std::string retried = post(server->port(), "/api/studies/1.2.3/retry?revision=1", kBearer);
  EXPECT_NE(retried.find("HTTP/1.1 202"), std::string::npos) << retried;
  EXPECT_EQ(json_of(retried)["revision"], 2);
  EXPECT_FALSE(json_of(retried).contains("already"));
  const auto repeated = json_of(post(server->port(), "/api/studies/1.2.3/retry?revision=1", kBearer));
  EXPECT_EQ(repeated["revision"], 2);
  EXPECT_EQ(repeated["already"], true);
  EXPECT_NE(post(server->port(), "/api/studies/1.2.3/retry?revision=7", kBearer).find("HTTP/1.1 400"),
            std::string::npos);
  EXPECT_EQ(here.store().list_instances(storage::Uid::parse("1.2.3").value())->at(0).version, 2);
}

TEST_F(HttpServerTest, LossesAreListedLookedAtAgainAndAcceptedWithTheToken) {
  for (const char* number : {"1", "2"}) here.add("bytes", std::string("1.2.3.") + number, "1.2.3", {"fracture"});
  std::vector<storage::StoredFile> files;
  const auto images = here.store().list_instances(storage::Uid::parse("1.2.3").value());
  for (const auto& image : *images) {
    files.push_back(image.file);
    std::filesystem::remove(here.spool().path(image.file.key));
    EXPECT_FALSE(here.spool().verify(image.file).ok());
  }
  auto view = view_of_node();
  view.spool = &here.spool();
  auto config = with_token();
  config.port = 0;
  const auto opened = HttpServer::open(config, view);
  ASSERT_TRUE(opened.ok());
  const auto* server = opened->get();
  auto listed = json_of(get(server->port(), "/api/losses"))["losses"];
  ASSERT_EQ(listed.size(), 2u);
  EXPECT_EQ(listed[0]["study_instance_uid"], "1.2.3");
  EXPECT_EQ(listed[0]["accepted"], false);
  std::ofstream(here.spool().path(files[0].key)) << "bytes";  // From a backup.
  listed = json_of(get(server->port(), "/api/losses"))["losses"];
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_EQ(listed[0]["file"], files[1].key);
  EXPECT_EQ(listed[0]["sop_instance_uid"], "1.2.3.2");

  EXPECT_NE(post(server->port(), "/api/losses/accept").find("HTTP/1.1 401"), std::string::npos);
  EXPECT_TRUE(here.store().accepted_losses()->empty());
  const std::string accepted = post(server->port(), "/api/losses/accept", kBearer);
  EXPECT_NE(accepted.find("HTTP/1.1 202"), std::string::npos) << accepted;
  EXPECT_EQ(json_of(accepted)["losses"][0]["accepted"], true);
  EXPECT_EQ(json_of(get(server->port(), "/api/losses"))["losses"][0]["accepted"], true) << "it stays listed";
  EXPECT_EQ(*here.store().accepted_losses(), std::vector<std::string>{files[1].key});
}

TEST_F(HttpServerTest, AParkedDeliveryIsGivenUpWithTheToken) {
  here.add("bytes", "1.2.3.1", "1.2.3", {"fracture"}, {}, {"pacs"});
  const auto claim = here.store().claim_due_deliveries("pacs", 1, std::chrono::milliseconds(0))->at(0);
  auto server = open(with_token());
  const std::string give_up = "/api/deliveries/" + std::to_string(claim.id) + "/give-up";
  EXPECT_NE(post(server->port(), give_up, kBearer).find("HTTP/1.1 409"), std::string::npos) << "it is not parked";
  auto listed = json_of(ask(server->port(), request_of("GET", "/api/deliveries")))["deliveries"][0];
  EXPECT_EQ(listed["tried_at"], "");
  EXPECT_EQ(listed["next_try_at"], listed["created_at"]);
  ASSERT_TRUE(here.store().finish_delivery(claim.token, {.state = storage::DeliveryState::kParked}).ok());
  listed = json_of(ask(server->port(), request_of("GET", "/api/deliveries")))["deliveries"][0];
  EXPECT_NE(listed["tried_at"], "");
  EXPECT_EQ(listed["next_try_at"], "") << "only once a person releases it";
  EXPECT_NE(post(server->port(), give_up).find("HTTP/1.1 401"), std::string::npos);
  EXPECT_EQ(here.store().stats().deliveries_given_up, 0);
  const std::string given_up = post(server->port(), give_up, kBearer);
  EXPECT_NE(given_up.find("HTTP/1.1 202"), std::string::npos) << given_up;
  EXPECT_EQ(json_of(given_up)["state"], "given_up");
  EXPECT_EQ(here.store().stats().deliveries_given_up, 1);
  const auto those = json_of(ask(server->port(), request_of("GET", "/api/deliveries?state=given_up")));
  ASSERT_EQ(those["deliveries"].size(), 1u);
  EXPECT_NE(those["deliveries"][0]["given_up_at"], "");
}

TEST_F(HttpServerTest, WithoutATokenFileNothingCanBeChanged) {
  here.add("bytes", "1.2.3.1", "1.2.3", {"fracture"});
  auto server = open();
  for (const std::string& header : {std::string(), std::string("Authorization: Bearer \r\n"), std::string(kBearer)}) {
    EXPECT_NE(post(server->port(), "/api/studies/1.2.3/retry", header).find("HTTP/1.1 403"), std::string::npos);
  }
  EXPECT_EQ(here.store().list_instances(storage::Uid::parse("1.2.3").value())->at(0).version, 1);
}

TEST_F(HttpServerTest, IdleConnectionsMakeRoomForNewOnes) {
  auto server = open();
  std::vector<int> idle;
  for (int i = 0; i < 100; ++i) idle.push_back(connected(server->port()));
  EXPECT_NE(get(server->port(), "/healthz").find("200 OK"), std::string::npos);
  char byte = 0;
  EXPECT_EQ(recv(idle.front(), &byte, 1, 0), 0) << "the one that was silent for longest was closed";
  EXPECT_EQ(recv(idle.back(), &byte, 1, MSG_DONTWAIT), -1) << "the newest stays";
  EXPECT_EQ(server->refusals().no_room, 37u);
  for (const int fd : idle) close(fd);
}

TEST_F(HttpServerTest, ConnectionsThatNeverReadMakeRoomForNewOnes) {
  auto server = open();
  std::string asking;
  for (int i = 0; i < 400; ++i) asking += "GET /style.css HTTP/1.1\r\nHost: localhost\r\n\r\n";
  std::vector<int> stuck;
  for (int i = 0; i < 64; ++i) {
    stuck.push_back(connected(server->port(), /*receive_bytes=*/4096));
    EXPECT_GT(send(stuck.back(), asking.data(), asking.size(), MSG_NOSIGNAL | MSG_DONTWAIT), 0);
  }
  const auto took_in = [&] {  // All that its client's system takes for it.
    int total = 0, waits = 0;
    for (const int fd : stuck) ioctl(fd, FIONREAD, &waits), total += waits;
    return total;
  };
  for (int before = -1; before != took_in() || before == 0;) {
    before = took_in();
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
  EXPECT_NE(get(server->port(), "/healthz").find("200 OK"), std::string::npos);
  EXPECT_EQ(server->refusals().no_room, 1u);
  for (const int fd : stuck) close(fd);
}

TEST_F(HttpServerTest, HealthAnswersWhileTheStoreDoesNot) {
  std::promise<void> asked, unblock;
  auto view = view_of_node();
  view.ready = [&] {
    asked.set_value();
    unblock.get_future().wait();
    return ok_status();
  };
  config::HttpConfig config;
  config.port = 0;
  auto server = HttpServer::open(config, view);
  ASSERT_TRUE(server.ok());
  auto stuck = std::async(std::launch::async, [&] { return get((*server)->port(), "/readyz"); });
  asked.get_future().wait();
  EXPECT_NE(get((*server)->port(), "/healthz").find("200 OK"), std::string::npos);
  unblock.set_value();
  EXPECT_NE(stuck.get().find("ready"), std::string::npos);
}

TEST_F(HttpServerTest, AStopDoesNotWaitForOpenConnections) {
  auto server = open();
  const int idle = connected(server->port());
  EXPECT_NE(get(server->port(), "/healthz").find("200 OK"), std::string::npos);
  server->stop();
  server->stop();
  close(idle);
}

TEST_F(HttpServerTest, AnotherAddressThanLoopbackNeedsTokenAndProxy) {
  config::HttpConfig config;
  config.bind = "0.0.0.0";
  config.port = 0;
  const NodeView view{.ready = [] { return ok_status(); }, .store = &here.store(), .title = "", .version = ""};
  EXPECT_EQ(HttpServer::open(config, view).status().code(), StatusCode::kInvalidArgument);
  config.token_file = (here.directory() / "token").string();
  std::ofstream(config.token_file) << "secret-0123456789\n";
  EXPECT_EQ(HttpServer::open(config, view).status().code(), StatusCode::kInvalidArgument);
  config.behind_proxy = true;
  auto server = open(config);
  EXPECT_NE(get(server->port(), "/healthz").find("200 OK"), std::string::npos);
  const std::string door = get(server->port(), "/");
  EXPECT_NE(door.find("200 OK"), std::string::npos);
  EXPECT_NE(door.find("Log in"), std::string::npos);
  for (const char* open_to_all : {"/login.js", "/api.js", "/theme.js", "/dom.js", "/style.css", "/icon.svg"}) {
    EXPECT_NE(get(server->port(), open_to_all).find("200 OK"), std::string::npos) << open_to_all;
  }
  for (const char* closed : {"/app.js", "/api/now", "/api/events", "/api/studies", "/metrics", "/readyz",
                             "/login.html/", "/api/instances/1.2.3/preview.png", "/try.js", "/none"}) {
    EXPECT_NE(get(server->port(), closed).find("HTTP/1.1 401"), std::string::npos) << closed;
  }
  EXPECT_NE(get(server->port(), "/", "Authorization: Bearer secreT-0123456789\r\n").find("401"), std::string::npos);
  EXPECT_NE(get(server->port(), "/", "Authorization: Bearer secret-0123456789\r\n").find("200 OK"), std::string::npos);
}

TEST_F(HttpServerTest, ALoginOpensThePageAndItsSessionChangesFromThePageAlone) {
  here.add("bytes", "1.2.3.1", "1.2.3", {"fracture"});
  const auto image = here.store().claim_instances(1, std::chrono::milliseconds(0))->at(0);
  ASSERT_TRUE(here.store().finish_instance(image.token, {}).ok());
  config::HttpConfig config = with_token();
  config.bind = "0.0.0.0";
  config.behind_proxy = true;
  config.session_max = std::chrono::seconds(1);
  auto server = open(config);
  const auto form = [&](const std::string& path, const std::string& body, const std::string& headers) {
    return ask(server->port(), "POST " + path +
                                   " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: " +
                                   std::to_string(body.size()) + "\r\n" + headers + "\r\n" + body);
  };
  const std::string page = "Sec-Fetch-Site: same-origin\r\n";
  EXPECT_NE(form("/login", "token=secreT-0123456789", page).find("HTTP/1.1 401"), std::string::npos);
  EXPECT_NE(form("/login", "token=secret-0123456789", "Origin: https://evil\r\n").find("HTTP/1.1 403"),
            std::string::npos);
  EXPECT_NE(form("/login", "token=secret-0123456789", "").find("HTTP/1.1 403"), std::string::npos);
  EXPECT_NE(get(server->port(), "/login").find("HTTP/1.1 405"), std::string::npos);
  const std::string welcome = form("/login", "token=secret-0123456789", page);
  ASSERT_NE(welcome.find("HTTP/1.1 200"), std::string::npos) << welcome;
  const std::size_t at = welcome.find("Set-Cookie: ") + 12;
  const std::string cookie = "Cookie: " + welcome.substr(at, welcome.find(';', at) - at) + "\r\n";
  EXPECT_EQ(json_of(get(server->port(), "/api/session", cookie))["user"], "http");
  EXPECT_NE(get(server->port(), "/", cookie).find("/app.js"), std::string::npos);
  EXPECT_NE(get(server->port(), "/api/studies", cookie).find("200 OK"), std::string::npos);
  const std::string retry = "/api/studies/1.2.3/retry";
  const auto version = [&] { return here.store().list_instances(storage::Uid::parse("1.2.3").value())->at(0).version; };
  for (const char* elsewhere : {"", "Origin: https://evil\r\n", "Sec-Fetch-Site: same-site\r\n", "Origin: null\r\n"}) {
    EXPECT_NE(post(server->port(), retry, cookie + elsewhere).find("HTTP/1.1 403"), std::string::npos) << elsewhere;
  }
  for (const char* elsewhere : {"Origin: https://evil\r\n", "Sec-Fetch-Site: cross-site\r\n", "Origin: null\r\n"}) {
    EXPECT_NE(post(server->port(), retry, kBearer + std::string(elsewhere)).find("HTTP/1.1 403"), std::string::npos)
        << "a proxy that adds the token adds it to this too: " << elsewhere;
  }
  EXPECT_EQ(version(), 1);
  const nlohmann::json by_proxy = json_of(get(server->port(), "/api/session", kBearer + cookie));
  EXPECT_EQ(by_proxy, nlohmann::json::parse(R"({"user":"http","session":false,"needed":true})"));
  EXPECT_NE(post(server->port(), retry, cookie + page).find("HTTP/1.1 202"), std::string::npos);
  EXPECT_EQ(version(), 2);

  // Who follows the events is let go with the session.
  const int fd = connected(server->port());
  const std::string request = "GET /api/events HTTP/1.1\r\nHost: localhost\r\n" + cookie + "\r\n";
  ASSERT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
  std::string events;
  char buffer[4096];
  ssize_t got = 0;
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(15);
  while ((got = recv(fd, buffer, sizeof buffer, 0)) > 0 && std::chrono::steady_clock::now() < patience) {
    events.append(buffer, got);
  }
  close(fd);
  EXPECT_EQ(got, 0) << "the node closes";
  EXPECT_NE(events.find("event: now"), std::string::npos) << events;
  EXPECT_NE(get(server->port(), "/api/studies", cookie).find("HTTP/1.1 401"), std::string::npos) << "it has ended";
  EXPECT_NE(post(server->port(), retry, cookie + page).find("HTTP/1.1 401"), std::string::npos);
  EXPECT_NE(get(server->port(), "/", cookie).find("Log in"), std::string::npos);
  EXPECT_EQ(server->refusals().token, 1u);
  EXPECT_EQ(server->refusals().no_token, 2u);
}

TEST_F(HttpServerTest, OnlyUnderItsOwnNamesItAnswers) {
  config::HttpConfig config = with_token();
  config.bind = "0.0.0.0";
  config.behind_proxy = true;
  config.names = {"Skelex.hospital", "2001:db8::7"};
  auto server = open(config);
  const auto asked = [&](const std::string& hosts) {
    const std::string answer = ask(server->port(), "GET /healthz HTTP/1.1\r\n" + hosts + "Connection: close\r\n\r\n");
    return std::pair(answer.substr(9, 3), answer);
  };
  for (const char* ours : {"localhost", "LOCALHOST:80", "127.0.0.1:8043", "127.9.9.9", "[::1]:8043", "skelex.hospital",
                           "SKELEX.hospital.:443", "[2001:db8::7]:8043"}) {
    EXPECT_EQ(asked("Host: " + std::string(ours) + "\r\n").first, "200") << ours;
  }
  for (const char* other : {"evil.example", "evil.example:8043", "0.0.0.0:8043", "10.0.0.1", "localhost.evil.example",
                            "", "skelex.hospital.evil", "[::2]", "2130706433", "[::1]evil.example", "[::1]:80x",
                            "localhost:evil", "127.0.0.1.evil.example"}) {
    EXPECT_EQ(asked("Host: " + std::string(other) + "\r\n").first, "421") << other;
  }
  const auto reason = [&](const std::string& host) {
    return std::string(json_of(asked("Host: " + host + "\r\n").second)["error"]);
  };
  for (const std::string other : {"evil.example", "10.0.0.5"}) {
    EXPECT_NE(reason(other + ":8043").find("not called " + other + ": "), std::string::npos) << reason(other);
    EXPECT_NE(reason(other + ":8043").find("set http.names: [" + other + "] in its"), std::string::npos);
  }
  EXPECT_EQ(reason("<b>").find("<b>"), std::string::npos) << "only a name is repeated";
  EXPECT_EQ(server->refusals().host, 18u);
  EXPECT_EQ(asked("Host: localhost\r\nHost: localhost\r\n").first, "400");
  EXPECT_EQ(asked("Host: localhost\r\nhost: evil\r\n").first, "400");
  EXPECT_EQ(asked("").first, "400");
  EXPECT_EQ(ask(server->port(), "GET /healthz HTTP/1.0\r\n\r\n").substr(9, 3), "200");
  EXPECT_EQ(server->refusals().malformed, 3u);
}

TEST_F(HttpServerTest, AnotherTokenIsTakenWhileItRuns) {
  auto server = open(with_token());
  const auto status = [&](const std::string& token) {
    return post(server->port(), "/api/studies/1.2.4/retry", "Authorization: Bearer " + token + "\r\n").substr(9, 3);
  };
  EXPECT_EQ(status("secret-0123456789"), "404");
  server->set_tokens({{"anna", "another"}});
  EXPECT_EQ(status("secret-0123456789"), "401");
  EXPECT_EQ(status("another"), "404");
}

TEST_F(HttpServerTest, AnAddressThatIsTakenIsSaid) {
  auto first = open();
  config::HttpConfig config;
  config.port = first->port();
  auto second = HttpServer::open(
      config, {.ready = [] { return ok_status(); }, .store = &here.store(), .title = "", .version = ""});
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.status().message().find("http.bind"), std::string::npos);
}

}  // namespace
}  // namespace node::operate
