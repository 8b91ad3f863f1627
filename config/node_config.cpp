#include "config/node_config.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <limits>
#include <map>
#include <regex>
#include <set>
#include <tuple>

#include "config/body_parts_yaml.h"
#include "config/config_section.h"
#include "config/config_tree.h"

namespace node::config {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr double kMiB = 1024.0 * 1024.0;
constexpr double kPiB = kMiB * 1024 * 1024 * 1024;
constexpr double kAnyNumber = std::numeric_limits<double>::max();

struct Context {
  Mistakes& mistakes;
  std::filesystem::path folder;  // Of the configuration file.

  std::string resolve(const std::string& path) const {
    const std::filesystem::path given(path);
    return given.is_absolute() ? path : (folder / given).lexically_normal().string();
  }
};

bool is_address(const std::string& text) {
  in6_addr scratch{};
  return inet_pton(AF_INET, text.c_str(), &scratch) == 1 || inet_pton(AF_INET6, text.c_str(), &scratch) == 1;
}

std::string uid_problem(const std::string& text) {
  static const std::regex kUid("(0|[1-9][0-9]*)([.](0|[1-9][0-9]*))+");
  return text.size() <= 64 && std::regex_match(text, kUid) ? "" : in_quotes(text) + " is no UID";
}

void read_node(Section node, ReceiveConfig& receive) {
  node.ae_title("ae_title", receive.ae_title);
  if (node.text("bind", receive.bind) && !is_address(receive.bind)) {
    node.wrong("bind",
               "is " + in_quotes(receive.bind) + "; an IP address of this machine is wanted, or 0.0.0.0 for all");
  }
  node.integer("port", receive.port, 1, 65535);
  node.integer("associations_max", receive.associations_max, 1, 1000);
  node.integer("associations_per_host_max", receive.associations_per_host_max, 1, 1000);
  node.boolean("accept_unknown", receive.accept_unknown);
  node.boolean("check_hosts", receive.check_hosts);
  node.words("more_sop_classes", receive.more_sop_classes, uid_problem);
  node.words("transfer_syntaxes", receive.transfer_syntaxes, uid_problem);
  node.duration("acse_timeout", receive.acse_timeout, seconds(1), minutes(10));
  node.duration("dimse_timeout", receive.dimse_timeout, seconds(1), hours(1));
  node.duration("message_timeout", receive.message_timeout, seconds(1), hours(24));
  node.duration("stop_grace", receive.stop_grace, seconds(0), minutes(10));
  node.bytes("object_bytes_max", receive.object_bytes_max, kMiB, 64 * 1024 * kMiB);
}

void read_storage(Section storage, const Context& context, StorageConfig& config) {
  storage.require("directory", "the folder of the spool and the database is wanted");
  if (storage.text("directory", config.directory)) config.directory = context.resolve(config.directory);
  storage.bytes("free_bytes_min", config.free_bytes_min, 0, kPiB);
  {
    Section retention = storage.section("retention");
    retention.integer("originals_days", config.originals_days, 0, 36500);
    retention.integer("results_days", config.results_days, 0, 36500);
    config.free_bytes_low = 2 * config.free_bytes_min;
    retention.bytes("free_bytes_low", config.free_bytes_low, 0, 2 * kPiB);
    if (config.free_bytes_low != 0 && config.free_bytes_low < config.free_bytes_min) {
      retention.wrong("free_bytes_low",
                      "is less than storage.free_bytes_min, so images would be refused before "
                      "anything is deleted; more is wanted, or 0 B for never");
    }
  }
  storage.choice("conflict", config.keep_first_on_conflict, {{"refuse", false}, {"keep_first", true}});
  storage.integer("analysis_attempts_max", config.analysis_attempts_max, 1, 100);
  storage.duration("study_open_max", config.study_open_max, seconds(1), hours(24));
}

void read_peers(Section& root, std::vector<PeerConfig>& peers) {
  std::map<std::string, std::string> names;  // AE title -> peer
  root.each("peers", [&](const std::string& name, Section& section) {
    PeerConfig peer;
    peer.name = name;
    section.require("ae_title", "the AE title that it calls and is called by");
    if (section.ae_title("ae_title", peer.ae_title)) {
      const auto [first, fresh] = names.emplace(peer.ae_title, name);
      if (!fresh) section.wrong("ae_title", in_quotes(peer.ae_title) + " is also that of peer " + first->second);
    }
    section.text("host", peer.host, 255);
    section.integer("port", peer.port, 1, 65535);
    if (section.get("port") != nullptr && section.get("host") == nullptr) {
      section.wrong("port", "is given without a host; give both to send to it, or neither");
    }
    section.duration("study_quiet_period", peer.study_quiet_period, milliseconds(100), hours(24));
    section.boolean("whole_study_per_association", peer.whole_study_per_association);
    section.integer("associations_max", peer.associations_max, 1, 1000);
    peers.push_back(std::move(peer));
  });
}

void read_delivery(Section delivery, DeliveryConfig& config) {
  delivery.duration("connect_timeout", config.connect_timeout, seconds(1), minutes(10));
  delivery.duration("dimse_timeout", config.dimse_timeout, seconds(1), hours(1));
  delivery.duration("retry_first", config.retry_first, milliseconds(10), hours(1));
  delivery.duration("retry_max", config.retry_max, milliseconds(10), hours(24));
  if (config.retry_max < config.retry_first) delivery.wrong("retry_max", "is less than retry_first");
  delivery.duration("give_up_after", config.give_up_after, seconds(1), hours(24 * 365));
  delivery.integer("objects_per_association_max", config.objects_per_association_max, 1, 10'000);
}

std::string device_problem(const std::string& device) {
  static const std::regex kDevice("auto|cpu|cuda(:[0-9]{1,2})?");
  return std::regex_match(device, kDevice) ? "" : "is " + in_quotes(device) + "; auto, cpu, cuda or cuda:1 is wanted";
}

void read_models(Section& root, const Context& context, std::vector<ModelConfig>& models) {
  root.each("models", [&](const std::string& name, Section& section) {
    ModelConfig model;
    model.name = name;
    section.require("path", "the folder of a HuggingFace checkpoint is wanted");
    if (section.text("path", model.path)) model.path = context.resolve(model.path);
    section.choice("precision", model.precision,
                   {{"auto", Precision::kAuto}, {"float32", Precision::kFloat32}, {"bfloat16", Precision::kBfloat16}});
    section.words("device", model.devices, device_problem);
    models.push_back(std::move(model));
  });
}

// One number, or two. A softmax names its likeliest label whatever its probability, unless told from where on.
void read_threshold(Section& section, TaskConfig& task) {
  const bool softmax = task.output == OutputKind::kSoftmax;
  if (softmax) task.threshold_doubtful = 0;
  const Value* value = section.get("threshold");
  if (value == nullptr) return;
  if (value->kind == Value::Kind::kScalar) {
    section.number("threshold", task.threshold_certain, 0, 1);
    if (!softmax) task.threshold_doubtful = task.threshold_certain;
    return;
  }
  Section threshold = section.section("threshold");
  if (threshold.broken()) return;
  threshold.require("doubtful", "a probability from 0 to 1");
  threshold.require("certain", "a probability from 0 to 1");
  const bool both = threshold.number("doubtful", task.threshold_doubtful, 0, 1) &&
                    threshold.number("certain", task.threshold_certain, 0, 1);
  if (both && task.threshold_doubtful > task.threshold_certain) {
    threshold.wrong("doubtful", "is above certain; a finding becomes doubtful first, certain later");
  }
}

// One code for each label, each another: two labels under one code would be one finding to whoever reads the report.
void read_label_codes(Section& section, TaskConfig& task) {
  section.codes("label_codes", task.label_codes);
  if (task.label_codes.empty()) return;
  if (task.label_codes.size() != task.labels.size()) {
    return section.wrong("label_codes", "holds " + std::to_string(task.label_codes.size()) + " codes for " +
                                            std::to_string(task.labels.size()) +
                                            " labels; one for each label is wanted");
  }
  std::set<std::pair<std::string, std::string>> seen;
  for (const Code& code : task.label_codes) {
    if (!seen.emplace(code.scheme, code.value).second) {
      section.wrong("label_codes", "holds " + in_quotes(code.value + "|" + code.scheme) + " for two labels");
    }
  }
}

void read_age(Section age, std::optional<int>& years_min, std::optional<int>& years_max) {
  int years = 0;
  if (age.integer("years_min", years, 0, 150)) years_min = years;
  if (age.integer("years_max", years, 0, 150)) years_max = years;
  if (years_min && years_max && *years_min > *years_max) age.wrong("years_min", "is above years_max");
}

TaskConfig read_task(const std::string& name, Section& section, const Context& context, const Words& models) {
  TaskConfig task;
  task.name = name;
  task.origin = section.origin().text();
  section.require("model", "the name of one of models");
  if (section.text("model", task.model) && std::find(models.begin(), models.end(), task.model) == models.end()) {
    section.wrong("model", "no model named " + in_quotes(task.model) + suggestion(task.model, models));
  }
  section.require("output", "sigmoid or softmax or regression or anomaly_map is wanted");
  section.choice("output", task.output,
                 {{"sigmoid", OutputKind::kSigmoid},
                  {"softmax", OutputKind::kSoftmax},
                  {"regression", OutputKind::kRegression},
                  {"anomaly_map", OutputKind::kAnomalyMap}});
  section.code("code", task.code);
  section.words("views", task.views);
  for (std::string& view : task.views) view = upper(view);
  read_age(section.section("age"), task.age_years_min, task.age_years_max);

  const bool anomaly_map = task.output == OutputKind::kAnomalyMap;
  if (anomaly_map) {
    for (const char* key : {"labels", "slice"})
      section.refuse(key, "means nothing for an anomaly_map, which has no logits");
    section.integer("passes", task.passes, 1, 64);
    section.choice("mode", task.mode, {{"partition", MaskMode::kPartition}, {"random", MaskMode::kRandom}});
    if (task.mode == MaskMode::kPartition && task.passes % 4 != 0) {
      section.wrong("passes",
                    "is " + std::to_string(task.passes) +
                        "; a multiple of 4 is wanted for mode partition, which hides every patch equally often");
    }
    section.number("map_scale_max", task.map_scale_max, 1e-9, kAnyNumber);
    if (section.text("calibration", task.calibration)) task.calibration = context.resolve(task.calibration);
  } else {
    for (const char* key : {"passes", "mode", "map_scale_max", "calibration"})
      section.refuse(key, "is for output anomaly_map only");
    section.words("labels", task.labels, [](const std::string& label) {
      return characters(label) > 64 ? in_quotes(label) + " has more than 64 characters" : std::string();
    });
    Section slice = section.section("slice");
    slice.integer("first", task.logits_first, 0, 100'000);
    slice.integer("count", task.logits_count, 1, 100'000);
    const auto count = static_cast<std::size_t>(task.logits_count);
    if (count != 0 && !task.labels.empty() && task.labels.size() != count) {
      slice.wrong("count",
                  "is " + std::to_string(count) + ", but there are " + std::to_string(task.labels.size()) + " labels");
    }
  }
  if (task.output == OutputKind::kSigmoid || task.output == OutputKind::kSoftmax) {
    read_threshold(section, task);
    read_label_codes(section, task);
  } else {
    section.refuse("threshold", "is for output sigmoid and softmax only");
    section.refuse("label_codes", "is for output sigmoid and softmax only; use code");
  }
  const Value* const labels = section.get("labels");  // As written: one given twice is another mistake.
  const bool one_label = labels != nullptr && task.labels.size() == 1 && labels->entries.size() <= 1;
  if (task.output == OutputKind::kSoftmax && (one_label || task.logits_count == 1)) {
    section.wrong("output", "is softmax, which is always 1 for one label; sigmoid is wanted");
  }
  if (task.output == OutputKind::kRegression) {
    section.text("unit", task.unit, 16);
    section.number("scale", task.scale, -kAnyNumber, kAnyNumber);
    if (task.scale == 0) section.wrong("scale", "is 0, which makes every value the same");
    section.number("offset", task.offset, -kAnyNumber, kAnyNumber);
  } else {
    for (const char* key : {"unit", "scale", "offset"}) section.refuse(key, "is for output regression only");
  }
  return task;
}

void read_inference(Section inference, InferenceConfig& config) {
  if (inference.text("device", config.device)) {
    if (const std::string problem = device_problem(config.device); !problem.empty()) inference.wrong("device", problem);
  }
  inference.integer_or_auto("threads", config.threads, 1024);
  inference.integer("batch_rows_max", config.batch_rows_max, 1, 1024);
  inference.duration("batch_delay", config.batch_delay, milliseconds(0), seconds(10));
  inference.integer_or_auto("in_flight_max", config.in_flight_max, 100'000);
}

// A code as routes and tables compare it: "LN|24721-3"; `written` is value|scheme, perhaps with a meaning.
std::string code_key(const std::string& written) {
  const Words parts = split(written, "|");
  return upper(trimmed(parts[1])) + "|" + upper(trimmed(parts[0]));
}

std::string code_problem(const std::string& code) {
  const Words parts = split(code, "|");
  const bool right =
      (parts.size() == 2 || parts.size() == 3) && !trimmed(parts[0]).empty() && !trimmed(parts[1]).empty();
  return right ? "" : in_quotes(code) + " is no code; value|scheme is wanted, such as '72696002|SCT'";
}

std::string pattern_problem(const std::string& pattern) {
  try {
    const std::regex compiled(pattern, std::regex::ECMAScript | std::regex::icase);
    return "";
  } catch (const std::regex_error& error) {
    return in_quotes(pattern) + " is no regular expression: " + error.what();
  }
}

// --- Body parts ------------------------------------------------------------------------------------------------------

// The built-in table, or a site's own entries over it: {KNEE: {aliases: [...], codes: [...], ...}}. The term NONE takes
// an alias, code or description away: "{NONE: {aliases: [MAIN]}}".
void merge_body_parts(Mistakes& mistakes, const Value& value, const std::string& path, BodyPartTable& table) {
  if (value.kind != Value::Kind::kMap) {
    return mistakes.add(value.origin, path,
                        "is " + kind_text(value) + "; body parts are wanted: 'KNEE: {aliases: [KN]}'");
  }
  const auto put = [](std::map<std::string, std::string>& map, const std::string& key, const std::string& term) {
    if (term == "NONE") {
      map.erase(key);
    } else {
      map[key] = term;
    }
  };
  std::vector<std::pair<std::string, std::string>> patterns;
  for (const auto& [written, entry] : value.entries) {
    const std::string term = upper(written);
    const std::string term_path = path.empty() ? written : path + "." + written;
    if (term.size() > 16 || term.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ ") != std::string::npos) {
      mistakes.add(entry.origin, term_path, "is no term for Body Part Examined; 1 to 16 letters and digits are wanted");
    }
    Section section(mistakes, &entry, term_path, entry.origin);
    if (term != "NONE") table.terms[term] = term;
    Words aliases, codes, loinc, procedure_codes, descriptions, groups;
    section.words("aliases", aliases);
    section.words("codes", codes, code_problem);
    section.words("procedure_codes", procedure_codes, code_problem);
    section.words("loinc", loinc, [](const std::string& code) {
      static const std::regex kLoinc("[0-9]{1,5}-[0-9]");
      return std::regex_match(code, kLoinc) ? "" : "is " + in_quotes(code) + "; a code such as 24721-3 is wanted";
    });
    section.words("descriptions", descriptions, pattern_problem);
    section.words("groups", groups);
    for (const std::string& alias : aliases) put(table.terms, upper(alias), term);
    for (const std::string& code : codes) put(table.codes, code_key(code), term);
    for (const std::string& code : loinc) put(table.procedure_codes, "LN|" + code, term);
    for (const std::string& code : procedure_codes) put(table.procedure_codes, code_key(code), term);
    for (const std::string& pattern : descriptions) patterns.emplace_back(pattern, term);
    if (!groups.empty()) table.groups[term] = groups;
  }
  // A site's own patterns come before the built-in ones, and replace those of the same text.
  std::vector<std::pair<std::string, std::string>> merged;
  for (const auto& [pattern, term] : patterns) {
    if (term != "NONE") merged.emplace_back(pattern, term);
  }
  for (auto& built_in : table.description_patterns) {
    const bool replaced =
        std::any_of(patterns.begin(), patterns.end(), [&](const auto& p) { return p.first == built_in.first; });
    if (!replaced) merged.push_back(std::move(built_in));
  }
  table.description_patterns = std::move(merged);
}

void read_body_parts(Section& root, const Context& context, BodyPartTable& table) {
  const auto built_in = parse_yaml(kBodyPartsYaml, {"built-in body_parts.yaml", 1}, context.mistakes);
  if (built_in) merge_body_parts(context.mistakes, *built_in, "", table);
  const Value* value = root.get("body_parts");
  if (value == nullptr) return;
  if (value->kind != Value::Kind::kScalar) return merge_body_parts(context.mistakes, *value, "body_parts", table);
  const std::string file = context.resolve(value->scalar);
  const auto text = read_text_file(file);
  if (!text.ok()) return root.wrong("body_parts", text.status().message());
  const auto own = parse_yaml(*text, {file, 1}, context.mistakes);
  if (own) merge_body_parts(context.mistakes, *own, "", table);
}

// --- Routes ----------------------------------------------------------------------------------------------------------

struct Names {
  Words tasks, peers, destinations, body_parts;

  std::string task_problem(const std::string& name) const {
    if (std::find(tasks.begin(), tasks.end(), name) != tasks.end()) return "";
    return "no task named " + in_quotes(name) + suggestion(name, tasks);
  }
  std::string peer_problem(const std::string& name) const {
    if (std::find(peers.begin(), peers.end(), name) != peers.end()) return "";
    return "no peer named " + in_quotes(name) + suggestion(name, peers);
  }
  std::string destination_problem(const std::string& name) const {
    const std::string unknown = peer_problem(name);
    if (!unknown.empty()) return unknown;
    if (std::find(destinations.begin(), destinations.end(), name) != destinations.end()) return "";
    return "peer " + in_quotes(name) + " has no host and port, so nothing can be sent to it";
  }
  std::string body_part_problem(const std::string& name) const {
    if (std::binary_search(body_parts.begin(), body_parts.end(), upper(name))) return "";
    const std::string similar = suggestion(upper(name), body_parts);
    return "no body part " + in_quotes(name) +
           (similar.empty() ? "; a term of PS3.16 Annex L, or one of your own under body_parts, is wanted" : similar);
  }
};

RouteMatch read_match(Section match, const Names& names) {
  RouteMatch config;
  const auto one_of = [](std::set<std::string> allowed, const char* wanted) {
    return [allowed = std::move(allowed), wanted](const std::string& word) {
      return allowed.contains(upper(word)) ? "" : "is " + in_quotes(word) + "; " + wanted + " is wanted";
    };
  };
  match.words("modality", config.modality);
  match.words("sop_class", config.sop_class, [](const std::string& uid) {
    static const std::regex kUid("[0-9]+(\\.[0-9]+)+");
    return uid.size() <= 64 && std::regex_match(uid, kUid)
               ? ""
               : "is " + in_quotes(uid) + "; a SOP Class UID such as 1.2.840.10008.5.1.4.1.1.1.1 is wanted";
  });
  match.words("body_part", config.body_part, [&](const std::string& name) { return names.body_part_problem(name); });
  match.words("laterality", config.laterality, one_of({"R", "L", "B", "U"}, "R, L, B or U"));
  match.words("view", config.view);
  match.words("sex", config.sex, one_of({"M", "F", "O"}, "M, F or O"));
  match.words("from", config.from, [&](const std::string& name) { return names.peer_problem(name); });
  match.words("ae_title", config.ae_title, [](const std::string& title) {
    return title.size() <= 16 ? "" : in_quotes(title) + " has more than the 16 characters of an AE title";
  });
  match.words("station", config.station);
  match.words("institution", config.institution);
  match.words("procedure_code", config.procedure_code, code_problem);
  match.words("description", config.description, pattern_problem);
  read_age(match.section("age"), config.age_years_min, config.age_years_max);
  for (Words* words : {&config.modality, &config.body_part, &config.laterality, &config.view, &config.sex}) {
    for (std::string& word : *words) word = upper(word);
  }
  for (std::string& code : config.procedure_code) code = code_key(code);
  return config;
}

void read_routes(Section& root, const Names& names, RouterConfig& config) {
  const auto destination = [&](const std::string& name) { return names.destination_problem(name); };
  std::set<std::string> seen;
  root.each_item("routes", [&](Section& section) {
    RouteRule rule;
    rule.origin = section.origin().text() + ": " + section.path();
    section.require("name", "a name for logs and reports");
    if (section.text("name", rule.name, 64)) {
      const std::string problem = name_problem(rule.name);
      if (!problem.empty()) section.wrong("name", problem);
      if (!seen.insert(rule.name).second)
        section.wrong("name", in_quotes(rule.name) + " is also the name of an earlier route");
    }
    rule.match = read_match(section.section("match"), names);
    section.require("tasks", "the names of tasks; [] for a rule that leaves images alone");
    section.words("tasks", rule.tasks, [&](const std::string& name) { return names.task_problem(name); });
    section.integer("priority", rule.priority, -1000, 1000);
    section.words("send_to", rule.send_to, destination);
    section.choice("mode", rule.shadow, {{"live", false}, {"shadow", true}});
    section.choice("for_processing", rule.for_processing,
                   {{"skip", ForProcessing::kSkip}, {"render", ForProcessing::kRender}});
    section.choice("frames", rule.frames, {{"skip", Frames::kSkip}, {"each", Frames::kEach}});
    config.routes.push_back(std::move(rule));
  });
  root.each_item("forward", [&](Section& section) {
    ForwardRule rule;
    rule.match = read_match(section.section("match"), names);
    section.require("send_to", "the names of peers");
    section.words("send_to", rule.send_to, destination);
    config.forward.push_back(std::move(rule));
  });
}

// Each label of the task must be a body part: by its code, else by its name.
void read_region_head(Section section, const std::vector<TaskConfig>& tasks, const BodyPartTable& table,
                      RegionHead& head) {
  section.number("probability_min", head.probability_min, 0, 1);
  std::string name;
  if (section.get("probability_min") != nullptr) section.require("task", "the name of a task of output softmax");
  if (!section.text("task", name)) return;
  const auto task = std::find_if(tasks.begin(), tasks.end(), [&](const TaskConfig& t) { return t.name == name; });
  if (task == tasks.end()) return section.wrong("task", "no task named " + in_quotes(name));
  if (task->output != OutputKind::kSoftmax || task->labels.empty()) {
    return section.wrong("task", in_quotes(name) +
                                     " is no softmax with labels; one whose labels are body parts is "
                                     "wanted");
  }
  for (std::size_t i = 0; i < task->labels.size(); ++i) {
    const std::string& label = task->labels[i];
    auto alias = table.terms.find(upper(label));
    std::string term = alias == table.terms.end() ? "" : alias->second;
    if (i < task->label_codes.size()) {
      const Code& code = task->label_codes[i];
      const auto coded = table.codes.find(upper(code.scheme) + "|" + upper(code.value));
      if (coded != table.codes.end()) term = coded->second;
    }
    if (term.empty()) {
      section.wrong("task", "label " + in_quotes(label) + " of " + in_quotes(name) +
                                " is no body part; give it a code that is one, or name it under body_parts");
    }
    head.terms[label] = term;
  }
  head.task = name;
  head.groups = table.groups;
}

void read_results(Section results, const Names& names, ReportConfig& config) {
  results.text("disclaimer", config.disclaimer, 128);
  results.boolean("report_skipped", config.report_skipped);
  results.words("skipped_to", config.skipped_to,
                [&](const std::string& name) { return names.destination_problem(name); });
  const Value* forms = results.get("forms");
  if (forms == nullptr) return;
  Section peers = results.section("forms");
  if (forms->kind != Value::Kind::kMap) return;
  for (const auto& [peer, value] : forms->entries) {
    const std::string problem = names.destination_problem(peer);
    if (!problem.empty()) peers.wrong(peer, problem);
    peers.words(peer, config.forms[peer], [](const std::string& form) {
      return form == "sr" || form == "sc" ? "" : "is " + in_quotes(form) + "; sr or sc is wanted";
    });
    if (config.forms[peer].empty()) config.forms.erase(peer);
  }
}

bool is_loopback(const std::string& address) { return address == "::1" || address.starts_with("127."); }

void read_http(Section http, const Context& context, HttpConfig& config) {
  std::string bind;
  if (http.text("bind", bind, 255)) {
    const std::size_t colon = bind.rfind(':');
    std::string host = colon == std::string::npos ? "" : bind.substr(0, colon);
    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    int port = 0;
    if (colon != std::string::npos) {
      const char* end = bind.data() + bind.size();
      const auto parsed = std::from_chars(bind.data() + colon + 1, end, port);
      if (parsed.ec != std::errc() || parsed.ptr != end) port = 0;
    }
    if (!is_address(host) || bracketed != (host.find(':') != std::string::npos) || port < 1 || port > 65535) {
      http.wrong("bind", "is " + in_quotes(bind) +
                             "; an address and a port from 1 to 65535 are wanted: 127.0.0.1:8043, [::1]:8043");
    } else {
      config.bind = host;
      config.port = static_cast<std::uint16_t>(port);
    }
  }
  if (http.text("token_file", config.token_file)) config.token_file = context.resolve(config.token_file);
  http.boolean("behind_proxy", config.behind_proxy);
  if (!is_loopback(config.bind) && (config.token_file.empty() || !config.behind_proxy)) {
    http.wrong("bind",
               "is " + in_quotes(config.bind) +
                   ", which is not this machine alone; that needs token_file, and behind_proxy: true to say that "
                   "a proxy does TLS; else 127.0.0.1");
  }
}

void read_log(Section log, LogConfig& config) {
  log.choice(
      "level", config.level,
      {{"debug", LogLevel::kDebug}, {"info", LogLevel::kInfo}, {"warn", LogLevel::kWarn}, {"error", LogLevel::kError}});
  log.choice("format", config.format, {{"text", LogFormat::kText}, {"json", LogFormat::kJson}});
}

NodeConfig read_root(Section& root, const Context& context) {
  NodeConfig config;
  read_node(root.section("node"), config.receive);
  read_storage(root.section("storage"), context, config.storage);
  read_peers(root, config.receive.peers);
  read_models(root, context, config.inference.models);
  Words models;
  for (const ModelConfig& model : config.inference.models) models.push_back(model.name);
  root.each("tasks", [&](const std::string& name, Section& section) {
    config.inference.tasks.push_back(read_task(name, section, context, models));
  });
  read_inference(root.section("inference"), config.inference);
  read_body_parts(root, context, config.router.body_parts);

  Names names;
  for (const TaskConfig& task : config.inference.tasks) names.tasks.push_back(task.name);
  for (const PeerConfig& peer : config.receive.peers) {
    names.peers.push_back(peer.name);
    config.router.ae_titles[peer.name] = peer.ae_title;
    if (!peer.host.empty() && peer.port != 0) names.destinations.push_back(peer.name);
  }
  for (const auto& [alias, term] : config.router.body_parts.terms) names.body_parts.push_back(alias);
  read_routes(root, names, config.router);
  read_region_head(root.section("region_head"), config.inference.tasks, config.router.body_parts,
                   config.router.region_head);
  for (const RouteRule& rule : config.router.routes) {  // By default whoever gets results at all.
    for (const std::string& peer : rule.send_to) {
      Words& to = config.report.skipped_to;
      if (!rule.shadow && std::find(to.begin(), to.end(), peer) == to.end()) to.push_back(peer);
    }
  }
  read_results(root.section("results"), names, config.report);
  read_delivery(root.section("delivery"), config.delivery);
  read_http(root.section("http"), context, config.http);
  read_log(root.section("log"), config.log);

  config.receive.keep_first_on_conflict = config.storage.keep_first_on_conflict;
  config.receive.report_skipped = config.report.report_skipped;
  config.delivery.ae_title = config.report.ae_title = config.receive.ae_title;
  config.delivery.peers = config.receive.peers;
  config.report.tasks = config.inference.tasks;
  config.report.region_head = config.router.region_head;
  for (const TaskConfig& task : config.inference.tasks) {
    config.router.scopes[task.name] = {task.views, task.age_years_min, task.age_years_max};
  }
  return config;
}

}  // namespace

Result<NodeConfig> read_node_config(const std::string& file,
                                    const std::vector<std::pair<std::string, std::string>>& overrides,
                                    const std::vector<std::string>& environment) {
  NODE_ASSIGN_OR_RETURN(const std::string text, read_text_file(file));
  Mistakes mistakes(file);
  auto tree = parse_yaml(text, {file, 1}, mistakes);
  if (!tree) return mistakes.status();
  for (const Override& override : collect_overrides(overrides, environment)) apply(override, *tree, mistakes);
  const Context context{mistakes, std::filesystem::path(file).parent_path()};
  NodeConfig config;
  {
    Section root(mistakes, &*tree, "", {file, 1});
    if (!root.broken()) config = read_root(root, context);
  }
  if (mistakes.any()) return mistakes.status();
  return config;
}

}  // namespace node::config
