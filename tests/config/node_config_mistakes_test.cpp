// Every mistake of a file is named with file, line and key.
#include "config/node_config.h"
#include "tests/config/node_config_fixture.h"

namespace node::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

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
                    "node.yaml:10: results.forms.pacs: is 'fax'; sc, sc-rle, sc-jpeg, sc-multiframe, summary, seg, sr, "
                    "sr-3d, sr-enhanced, "
                    "sr-per-image, "
                    "sr-3d-per-image, sr-enhanced-per-image, sr-text, gsps or kos is wanted"},
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
        FileCase{"NoReserve", "storage: {directory: s, free_bytes_min: 0 B}\n",
                 "node.yaml:1: storage.free_bytes_min: is '0 B'"},
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
                 "node.yaml:4: tasks.t.output: is 'sigmod'; sigmoid or softmax or regression or anomaly_map or regions "
                 "is wanted"},
        FileCase{"LabelsOfAnAnomalyMap", kModel + "  t: {model: m, output: anomaly_map, labels: [a]}\n",
                 "node.yaml:4: tasks.t.labels: means nothing for an anomaly_map"},
        FileCase{"SliceOfRegions", kModel + "  t: {model: m, output: regions, slice: {first: 1, count: 4}}\n",
                 "node.yaml:4: tasks.t.slice: means nothing for output regions"},
        FileCase{"LabelsOfRegions", kModel + "  t: {model: m, output: regions, labels: [a]}\n",
                 "node.yaml:4: tasks.t.labels: holds 1 for 8 scores: Abnormal, Bone tumour, Malignant"},
        FileCase{"DetectorOfRegions", kModel + "  t: {model: m, output: regions, detector: n}\n",
                 "node.yaml:4: tasks.t.detector: no model named 'n'"},
        FileCase{"TilesHaveNoScore", kModel + "  t: {model: m, output: regions, regions: {score_min: 0.3}}\n",
                 "node.yaml:4: tasks.t.regions.score_min: is for a detector's boxes, and there is no detector"},
        FileCase{"DetectorOfASigmoid", kModel + "  t: {model: m, output: sigmoid, detector: m}\n",
                 "node.yaml:4: tasks.t.detector: is for output regions only"},
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

}  // namespace
TEST_F(NodeConfigTest, CertificatesAreHeldAgainstWhatCanBeShown) {
  const auto look = [this](const Settings& settings) { return mistakes(kBase, settings); };
  EXPECT_THAT(look({{"peers.pacs.certificate", "md5:00"}}),
              testing::HasSubstr("peers.pacs.certificate: is 'md5:00'; sha256: and the 64 hex digits"));
  EXPECT_THAT(look({{"peers.xray1.certificate", "CN=xray1"}}), testing::HasSubstr("nobody can call with TLS"));
  const std::string file = write("file.pem", "");
  EXPECT_THAT(look({{"node.tls.ca_file", file}}), testing::HasSubstr("node.tls.certificate_file: is missing"));
  EXPECT_THAT(look({{"node.tls.key_file", file}, {"node.tls.certificate_file", file}}),
              testing::HasSubstr("node.tls.ca_file: is missing"));
  EXPECT_THAT(look({{"peers.pacs.tls.ca_file", "gone.pem"}}), testing::HasSubstr("which does not exist"));

  const std::string digits(32, 'A'), colons = "sha256:" + digits.substr(0, 2) + ":" + digits.substr(2) + digits;
  Settings good{{"node.tls.ca_file", file},
                {"node.tls.key_file", file},
                {"node.tls.certificate_file", file},
                {"node.tls.port", "2762"},
                {"peers.xray1.certificate", "[" + colons + ", CN=Xray 1]"}};
  const auto config = read(kBase, good);
  ASSERT_TRUE(config.ok()) << config.status().message();
  const PeerConfig& xray1 = config->receive.peers.front();
  EXPECT_TRUE(xray1.tls.on);
  EXPECT_EQ(xray1.tls.ca_file, file) << "as for those who call us";
  EXPECT_THAT(xray1.certificates, testing::ElementsAre("sha256:" + std::string(64, 'a'), "CN=Xray 1"));
}

}  // namespace node::config
