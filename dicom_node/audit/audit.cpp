#include "dicom_node/audit/audit.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <string_view>
#include <utility>

#include "config/base/mutex.h"

namespace node::audit {
namespace {

struct Sink {
  std::string source;
  std::function<void(std::string)> take;
};

Mutex mutex;
std::shared_ptr<const Sink> in_force GUARDED_BY(mutex);

std::shared_ptr<const Sink> sink() {
  MutexLock lock(mutex);
  return in_force;
}

// What stands between quotes. What XML 1.0 has no place for, or is no ASCII, becomes '?': a peer may have written it.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 1024)) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c < ' ' || c > '~' ? '?' : c;
    }
  }
  return out;
}

struct Code {
  const char *value, *meaning;
  const char* system = "DCM";
};

std::string code(const char* element, const Code& of) {
  return fmt::format("<{} csd-code=\"{}\" codeSystemName=\"{}\" originalText=\"{}\"/>", element, of.value, of.system,
                     of.meaning);
}

constexpr Code kApplication{"110150", "Application"}, kSource{"110153", "Source Role ID"},
    kDestination{"110152", "Destination Role ID"};
constexpr Code kLogin{"110122", "Login"}, kLogout{"110123", "Logout"};

std::string participant(const Party& party, bool requestor, const Code* role) {
  std::string network;
  if (!party.host.empty()) {
    network = fmt::format(" NetworkAccessPointID=\"{}\" NetworkAccessPointTypeCode=\"2\"", escaped(party.host));
  }
  const std::string claimed =
      party.for_user.empty() ? "" : fmt::format(" UserName=\"{} (claimed)\"", escaped(party.for_user));
  return fmt::format("<ActiveParticipant UserID=\"{}\"{} UserIsRequestor=\"{}\"{}>{}</ActiveParticipant>",
                     escaped(party.name), claimed, requestor, network,
                     role != nullptr ? code("RoleIDCode", *role) : "");
}

// "110180": a study; else whatever `type` says.
std::string object(const std::string& id, const Code& type, const std::string& more, int role = 3) {
  return fmt::format(
      "<ParticipantObjectIdentification ParticipantObjectID=\"{}\" ParticipantObjectTypeCode=\"2\" "
      "ParticipantObjectTypeCodeRole=\"{}\">{}{}</ParticipantObjectIdentification>",
      escaped(id), role, code("ParticipantObjectIDTypeCode", type), more);
}

std::string objects(const Studies& studies) {
  std::string all;
  for (const auto& [uid, count] : studies) {
    all += object(uid, {"110180", "Study Instance UID"},
                  fmt::format("<ParticipantObjectDescription><SOPClass NumberOfInstances=\"{}\"/>"
                              "</ParticipantObjectDescription>",
                              count));
  }
  return all;
}

struct Event {
  Code id;
  const char* action;
  int outcome = 0;  // 0: success, 4: minor failure, 8: serious failure.
  const Code* type = nullptr;
};

// `participants`: of the node by its name.
template <typename Participants>
void write(const Event& event, const Participants& participants, const std::string& of = {}) {
  const auto to = sink();
  if (!to) return;
  const auto now = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  const auto seconds = std::chrono::floor<std::chrono::seconds>(now);
  to->take(fmt::format(
      "<AuditMessage><EventIdentification EventActionCode=\"{}\" EventDateTime=\"{:%Y-%m-%dT%H:%M:%S}.{:03}Z\" "
      "EventOutcomeIndicator=\"{}\">{}{}</EventIdentification>{}<AuditSourceIdentification AuditSourceID=\"{}\"/>{}"
      "</AuditMessage>",
      event.action, fmt::gmtime(std::chrono::system_clock::to_time_t(seconds)), (now - seconds).count(), event.outcome,
      code("EventID", event.id), event.type != nullptr ? code("EventTypeCode", *event.type) : "",
      participants(Party{to->source, {}}), escaped(to->source), of));
}

void transferred(const Event& event, const Party* from, const Party* to, const Studies& studies) {
  write(
      event,
      [&](const Party& self) {
        return participant(from != nullptr ? *from : self, true, &kSource) +
               participant(to != nullptr ? *to : self, false, &kDestination);
      },
      objects(studies));
}

void by(const Event& event, const Party& who, const std::string& of = {}) {
  write(
      event, [&](const Party& self) { return participant(who, true, nullptr) + participant(self, false, nullptr); },
      of);
}

std::string base64(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += 3) {
    unsigned int bits = 0;
    for (std::size_t j = 0; j < 3; ++j)
      bits = bits << 8 | (i + j < text.size() ? static_cast<unsigned char>(text[i + j]) : 0);
    for (std::size_t j = 0; j < 4; ++j) out += i + j <= text.size() ? kDigits[bits >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

}  // namespace

void set_sink(const std::string& source, std::function<void(std::string)> take) {
  MutexLock lock(mutex);
  in_force = take ? std::make_shared<const Sink>(Sink{source, std::move(take)}) : nullptr;
}

void application(bool starts) {
  static constexpr Code kStart{"110120", "Application Start"}, kStop{"110121", "Application Stop"};
  write({{"110100", "Application Activity"}, "E", 0, starts ? &kStart : &kStop},
        [](const Party& self) { return participant(self, false, &kApplication); });
}

void received(const Party& from, const Studies& studies) {
  transferred({{"110104", "DICOM Instances Transferred"}, "C"}, &from, nullptr, studies);
}

void sending(const Party& to, const Studies& studies) {
  transferred({{"110102", "Begin Transferring DICOM Instances"}, "E"}, nullptr, &to, studies);
}

void sent(const Party& to, const Studies& studies, bool good) {
  transferred({{"110104", "DICOM Instances Transferred"}, "R", good ? 0 : 4}, nullptr, &to, studies);
}

void looked(const Party& who, const std::string& uid) {
  by({{"110103", "DICOM Instances Accessed"}, "R"}, who, object(uid, {"110180", "Study Instance UID"}, ""));
}

void changed(const Party& who, const std::string& what) {
  by({{"110103", "DICOM Instances Accessed"}, "U"}, who, object(what, {"12", "URI", "RFC-3881"}, ""));
}

void asked(const Party& who, const std::string& query) {
  by({{"110112", "Query"}, "E"}, who,
     object(query.substr(0, query.find('?')), {"12", "URI", "RFC-3881"},
            fmt::format("<ParticipantObjectQuery>{}</ParticipantObjectQuery>", base64(query))));
}

void refused(const Party& who, const std::string& why) {
  static constexpr Code kNode{"110126", "Node Authentication"};
  by({{"110113", "Security Alert"}, "E", 8, &kNode}, who, object(why, {"110182", "Node ID"}, "", /*role=*/13));
}

void refused_login(const Party& who) { by({{"110114", "User Authentication"}, "E", 4, &kLogin}, who); }
void logged_in(const Party& who) { by({{"110114", "User Authentication"}, "E", 0, &kLogin}, who); }
void logged_out(const Party& who) { by({{"110114", "User Authentication"}, "E", 0, &kLogout}, who); }

void configured(bool taken) {
  static constexpr Code kConfiguration{"110131", "Software Configuration"};
  by({{"110113", "Security Alert"}, "E", taken ? 0 : 4, &kConfiguration}, {"SIGHUP", ""});
}

}  // namespace node::audit
