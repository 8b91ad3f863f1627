// Node: owns every stage and starts and stops them in the order of the flow.
//
// Guarantee: start() checks the two invariants before any peer is answered: a file without a row is an orphan and is
//            taken in as if it came again; a row without its file is data loss: reported, counted, and ready() fails.
//            stop() ends in the order of the flow: associations, analysis, report, deliveries, retention, pages, store;
//            what is in flight is finished.
// Threads:   start(), stop() and reload() one after the other; ready() from any.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/base/clock.h"
#include "config/base/status.h"
#include "config/node_config.h"
#include "inference/predictor.h"
#include "storage/file_system.h"

namespace node {

class Node {
 public:
  // `clock`, `file_system` and `predictor` must outlive the node.
  // Errors: kUnavailable (directory held by another node, a port is taken), kInvalidArgument (configuration),
  //         kDataLoss (store damaged), kResourceExhausted.
  static Result<std::unique_ptr<Node>> start(const config::NodeConfig& config, Clock& clock,
                                             storage::FileSystem& file_system, inference::Predictor& predictor);
  ~Node();  // As stop().

  void stop();  // May be called twice.

  // Takes what `config` says now of peers, routes, destinations and certificates, as operate/reloadable.h has it: from
  // the next association, image, study or object on; ends with what a destination that is gone or changed has in hand.
  // Errors: all that is in force stays: kInvalidArgument (another key has changed, which needs a restart and is named;
  // a rule or a certificate is not good), those of the store. A file that could not be read comes as its status.
  Status reload(const Result<config::NodeConfig>& config);

  // The reason why images are not taken or results not made, in words.
  Status ready() const;
  // The thread that hangs, in words: of a port, or of the analysis, which brings nothing back. Waits for some seconds,
  // and for as long as store and disk hang. What only waits for a peer has time limits of its own.
  Status alive() const;
  std::uint16_t dicom_port() const;
  std::uint16_t http_port() const;

 private:
  struct Impl;
  explicit Node(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Names of all tasks of the configuration, for Router::create.
std::vector<std::string> task_names(const config::InferenceConfig& config);

}  // namespace node
