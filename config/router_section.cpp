#include "config/router_section.h"

#include <algorithm>
#include <regex>
#include <set>
#include <utility>

#include "config/body_parts_yaml.h"

namespace node::config {
namespace {

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
    const std::wregex compiled(wide(pattern), std::regex::ECMAScript | std::regex::icase);
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
    Words aliases, bones, codes, loinc, procedure_codes, descriptions, groups;
    section.words("aliases", aliases);
    section.words("bones", bones);
    section.words("codes", codes, code_problem);
    section.words("procedure_codes", procedure_codes, code_problem);
    section.words("loinc", loinc, [](const std::string& code) {
      static const std::regex kLoinc("[0-9]{1,5}-[0-9]");
      return std::regex_match(code, kLoinc) ? "" : "is " + in_quotes(code) + "; a code such as 24721-3 is wanted";
    });
    section.words("descriptions", descriptions, pattern_problem);
    section.words("groups", groups);
    for (const std::string& alias : aliases) put(table.terms, upper(alias), term);
    for (const std::string& bone : bones) put(table.bones, upper(bone), term);
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

std::string one_of(const std::set<std::string>& allowed, const char* wanted, const std::string& word) {
  return allowed.contains(upper(word)) ? "" : "is " + in_quotes(word) + "; " + wanted + " is wanted";
}

RouteMatch read_match(Section match, const Names& names) {
  RouteMatch config;
  match.words("modality", config.modality);
  match.words("sop_class", config.sop_class, uid_problem);
  match.words("body_part", config.body_part, [&](const std::string& name) { return names.body_part_problem(name); });
  match.words("laterality", config.laterality, laterality_problem);
  match.words("view", config.view);
  match.words("sex", config.sex, [](const std::string& word) { return one_of({"M", "F", "O"}, "M, F or O", word); });
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

// What is urgent is said of the route's own tasks; a label where the task has several.
void read_urgent_when(Section& route, const Names& names, RouteRule& rule) {
  route.each_item("urgent_when", [&](Section& section) {
    TaskCondition condition;
    section.require("task", "the name of a task of this route");
    section.require("at_least", "the score from which on the study is urgent");
    section.text("label", condition.label);
    const bool scored = section.number("at_least", condition.at_least, -1e9, 1e9);
    if (!section.text("task", condition.task)) return;
    const auto task = std::find_if(names.task_configs.begin(), names.task_configs.end(),
                                   [&](const TaskConfig& one) { return one.name == condition.task; });
    if (task == names.task_configs.end()) return section.wrong("task", names.task_problem(condition.task));
    if (std::find(rule.tasks.begin(), rule.tasks.end(), condition.task) == rule.tasks.end()) {
      return section.wrong("task", in_quotes(condition.task) + " is none of this route's tasks");
    }
    if (task->output == OutputKind::kAnomalyMap) {
      return section.wrong("task", in_quotes(condition.task) + " is an anomaly_map, of which no decision is made");
    }
    if (!task->labels.empty()) {
      if (const std::string problem = label_problem(condition, task->labels); !problem.empty()) {
        return section.wrong("label", problem);
      }
    }
    const std::string beyond = scored ? at_least_problem(condition, *task) : "";
    if (!beyond.empty()) return section.wrong("at_least", beyond);
    if (scored) rule.urgent_when.push_back(condition);
  });
}

}  // namespace

std::string uid_problem(const std::string& text) {
  static const std::regex kUid("(0|[1-9][0-9]*)([.](0|[1-9][0-9]*))+");
  return text.size() <= 64 && std::regex_match(text, kUid) ? "" : in_quotes(text) + " is no UID";
}

std::string laterality_problem(const std::string& word) { return one_of({"R", "L", "B", "U"}, "R, L, B or U", word); }

void read_age(Section age, std::optional<int>& years_min, std::optional<int>& years_max) {
  int years = 0;
  if (age.integer("years_min", years, 0, 150)) years_min = years;
  if (age.integer("years_max", years, 0, 150)) years_max = years;
  if (years_min && years_max && *years_min > *years_max) age.wrong("years_min", "is above years_max");
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
    for (const std::string& task : rule.tasks) {
      const auto gate = names.waits_for.find(task);
      if (gate == names.waits_for.end() ||
          std::find(rule.tasks.begin(), rule.tasks.end(), gate->second) != rule.tasks.end())
        continue;
      section.wrong("tasks", "names " + in_quotes(task) + ", which waits for " + in_quotes(gate->second) +
                                 "; a route that asks for the one asks for the other");
    }
    section.integer("priority", rule.priority, -1000, 1000);
    section.words("send_to", rule.send_to, [&](const std::string& name) { return names.results_problem(name); });
    read_urgent_when(section, names, rule);
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
    section.choice("when", rule.after_results, {{"at_once", false}, {"after_results", true}});
    config.forward.push_back(std::move(rule));
  });
}

void add_halves(std::vector<TaskConfig>& tasks, RouterConfig& config) {
  std::vector<TaskConfig> halves;
  for (const TaskConfig& task : tasks) {
    if (!task.split) continue;
    for (const Half half : {Half::kRight, Half::kLeft}) {
      TaskConfig& one = halves.emplace_back(task);
      one.name = half_name(task.name, half);
      one.split = false;
      one.half = half;
      for (RouteRule& rule : config.routes) {
        std::vector<TaskCondition> urgent;
        for (const TaskCondition& condition : rule.urgent_when) {
          if (condition.task == task.name) urgent.push_back({one.name, condition.label, condition.at_least});
        }
        rule.urgent_when.insert(rule.urgent_when.end(), urgent.begin(), urgent.end());
      }
    }
  }
  tasks.insert(tasks.end(), halves.begin(), halves.end());
}

void read_region_head(Section section, const std::vector<TaskConfig>& tasks, const BodyPartTable& table,
                      RegionHead& head) {
  head.groups = table.groups;
  head.aliases = table.bones;
  head.aliases.insert(table.terms.begin(), table.terms.end());
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
  if (task->split) return section.wrong("task", in_quotes(name) + " is split; the head reads every image whole");
  if (task->when) return section.wrong("task", in_quotes(name) + " waits for another task; the head is always asked");
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
}

}  // namespace node::config
