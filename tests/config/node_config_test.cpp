#include "config/node_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "config/body_parts_yaml.h"

namespace node::config {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;

using Settings = std::vector<std::pair<std::string, std::string>>;

const std::string kSource = NODE_SOURCE_DIR;

class NodeConfigTest : public testing::Test {
 protected:
  NodeConfigTest() {
    std::string pattern = testing::TempDir() + "node_config_XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~NodeConfigTest() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return (folder_ / name).string();
  }
  Result<NodeConfig> read(const std::string& yaml, const Settings& settings = {},
                          const std::vector<std::string>& environment = {}) {
    return read_node_config(write("node.yaml", yaml), settings, environment);
  }
  // What is wrong with `yaml`, the file named as node.yaml.
  std::string mistakes(const std::string& yaml, const Settings& settings = {},
                       const std::vector<std::string>& environment = {}) {
    const auto config = read(yaml, settings, environment);
    if (config.ok()) return "";
    EXPECT_EQ(config.status().code(), StatusCode::kInvalidArgument);
    std::string message = config.status().message();
    for (std::size_t at; (at = message.find(folder_.string() + "/")) != std::string::npos;) {
      message.erase(at, folder_.string().size() + 1);
    }
    return message;
  }

  std::filesystem::path folder_;
};

// Two models, two tasks, two peers, one route: complete, each mistake below changes one thing in it.
const std::string kBase = R"(storage: {directory: store}
peers:
  xray1: {ae_title: XRAY1}
  pacs: {ae_title: PACS, host: 10.0.0.5, port: 104}
models:
  skelex: {path: models/skelex}
tasks:
  anomaly: {model: skelex, output: anomaly_map}
  fracture: {model: skelex, output: sigmoid}
)";  // 9 lines

TEST_F(NodeConfigTest, ReadsTheExampleFileWithoutAMistake) {
  const auto config = read_node_config(kSource + "/config/node.example.yaml", {}, {});
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->receive.ae_title, "SKELEX");
  EXPECT_EQ(config->receive.peers.size(), 2u);
  EXPECT_EQ(config->receive.peers[0].study_quiet_period, seconds(180));
  EXPECT_TRUE(config->receive.peers[1].whole_study_per_association);
  std::map<std::string, TaskConfig> tasks;
  for (const TaskConfig& task : config->inference.tasks) tasks[task.name] = task;
  EXPECT_EQ(tasks.size(), 18u);  // The map, the twelve, and the five of the classifier of 38 logits.
  EXPECT_EQ(tasks["bone-age"].output, OutputKind::kRegression);
  EXPECT_EQ(tasks["bone-age"].unit, "mo");
  EXPECT_EQ(tasks["bone-age"].age_years_max, 18);
  EXPECT_EQ(tasks["knee-oa"].label_codes.size(), 5u);
  EXPECT_EQ(tasks["tumour-subtype"].label_codes.size(), 9u);
  int logits = 0;
  for (const auto& [name, task] : tasks) {
    if (task.model == "multihead") logits += task.logits_count;
    EXPECT_TRUE(task.labels.size() < 2 || task.label_codes.size() == task.labels.size()) << name;
    EXPECT_EQ(task.code.value.empty(), name == "anomaly") << name;
  }
  EXPECT_EQ(logits, 38);
  EXPECT_TRUE(config->router.routes.back().shadow);
  EXPECT_THAT(config->report.forms, ElementsAre(Pair("pacs", ElementsAre("sr", "sc"))));
  EXPECT_EQ(config->router.body_parts.procedure_codes.at("99HOSPITAL|RX-KN2"), "KNEE");
  EXPECT_FALSE(config->router.body_parts.terms.contains("PALM"));
}

// The example says what each default is; a key left out must give the same.
TEST_F(NodeConfigTest, TheExampleShowsTheDefaults) {
  const auto example = read_node_config(kSource + "/config/node.example.yaml", {}, {});
  const auto bare = read("storage: {directory: store}\n");
  ASSERT_TRUE(example.ok() && bare.ok());
  const ReceiveConfig &r = example->receive, &rd = bare->receive;
  EXPECT_EQ(std::tie(r.bind, r.port, r.associations_max, r.associations_per_host_max, r.accept_unknown, r.acse_timeout,
                     r.dimse_timeout, r.stop_grace, r.object_bytes_max, r.check_hosts, r.more_sop_classes,
                     r.transfer_syntaxes, r.message_timeout),
            std::tie(rd.bind, rd.port, rd.associations_max, rd.associations_per_host_max, rd.accept_unknown,
                     rd.acse_timeout, rd.dimse_timeout, rd.stop_grace, rd.object_bytes_max, rd.check_hosts,
                     rd.more_sop_classes, rd.transfer_syntaxes, rd.message_timeout));
  const StorageConfig &s = example->storage, &sd = bare->storage;
  EXPECT_EQ(std::tie(s.free_bytes_min, s.originals_days, s.results_days, s.keep_first_on_conflict,
                     s.analysis_attempts_max, s.free_bytes_low, s.study_open_max),
            std::tie(sd.free_bytes_min, sd.originals_days, sd.results_days, sd.keep_first_on_conflict,
                     sd.analysis_attempts_max, sd.free_bytes_low, sd.study_open_max));
  EXPECT_EQ(s.free_bytes_low, 2 * s.free_bytes_min);
  const DeliveryConfig &d = example->delivery, &dd = bare->delivery;
  EXPECT_EQ(std::tie(d.connect_timeout, d.dimse_timeout, d.retry_first, d.retry_max, d.give_up_after,
                     d.objects_per_association_max),
            std::tie(dd.connect_timeout, dd.dimse_timeout, dd.retry_first, dd.retry_max, dd.give_up_after,
                     dd.objects_per_association_max));
  const InferenceConfig &i = example->inference, &id = bare->inference;
  EXPECT_EQ(std::tie(i.device, i.threads, i.batch_rows_max, i.batch_delay, i.in_flight_max),
            std::tie(id.device, id.threads, id.batch_rows_max, id.batch_delay, id.in_flight_max));
  EXPECT_EQ(example->report.disclaimer, bare->report.disclaimer);
  EXPECT_EQ(std::tie(example->http.bind, example->http.port), std::tie(bare->http.bind, bare->http.port));
  const TaskConfig anomaly;
  EXPECT_EQ(example->inference.tasks[0].passes, anomaly.passes);
  EXPECT_EQ(example->inference.tasks[0].map_scale_max, anomaly.map_scale_max);
  EXPECT_EQ(PeerConfig().study_quiet_period, example->receive.peers[1].study_quiet_period);
}

