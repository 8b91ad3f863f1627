#include "dicom_node/operate/studies_page.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace node::operate {
namespace {

constexpr int kStudiesShown = 200;

std::string escape_html(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string utc(WallTime time) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S}Z",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::time_point(time))));
}

}  // namespace

std::string studies_page(const NodeView& view) {
  const Status ready = view.ready();
  std::string page = fmt::format(
      "<!doctype html><html lang=en><meta charset=utf-8><title>{0}</title><style>body{{font:16px/1.4 sans-serif;"
      "margin:2em;color-scheme:light dark}}table{{border-collapse:collapse}}td,th{{padding:.25em .8em;text-align:left;"
      "border-bottom:1px solid #8888}}td.uid{{font-family:monospace;font-size:.85em}}</style><h1>{0}</h1>"
      "<p>{1} &middot; version {2}</p>",
      escape_html(view.title), ready.ok() ? "Ready" : "<strong>Not ready:</strong> " + escape_html(ready.message()),
      escape_html(view.version));
  auto studies = view.store->list_studies(std::nullopt, 0, kStudiesShown);
  if (!studies.ok()) return page + "<p>The list of studies cannot be read: " + escape_html(studies.status().message());
  page += fmt::format("<h2>Studies, newest first{}</h2>",
                      studies->size() == kStudiesShown ? fmt::format(" (the last {})", kStudiesShown) : "");
  if (studies->empty()) return page + "<p>No image has been received yet.";
  page +=
      "<table><tr><th>Study<th>State<th>Revision<th>Images<th>Analysed<th>Skipped<th>Failed<th>Conflicts"
      "<th>Delivered<th>Due<th>Parked<th>Last image<th>Reason";
  for (const storage::StudySummary& study : *studies) {
    page +=
        fmt::format("<tr><td class=uid>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}",
                    escape_html(study.study_instance_uid), storage::to_string(study.state), study.revision,
                    study.instances, study.analysed, study.skipped, study.failed, study.conflicts,
                    study.deliveries_done, study.deliveries_pending, study.deliveries_parked,
                    utc(study.last_instance_at), escape_html(study.reason.empty() ? study.not_analysed : study.reason));
  }
  return page + "</table>";
}

}  // namespace node::operate
