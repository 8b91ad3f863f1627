#include "config/node_config.h"

#include <map>
#include <sstream>

#include "tests/config/node_config_fixture.h"

namespace node::config {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;

TEST_F(NodeConfigTest, ReadsTheExampleFileWithoutAMistake) {
  const auto config = read_node_config(kSource + "/config/node.example.yaml", {}, {});
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->receive.ae_title, "SKELEX");
  EXPECT_EQ(config->receive.peers.size(), 2u);
  EXPECT_EQ(config->receive.peers[0].study_quiet_period, seconds(180));
  EXPECT_TRUE(config->receive.peers[1].whole_study_per_association);
  std::map<std::string, TaskConfig> tasks;
  for (const TaskConfig& task : config->inference.tasks) tasks[task.name] = task;
  EXPECT_EQ(tasks.size(), 19u);  // The map, the twelve, the five of the classifier of 38 logits, and its regions.
  EXPECT_EQ(tasks["bone-age"].output, OutputKind::kRegression);
  EXPECT_EQ(tasks["bone-age"].unit, "mo");
  EXPECT_EQ(tasks["bone-age"].age_years_max, 18);
  EXPECT_EQ(tasks["knee-oa"].label_codes.size(), 5u);
  EXPECT_EQ(tasks["tumour-subtype"].label_codes.size(), 9u);
  int logits = 0;
  for (const auto& [name, task] : tasks) {
    if (task.model == "multihead") logits += task.logits_count;
    EXPECT_TRUE(task.regions || task.labels.size() < 2 || task.label_codes.size() == task.labels.size()) << name;
    EXPECT_EQ(task.code.value.empty(), name == "anomaly" || task.regions) << name;
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

}  // namespace
}  // namespace node::config
