#include "dicom_node/operate/http_server.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>

#include "tests/fakes/temporary_store.h"

namespace node::operate {
namespace {

// One request over a socket of its own; the whole answer.
std::string ask(std::uint16_t port, const std::string& request) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  for (ssize_t n; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;) answer.append(buffer, n);
  close(fd);
  return answer;
}

std::string get(std::uint16_t port, const std::string& path, const std::string& headers = {}) {
  return ask(port, "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers + "\r\n");
}

class HttpServerTest : public ::testing::Test {
 protected:
  std::unique_ptr<HttpServer> open(config::HttpConfig config = {}) {
    config.port = 0;
    auto server = HttpServer::open(
        config, {.ready = [this] { return ready; }, .store = &here.store(), .title = "NODE <1>", .version = "0"});
    EXPECT_TRUE(server.ok()) << server.status().message();
    return std::move(server).value();
  }
  fakes::TemporaryStore here;
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

TEST_F(HttpServerTest, ThePageListsStudiesAndEscapesText) {
  here.add("bytes", "1.2.3.1", "1.2.3", {"fracture"});
  auto server = open();
  const std::string page = get(server->port(), "/");
  EXPECT_NE(page.find("1.2.3"), std::string::npos);
  EXPECT_NE(page.find("open"), std::string::npos);
  EXPECT_NE(page.find("NODE &lt;1&gt;"), std::string::npos);
  EXPECT_EQ(page.find("NODE <1>"), std::string::npos);
}

TEST_F(HttpServerTest, OtherPathsAndMethodsAndRubbishAreRefused) {
  auto server = open();
  EXPECT_NE(get(server->port(), "/../etc/passwd").find("404"), std::string::npos);
  EXPECT_NE(
      ask(server->port(), "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").find("405"),
      std::string::npos);
  ask(server->port(), "rubbish\r\n\r\n");
  ask(server->port(), "GET /" + std::string(100'000, 'a') + " HTTP/1.1\r\n\r\n");
  EXPECT_NE(get(server->port(), "/healthz").find("200 OK"), std::string::npos);
}

TEST_F(HttpServerTest, AnotherAddressThanLoopbackNeedsTokenAndProxy) {
  config::HttpConfig config;
  config.bind = "0.0.0.0";
  config.port = 0;
  const NodeView view{.ready = [] { return ok_status(); }, .store = &here.store(), .title = "", .version = ""};
  EXPECT_EQ(HttpServer::open(config, view).status().code(), StatusCode::kInvalidArgument);
  config.token_file = (here.directory() / "token").string();
  std::ofstream(config.token_file) << "secret\n";
  EXPECT_EQ(HttpServer::open(config, view).status().code(), StatusCode::kInvalidArgument);
  config.behind_proxy = true;
  auto server = open(config);
  EXPECT_NE(get(server->port(), "/healthz").find("200 OK"), std::string::npos);
  EXPECT_NE(get(server->port(), "/").find("401"), std::string::npos);
  EXPECT_NE(get(server->port(), "/", "Authorization: Bearer secreT\r\n").find("401"), std::string::npos);
  EXPECT_NE(get(server->port(), "/", "Authorization: Bearer secret\r\n").find("200 OK"), std::string::npos);
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
