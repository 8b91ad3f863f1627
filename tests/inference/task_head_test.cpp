// TaskHead: a task gets its own logits under its own labels, or the configuration's mistake by name.
#include "inference/task_head.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace node::inference {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Labels = std::vector<std::string>;

NetworkConfig classifier(Labels labels) {
  NetworkConfig network;
  network.labels = std::move(labels);
  return network;
}

const NetworkConfig kGrades = classifier({"KL 0", "KL 1", "KL 2", "KL 3", "KL 4"});
const NetworkConfig kNameless = classifier({"LABEL_0", "LABEL_1", "LABEL_2"});

config::TaskConfig task(config::OutputKind output, Labels labels = {}, int first = 0, int count = 0) {
  config::TaskConfig task;
  task.name = "t";
  task.model = "m";
  task.output = output;
  task.labels = std::move(labels);
  task.logits_first = first;
  task.logits_count = count;
  return task;
}

config::TaskConfig softmax(Labels labels = {}, int first = 0, int count = 0) {
  return task(config::OutputKind::kSoftmax, std::move(labels), first, count);
}

std::string mistake(const config::TaskConfig& task, const NetworkConfig& network) {
  const Status status = task_head(task, network).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  return status.message();
}

TEST(TaskHead, LabelsAreTheTasksElseTheCheckpointsOfItsSlice) {
  const TaskHead slice = *task_head(softmax({}, 1, 3), kGrades);
  EXPECT_EQ(slice.first, 1);
  EXPECT_EQ(slice.count, 3);
  EXPECT_THAT(slice.labels, ElementsAre("KL 1", "KL 2", "KL 3"));
  EXPECT_EQ(task_head(softmax({}, 3), kGrades)->count, 2);
  EXPECT_THAT(task_head(softmax({"a", "b", "c"}), kNameless)->labels, ElementsAre("a", "b", "c"));
  // New names, and some of the old ones where they were.
  EXPECT_THAT(task_head(softmax({"none", "KL 1", "KL 2", "KL 3", "severe"}), kGrades)->labels,
              ElementsAre("none", "KL 1", "KL 2", "KL 3", "severe"));
}

TEST(TaskHead, ALabelOfTheCheckpointThatNoReportCanHoldIsAMistakeUnlessTheTaskRenamesIt) {
  const NetworkConfig bad = classifier({"none", "femur\\shaft", " "});
  EXPECT_THAT(mistake(softmax(), bad), AllOf(HasSubstr("id2label in config.json of model m: \"1\""),
                                             HasSubstr("\"femur\\shaft\" holds a backslash"), HasSubstr("`labels`")));
  EXPECT_THAT(mistake(softmax({}, 2, 1), bad), HasSubstr("\"2\": the name \" \" is blank"));
  EXPECT_TRUE(task_head(softmax({"none", "shaft", "other"}), bad).ok());
}

TEST(TaskHead, LabelsInAnotherOrderThanTheCheckpointsAreAMistake) {
  EXPECT_THAT(mistake(softmax({"KL 0", "KL 2", "KL 1", "KL 3", "KL 4"}), kGrades),
              AllOf(HasSubstr("labels"), HasSubstr("'KL 2' stands for logit 1"), HasSubstr("it is logit 2")));
  // A slice that begins one too early is the same mistake.
  EXPECT_THAT(mistake(softmax({"KL 1", "KL 2"}, 0, 2), kGrades), HasSubstr("'KL 1' stands for logit 0"));
  EXPECT_TRUE(task_head(softmax({"KL 1", "KL 2"}, 1, 2), kGrades).ok());
  // Where the checkpoint itself has a label twice, either place is right.
  EXPECT_TRUE(task_head(softmax({"crane", "crane"}), classifier({"crane", "crane"})).ok());
}

TEST(TaskHead, CountsThatDoNotFitAreAMistake) {
  EXPECT_THAT(mistake(softmax({"a", "b"}), kNameless), AllOf(HasSubstr("2 labels"), HasSubstr("has 3 logits")));
  EXPECT_THAT(mistake(softmax({"a", "b", "c"}, 1, 2), kNameless), HasSubstr("has 2 logits in this task's slice"));
  EXPECT_THAT(mistake(softmax({}, 1, 3), kNameless), AllOf(HasSubstr("slice"), HasSubstr("from 1, 3 of them")));
  EXPECT_THAT(mistake(softmax({}, 3), kNameless), AllOf(HasSubstr("slice"), HasSubstr("m has 3")));
  EXPECT_THAT(mistake(softmax({}, 2, 1), kNameless), HasSubstr("always 1"));
  NetworkConfig autoencoder;
  autoencoder.architecture = Architecture::kMaskedAutoencoder;
  EXPECT_THAT(mistake(softmax(), autoencoder), HasSubstr("masked autoencoder"));
}

TEST(TaskHead, ScoresOfEachKind) {
  const std::vector<float> logits{1, 3, -2};
  const auto values = [&](config::TaskConfig config) {
    std::vector<double> values;
    for (const Score& score : scores_of(config, *task_head(config, kNameless), logits)) values.push_back(score.value);
    return values;
  };
  const double sum = std::exp(1) + std::exp(3) + std::exp(-2);
  EXPECT_NEAR(values(softmax())[1], std::exp(3) / sum, 1e-12);
  EXPECT_NEAR(values(task(config::OutputKind::kSigmoid))[2], 1 / (1 + std::exp(2)), 1e-12);
  config::TaskConfig months = task(config::OutputKind::kRegression);
  months.scale = 40;
  months.offset = 120;
  months.unit = "mo";
  EXPECT_THAT(values(months), ElementsAre(160, 240, 40));
  EXPECT_EQ(scores_of(months, *task_head(months, kNameless), logits)[0].unit, "mo");
  // What would overflow a careless exponential.
  const std::vector<float> far{-2000, 2000, 0};
  EXPECT_EQ(scores_of(softmax(), *task_head(softmax(), kNameless), far)[1].value, 1);
  const config::TaskConfig sigmoid = task(config::OutputKind::kSigmoid);
  EXPECT_EQ(scores_of(sigmoid, *task_head(sigmoid, kNameless), far)[0].value, 0);
  EXPECT_EQ(scores_of(sigmoid, *task_head(sigmoid, kNameless), far)[1].value, 1);
}

}  // namespace
}  // namespace node::inference