TEST_F(NodeConfigTest, ReadsTheDemo) {
  const auto config = read_node_config(kSource + "/config/demo.yaml", {}, {});
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->inference.models.size(), 4u);
  EXPECT_EQ(config->inference.models[0].path, kSource + "/config/demo/demo-skelex");
  EXPECT_EQ(config->storage.directory, kSource + "/build/trial/store");
  EXPECT_EQ(config->receive.peers[0].study_quiet_period, seconds(2));
  for (const RouteRule& rule : config->router.routes) {
    EXPECT_THAT(rule.tasks, ElementsAre("anomaly", "fracture", "implant", "region")) << rule.name;
    EXPECT_THAT(rule.send_to, ElementsAre("pacs")) << rule.name;
  }
}

TEST_F(NodeConfigTest, ReadsTheExampleOfTheDocumentedInterface) {
  const auto config = read(R"(
node:     {ae_title: SKELEX, bind: 0.0.0.0, port: 11112, associations_max: 32, accept_unknown: false}
storage:  {directory: /var/lib/skelex-node, free_bytes_min: 10 GiB, retention: {originals_days: 7, results_days: 30}, conflict: refuse}
peers:    # who may send to us, and whom we send to
  xray1:  {ae_title: XRAY1, host: 10.0.0.21, study_quiet_period: 180 s}
  pacs:   {ae_title: PACS, host: 10.0.0.5, port: 104, study_quiet_period: 10 s, whole_study_per_association: true}
models:
  skelex: {path: /models/SKELEX, precision: auto}
  kneeoa: {path: /models/kneeoa, precision: auto}
  fracture: {path: /models/fracatlas, precision: auto}
tasks:
  anomaly: {model: skelex, output: anomaly_map, passes: 8, mode: partition}
  knee-oa: {model: kneeoa, output: softmax, labels: [KL 0, KL 1, KL 2, KL 3, KL 4], views: [AP, PA]}
  fracture: {model: fracture, output: sigmoid, labels: [Fracture], code: "125605004|SCT|Fracture of bone", threshold: {doubtful: 0.3, certain: 0.7}}
routes:
  - {name: knee, match: {modality: [CR, DX], body_part: KNEE}, tasks: [knee-oa, anomaly], priority: 0, send_to: [pacs]}
  - {name: limbs, match: {modality: [CR, DX], body_part: [HAND, WRIST, FOOT]}, tasks: [anomaly], send_to: [pacs], mode: shadow}
forward:
  - {match: {from: xray1}, send_to: [pacs]}
results:  {disclaimer: "AI result - not for clinical use", report_skipped: false, forms: {pacs: [sr, sc]}}
inference: {device: auto, threads: auto, batch_rows_max: 16, batch_delay: 20 ms, in_flight_max: auto}
http:     {bind: 127.0.0.1:8043, token_file: /etc/skelex-node/token}
log:      {level: info, format: text}
)");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->receive.ae_title, "SKELEX");
  EXPECT_EQ(config->storage.free_bytes_min, 10ull << 30);
  EXPECT_EQ(config->inference.batch_delay, milliseconds(20));
  const TaskConfig& fracture = config->inference.tasks[2];
  EXPECT_EQ(fracture.code.value, "125605004");
  EXPECT_EQ(fracture.code.scheme, "SCT");
  EXPECT_EQ(fracture.code.meaning, "Fracture of bone");
  EXPECT_EQ(fracture.threshold_doubtful, 0.3);
  EXPECT_EQ(fracture.threshold_certain, 0.7);
  EXPECT_THAT(config->inference.tasks[1].labels, ElementsAre("KL 0", "KL 1", "KL 2", "KL 3", "KL 4"));
  EXPECT_THAT(config->router.routes[0].match.body_part, ElementsAre("KNEE"));
  EXPECT_TRUE(config->router.routes[1].shadow);
  EXPECT_THAT(config->router.forward[0].match.from, ElementsAre("xray1"));
  EXPECT_EQ(config->http.token_file, "/etc/skelex-node/token");
  EXPECT_EQ(config->delivery.peers[1].port, 104);
}

TEST_F(NodeConfigTest, GivesEachModuleWhatItShares) {
  const auto config = read(kBase + R"(node: {ae_title: NODE1}
results: {report_skipped: true}
)",
                           {{"storage.conflict", "keep_first"}});
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->delivery.ae_title, "NODE1");
  EXPECT_EQ(config->report.ae_title, "NODE1");
  EXPECT_TRUE(config->receive.report_skipped);
  EXPECT_TRUE(config->report.report_skipped);
  EXPECT_TRUE(config->receive.keep_first_on_conflict);
  EXPECT_TRUE(config->storage.keep_first_on_conflict);
  EXPECT_EQ(config->report.tasks.size(), 2u);
  EXPECT_EQ(config->delivery.peers.size(), 2u);
}

TEST_F(NodeConfigTest, ATaskThatWaitsForAnotherIsCheckedAgainstIt) {
  const auto tasks = [&](const std::string& when_of_a, const std::string& when_of_b,
                         const std::string& route = "[a, b]") {
    return read(
        "storage: {directory: s}\nmodels: {m: {path: p}}\ntasks:\n  a: {model: m, output: sigmoid, labels: [A, X]" +
        when_of_a + "}\n  b: {model: m, output: sigmoid, labels: [B]" + when_of_b +
        "}\n  map: {model: m, output: anomaly_map}\nroutes:\n  - {name: r, match: {}, tasks: " + route + "}\n");
  };
  const auto good = tasks("", ", when: {task: a, label: X, at_least: 0.4}");
  ASSERT_TRUE(good.ok()) << good.status().message();
  const auto& when = good->inference.tasks[1].when;
  ASSERT_TRUE(when);
  EXPECT_EQ(std::tie(when->task, when->label, when->at_least), std::make_tuple("a", "X", 0.4));
  EXPECT_EQ(good->router.scopes.at("b").waits_for, "a");
  const auto mistake = [&](auto... words) { return tasks(words...).status().message(); };
  EXPECT_THAT(mistake("", ", when: {task: c, at_least: 0.5}"),
              HasSubstr("node.yaml:5: tasks.b.when.task: no task named 'c'"));
  EXPECT_THAT(mistake("", ", when: {task: map, at_least: 0.5}"), HasSubstr("anomaly_map"));
  EXPECT_THAT(mistake("", ", when: {task: a, at_least: 0.5}"), HasSubstr("task a has 2 labels"));
  EXPECT_THAT(mistake("", ", when: {task: a, label: B, at_least: 0.5}"), HasSubstr("no label 'B'"));
  EXPECT_THAT(mistake(", when: {task: b, at_least: 0.5}", ", when: {task: a, label: A, at_least: 0.5}"),
              HasSubstr("is a circle"));
  EXPECT_THAT(mistake("", ", when: {task: a, label: A, at_least: 0.5}", "[b]"),
              HasSubstr("a route that asks for the one asks for the other"));
  EXPECT_THAT(mistake("", ", when: {task: a, label: A}"), HasSubstr("tasks.b.when.at_least: is missing"));
}

