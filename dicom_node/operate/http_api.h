// HttpApi: the paths of the HTTP surface and what each answers; knows no socket.
//
// Guarantee: what a client sends is checked here before anything is asked of the store; who may is
//            HttpAccess's to say: a POST changes nothing without a token or the session of a login.
// Threads:   any; answer() may wait for the store, and where takes_long() says so for the loading of an image.
// Source:    README.md, "The HTTP API".
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/status.h"
#include "config/router_config.h"
#include "config/task_config.h"
#include "dicom_node/operate/http_access.h"
#include "dicom_node/operate/http_message.h"
#include "dicom_node/operate/metrics.h"
#include "dicom_node/operate/recent_flow.h"
#include "dicom_node/operate/recent_looks.h"
#include "dicom_node/route/router.h"
#include "storage/spool.h"
#include "storage/study_store.h"

namespace node::operate {

// What the pages show, handed in so that the server knows no stage.
struct NodeView {
  std::function<Status()> ready;       // OK, or the reason why the node takes no images or makes no results.
  std::function<NodeStats()> stats{};  // For /metrics.
  storage::StudyStore* store = nullptr;
  const storage::Spool* spool = nullptr;    // For pictures and explanations; null: there are none.
  std::function<route::Router()> router{};  // The one in force.
  std::string title;                        // "SKELEX on port 11112"
  std::string version;
  std::vector<config::TaskConfig> tasks{};  // For the levels and labels of findings.
  config::RegionHead region_head{};         // Held against what the header says of the body part.
  std::vector<std::string> models{};        // model_json() of each.
  // TryImage::analyse(): of the bytes of a file and what it shows; empty: there is no try page.
  std::function<Result<std::string>(std::string_view, const std::string&)> try_image{};
};

inline constexpr const char* kEventsType = "text/event-stream";  // An answer that goes on.

class HttpApi {
 public:
  HttpApi(NodeView view, std::shared_ptr<HttpAccess> access);

  HttpAnswer answer(const HttpRequest& request) const;

  // Whether an answer takes long, because an image is loaded for it.
  static bool takes_long(std::string_view target);
  // Whether what was begun may go on: the events of a session that has ended do not.
  bool may_follow(const HttpRequest& request) const;
  // Whether a request brings an image, and so more than a body usually may be.
  bool takes_image(std::string_view method, std::string_view target) const;

  // An event of `GET /api/events`: "change" if a listing has changed since `seen_version`, else "now". To be called
  // about every second; the last hour's figures come from it. Empty: nothing can be said now.
  std::string next_event(std::int64_t& seen_version) const;

 private:
  const NodeView view_;
  const std::shared_ptr<HttpAccess> access_;
  const std::shared_ptr<RecentLooks> looks_ = std::make_shared<RecentLooks>();
  const std::shared_ptr<RecentFlow> flow_ = std::make_shared<RecentFlow>();

  void record_look(const HttpRequest& request, const std::optional<Caller>& who,
                   const std::vector<std::string_view>& parts) const;
  HttpAnswer read(std::string_view path, std::string_view query) const;
  HttpAnswer change(const HttpRequest& request, const std::optional<Caller>& who,
                    const std::vector<std::string_view>& parts, std::string_view query) const;
  HttpAnswer readiness() const;
  HttpAnswer routes() const;
  HttpAnswer try_image(const HttpRequest& request, std::string_view query) const;
  HttpAnswer list_studies(std::string_view query) const;
  HttpAnswer list_deliveries(std::string_view query) const;
  HttpAnswer study(std::string_view uid) const;
  HttpAnswer explain(std::string_view study_uid) const;
  HttpAnswer picture(std::string_view uid, bool overlay, std::string_view query) const;
  HttpAnswer retry_study(std::string_view uid, std::string_view query) const;
  HttpAnswer losses(bool accept) const;
  HttpAnswer change_delivery(std::string_view id, bool releases) const;
};

}  // namespace node::operate
