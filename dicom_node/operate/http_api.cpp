#include "dicom_node/operate/http_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "dicom_node/audit/audit.h"
#include "dicom_node/operate/changes.h"
#include "dicom_node/operate/http_query.h"
#include "dicom_node/operate/instance_json.h"
#include "dicom_node/operate/listing_json.h"
#include "dicom_node/operate/now_json.h"
#include "dicom_node/operate/page_files.h"
#include "dicom_node/operate/pictures.h"
#include "dicom_node/operate/route_json.h"

namespace node::operate {
namespace {

constexpr std::size_t kTargetBytesMax = 2048;
constexpr int kStudyDeliveriesMax = 1000;
constexpr const char* kFromThePage =
    "a change comes from the page itself (Origin or Sec-Fetch-Site), or from a program with the bearer token; a proxy "
    "in between hands on Origin, Sec-Fetch-Site and the Host, which http.names has then";

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

// POST /api/studies/{uid}/retry, /api/deliveries/{id}/release, /api/deliveries/{id}/give-up, /api/losses/accept.
bool is_change(const std::vector<std::string_view>& parts) {
  if (parts.size() == 3) return parts[0] == "api" && parts[1] == "losses" && parts[2] == "accept";
  if (parts.size() != 4 || parts[0] != "api") return false;
  return (parts[1] == "studies" && parts[3] == "retry") ||
         (parts[1] == "deliveries" && (parts[3] == "release" || parts[3] == "give-up"));
}

bool is_page(std::string_view path) { return path == "/" || path == "/try"; }

// A session comes with whatever a browser sends, so its browser must say that the page itself asks.
bool may_come_from_there(const HttpRequest& request, const std::optional<Caller>& who) {
  return who && who->by_session ? HttpAccess::is_same_origin(request) : !HttpAccess::is_from_elsewhere(request);
}

// What the login page is made of: nothing of the node.
bool shows_before_login(std::string_view path) {
  constexpr std::string_view kFiles[] = {"/login.html", "/login.js",  "/api.js",  "/theme.js",
                                         "/dom.js",     "/style.css", "/icon.svg"};
  return std::find(std::begin(kFiles), std::end(kFiles), path) != std::end(kFiles);
}

audit::Party party(const std::optional<Caller>& who, const HttpRequest& request) {
  return {who ? who->name : kNobodyName, std::string(request.host), who ? who->for_user : ""};
}

// {"studies": [...], "next": "/api/studies?before=4711&limit=100"}
HttpAnswer page_json(std::string_view name, const std::vector<std::string>& entries, const std::string& next) {
  const std::string rest = next.empty() ? "" : ",\"next\":" + text_json(next);
  return {200, fmt::format("{{\"{}\":[{}]{}}}\n", name, fmt::join(entries, ","), rest)};
}

}  // namespace

HttpApi::HttpApi(NodeView view, std::shared_ptr<HttpAccess> access)
    : view_(std::move(view)), access_(std::move(access)) {}

bool HttpApi::takes_long(std::string_view target) { return target.substr(0, target.find('?')).ends_with(".png"); }

bool HttpApi::takes_image(std::string_view method, std::string_view target) const {
  return view_.try_image && method == "POST" && target.substr(0, target.find('?')) == "/api/try";
}

HttpAnswer HttpApi::answer(const HttpRequest& request) const {
  if (request.target.size() > kTargetBytesMax) return refusal(414, "the address is too long");
  const std::size_t question = std::min(request.target.find('?'), request.target.size());
  const std::string_view path = request.target.substr(0, question);
  const std::string_view query = request.target.substr(std::min(question + 1, request.target.size()));
  const bool reads = request.method == "GET" || request.method == "HEAD";

  if (path == "/healthz") return reads ? plain(200, "ok\n") : wrong_method("GET, HEAD");
  if (path == "/login") return request.method == "POST" ? access_->log_in(request) : wrong_method("POST");
  if (path == "/logout") return request.method == "POST" ? access_->log_out(request) : wrong_method("POST");
  if (path == "/api/session") return reads ? access_->session(request) : wrong_method("GET, HEAD");
  const std::optional<Caller> who = access_->caller(request);
  if (access_->needed_by_all() && !who) {
    if (!reads || !request.authorization.empty()) return access_->refusal(request);
    const PageFile* file = find_page_file(is_page(path) ? "/login.html" : path);
    if (file == nullptr || !shows_before_login(file->path)) return access_->refusal(request);
    return {200, std::string(file->content), std::string(file->type)};
  }
  const std::vector<std::string_view> parts = split(path.substr(path.starts_with('/') ? 1 : 0), '/');
  if (is_change(parts)) {
    HttpAnswer answer = change(request, who, parts, query);
    if (answer.status == 202) audit::changed(party(who, request), std::string(path));
    return answer;
  }
  if (path == "/api/try" && view_.try_image) {
    if (!may_come_from_there(request, who)) return refusal(403, kFromThePage);
    return try_image(request, query);
  }
  HttpAnswer answer = read(path, query);
  if (reads && answer.status == 200 && parts.size() > 1 && parts[0] == "api") record_look(request, who, parts);
  return reads || answer.status == 404 ? answer : wrong_method("GET, HEAD");
}

bool HttpApi::may_follow(const HttpRequest& request) const {
  return !access_->needed_by_all() || access_->caller(request).has_value();
}

// For the audit trail.
void HttpApi::record_look(const HttpRequest& request, const std::optional<Caller>& caller,
                          const std::vector<std::string_view>& parts) const {
  const audit::Party who = party(caller, request);
  const auto is_new = [&](const std::string& what) {
    return looks_->is_new(fmt::format("{}\n{}\n{}\n{}", who.name, who.for_user, who.host, what),
                          std::chrono::steady_clock::now());
  };
  const auto look = [&](const std::string& study_uid) {
    if (is_new(study_uid)) audit::looked(who, study_uid);
  };
  if (parts.size() == 2 && (parts[1] == "studies" || parts[1] == "deliveries" || parts[1] == "losses")) {
    if (is_new(std::string(request.target))) audit::asked(who, std::string(request.target));
  } else if (parts.size() > 2 && parts[1] == "studies") {
    look(std::string(parts[2]));
  } else if (parts.size() > 2 && parts[1] == "instances") {
    const auto uid = storage::Uid::parse(std::string(parts[2]));
    const auto instance = uid.ok() ? view_.store->show_instance(*uid) : uid.status();
    if (instance.ok()) look(instance->study_instance_uid.str());
  }
}

HttpAnswer HttpApi::change(const HttpRequest& request, const std::optional<Caller>& who,
                           const std::vector<std::string_view>& parts, std::string_view query) const {
  if (request.method != "POST") return wrong_method("POST");
  if (!access_->has_tokens()) return refusal(403, "http.token_file is not set, so nothing can be changed over HTTP");
  if (!who) return access_->refusal(request);
  if (!may_come_from_there(request, who)) return refusal(403, kFromThePage);
  if (parts.size() == 3) return losses(/*accept=*/true);
  return parts[3] == "retry" ? retry_study(parts[2], query) : change_delivery(parts[2], parts[3] == "release");
}

HttpAnswer HttpApi::read(std::string_view path, std::string_view query) const {
  if (path == "/readyz") return readiness();
  if (path == "/metrics") return {200, metrics_text(view_.stats()), kMetricsType};
  if (path == "/api/studies") return list_studies(query);
  if (path == "/api/deliveries") return list_deliveries(query);
  if (path == "/api/losses") return losses(/*accept=*/false);
  if (path == "/api/models") return page_json("models", view_.models, "");
  if (path == "/api/routes") return routes();
  if (path == "/api/now") return {200, now_json(view_.title, view_.ready(), view_.stats(), *flow_) + "\n"};
  if (path == "/api/events") {
    return {200, "event: now\ndata: " + now_json(view_.title, view_.ready(), view_.stats(), *flow_) + "\n\n",
            kEventsType};
  }
  const std::vector<std::string_view> parts = split(path.substr(path.starts_with('/') ? 1 : 0), '/');
  if (parts.size() > 2 && parts[0] == "api") {
    if (parts[1] == "studies" && parts.size() == 3) return study(parts[2]);
    if (parts[1] == "studies" && parts.size() == 4 && parts[3] == "route") return explain(parts[2]);
    if (parts[1] == "instances" && parts.size() == 4 && (parts[3] == "preview.png" || parts[3] == "overlay.png")) {
      return picture(parts[2], parts[3] == "overlay.png", query);
    }
  }
  const bool tries = path == "/try" || path == "/try.js";
  if (tries && !view_.try_image) return refusal(404, "there is no try page: http.try_page is not set");
  if (const PageFile* file = find_page_file(path)) return {200, std::string(file->content), std::string(file->type)};
  return refusal(404, "no such page");
}

HttpAnswer HttpApi::try_image(const HttpRequest& request, std::string_view query) const {
  if (request.method != "POST") return wrong_method("POST");
  const auto body_part = parse_body_part_query(query);
  if (!body_part.ok()) return refusal(body_part.status());
  if (request.body.empty()) return refusal(400, "no file: the body is the bytes of a DICOM, PNG or JPEG file");
  auto found = view_.try_image(request.body, *body_part);
  if (found.ok()) return {200, std::move(found).value() + "\n"};
  // What cannot be read is the file's fault.
  const bool later = found.status().code() == StatusCode::kUnavailable;
  HttpAnswer refused = refusal(later ? 503 : 422, found.status().message());
  if (later) refused.refused = "more images to try than are analysed at once";
  return refused;
}

HttpAnswer HttpApi::routes() const {
  std::vector<std::string> entries;
  if (view_.router) {
    for (const config::RouteRule& rule : view_.router().routes()) entries.push_back(rule_json(rule));
  }
  return page_json("routes", entries, "");
}

HttpAnswer HttpApi::readiness() const {
  const Status ready = view_.ready();
  return ready.ok() ? plain(200, "ready\n") : plain(503, ready.message() + "\n");
}

std::string HttpApi::next_event(std::int64_t& seen_version) const {
  if (!view_.stats) return "";
  const NodeStats stats = view_.stats();
  flow_->observe(std::chrono::steady_clock::now(), flow_of(stats));
  const auto version = view_.store->data_version();
  const bool changed = version.ok() && std::exchange(seen_version, *version) != *version;
  return fmt::format("event: {}\ndata: {}\n\n", changed ? "change" : "now",
                     now_json(view_.title, view_.ready(), stats, *flow_));
}

HttpAnswer HttpApi::list_studies(std::string_view query) const {
  Result<storage::StudyFilter> filter = parse_study_query(query);
  if (!filter.ok()) return refusal(filter.status());
  const int limit = filter->limit++;  // One more, to see whether there is another page.
  auto found = view_.store->list_studies(*filter);
  if (!found.ok()) return refusal(found.status());
  std::string next;
  if (std::ssize(*found) > limit) {
    found->pop_back();
    next = next_page("/api/studies", query, found->back().key, limit);
  }
  std::vector<std::string> entries;
  for (const storage::StudySummary& study : *found) entries.push_back(study_json(study));
  return page_json("studies", entries, next);
}

HttpAnswer HttpApi::list_deliveries(std::string_view query) const {
  Result<storage::DeliveryFilter> filter = parse_delivery_query(query);
  if (!filter.ok()) return refusal(filter.status());
  const int limit = filter->limit++;
  auto found = view_.store->list_deliveries(*filter);
  if (!found.ok()) return refusal(found.status());
  std::string next;
  if (std::ssize(*found) > limit) {
    found->pop_back();
    next = next_page("/api/deliveries", query, found->back().id, limit);
  }
  std::vector<std::string> entries;
  for (const storage::DeliveryRecord& delivery : *found) entries.push_back(delivery_json(delivery));
  return page_json("deliveries", entries, next);
}

HttpAnswer HttpApi::study(std::string_view uid_text) const {
  const auto uid = storage::Uid::parse(std::string(uid_text));
  if (!uid.ok()) return refusal(400, "no DICOM UID");
  const auto study = view_.store->find_study(*uid);
  if (!study.ok()) return refusal(study.status());
  const auto instances = view_.store->list_instances(*uid);
  if (!instances.ok()) return refusal(instances.status());
  const auto sent = view_.store->list_deliveries({.study = *uid, .limit = kStudyDeliveriesMax});
  if (!sent.ok()) return refusal(sent.status());
  std::vector<std::string> entries, deliveries;
  for (const storage::InstanceRecord& instance : *instances) {
    entries.push_back(instance_json(instance, view_.tasks, view_.region_head, {}));
  }
  for (const storage::DeliveryRecord& delivery : *sent) deliveries.push_back(delivery_json(delivery));
  return {200, fmt::format("{{\"study\":{},\"instances\":[{}],\"deliveries\":[{}]}}\n", study_json(*study),
                           fmt::join(entries, ","), fmt::join(deliveries, ","))};
}

// As the rules in force would have it now, which may be others than when the image came.
HttpAnswer HttpApi::explain(std::string_view study_uid) const {
  const auto uid = storage::Uid::parse(std::string(study_uid));
  if (!uid.ok()) return refusal(400, "no DICOM UID");
  const auto instances = view_.store->list_instances(*uid);
  if (!instances.ok()) return refusal(instances.status());
  if (instances->empty()) return refusal(404, "study " + uid->str());
  if (view_.spool == nullptr || !view_.router) return refusal(404, "no routes here");
  const route::Router router = view_.router();
  std::map<std::string, std::string> images;  // By SOP Instance UID: of several versions the last.
  for (const storage::InstanceRecord& instance : *instances) {
    const std::string sop = instance.sop_instance_uid.str();
    const auto header = instance.purged_at
                            ? Result<object::InstanceHeader>(not_found("the original was deleted by retention"))
                            : object::read_instance_header(view_.spool->path(instance.file.key));
    images[sop] =
        header.ok()
            ? route_json("", *header, router.route(*header, instance.peer), router.explain(*header, instance.peer))
            : fmt::format("{{\"sop_instance_uid\":\"{}\",\"error\":{}}}", sop, text_json(header.status().message()));
  }
  std::vector<std::string> entries;
  for (auto& [sop, entry] : images) entries.push_back(std::move(entry));
  return page_json("images", entries, "");
}

HttpAnswer HttpApi::picture(std::string_view uid_text, bool overlay, std::string_view query) const {
  const auto uid = storage::Uid::parse(std::string(uid_text));
  if (!uid.ok()) return refusal(400, "no DICOM UID");
  const auto frame = parse_frame_query(query);
  if (!frame.ok()) return refusal(frame.status());
  const auto instance = view_.store->show_instance(*uid);
  if (!instance.ok()) return refusal(instance.status());
  if (view_.spool == nullptr) return refusal(404, "no pictures here");
  auto png = overlay ? overlay_png(*instance, *frame, view_.tasks, *view_.spool)
                     : preview_png(*instance, *frame, *view_.spool);
  if (png.ok()) return {200, std::move(png).value(), "image/png"};
  // What cannot be drawn is no fault of the node's.
  return png.status().code() == StatusCode::kNotFound ? refusal(png.status()) : refusal(422, png.status().message());
}

HttpAnswer HttpApi::retry_study(std::string_view uid_text, std::string_view query) const {
  const auto uid = storage::Uid::parse(std::string(uid_text));
  if (!uid.ok()) return refusal(400, "no DICOM UID");
  const auto revision = parse_revision_query(query);
  if (!revision.ok()) return refusal(revision.status());
  const auto done = operate::retry_study(*view_.store, *uid, *revision);
  return done.ok() ? HttpAnswer{202, *done + "\n"} : refusal(done.status());
}

HttpAnswer HttpApi::losses(bool accept) const {
  if (view_.spool == nullptr) return refusal(404, "no files here");
  const auto found = review_losses(*view_.store, *view_.spool, accept);
  return found.ok() ? HttpAnswer{accept ? 202 : 200, *found + "\n"} : refusal(found.status());
}

HttpAnswer HttpApi::change_delivery(std::string_view id_text, bool releases) const {
  const auto id = parse_delivery_id(id_text);
  if (!id.ok()) return refusal(id.status());
  const auto done = releases ? release_delivery(*view_.store, *id) : give_up_delivery(*view_.store, *id);
  if (done.status().code() == StatusCode::kInvalidArgument) return refusal(409, done.status().message());
  return done.ok() ? HttpAnswer{202, *done + "\n"} : refusal(done.status());
}

}  // namespace node::operate