TEST_F(NodeConfigTest, TakesPathsRelativeToItsOwnFolder) {
  const auto config = read(kBase + "http: {token_file: secrets/token}\n");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->storage.directory, folder_ / "store");
  EXPECT_EQ(config->inference.models[0].path, folder_ / "models/skelex");
  EXPECT_TRUE(config->inference.models[0].devices.empty());
  EXPECT_EQ(config->http.token_file, folder_ / "secrets/token");
}

TEST_F(NodeConfigTest, ReadsUnitsOfTimeAndSize) {
  const auto config = read(R"(storage: {directory: s, free_bytes_min: 1.5 GiB}
node: {acse_timeout: 2 min, dimse_timeout: 1h, object_bytes_max: 500 MB}
delivery: {retry_first: 250 ms, retry_max: 0.5 h, give_up_after: 3 d}
inference: {batch_delay: 0.02 s}
)");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->storage.free_bytes_min, 3ull << 29);
  EXPECT_EQ(config->receive.acse_timeout, seconds(120));
  EXPECT_EQ(config->receive.dimse_timeout, seconds(3600));
  EXPECT_EQ(config->receive.object_bytes_max, 500'000'000u);
  EXPECT_EQ(config->delivery.retry_first, milliseconds(250));
  EXPECT_EQ(config->delivery.retry_max, seconds(1800));
  EXPECT_EQ(config->delivery.give_up_after, std::chrono::hours(72));
  EXPECT_EQ(config->inference.batch_delay, milliseconds(20));
}

TEST_F(NodeConfigTest, OneThresholdStandsForBoth) {
  const auto config = read(kBase, {{"tasks.fracture.threshold", "0.6"}});
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->inference.tasks[1].threshold_doubtful, 0.6);
  EXPECT_EQ(config->inference.tasks[1].threshold_certain, 0.6);
}

TEST_F(NodeConfigTest, ACalibrationIsAPathFromTheFolderOfTheFile) {
  const auto config = read(kBase, {{"tasks.anomaly.calibration", "normal.json"}});
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->inference.tasks[0].calibration, (folder_ / "normal.json").string());
  EXPECT_EQ(config->inference.tasks[1].calibration, "");
  EXPECT_THAT(mistakes(kBase, {{"tasks.fracture.calibration", "normal.json"}}),
              HasSubstr("tasks.fracture.calibration: is for output anomaly_map only"));
}

TEST_F(NodeConfigTest, ASoftmaxNamesItsLikeliestLabelUnlessToldFromWhereOn) {
  const std::string task = kBase + "  grade: {model: skelex, output: softmax, labels: [a, b, c]}\n";
  const auto config = read(task);
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->inference.tasks[2].threshold_doubtful, 0);
  EXPECT_EQ(config->inference.tasks[2].threshold_certain, 0.5);
  const auto one = read(task, {{"tasks.grade.threshold", "0.8"}});
  ASSERT_TRUE(one.ok()) << one.status().message();
  EXPECT_EQ(one->inference.tasks[2].threshold_doubtful, 0);
  EXPECT_EQ(one->inference.tasks[2].threshold_certain, 0.8);
  const auto two = read(task, {{"tasks.grade.threshold", "{doubtful: 0.4, certain: 0.8}"}});
  ASSERT_TRUE(two.ok()) << two.status().message();
  EXPECT_EQ(two->inference.tasks[2].threshold_doubtful, 0.4);
}

TEST_F(NodeConfigTest, ATaskKnowsWhereItStands) {
  const auto config = read(kBase);
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_THAT(config->inference.tasks[1].where(), testing::EndsWith("node.yaml:9: tasks.fracture"));
}

// --- Mistakes: one line in the file, what the message must say -------------------------------------------------------

struct MistakeCase {
  const char* name;
  std::string yaml;      // After kBase, so from line 10 on.
  std::string expected;  // The whole first line of the message, or its beginning.
};

void PrintTo(const MistakeCase& mistake, std::ostream* out) { *out << mistake.name; }

class NodeConfigMistake : public NodeConfigTest, public testing::WithParamInterface<MistakeCase> {};

TEST_P(NodeConfigMistake, IsNamedWithFileLineAndKey) {
  const std::string message = mistakes(kBase + GetParam().yaml);
  EXPECT_THAT(message, testing::StartsWith(GetParam().expected)) << message;
  EXPECT_THAT(message, Not(HasSubstr("\n"))) << "one mistake, one line";
}

