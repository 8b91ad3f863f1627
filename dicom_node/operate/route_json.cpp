#include "dicom_node/operate/route_json.h"

#include <nlohmann/json.hpp>

namespace node::operate {
namespace {

using Json = nlohmann::ordered_json;

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json match_json(const config::RouteMatch& match) {
  Json json = Json::object();
  const auto put = [&](const char* key, const std::vector<std::string>& values) {
    if (!values.empty()) json[key] = values;
  };
  put("modality", match.modality);
  put("sop_class", match.sop_class);
  put("body_part", match.body_part);
  put("laterality", match.laterality);
  put("view", match.view);
  put("sex", match.sex);
  put("from", match.from);
  put("ae_title", match.ae_title);
  put("station", match.station);
  put("institution", match.institution);
  put("procedure_code", match.procedure_code);
  put("description", match.description);
  if (match.age_years_min) json["age_years_min"] = *match.age_years_min;
  if (match.age_years_max) json["age_years_max"] = *match.age_years_max;
  return json;
}

}  // namespace

std::string route_json(const std::string& path, const object::InstanceHeader& header,
                       const route::RouteDecision& decision, const route::Explanation& explanation) {
  Json line = Json::object();
  if (!path.empty()) line["path"] = path;
  line.update({{"sop_instance_uid", header.sop_instance_uid},
               {"rule", decision.rule},
               {"body_part", decision.body_part},
               {"body_part_from", decision.body_part_evidence},
               {"tasks", decision.tasks},
               {"reason", decision.reason},
               {"priority", decision.priority},
               {"send_to", decision.results_to},
               {"shadow", decision.shadow},
               {"forward_to", decision.forward_to},
               {"forward_after_results", decision.forward_after_results},
               {"pixels_decide", !decision.pending.empty()},
               {"sources", Json::array()},
               {"rules", Json::array()}});
  for (const route::SourceOutcome& source : explanation.sources) {
    line["sources"].push_back({{"attribute", source.attribute}, {"says", source.says}, {"body_part", source.term}});
  }
  for (const route::RuleOutcome& outcome : explanation.rules) {
    line["rules"].push_back({{"rule", outcome.rule}, {"matched", outcome.matched}, {"why_not", outcome.why_not}});
  }
  return dump(line);
}

std::string rule_json(const config::RouteRule& rule) {
  return dump({{"name", rule.name},
               {"match", match_json(rule.match)},
               {"tasks", rule.tasks},
               {"priority", rule.priority},
               {"send_to", rule.send_to},
               {"shadow", rule.shadow}});
}

}  // namespace node::operate
