#include "config/task_section.h"

#include <tuple>

#include "tests/config/node_config_fixture.h"

namespace node::config {
namespace {

using testing::HasSubstr;

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

TEST_F(NodeConfigTest, ALimitThatNoProbabilityReachesIsRefused) {
  const std::string task = kBase + "  age: {model: skelex, output: regression, labels: [Age]}\n  b: {model: skelex, " +
                           "output: sigmoid, labels: [B], when: {task: fracture, at_least: 0.5}}\n";
  for (const char* good : {"0", "1"}) EXPECT_EQ(mistakes(task, {{"tasks.b.when.at_least", good}}), "");
  EXPECT_EQ(mistakes(task, {{"tasks.b.when.task", "age"}, {"tasks.b.when.at_least", "120"}}), "") << "no probability";
  EXPECT_THAT(mistakes(task, {{"tasks.b.when.at_least", "1.5"}}),
              HasSubstr("tasks.b.when.at_least: is above 1, which is never reached: the scores of 'fracture' are"));
  EXPECT_THAT(mistakes(task, {{"tasks.b.when.at_least", "-1"}}), HasSubstr("tasks.b.when.at_least: is below 0"));
  const std::string written = kBase + "  b:\n    model: skelex\n    output: sigmoid\n    labels: [B]\n" +
                              "    when:\n      task: fracture\n      at_least: 1.5\n";
  EXPECT_THAT(mistakes(written), testing::StartsWith("node.yaml:16: tasks.b.when.at_least: is above 1"));
}

TEST_F(NodeConfigTest, ALabelIsTextThatEveryFormCanHold) {
  const auto said = [&](const std::string& label) {
    return mistakes(kBase + "  b:\n    model: skelex\n    output: softmax\n    labels: [A, \"" + label + "\"]\n");
  };
  for (const char* good : {"distal tibia", "AO 23-M/3.1 (a|b)", "\u0420\u0430\u043a", "\u00a0x"})
    EXPECT_EQ(said(good), "") << good;
  const std::string place = "node.yaml:13: tasks.b.labels: ";
  EXPECT_EQ(said("a\\\\b"), place + "'a\\b' holds a backslash, where DICOM ends a value");
  for (const char* bad : {"a\\nb", "a\\tb", "a\\x85 b", "a\\u2028b", "a\\x7f"})
    EXPECT_THAT(said(bad), testing::AllOf(testing::StartsWith(place), HasSubstr("holds control characters"))) << bad;
  for (const char* blank : {"", " ", "\\t", "\u00a0", "\u2003 \u3000", "\u200b"})
    EXPECT_THAT(said(blank), testing::AllOf(testing::StartsWith(place), HasSubstr("text is wanted"))) << blank;
}

TEST_F(NodeConfigTest, NegativeLabelsAreLabelsOfASoftmax) {
  const std::string task = kBase + "  grade: {model: skelex, output: softmax, labels: [a, b, c]}\n";
  const auto config = read(task, {{"tasks.grade.negative_labels", "[a, c]"}});
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_THAT(config->inference.tasks[2].negative_labels, testing::ElementsAre("a", "c"));
  EXPECT_THAT(mistakes(task, {{"tasks.grade.negative_labels", "[d]"}}),
              HasSubstr("tasks.grade.negative_labels: no label 'd'"));
  EXPECT_THAT(mistakes(kBase, {{"tasks.fracture.negative_labels", "[Fracture]"}}),
              HasSubstr("tasks.fracture.negative_labels: is for output softmax only"));
}

TEST_F(NodeConfigTest, ATaskSaysBodyPartsAndSidesItIsMeantFor) {
  const auto config =
      read(kBase, {{"tasks.fracture.body_parts", "[handgelenk, KNEE]"}, {"tasks.fracture.laterality", "l"}});
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_THAT(config->router.scopes.at("fracture").body_parts, testing::ElementsAre("WRIST", "KNEE"));
  EXPECT_THAT(config->router.scopes.at("fracture").laterality, testing::ElementsAre("L"));
  EXPECT_THAT(mistakes(kBase, {{"tasks.fracture.body_parts", "KNEEE"}}),
              HasSubstr("tasks.fracture.body_parts: no body part 'KNEEE'"));
  EXPECT_THAT(mistakes(kBase, {{"tasks.fracture.laterality", "X"}}), HasSubstr("is 'X'; R, L, B or U is wanted"));
}

TEST_F(NodeConfigTest, ATaskOfOneSideThatSplitsHasATaskForEachHalf) {
  const auto tasks = [&](const std::string& of_a, const std::string& of_b = "") {
    return read(
        "storage: {directory: s}\nmodels: {m: {path: p}}\ntasks:\n  a: {model: m, labels: [A, X], " + of_a +
        "}\n  b: {model: m, output: sigmoid, labels: [B]" + of_b +
        "}\nroutes:\n  - {name: r, match: {}, tasks: [a, b], urgent_when: [{task: a, label: X, at_least: 0.8}]}\n");
  };
  const auto good = tasks("output: softmax, laterality: [R, L], bilateral: split");
  ASSERT_TRUE(good.ok()) << good.status().message();
  ASSERT_EQ(good->inference.tasks.size(), 4u);
  const TaskConfig &right = good->inference.tasks[2], &left = good->inference.tasks[3];
  EXPECT_EQ(std::tie(right.name, left.name), std::make_tuple("a right half", "a left half"));
  EXPECT_TRUE(right.half == Half::kRight && left.half == Half::kLeft && !right.split);
  EXPECT_EQ(right.labels, good->inference.tasks[0].labels);
  EXPECT_EQ(good->report.tasks.size(), 4u);
  EXPECT_TRUE(good->router.scopes.at("a").split);
  EXPECT_FALSE(good->router.scopes.at("b").split);
  std::vector<std::string> urgent;  // A grave right half is as urgent as a grave film of one knee.
  for (const TaskCondition& condition : good->router.routes[0].urgent_when) urgent.push_back(condition.task);
  EXPECT_THAT(urgent, testing::ElementsAre("a", "a right half", "a left half"));
  EXPECT_EQ(tasks("output: softmax, laterality: [R, L], bilateral: out_of_scope")->inference.tasks.size(), 2u);

  const auto mistake = [&](auto... words) { return tasks(words...).status().message(); };
  EXPECT_THAT(mistake("output: softmax, bilateral: split"), HasSubstr("tasks.a.bilateral: is split, but the task is"));
  EXPECT_THAT(mistake("output: softmax, laterality: [R, L, B], bilateral: split"), HasSubstr("is not of one side"));
  EXPECT_THAT(mistake("output: anomaly_map, laterality: R, bilateral: split"),
              HasSubstr("for output sigmoid, softmax"));
  EXPECT_THAT(mistake("output: regions, laterality: R, bilateral: split"), HasSubstr("for output sigmoid, softmax"));
  EXPECT_THAT(mistake("output: softmax, laterality: R, bilateral: split", ", when: {task: a, label: A, at_least: 0.5}"),
              HasSubstr("tasks.b.when.task: 'a' is split on films of both sides"));
  EXPECT_THAT(mistake("output: softmax, laterality: R, bilateral: split, when: {task: b, at_least: 0.5}"),
              HasSubstr("tasks.a.bilateral: is split, but the task waits"));
  EXPECT_THAT(mistake("output: softmax, laterality: R, bilateral: both"), HasSubstr("tasks.a.bilateral"));
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

}  // namespace
}  // namespace node::config