INSTANTIATE_TEST_SUITE_P(
    Each, NodeConfigMistake,
    testing::Values(
        MistakeCase{"UnknownSection", "nodes: {port: 1}\n", "node.yaml:10: nodes: unknown key; did you mean 'node'?"},
        MistakeCase{"UnknownKey", "node:\n  prot: 11112\n",
                    "node.yaml:11: node.prot: unknown key; did you mean 'port'?"},
        MistakeCase{"UnknownKeyWithoutANeighbour", "log: {colour: red}\n",
                    "node.yaml:10: log.colour: unknown key; there is level, format"},
        MistakeCase{"WrongType", "node: [1, 2]\n", "node.yaml:10: node: is a list; a group of keys is wanted"},
        MistakeCase{"GroupForAScalar", "node: {port: {a: 1}}\n",
                    "node.yaml:10: node.port: is a group of keys; a whole number from 1 to 65535 is wanted"},
        MistakeCase{"NotANumber", "node: {port: dicom}\n",
                    "node.yaml:10: node.port: is 'dicom'; a whole number from 1 to 65535 is wanted"},
        MistakeCase{"BindIsNoAddress", "node: {bind: xray-node}\n",
                    "node.yaml:10: node.bind: is 'xray-node'; an IP address of this machine is wanted, or 0.0.0.0"},
        MistakeCase{"PortZero", "node: {port: 0}\n",
                    "node.yaml:10: node.port: is '0'; a whole number from 1 to 65535 is wanted"},
        MistakeCase{"NotABoolean", "node: {accept_unknown: maybe}\n",
                    "node.yaml:10: node.accept_unknown: is 'maybe'; true or false is wanted"},
        MistakeCase{"TimeWithoutUnit", "node: {acse_timeout: 30}\n",
                    "node.yaml:10: node.acse_timeout: is '30'; a time with"},
        MistakeCase{"TimeOutOfRange", "node: {acse_timeout: 2 d}\n",
                    "node.yaml:10: node.acse_timeout: is '2 d'; 1 to 600 s is wanted"},
        MistakeCase{"TimeTooFine", "node: {acse_timeout: 1500 ms}\n",
                    "node.yaml:10: node.acse_timeout: is '1500 ms'; whole seconds, 1 to 600 s is wanted"},
        MistakeCase{"SizeWithoutUnit", "node: {object_bytes_max: 5}\n",
                    "node.yaml:10: node.object_bytes_max: is '5'; a size with its unit"},
        MistakeCase{"AeTitleTooLong", "node: {ae_title: SEVENTEEN_LETTERS}\n",
                    "node.yaml:10: node.ae_title: 'SEVENTEEN_LETTERS' has 17 characters; an AE title has 1 to 16"},
        MistakeCase{"AeTitleWithBackslash", "node: {ae_title: 'A\\B'}\n",
                    "node.yaml:10: node.ae_title: 'A\\B' holds a backslash, which no AE title may"},
        MistakeCase{"AeTitleNotAscii", "node: {ae_title: Röntgen}\n",
                    "node.yaml:10: node.ae_title: 'Röntgen' holds characters"},
        MistakeCase{"NoUid", "node: {more_sop_classes: [1.2.840.10008.5.1.4.1.1.2, CT]}\n",
                    "node.yaml:10: node.more_sop_classes: 'CT' is no UID"},
        MistakeCase{"UidWithAZeroTooMuch", "node: {transfer_syntaxes: 1.2.0840}\n",
                    "node.yaml:10: node.transfer_syntaxes: '1.2.0840' is no UID"},
        MistakeCase{"EmptyText", "node: {ae_title: ''}\n", "node.yaml:10: node.ae_title: is empty; text is wanted"},
        MistakeCase{"ControlCharacter", "results: {disclaimer: \"a\\tb\"}\n",
                    "node.yaml:10: results.disclaimer: holds control characters"},
        MistakeCase{"SectionTwice", "log: {level: info}\nlog: {level: warn}\n",
                    "node.yaml:11: log: is given twice, first in line 10"},
        MistakeCase{"Device", "inference: {device: gpu}\n",
                    "node.yaml:10: inference.device: is 'gpu'; auto, cpu, cuda or"},
        MistakeCase{"Threads", "inference: {threads: 0}\n",
                    "node.yaml:10: inference.threads: is '0'; a whole number from 1"},
        MistakeCase{"RetryOrder", "delivery: {retry_first: 10 min}\n",
                    "node.yaml:10: delivery.retry_max: is less than retry_first"},
        MistakeCase{"RouteWithoutName", "routes:\n  - {tasks: [anomaly]}\n",
                    "node.yaml:11: routes[0].name: is missing"},
        MistakeCase{"RouteWithoutTasks", "routes:\n  - {name: a}\n", "node.yaml:11: routes[0].tasks: is missing"},
        MistakeCase{"RouteTwice", "routes:\n  - {name: a, tasks: [anomaly]}\n  - {name: a, tasks: [anomaly]}\n",
                    "node.yaml:12: routes[1].name: 'a' is also the name of an earlier route"},
        MistakeCase{"RouteNamesNoTask", "routes:\n  - name: a\n    tasks: [anomaly, fractur]\n",
                    "node.yaml:12: routes[0].tasks: no task named 'fractur'; did you mean 'fracture'?"},
        MistakeCase{"RouteNamesATaskTwice", "routes:\n  - {name: a, tasks: [anomaly, anomaly]}\n",
                    "node.yaml:11: routes[0].tasks: names 'anomaly' twice"},
        MistakeCase{"RouteSendsToNoPeer", "routes:\n  - {name: a, tasks: [anomaly], send_to: paks}\n",
                    "node.yaml:11: routes[0].send_to: no peer named 'paks'; did you mean 'pacs'?"},
        MistakeCase{"RouteSendsToAPeerWithoutPort", "routes:\n  - {name: a, tasks: [anomaly], send_to: [xray1]}\n",
                    "node.yaml:11: routes[0].send_to: peer 'xray1' has no host and port, so nothing can be sent to it"},
        MistakeCase{"RouteMode", "routes:\n  - {name: a, tasks: [anomaly], mode: dark}\n",
                    "node.yaml:11: routes[0].mode: is 'dark'; live or shadow is wanted"},
        MistakeCase{"RouteForProcessing", "routes:\n  - {name: a, tasks: [anomaly], for_processing: yes}\n",
                    "node.yaml:11: routes[0].for_processing: is 'yes'; skip or render is wanted"},
        MistakeCase{"RouteFrames", "routes:\n  - {name: a, tasks: [anomaly], frames: all}\n",
                    "node.yaml:11: routes[0].frames: is 'all'; skip or each is wanted"},
        MistakeCase{"RoutePriority", "routes:\n  - {name: a, tasks: [anomaly], priority: high}\n",
                    "node.yaml:11: routes[0].priority: is 'high'; a whole number from -1000 to 1000 is wanted"},
        MistakeCase{"RouteMatchKey", "routes:\n  - {name: a, tasks: [anomaly], match: {bodypart: HAND}}\n",
                    "node.yaml:11: routes[0].match.bodypart: unknown key; did you mean 'body_part'?"},
        MistakeCase{"RouteBodyPart", "routes:\n  - {name: a, tasks: [anomaly], match: {body_part: [HAND, HADN]}}\n",
                    "node.yaml:11: routes[0].match.body_part: no body part 'HADN'; did you mean 'HAND'?"},
        MistakeCase{"RouteLaterality", "routes:\n  - {name: a, tasks: [anomaly], match: {laterality: left}}\n",
                    "node.yaml:11: routes[0].match.laterality: is 'left'; R, L, B or U is wanted"},
        MistakeCase{"RouteSopClass", "routes:\n  - {name: a, tasks: [anomaly], match: {sop_class: DX}}\n",
                    "node.yaml:11: routes[0].match.sop_class: 'DX' is no UID"},
        MistakeCase{"RouteSex", "routes:\n  - {name: a, tasks: [anomaly], match: {sex: [F, W]}}\n",
                    "node.yaml:11: routes[0].match.sex: is 'W'; M, F or O is wanted"},
        MistakeCase{"RouteAge",
                    "routes:\n  - {name: a, tasks: [anomaly], match: {age: {years_min: 9, years_max: 8}}}\n",
                    "node.yaml:11: routes[0].match.age.years_min: is above years_max"},
        MistakeCase{"RouteAgeKey", "routes:\n  - {name: a, tasks: [anomaly], match: {age: {years_mix: 9}}}\n",
                    "node.yaml:11: routes[0].match.age.years_mix: unknown key; did you mean 'years_min'?"},
        MistakeCase{"RouteAeTitle", "routes:\n  - {name: a, tasks: [anomaly], match: {ae_title: SEVENTEEN_LETTERS}}\n",
                    "node.yaml:11: routes[0].match.ae_title: 'SEVENTEEN_LETTERS' has more than the 16 characters"},
        MistakeCase{"RouteProcedureCode",
                    "routes:\n  - {name: a, tasks: [anomaly], match: {procedure_code: 24721-3}}\n",
                    "node.yaml:11: routes[0].match.procedure_code: '24721-3' is no code; value|scheme is wanted"},
        MistakeCase{"RouteDescription", "routes:\n  - {name: a, tasks: [anomaly], match: {description: '['}}\n",
                    "node.yaml:11: routes[0].match.description: '[' is no regular expression"},
        MistakeCase{"RegionHeadOfNoTask", "region_head: {task: regions}\n",
                    "node.yaml:10: region_head.task: no task named 'regions'"},
        MistakeCase{"RegionHeadIsNoSoftmax", "region_head: {task: fracture}\n",
                    "node.yaml:10: region_head.task: 'fracture' is no softmax with labels"},
        MistakeCase{"RegionHeadWithoutTask", "region_head: {probability_min: 0.5}\n",
                    "node.yaml:10: region_head.task: is missing"},
        MistakeCase{"RouteFrom", "routes:\n  - {name: a, tasks: [anomaly], match: {from: xray2}}\n",
                    "node.yaml:11: routes[0].match.from: no peer named 'xray2'; did you mean 'xray1'?"},
        MistakeCase{"RoutesAreNoList", "routes: {a: {}}\n",
                    "node.yaml:10: routes: is a group of keys; a list is wanted"},
        MistakeCase{"RouteIsNoGroup", "routes:\n  - knee\n",
                    "node.yaml:11: routes[0]: is 'knee'; a group of keys is wanted"},
        MistakeCase{"ForwardWithoutDestination", "forward:\n  - {match: {from: xray1}}\n",
                    "node.yaml:11: forward[0].send_to: is missing"},
        MistakeCase{"FormsOfNoPeer", "results: {forms: {pax: [sr]}}\n",
                    "node.yaml:10: results.forms.pax: no peer named 'pax'; did you mean 'pacs'?"},
        MistakeCase{"UnknownForm", "results: {forms: {pacs: [fax]}}\n",
                    "node.yaml:10: results.forms.pacs: is 'fax'; sc, sr, sr-3d, sr-enhanced, sr-per-image, "
                    "sr-3d-per-image or sr-enhanced-per-image is wanted"},
        MistakeCase{
            "HttpOffLoopback", "http: {bind: 0.0.0.0:8043, token_file: t}\n",
            "node.yaml:10: http.bind: is '0.0.0.0', which is not this machine alone; that needs token_file, and "
            "behind_proxy"},
        MistakeCase{"HttpOffLoopbackWithoutToken", "http: {bind: 0.0.0.0:8043, behind_proxy: true}\n",
                    "node.yaml:10: http.bind: is '0.0.0.0', which is not"},
        MistakeCase{"HttpPortZero", "http: {bind: 127.0.0.1:0}\n",
                    "node.yaml:10: http.bind: is '127.0.0.1:0'; an address"},
        MistakeCase{"HttpHostName", "http: {bind: localhost:8043}\n",
                    "node.yaml:10: http.bind: is 'localhost:8043'; an address"},
        MistakeCase{"HttpWithoutPort", "http: {bind: localhost}\n",
                    "node.yaml:10: http.bind: is 'localhost'; an address"},
        MistakeCase{"LogLevel", "log: {level: loud}\n",
                    "node.yaml:10: log.level: is 'loud'; debug or info or warn or error is wanted"},
        MistakeCase{"BodyPartPattern", "body_parts: {KNEE: {descriptions: ['(']}}\n",
                    "node.yaml:10: body_parts.KNEE.descriptions: '(' is no regular expression"},
        MistakeCase{"BodyPartCode", "body_parts: {KNEE: {codes: ['72696002']}}\n",
                    "node.yaml:10: body_parts.KNEE.codes: '72696002' is no code; value|scheme is wanted"},
        MistakeCase{"BodyPartLoinc", "body_parts: {KNEE: {loinc: [24806-2, XR]}}\n",
                    "node.yaml:10: body_parts.KNEE.loinc: is 'XR'; a code such as 24721-3 is wanted"},
        MistakeCase{"BodyPartFile", "body_parts: parts.yaml\n",
                    "node.yaml:10: body_parts: parts.yaml: cannot be opened: No such file or directory"}),
    [](const auto& info) { return std::string(info.param.name); });

