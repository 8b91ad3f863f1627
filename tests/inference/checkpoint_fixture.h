// CheckpointFiles: a folder in which a test writes a checkpoint, whole or broken on purpose, and opens it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "inference/checkpoint.h"
#include "tests/inference/checkpoint_files.h"

namespace node::inference {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using namespace test_files;

inline constexpr char kSome[] = "vit.encoder.layer.0.output.dense.weight";

class CheckpointFiles : public ::testing::Test {
 protected:
  std::filesystem::path path() const { return folder_.path() / "model"; }
  void write(const json& config, const Tensors& tensors) { write_checkpoint(path(), config, tensors); }
  void write_good() { write(classifier_config(2), classifier_tensors(1, 2)); }
  void write_weights(const std::string& bytes) { write_file(path() / "model.safetensors", bytes); }
  void write_preprocessor(const json& content) { write_file(path() / "preprocessor_config.json", content.dump()); }

  Status open() const { return Checkpoint::open(path().string()).status(); }
  Checkpoint open_good() const {
    Result<Checkpoint> checkpoint = Checkpoint::open(path().string());
    if (!checkpoint.ok()) ADD_FAILURE() << checkpoint.status().message();
    return std::move(checkpoint).value();
  }
  // config.json with one key changed.
  Status open_with(const std::string& key, const json& value) {
    json config = classifier_config(2);
    config[key] = value;
    write(config, classifier_tensors(1, 2));
    return open();
  }
  // The header of a good file, changed by `change`, before the same data.
  template <typename Change>
  Status open_with_header(Change change) {
    write_good();
    auto [header, data] = safetensors_parts(classifier_tensors(1, 2));
    change(header, data);
    write_weights(with_header(header, data));
    return open();
  }

 private:
  TemporaryFolder folder_;
};

#define EXPECT_REFUSED(status, expected_code, matcher)              \
  do {                                                              \
    const Status status_of_refusal = (status);                      \
    EXPECT_EQ(status_of_refusal.code(), StatusCode::expected_code); \
    EXPECT_THAT(status_of_refusal.message(), matcher);              \
  } while (false)

}  // namespace node::inference
