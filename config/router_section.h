// What of node.yaml is the router's: body_parts, routes, forward and region_head, with what other sections share of it.
//
// Guarantee: every mistake is noted with its place; a name refers to something that exists.
// Threads:   one at a time.
#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/config_section.h"
#include "config/router_config.h"
#include "config/task_config.h"

namespace node::config {

struct Context {  // Of one reading of a file.
  Mistakes& mistakes;
  std::filesystem::path folder;  // Of the configuration file.

  std::string resolve(const std::string& path) const {
    const std::filesystem::path given(path);
    return given.is_absolute() ? path : (folder / given).lexically_normal().string();
  }
};

// What a route may name, and what is wrong with a name, or nothing.
struct Names {
  Words tasks, peers, destinations, body_parts;
  Words messages;  // Destinations of results alone.
  std::vector<TaskConfig> task_configs;
  std::map<std::string, std::string> waits_for;  // Task -> the task of its `when`.

  std::string task_problem(const std::string& name) const {
    if (std::find(tasks.begin(), tasks.end(), name) != tasks.end()) return "";
    return "no task named " + in_quotes(name) + suggestion(name, tasks);
  }
  std::string peer_problem(const std::string& name) const {
    if (std::find(peers.begin(), peers.end(), name) != peers.end()) return "";
    return "no peer named " + in_quotes(name) + suggestion(name, peers);
  }
  std::string destination_problem(const std::string& name) const {
    if (std::find(messages.begin(), messages.end(), name) != messages.end()) {
      return in_quotes(name) + " is one of messages: it gets no objects";
    }
    if (std::find(destinations.begin(), destinations.end(), name) != destinations.end()) return "";
    const std::string unknown = peer_problem(name);
    if (!unknown.empty()) return unknown;
    return "peer " + in_quotes(name) + " has no host and port, so nothing can be sent to it";
  }
  std::string results_problem(const std::string& name) const {
    if (std::find(messages.begin(), messages.end(), name) != messages.end()) return "";
    return destination_problem(name);
  }
  std::string body_part_problem(const std::string& name) const {
    if (std::binary_search(body_parts.begin(), body_parts.end(), upper(name))) return "";
    const std::string similar = suggestion(upper(name), body_parts);
    return "no body part " + in_quotes(name) +
           (similar.empty() ? "; a term of PS3.16 Annex L, or one of your own under body_parts, is wanted" : similar);
  }
};

std::string uid_problem(const std::string& text);
std::string laterality_problem(const std::string& word);

// years_min and years_max of a group, in whole years, inclusive.
void read_age(Section age, std::optional<int>& years_min, std::optional<int>& years_max);

// The built-in table, with the site's own entries over it.
void read_body_parts(Section& root, const Context& context, BodyPartTable& table);
void read_routes(Section& root, const Names& names, RouterConfig& config);

// Of each task that splits films of both sides the tasks of the halves, and what is urgent of it also of them. Last of
// all: no file names them.
void add_halves(std::vector<TaskConfig>& tasks, RouterConfig& config);

// Each label of the task must be a body part: by its code, else by its name.
void read_region_head(Section section, const std::vector<TaskConfig>& tasks, const BodyPartTable& table,
                      RegionHead& head);

}  // namespace node::config
