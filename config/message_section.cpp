#include "config/message_section.h"

#include <algorithm>
#include <charconv>
#include <regex>

#include "config/config_tree.h"
#include "config/tls_section.h"

namespace node::config {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

std::string field_problem(const std::string& field) {
  static const std::regex kField("(MSH|PID|PV1|ORC|OBR)-([1-9][0-9]?)([.][1-9])?");
  std::smatch parts;
  if (!std::regex_match(field, parts, kField)) {
    return "is no field; one such as OBR-18 or PID-3.4 of MSH, PID, PV1, ORC or OBR is wanted";
  }
  static constexpr std::string_view kOurs[] = {"MSH-1", "MSH-2", "MSH-9", "MSH-10", "MSH-12", "MSH-18"};
  const std::string whole = parts[1].str() + "-" + parts[2].str();
  return std::find(std::begin(kOurs), std::end(kOurs), whole) == std::end(kOurs) ? "" : "cannot be set: it is fixed";
}

std::string source_problem(const std::string& source) {
  if (source.size() >= 2 && source.front() == '\'' && source.back() == '\'') return "";
  Words known(kHl7Sources.begin(), kHl7Sources.end());
  for (const std::string& word : split(source, "|")) {
    if (std::find(known.begin(), known.end(), trimmed(word)) != known.end()) continue;
    return in_quotes(trimmed(word)) + " is nothing that a field can be filled with" + suggestion(trimmed(word), known) +
           "; a text stands in quotes of its own: \"'TEXT'\"; known are " + join(known, ", ");
  }
  return "";
}

void read_oru(Section& section, MessageConfig& config) {
  section.require("host", "where the RIS, or the engine before it, listens");
  section.require("port", "its MLLP port");
  section.text("host", config.host, 255);
  section.integer("port", config.port, 1, 65535);
  section.choice(
      "characters", config.characters,
      {{"utf-8", Hl7Characters::kUtf8}, {"latin-1", Hl7Characters::kLatin1}, {"ascii", Hl7Characters::kAscii}});
  section.choice("study_uid_type", config.study_uid_as_text, {{"HD", false}, {"ST", true}});
  const Value* fields = section.get("fields");
  if (fields == nullptr) return;
  Section mapping = section.section("fields");
  if (fields->kind != Value::Kind::kMap) return;
  for (const auto& [field, value] : fields->entries) {
    if (const std::string problem = field_problem(field); !problem.empty()) mapping.wrong(field, problem);
    const std::string* source = mapping.scalar(field, "what fills it");
    if (source == nullptr) continue;
    if (const std::string problem = source_problem(*source); !problem.empty()) {
      mapping.wrong(field, problem);
    } else {
      config.fields[field] = *source;
    }
  }
}

// Where nothing else than a URL says where to connect to.
template <typename Config>
void read_url(Section& section, Config& config, const std::string& wanted) {
  section.require("url", wanted);
  std::string url;
  if (!section.text("url", url)) return;
  static const std::regex kUrl("(https?)://([A-Za-z0-9.-]+|\\[[0-9A-Fa-f:]+\\])(:([0-9]{1,5}))?(/[!-~]*)?");
  std::smatch parts;
  int port = 0;
  if (std::regex_match(url, parts, kUrl)) {
    config.tls.on = parts[1] == "https";
    config.host = parts[2];
    if (config.host.front() == '[') config.host = config.host.substr(1, config.host.size() - 2);
    port = parts[4].matched ? std::stoi(parts[4]) : config.tls.on ? 443 : 80;
    config.path = parts[5].matched ? parts[5].str() : "/";
  }
  if (port < 1 || port > 65535) {
    section.wrong("url", "is " + in_quotes(url) + "; http://host:port/path, or https, is wanted, without spaces");
  }
  config.port = static_cast<std::uint16_t>(port);
}

// A file whose one line is a secret.
bool read_secret(Section& section, const Context& context, const std::string& key, std::string& secret) {
  std::string file;
  if (!section.text(key, file)) return false;
  const auto text = read_text_file(context.resolve(file));
  if (!text.ok()) {
    section.wrong(key, text.status().message());
    return false;
  }
  secret = text->substr(0, text->find_last_not_of(" \t\r\n") + 1);
  return true;
}

void read_webhook(Section& section, const Context& context, MessageConfig& config) {
  read_url(section, config, "where the JSON is posted: http://host:port/path, or https");
  if (read_secret(section, context, "secret_file", config.secret) && config.secret.size() < 16) {
    section.wrong("secret_file", "holds fewer than 16 characters; a key of 32 is good");
  }
}

// With a URL, http or https says whether there is TLS; `tls` says more of it.
void read_tls_of_url(Section& section, const Context& context, TlsConfig& tls) {
  const bool on = tls.on;
  Section more = section.section("tls");
  read_tls(more, context, tls);
  if (!on && tls.on) section.wrong("tls", "is given, but the url begins with http:; https: is wanted");
}

}  // namespace

void read_messages(Section& root, const Context& context, Names& names, std::vector<MessageConfig>& messages) {
  root.each("messages", [&](const std::string& name, Section& section) {
    MessageConfig config;
    config.name = name;
    if (!names.peer_problem(name).empty()) {
      names.messages.push_back(name);
    } else {
      section.wrong("", "has the name of a peer; both are destinations, so each wants its own");
    }
    section.require("kind", "oru or webhook");
    section.choice("kind", config.kind, {{"oru", MessageKind::kOru}, {"webhook", MessageKind::kWebhook}});
    section.duration("answer_timeout", config.answer_timeout, seconds(1), minutes(10));
    if (section.text("after", config.after)) {
      if (const std::string problem = names.destination_problem(config.after); !problem.empty())
        section.wrong("after", problem);
    }
    if (config.kind == MessageKind::kOru) {
      read_oru(section, config);
      Section tls = section.section("tls");
      read_tls(tls, context, config.tls);
    } else {
      read_webhook(section, context, config);
      read_tls_of_url(section, context, config.tls);
    }
    messages.push_back(std::move(config));
  });
}

void read_dicomweb(Section& root, const Context& context, Names& names, std::vector<DicomWebConfig>& servers) {
  root.each("dicomweb", [&](const std::string& name, Section& section) {
    DicomWebConfig config;
    config.name = name;
    if (!names.peer_problem(name).empty()) {
      names.destinations.push_back(name);
    } else {
      section.wrong("", "has the name of a peer; both are destinations, so each wants its own");
    }
    read_url(section, config, "where objects are stored: https://host/dicom-web/studies");
    if (read_secret(section, context, "token_file", config.token) && !config.tls.on) {
      section.wrong("token_file",
                    "is given, but the url begins with http:; a token wants https:, else everybody reads it");
    }
    read_tls_of_url(section, context, config.tls);
    section.duration("answer_timeout", config.answer_timeout, seconds(1), minutes(10));
    servers.push_back(std::move(config));
  });
}

}  // namespace node::config
