// Devices: what models can be placed on, where each of them goes, and which of its copies serves a request.
//
// Guarantee: place() and least_waiting() are functions of their arguments, tested without a GPU. CUDA is asked for only
//            where a device other than the CPU is wanted, by its driver first, so that a machine without it loads
//            nothing of it.
// Threads:   present_devices() before the first LibTorch call of the process: it may load libtorch_cuda.so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "config/inference_config.h"
#include "inference/predictor.h"

namespace node::inference {

struct Device {
  std::string name;              // "cpu" or "cuda:0", as LibTorch has it.
  bool native_bfloat16 = false;  // CPUs with AVX-512 BF16, GPUs of compute capability 8.0 on.

  std::uint64_t memory_of_test = 0;  // In place of what it has: so much, all of it free.

  bool is_cpu() const { return name.rfind("cpu", 0) == 0; }
};

struct Devices {
  std::vector<Device> present;  // The CPU first.
  std::string cuda_missing;     // Why there is no GPU among them.
};

// Called on the device's thread before each forward pass with the device's name and the pass's rows: the place at which
// a test lets a device run out of memory, by throwing std::bad_alloc.
using BeforePass = std::function<void(const std::string& device, std::int64_t rows)>;

// Whether any model of `config` could want another device than the CPU.
bool wants_cuda(const config::InferenceConfig& config);
Devices present_devices(bool with_cuda);

// Reentrant; of a GPU once a model is on it, or before the first thread.
DeviceMemory device_memory(const Device& device);

// The devices of one model, as indices of `devices.present`, in their order. `wanted`: "auto" is every GPU there is,
// the CPU if there is none; "cuda" every GPU; "cpu" and "cuda:N" themselves; several words their union. Errors:
// kInvalidArgument (no such word), kUnavailable (no such GPU here, and why).
Result<std::vector<std::size_t>> place(const std::vector<std::string>& wanted, const Devices& devices);

// Of `candidates`, indices of `rows`, the one with the fewest rows to do; the first of equals. At least one candidate.
std::size_t least_waiting(const std::vector<std::size_t>& candidates, const std::vector<std::int64_t>& rows);

}  // namespace node::inference
