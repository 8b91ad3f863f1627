// open_engine: a Predictor on LibTorch: owns the devices and the models.
//
// Guarantee: what it returns is ready: every checkpoint read, checked and on its devices, every task possible. Each
//            request is answered exactly once; a bad image, or logits that are no numbers, fail their request alone.
// Devices:   each has a thread and a batcher of its own (device_worker.h); a model that is placed on several is held by
//            each, and an item goes to the one with the fewest rows to do.
// Sharing:   models whose encoder, its settings and its input are equal (Checkpoint::backbone_digest()) share memory,
//            and an image's heads on one backbone share its pass. Anomaly maps have a queue of their own.
// Batches:   an image's logits do not depend on the batch it travels in but for rounding: in float32 by at most 1e-5 of
//            the greatest logit (at least of 1), a probability by 1e-5; in bfloat16 a probability by 0.01.
// Threads:   submit() preprocesses on the caller's thread; after loading, LibTorch runs on the devices' threads alone.
#pragma once

#include <memory>
#include <vector>

#include "config/base/clock.h"
#include "config/base/status.h"
#include "config/inference_config.h"
#include "inference/device.h"
#include "inference/predictor.h"

namespace node::inference {

struct EngineSeams {            // For tests.
  std::vector<Device> devices;  // In place of what is present. A name that begins with "cpu" is served by the CPU.
  BeforePass before_pass;
};

// `clock` must outlive the engine. Precision "auto" is bfloat16 where the device has it natively, else float32.
// Errors: those of Checkpoint::open() and place(), each naming its model; kInvalidArgument (a task whose labels, logits
//         or passes do not fit its checkpoint); kResourceExhausted (memory).
Result<std::unique_ptr<Predictor>> open_engine(const config::InferenceConfig& config, Clock& clock,
                                               EngineSeams seams = {});

}  // namespace node::inference
