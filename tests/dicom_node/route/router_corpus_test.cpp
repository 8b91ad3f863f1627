// Every made file of the corpus against what its table says of routing: yes; no or refuse.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "config/node_config.h"
#include "dicom_node/route/router.h"

namespace node::route {
namespace {

const std::filesystem::path kCorpus = std::filesystem::path(NODE_SOURCE_DIR) / ".." / "shared" / "data" / "dicom";

// The first three columns of a line; a field with commas is quoted.
std::vector<std::string> fields(const std::string& line) {
  std::vector<std::string> result(1);
  bool in_quotes = false;
  for (const char c : line) {
    if (c == '"') {
      in_quotes = !in_quotes;
    } else if (c == ',' && !in_quotes) {
      result.emplace_back();
    } else {
      result.back() += c;
    }
  }
  return result;
}

TEST(RouterCorpus, MadeFilesAreRoutedAsTheTableSays) {
  std::ifstream table(kCorpus / "made.csv");
  if (!table) GTEST_SKIP() << "no corpus at ../shared/data/dicom";
  // A header cannot tell these: the loader refuses them. {file: why}
  const std::map<std::string, std::string> kOfTheLoader = {{"made/bits_32.dcm", "32 bits allocated"}};
  auto demo = config::read_node_config(NODE_SOURCE_DIR "/config/demo.yaml", {}, {});
  ASSERT_TRUE(demo.ok()) << demo.status().message();
  std::vector<std::string> tasks;
  for (const config::TaskConfig& task : demo->inference.tasks) tasks.push_back(task.name);
  auto router = Router::create(demo->router, tasks);
  ASSERT_TRUE(router.ok()) << router.status().message();

  int routed = 0, skipped = 0;
  std::string line;
  std::getline(table, line);
  while (std::getline(table, line)) {
    const std::vector<std::string> row = fields(line);
    ASSERT_GE(row.size(), 3u) << line;
    if (kOfTheLoader.contains(row[0])) continue;
    const auto header = object::read_instance_header(kCorpus / row[0]);
    if (!header.ok()) {
      EXPECT_NE(row[2], "yes") << row[0] << " (" << row[1] << "): " << header.status().message();
      continue;
    }
    const RouteDecision decision = router->route(*header, "");
    EXPECT_EQ(!decision.tasks.empty(), row[2] == "yes") << row[0] << " (" << row[1] << "): " << decision.reason;
    EXPECT_EQ(decision.tasks.empty(), !decision.reason.empty()) << row[0];
    ++(decision.tasks.empty() ? skipped : routed);
  }
  EXPECT_GT(routed, 50);
  EXPECT_GT(skipped, 5);
}

}  // namespace
}  // namespace node::route
