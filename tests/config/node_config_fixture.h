// What the tests of node_config share: a folder with a node.yaml, read, and what is wrong with it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "config/node_config.h"

namespace node::config {

using Settings = std::vector<std::pair<std::string, std::string>>;

inline const std::string kSource = NODE_SOURCE_DIR;

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
inline const std::string kBase = R"(storage: {directory: store}
peers:
  xray1: {ae_title: XRAY1}
  pacs: {ae_title: PACS, host: 10.0.0.5, port: 104}
models:
  skelex: {path: models/skelex}
tasks:
  anomaly: {model: skelex, output: anomaly_map}
  fracture: {model: skelex, output: sigmoid}
)";  // 9 lines

inline const std::string kStore = "storage: {directory: s}\n";

}  // namespace node::config
