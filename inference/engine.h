// open_engine: a Predictor on LibTorch: owns the device and the models, runs one batch of one model at a time.
//
// Guarantee: what it returns is ready: every checkpoint read, checked and on its device, every task possible. Each
//            request is answered exactly once; if a batch fails, its requests run once more one by one, so that one bad
//            image fails alone; logits that are no numbers are kInternal, not a result.
// Sharing:   models whose encoder, its settings and its input are equal (Checkpoint::backbone_digest()) share memory,
//            and an image's heads on one backbone share its pass. Anomaly maps have a queue of their own.
// Threads:   submit() preprocesses on the caller's thread; LibTorch runs on the device's thread alone after loading.
#pragma once

#include <memory>

#include "config/base/clock.h"
#include "config/base/status.h"
#include "config/inference_config.h"
#include "inference/predictor.h"

namespace node::inference {

// `clock` must outlive the engine. Precision "auto" is bfloat16 where the device has it natively (CPUs with AVX-512
// BF16, GPUs of compute capability 8.0 on), else float32.
// Errors: those of Checkpoint::open(), each naming its model; kInvalidArgument (a task whose labels, logits or passes
// do
//         not fit its checkpoint, an unknown device); kUnavailable (device cuda, and there is none);
//         kResourceExhausted (memory).
Result<std::unique_ptr<Predictor>> open_engine(const config::InferenceConfig& config, Clock& clock);

}  // namespace node::inference