// Of the keys that kBase has already: set by an override, or in a file of its own.
struct FileCase {
  const char* name;
  std::string yaml, expected;
};

void PrintTo(const FileCase& mistake, std::ostream* out) { *out << mistake.name; }

class NodeConfigWholeFile : public NodeConfigTest, public testing::WithParamInterface<FileCase> {};

TEST_P(NodeConfigWholeFile, IsNamedWithFileLineAndKey) {
  const std::string message = mistakes(GetParam().yaml);
  EXPECT_THAT(message, testing::StartsWith(GetParam().expected)) << message;
  EXPECT_THAT(message, Not(HasSubstr("\n"))) << "one mistake, one line";
}

const std::string kStore = "storage: {directory: s}\n";
const std::string kModel = kStore + "models: {m: {path: p}}\ntasks:\n";  // 3 lines

INSTANTIATE_TEST_SUITE_P(
    Each, NodeConfigWholeFile,
    testing::Values(
        FileCase{"NoDirectory", "\nstorage: {free_bytes_min: 1 GiB}\n", "node.yaml:2: storage.directory: is missing"},
        FileCase{"NothingAtAll", "", "node.yaml:1: storage.directory: is missing"},
        FileCase{"NoMapping", "- a\n- b\n", "node.yaml:1: is a list; a group of keys is wanted"},
        FileCase{"Syntax", "storage: {directory: s\nnode: [", "node.yaml:2: no YAML: "},
        FileCase{"SecondDocument", kStore + "---\nlog: {}\n", "node.yaml:3: a second YAML document"},
        FileCase{"Conflict", "storage: {directory: s, conflict: keep}\n",
                 "node.yaml:1: storage.conflict: is 'keep'; refuse or keep_first is wanted"},
        FileCase{"Retention", "storage: {directory: s, retention: {originals_days: -1}}\n",
                 "node.yaml:1: storage.retention.originals_days: is '-1'; a whole number from 0 to 36500 is wanted"},
        FileCase{"Watermark", "storage: {directory: s, free_bytes_min: 2 GiB, retention: {free_bytes_low: 1 GiB}}\n",
                 "node.yaml:1: storage.retention.free_bytes_low: is less than storage.free_bytes_min"},
        FileCase{"StudyOpenMax", "storage: {directory: s, study_open_max: 0 s}\n",
                 "node.yaml:1: storage.study_open_max: is '0 s'"},
        FileCase{"DuplicateAeTitle", kStore + "peers:\n  a: {ae_title: X}\n  b: {ae_title: X}\n",
                 "node.yaml:4: peers.b.ae_title: 'X' is also that of peer a"},
        FileCase{"DuplicatePeer", kStore + "peers:\n  a: {ae_title: X}\n  a: {ae_title: Y}\n",
                 "node.yaml:4: peers.a: is given twice, first in line 3"},
        FileCase{"PeerWithoutAeTitle", kStore + "peers:\n  a: {host: b}\n",
                 "node.yaml:3: peers.a.ae_title: is missing"},
        FileCase{"PeerPortZero", kStore + "peers:\n  a: {ae_title: X, host: h, port: 0}\n",
                 "node.yaml:3: peers.a.port: is '0'; a whole number from 1 to 65535 is wanted"},
        FileCase{"PeerPortWithoutHost", kStore + "peers:\n  a: {ae_title: X, port: 104}\n",
                 "node.yaml:3: peers.a.port: is given without a host"},
        FileCase{"PeerName", kStore + "peers:\n  a b: {ae_title: X}\n",
                 "node.yaml:3: peers.a b: the name 'a b' is wrong"},
        FileCase{"PeersAreAList", kStore + "peers: [{ae_title: X}]\n",
                 "node.yaml:2: peers: is a list; a group of names"},
        FileCase{"ModelWithoutPath", kStore + "models:\n  m: {precision: auto}\n",
                 "node.yaml:3: models.m.path: is missing"},
        FileCase{"ModelDevice", kStore + "models:\n  m: {path: p, device: [cpu, gpu]}\n",
                 "node.yaml:3: models.m.device: is 'gpu'; auto, cpu, cuda or cuda:1 is wanted"},
        FileCase{"Precision", kStore + "models:\n  m: {path: p, precision: int8}\n",
                 "node.yaml:3: models.m.precision: is 'int8'; auto or float32 or bfloat16 is wanted"},
        FileCase{"TaskNamesNoModel", kModel + "  t: {model: n, output: softmax}\n",
                 "node.yaml:4: tasks.t.model: no model named 'n'"},
        FileCase{"TaskWithoutOutput", kModel + "  t: {model: m}\n", "node.yaml:4: tasks.t.output: is missing"},
        FileCase{"TaskOutput", kModel + "  t: {model: m, output: sigmod}\n",
                 "node.yaml:4: tasks.t.output: is 'sigmod'; sigmoid or softmax or regression or anomaly_map is wanted"},
        FileCase{"LabelsOfAnAnomalyMap", kModel + "  t: {model: m, output: anomaly_map, labels: [a]}\n",
                 "node.yaml:4: tasks.t.labels: means nothing for an anomaly_map"},
        FileCase{"PassesNoMultipleOf4", kModel + "  t: {model: m, output: anomaly_map, passes: 6}\n",
                 "node.yaml:4: tasks.t.passes: is 6; a multiple of 4 is wanted for mode partition"},
        FileCase{"TooManyPasses", kModel + "  t: {model: m, output: anomaly_map, passes: 68}\n",
                 "node.yaml:4: tasks.t.passes: is '68'; a whole number from 1 to 64 is wanted"},
        FileCase{"PassesOfASoftmax", kModel + "  t: {model: m, output: softmax, passes: 8}\n",
                 "node.yaml:4: tasks.t.passes: is for output anomaly_map only"},
        FileCase{"ScaleOfTheMap", kModel + "  t: {model: m, output: anomaly_map, map_scale_max: 0}\n",
                 "node.yaml:4: tasks.t.map_scale_max: is '0'; a number from"},
        FileCase{"ThresholdOrder",
                 kModel + "  t: {model: m, output: sigmoid, threshold: {doubtful: 0.8, certain: 0.2}}\n",
                 "node.yaml:4: tasks.t.threshold.doubtful: is above certain"},
        FileCase{"ThresholdRange", kModel + "  t: {model: m, output: sigmoid, threshold: 50}\n",
                 "node.yaml:4: tasks.t.threshold: is '50'; a number from 0 to 1 is wanted"},
        FileCase{"HalfAThreshold", kModel + "  t: {model: m, output: sigmoid, threshold: {certain: 0.2}}\n",
                 "node.yaml:4: tasks.t.threshold.doubtful: is missing"},
        FileCase{"ThresholdOfARegression", kModel + "  t: {model: m, output: regression, threshold: 0.5}\n",
                 "node.yaml:4: tasks.t.threshold: is for output sigmoid and softmax only"},
        FileCase{"SoftmaxOfOneLabel", kModel + "  t: {model: m, output: softmax, labels: [a]}\n",
                 "node.yaml:4: tasks.t.output: is softmax, which is always 1 for one label; sigmoid is wanted"},
        FileCase{"SoftmaxOfOneLogit", kModel + "  t: {model: m, output: softmax, slice: {first: 3, count: 1}}\n",
                 "node.yaml:4: tasks.t.output: is softmax, which is always 1 for one label; sigmoid is wanted"},
        FileCase{"OneCodeForTwoLabels",
                 kModel + "  t: {model: m, output: softmax, labels: [a, b], label_codes: ['1|SCT|a', '1|SCT|b']}\n",
                 "node.yaml:4: tasks.t.label_codes: holds '1|SCT' for two labels"},
        FileCase{"Code", kModel + "  t: {model: m, output: sigmoid, code: '125605004'}\n",
                 "node.yaml:4: tasks.t.code: '125605004' is no code; value|scheme|meaning is wanted"},
        FileCase{"CodeTooLong", kModel + "  t: {model: m, output: sigmoid, code: '12345678901234567|SCT|x'}\n",
                 "node.yaml:4: tasks.t.code: '12345678901234567|SCT|x': a code's value has 1 to 16 characters"},
        FileCase{"LabelCodesCount",
                 kModel + "  t: {model: m, output: softmax, labels: [a, b], label_codes: ['1|SCT|a']}\n",
                 "node.yaml:4: tasks.t.label_codes: holds 1 codes for 2 labels"},
        FileCase{"LabelTwice", kModel + "  t: {model: m, output: softmax, labels: [a, a]}\n",
                 "node.yaml:4: tasks.t.labels: names 'a' twice"},
        FileCase{"SliceCount",
                 kModel + "  t: {model: m, output: softmax, labels: [a, b], slice: {first: 1, count: 3}}\n",
                 "node.yaml:4: tasks.t.slice.count: is 3, but there are 2 labels"},
        FileCase{"Age", kModel + "  t: {model: m, output: softmax, age: {years_min: 20, years_max: 10}}\n",
                 "node.yaml:4: tasks.t.age.years_min: is above years_max"},
        FileCase{"UnitOfASigmoid", kModel + "  t: {model: m, output: sigmoid, unit: mo}\n",
                 "node.yaml:4: tasks.t.unit: is for output regression only"},
        FileCase{"ScaleZero", kModel + "  t: {model: m, output: regression, scale: 0}\n",
                 "node.yaml:4: tasks.t.scale: is 0, which makes every value the same"},
        FileCase{"NotFinite", kModel + "  t: {model: m, output: regression, offset: nan}\n",
                 "node.yaml:4: tasks.t.offset: is 'nan'; a number"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(NodeConfigTest, EveryMistakeIsReportedAtOnceInTheOrderOfTheFile) {
  const std::string message = mistakes(R"(log: {level: loud}
node: {port: 0}
storage: {directory: s}
tasks: {t: {model: m, output: sigmoid}}
peers: {a: {}}
)");
  std::istringstream lines(message);
  std::vector<std::string> starts;
  for (std::string line; std::getline(lines, line);) starts.push_back(line.substr(0, line.find(": is")));
  EXPECT_THAT(starts, ElementsAre("node.yaml:1: log.level", "node.yaml:2: node.port",
                                  "node.yaml:4: tasks.t.model: no model named 'm'; there is none",
                                  "node.yaml:5: peers.a.ae_title"));
}

// --- Overrides -------------------------------------------------------------------------------------------------------

const std::string kRouted = kBase + R"(routes:
  - {name: knee, match: {modality: [CR], body_part: KNEE}, tasks: [anomaly], send_to: [pacs]}
  - {name: hand-1, match: {body_part: HAND}, tasks: [fracture]}
)";

TEST_F(NodeConfigTest, SetOverridesOneKey) {
  const auto config = read(kRouted, {{"node.port", "11113"},
                                     {"routes.0.priority", "3"},
                                     {"routes.hand-1.priority", "4"},
                                     {"routes.knee.match.modality", "[DX, CR]"},
                                     {"http.bind", "127.0.0.1:9000"},
                                     {"tasks.fracture.code", "1|SCT|a: b"},
                                     {"log.level", "warn"}});
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->receive.port, 11113);
  EXPECT_EQ(config->router.routes[0].priority, 3);
  EXPECT_EQ(config->router.routes[1].priority, 4);
  EXPECT_THAT(config->router.routes[0].match.modality, ElementsAre("DX", "CR"));
  EXPECT_EQ(config->http.port, 9000);
  EXPECT_EQ(config->inference.tasks[1].code.meaning, "a: b");
  EXPECT_EQ(config->log.level, LogLevel::kWarn);
}

TEST_F(NodeConfigTest, TheEnvironmentOverridesInAnyCaseAndSetOverridesIt) {
  const std::vector<std::string> environment = {"PATH=/bin",
                                                "SKELEX_NODE__AE_TITLE=X",
                                                "SKELEX_NODE__PORT=4001",
                                                "SKELEX_HOME=/nowhere",
                                                "SKELEX_ROUTES__HAND_1__PRIORITY=7",
                                                "SKELEX_Log__Level=error",
                                                "SKELEXX__A__B=1",
                                                "SKELEX_ROUTES__0__PRIORITY=2"};
  const auto config = read(kRouted, {{"node.port", "4002"}}, environment);
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->receive.ae_title, "X");
  EXPECT_EQ(config->receive.port, 4002);
  EXPECT_EQ(config->router.routes[0].priority, 2);
  EXPECT_EQ(config->router.routes[1].priority, 7);
  EXPECT_EQ(config->log.level, LogLevel::kError);
}

