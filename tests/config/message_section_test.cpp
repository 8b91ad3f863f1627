#include "config/message_section.h"

#include "tests/config/node_config_fixture.h"

namespace node::config {
namespace {

using testing::HasSubstr;

TEST_F(NodeConfigTest, MessagesAreDestinationsOfResultsOnly) {
  write("secret", "sixteen characters\n");
  const std::string base = kBase + R"(messages:
  ris: {kind: oru, host: ris, port: 2575, characters: latin-1, study_uid_type: ST, fields: {OBR-18: "'X'", PID-3.4: sex | study_id}}
  board: {kind: webhook, url: "https://board.example/x?y=1", secret_file: secret, answer_timeout: 5 s}
)";
  const auto config = read(base + "routes: [{name: all, tasks: [anomaly], send_to: [pacs, ris, board]}]\n");
  ASSERT_TRUE(config.ok()) << config.status().message();
  ASSERT_EQ(config->messages.size(), 2u);
  const MessageConfig& ris = config->messages[0];
  EXPECT_EQ(ris.port, 2575);
  EXPECT_EQ(ris.characters, Hl7Characters::kLatin1);
  EXPECT_TRUE(ris.study_uid_as_text);
  EXPECT_EQ(ris.fields.at("PID-3.4"), "sex | study_id");
  EXPECT_FALSE(ris.tls.on);
  const MessageConfig& board = config->messages[1];
  EXPECT_TRUE(board.tls.on);
  EXPECT_EQ(board.host, "board.example");
  EXPECT_EQ(board.port, 443);
  EXPECT_EQ(board.path, "/x?y=1");
  EXPECT_EQ(board.secret, "sixteen characters");
  EXPECT_EQ(config->report.messages.size(), 2u);
  EXPECT_THAT(mistakes(base + "forward: [{send_to: [ris]}]\n"),
              HasSubstr("'ris' is one of messages: it gets no objects"));
  EXPECT_THAT(mistakes(base + "results: {forms: {ris: [sr]}}\n"), HasSubstr("'ris' is one of messages"));
}

TEST_F(NodeConfigTest, ADicomWebServerIsADestinationOfAllObjects) {
  write("token", "abc\n");
  const std::string base =
      kBase + "dicomweb:\n  web: {url: \"https://[::1]:8443/dicom-web/studies\", token_file: token}\n";
  const auto config = read(base +
                           "routes: [{name: all, tasks: [anomaly], send_to: [web]}]\nforward: [{send_to: [web]}]\n"
                           "results: {forms: {web: [sr]}}\n");
  ASSERT_TRUE(config.ok()) << config.status().message();
  ASSERT_EQ(config->dicomweb.size(), 1u);
  EXPECT_EQ(config->dicomweb[0].host, "::1");
  EXPECT_EQ(config->dicomweb[0].port, 8443);
  EXPECT_EQ(config->dicomweb[0].path, "/dicom-web/studies");
  EXPECT_EQ(config->dicomweb[0].token, "abc");
  EXPECT_THAT(mistakes(kBase + "dicomweb:\n  web: {url: \"http://a/\", token_file: token}\n"),
              HasSubstr("dicomweb.web.token_file: is given, but the url begins with http:"));
  EXPECT_THAT(mistakes(kBase + "dicomweb:\n  web: {answer_timeout: 1 s}\n"), HasSubstr("dicomweb.web.url: is missing"));
}

TEST_F(NodeConfigTest, MistakesInMessagesAreNamed) {
  const auto of = [this](const std::string& what) { return mistakes(kBase + "messages:\n  ris: {" + what + "}\n"); };
  EXPECT_THAT(of("host: ris, port: 1"), HasSubstr("messages.ris.kind: is missing"));
  EXPECT_THAT(of("kind: oru, port: 1"), HasSubstr("messages.ris.host: is missing"));
  const std::string oru = "kind: oru, host: ris, port: 1, ";
  EXPECT_THAT(of(oru + "fields: {OBX-1: sex}"), HasSubstr("messages.ris.fields.OBX-1: is no field"));
  EXPECT_THAT(of(oru + "fields: {MSH-10: sex}"), HasSubstr("cannot be set: it is fixed"));
  EXPECT_THAT(of(oru + "fields: {OBR-18: accession}"),
              HasSubstr("'accession' is nothing that a field can be filled with"));
  EXPECT_THAT(of(oru + "tls: {ca_file: nowhere.pem}"), HasSubstr("which does not exist"));
  EXPECT_THAT(of("kind: webhook"), HasSubstr("messages.ris.url: is missing"));
  EXPECT_THAT(of("kind: webhook, url: ris.example"), HasSubstr("http://host:port/path, or https, is wanted"));
  EXPECT_THAT(of("kind: webhook, url: \"http://a:99999/\""), HasSubstr("is wanted"));
  write("short", "short\n");
  EXPECT_THAT(of("kind: webhook, url: \"http://a/\", secret_file: short"), HasSubstr("fewer than 16 characters"));
  EXPECT_THAT(mistakes(kBase + "messages:\n  pacs: {kind: oru, host: a, port: 1}\n"),
              HasSubstr("has the name of a peer"));
}

}  // namespace
}  // namespace node::config
