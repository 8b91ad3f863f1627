// Commands: the subcommands of `skelex-node`, one function each; each returns the exit status.
//
// Exit:    0 done, 1 it failed, 2 the call or the configuration is wrong.
// Output:  results on standard output, findings and progress on standard error.
// Threads: called from main's thread, before any other was started.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/node_config.h"
#include "inference/predictor.h"

namespace node::operate {

// Loads every model of the configuration. Only main.cpp knows the engine behind it.
using PredictorFactory = std::function<Result<std::unique_ptr<inference::Predictor>>(const config::InferenceConfig&)>;

// `read_again` reads the configuration anew, for SIGHUP.
int serve(const config::NodeConfig& config, const PredictorFactory& open_predictor,
          const std::function<Result<config::NodeConfig>()>& read_again);
int check(const config::NodeConfig& config, const PredictorFactory& open_predictor, bool with_models);
int models(const config::NodeConfig& config, const PredictorFactory& open_predictor, bool json);
int predict(const config::NodeConfig& config, const PredictorFactory& open_predictor, const std::string& out,
            const std::vector<std::string>& paths);
// Quantiles of the map task's errors over normal images, by body part, into the file `out`; a body part with fewer than
// `images_min` images is left out. `task` may be empty where one task alone draws maps.
int calibrate(const config::NodeConfig& config, const PredictorFactory& open_predictor, const std::string& out,
              std::size_t images_min, const std::string& task, const std::vector<std::string>& paths);
int route(const config::NodeConfig& config, const std::vector<std::string>& paths, bool json);
int list_studies(const config::NodeConfig& config, const std::string& state, bool json);
int show_study(const config::NodeConfig& config, const std::string& study_instance_uid);
// Into a folder that is empty or not there; beside a running node too.
int backup(const config::NodeConfig& config, const std::string& directory);
int list_deliveries(const config::NodeConfig& config, bool parked_only, bool json);
// Through the HTTP API of the node that holds the directory, else directly on the store.
int retry_study(const config::NodeConfig& config, const std::string& study_instance_uid,
                std::optional<int> seen_revision, bool json);
int release_delivery(const config::NodeConfig& config, const std::string& id, bool json);
// Every parked delivery to `destination`; goes on where one cannot be released, and exits with 1 then.
int release_parked(const config::NodeConfig& config, const std::string& destination, bool json);
int losses(const config::NodeConfig& config, bool accept, bool json);  // What is lost is looked at again.
int give_up_delivery(const config::NodeConfig& config, const std::string& id, bool json);

// Of a failure to load what the configuration names: 2 where the configuration is wrong, else 1.
inline int exit_status(const Status& status) {
  return status.code() == StatusCode::kInvalidArgument || status.code() == StatusCode::kNotFound ? 2 : 1;
}

// A file, or what is below a folder, in path order.
struct InputPath {
  std::string path;
  bool named = true;  // false: found in a folder.
};
// Errors: kNotFound for a path that does not exist.
Result<std::vector<InputPath>> expand_paths(const std::vector<std::string>& paths);

}  // namespace node::operate