TEST_F(NodeConfigTest, AMistakeOfAnOverrideIsNamedByTheOverride) {
  EXPECT_EQ(mistakes(kBase, {{"node.port", "0"}}),
            "--set node.port=0: node.port: is '0'; a whole number from 1 to 65535 is wanted");
  EXPECT_EQ(mistakes(kBase, {}, {"SKELEX_NODE__PORT=x"}),
            "SKELEX_NODE__PORT: node.port: is 'x'; a whole number from 1 to 65535 is wanted");
  EXPECT_EQ(mistakes(kBase, {{"node.prot", "1"}}), "--set node.prot=1: node.prot: unknown key; did you mean 'port'?");
  EXPECT_EQ(mistakes(kRouted, {{"routes.kne.priority", "1"}}),
            "--set routes.kne.priority=1: routes: has no item 'kne'; did you mean 'knee'?");
  EXPECT_THAT(mistakes(kRouted, {{"routes.2.priority", "1"}}), HasSubstr("routes: has no item '2'"));
  EXPECT_THAT(mistakes(kBase, {{"storage.directory.x", "1"}}), HasSubstr("storage.directory: is a value, not a group"));
  EXPECT_THAT(mistakes(kBase, {{"node..port", "1"}}), HasSubstr("an empty key"));
  EXPECT_THAT(mistakes(kBase, {{"node.ae_title", "[a"}}), HasSubstr("--set node.ae_title=[a: no YAML"));
}

