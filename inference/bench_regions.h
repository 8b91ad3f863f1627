// bench_regions: what looking at regions costs, beside its crops in full batches.
//
// Threads: one at a time. Errors: those of the engine.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "config/inference_config.h"

namespace node::inference {

struct RegionBench {
  std::size_t regions = 0;                           // Of the study, with the whole images.
  std::vector<double> study_seconds, crops_seconds;  // Of each repetition, taken in turn.
  std::vector<double> study_cpu, crops_cpu;  // The same of the processor, all threads together, in seconds: what
                                             // others do on the machine counts less than by the clock.
};

// `images` images of rows x columns of noise at once through the region task "bench" of `config`; and the same regions,
// cut before the clock starts, as plain requests in batches of config.batch_rows_max. The head alone is timed beside:
// the detector's passes are in the study's time.
Result<RegionBench> bench_regions(const config::InferenceConfig& config, std::size_t images, int rows, int columns,
                                  double seconds);

}  // namespace node::inference