// --- Files that are no configuration ---------------------------------------------------------------------------------

TEST_F(NodeConfigTest, AFileThatIsNotThereIsNotFound) {
  const auto config = read_node_config((folder_ / "none.yaml").string(), {}, {});
  ASSERT_FALSE(config.ok());
  EXPECT_EQ(config.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(config.status().message(), HasSubstr("none.yaml: cannot be opened: No such file"));
  EXPECT_EQ(read_node_config(folder_.string(), {}, {}).status().code(), StatusCode::kNotFound);
}

TEST_F(NodeConfigTest, AFileOfMoreThan1MiBIsRefused) {
  EXPECT_THAT(mistakes(kStore + std::string(1024 * 1024, '#')), HasSubstr("node.yaml: is larger than 1 MiB"));
}

TEST_F(NodeConfigTest, AliasesThatUnfoldAreRefused) {
  std::string bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n";
  for (char c = 'b'; c <= 'l'; ++c) {
    const std::string previous = std::string("*") + static_cast<char>(c - 1);
    bomb += std::string(1, c) + ": &" + c + " [" + previous;
    for (int i = 0; i < 9; ++i) bomb += ", " + previous;
    bomb += "]\n";
  }
  EXPECT_THAT(mistakes(bomb + kStore), HasSubstr("more than 100000 values (aliases count where used)"));
  EXPECT_THAT(mistakes("node: &n\n  port: *n\n"), HasSubstr("node.yaml:"));  // Holds itself.
}

TEST_F(NodeConfigTest, DeepNestingIsRefused) {
  EXPECT_THAT(mistakes(std::string(100'000, '[')), HasSubstr("node.yaml:1: "));
  EXPECT_THAT(mistakes(std::string(100'000, '{')), HasSubstr("node.yaml:1: "));
  EXPECT_THAT(mistakes("a: " + std::string(40, '[') + std::string(40, ']')), HasSubstr("nested deeper than 16 levels"));
}

TEST_F(NodeConfigTest, ManyMistakesAreCut) {
  std::string yaml = kStore;
  for (int i = 0; i < 300; ++i) yaml += "k" + std::to_string(i) + ": 1\n";
  EXPECT_THAT(mistakes(yaml), HasSubstr("and 200 more mistakes"));
}

TEST_F(NodeConfigTest, BytesThatAreNoYamlAreAMistakeAndNoCrash) {
  std::string bytes;
  for (int i = 0; i < 4096; ++i) bytes += static_cast<char>(i * 37 + i / 256);
  EXPECT_THAT(mistakes(bytes), Not(IsEmpty()));
}

// --- Body parts ------------------------------------------------------------------------------------------------------

TEST_F(NodeConfigTest, TheBodyPartTableOfTheBuildIsTheFile) {
  std::ifstream file(kSource + "/config/body_parts.yaml", std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(std::string(kBodyPartsYaml), text.str());
}

TEST_F(NodeConfigTest, OwnBodyPartsComeOverTheBuiltInOnes) {
  const auto config = read(kStore + R"(body_parts:
  KNEE: {aliases: [gonarthrose, HD], codes: ["K1|99X"], procedure_codes: ["P1|99X|Knee, two views"], descriptions: ['\bGONARTHR']}
  NONE: {aliases: [MAIN], codes: ["85562004|SCT"], descriptions: ['\bHANDS?\b']}
  RACHIAL: {groups: [spine], aliases: [RCH]}
)");
  ASSERT_TRUE(config.ok()) << config.status().message();
  const BodyPartTable& table = config->router.body_parts;
  EXPECT_EQ(table.terms.at("GONARTHROSE"), "KNEE");
  EXPECT_EQ(table.terms.at("HD"), "KNEE");
  EXPECT_EQ(table.terms.at("KNIE"), "KNEE");
  EXPECT_EQ(table.terms.at("RCH"), "RACHIAL");
  EXPECT_FALSE(table.terms.contains("MAIN"));
  EXPECT_FALSE(table.terms.contains("NONE"));
  EXPECT_EQ(table.codes.at("99X|K1"), "KNEE");
  EXPECT_FALSE(table.codes.contains("SCT|85562004"));
  EXPECT_EQ(table.codes.at("SRT|T-D8700"), "HAND");
  EXPECT_EQ(table.procedure_codes.at("99X|P1"), "KNEE");
  EXPECT_EQ(table.description_patterns.front().first, "\\bGONARTHR");
  for (const auto& [pattern, term] : table.description_patterns) EXPECT_NE(pattern, "\\bHANDS?\\b");
}

TEST_F(NodeConfigTest, OwnBodyPartsMayBeAFileOfTheirOwn) {
  write("parts.yaml", "KNEE: {aliases: [KN_STAND]}\n");
  const auto config = read(kStore + "body_parts: parts.yaml\n");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->router.body_parts.terms.at("KN_STAND"), "KNEE");

  write("parts.yaml", "KNEE:\n  alias: [KN_STAND]\n");
  EXPECT_EQ(mistakes(kStore + "body_parts: parts.yaml\n"),
            "parts.yaml:2: KNEE.alias: unknown key; did you mean 'aliases'?");
}

TEST_F(NodeConfigTest, ARouteReadsEveryCriterion) {
  const auto config = read(kBase + R"(routes:
  - name: all
    tasks: [anomaly]
    match: {modality: dx, sop_class: 1.2.3, body_part: knee, laterality: l, view: ap, sex: f, from: xray1,
            ae_title: Room1, station: Bucky 1, institution: [A, B], procedure_code: "24721-3|LN|XR Hand 2 Views",
            description: ['\bpostop'], age: {years_min: 2, years_max: 17}}
)");
  ASSERT_TRUE(config.ok()) << config.status().message();
  const RouteMatch& match = config->router.routes[0].match;
  EXPECT_THAT(match.modality, ElementsAre("DX"));
  EXPECT_THAT(match.sop_class, ElementsAre("1.2.3"));
  EXPECT_THAT(match.body_part, ElementsAre("KNEE"));
  EXPECT_THAT(match.laterality, ElementsAre("L"));
  EXPECT_THAT(match.view, ElementsAre("AP"));
  EXPECT_THAT(match.sex, ElementsAre("F"));
  EXPECT_THAT(match.from, ElementsAre("xray1"));
  EXPECT_THAT(match.ae_title, ElementsAre("Room1"));
  EXPECT_THAT(match.station, ElementsAre("Bucky 1"));
  EXPECT_THAT(match.institution, ElementsAre("A", "B"));
  EXPECT_THAT(match.procedure_code, ElementsAre("LN|24721-3"));
  EXPECT_THAT(match.description, ElementsAre("\\bpostop"));
  EXPECT_EQ(match.age_years_min, 2);
  EXPECT_EQ(match.age_years_max, 17);
  EXPECT_THAT(config->router.routes[0].origin, HasSubstr("node.yaml:11: routes[0]"));
  EXPECT_EQ(config->router.ae_titles.at("xray1"), "XRAY1");
}

TEST_F(NodeConfigTest, TheLabelsOfARegionHeadAreBodyPartsByCodeOrName) {
  const std::string task = R"(region_head: {task: region, probability_min: 0.9}
tasks:
  region: {model: skelex, output: softmax, labels: [Knie, sole], label_codes: ["1|99X|Knie", "56459004|SCT|Foot"]}
models:
  skelex: {path: models/skelex}
storage: {directory: store}
)";
  const auto config = read(task);
  ASSERT_TRUE(config.ok()) << config.status().message();
  const RegionHead& head = config->router.region_head;
  EXPECT_EQ(head.task, "region");
  EXPECT_EQ(head.probability_min, 0.9);
  EXPECT_THAT(head.terms, ElementsAre(Pair("Knie", "KNEE"), Pair("sole", "FOOT")));
  EXPECT_TRUE(head.contradict("KNEE", "FOOT"));
  EXPECT_FALSE(head.contradict("KNEE", "PATELLA"));
  EXPECT_FALSE(head.contradict("KNEE", ""));
  EXPECT_EQ(config->report.region_head.task, "region");

  std::string wrong = task;
  wrong.replace(wrong.find("56459004"), 8, "56459005");
  EXPECT_THAT(mistakes(wrong), HasSubstr("node.yaml:1: region_head.task: label 'sole' of 'region' is no body part"));
}

TEST_F(NodeConfigTest, ARouteMayNameABodyPartOfItsOwn) {
  const std::string route = "routes:\n  - {name: a, tasks: [anomaly], match: {body_part: [Knie, LEG, RACHIAL]}}\n";
  EXPECT_THAT(mistakes(kBase + route), HasSubstr("no body part 'RACHIAL'"));
  EXPECT_EQ(mistakes(kBase + route + "body_parts: {RACHIAL: {groups: [spine]}}\n"), "");
}

}  // namespace
}  // namespace node::config
