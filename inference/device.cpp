#include "inference/device.h"

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <dlfcn.h>

#include <algorithm>
#include <cassert>
#include <fstream>
#include <set>

namespace node::inference {
namespace {

// The major compute capability of each GPU, asked of CUDA's driver itself: its library is there on every machine with a
// GPU, and no other of CUDA need be.
std::vector<int> ask_cuda_driver() {
  std::vector<int> capabilities;
  void* const library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return capabilities;
  const auto init = reinterpret_cast<int (*)(unsigned)>(::dlsym(library, "cuInit"));
  const auto count = reinterpret_cast<int (*)(int*)>(::dlsym(library, "cuDeviceGetCount"));
  const auto attribute = reinterpret_cast<int (*)(int*, int, int)>(::dlsym(library, "cuDeviceGetAttribute"));
  constexpr int kComputeCapabilityMajor = 75;  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
  int devices = 0;
  if (init == nullptr || count == nullptr || attribute == nullptr || init(0) != 0 || count(&devices) != 0) {
    return capabilities;
  }
  for (int device = 0; device < devices; ++device) {
    int major = 0;
    if (attribute(&major, kComputeCapabilityMajor, device) != 0) major = 0;
    capabilities.push_back(major);
  }
  return capabilities;
}

// MemTotal and MemAvailable: proc(5).
void ask_machine(DeviceMemory& memory) {
  std::ifstream file("/proc/meminfo");
  std::string key, unit;
  for (std::uint64_t kibibytes; file >> key >> kibibytes; std::getline(file, unit)) {
    if (key == "MemTotal:") memory.total_bytes = kibibytes * 1024;
    if (key == "MemAvailable:") memory.free_bytes = kibibytes * 1024;
  }
}

}  // namespace

DeviceMemory device_memory(const Device& device) {
  if (device.memory_of_test > 0) return {device.name, device.memory_of_test, device.memory_of_test};
  DeviceMemory memory{device.name};
  if (device.is_cpu()) {
    ask_machine(memory);
    return memory;
  }
  try {
    const at::Device gpu(device.name);
    const auto [free, total] = c10::getDeviceAllocator(gpu.type())->getMemoryInfo(gpu.index());
    memory.free_bytes = free;
    memory.total_bytes = total;
  } catch (const std::exception&) {  // Not known, then.
  }
  return memory;
}

bool wants_cuda(const config::InferenceConfig& config) {
  return std::any_of(config.models.begin(), config.models.end(), [&](const config::ModelConfig& model) {
    if (model.devices.empty()) return config.device != "cpu";
    return model.devices != std::vector<std::string>{"cpu"};
  });
}

Devices present_devices(bool with_cuda) {
  Devices devices;
  devices.present.push_back({"cpu", __builtin_cpu_supports("avx512bf16") != 0});
  if (!with_cuda) return devices;
  const std::vector<int> capabilities = ask_cuda_driver();
  if (capabilities.empty()) {
    devices.cuda_missing = "no CUDA driver with a device";
    return devices;
  }
  // Before the first call that asks LibTorch for CUDA: it looks once.
  static void* const library = ::dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr || !at::hasCUDA()) {
    const char* const error = library == nullptr ? ::dlerror() : nullptr;
    devices.cuda_missing = "libtorch_cuda.so: " + std::string(error != nullptr ? error : "LibTorch sees no device");
    return devices;
  }
  for (std::size_t i = 0; i < capabilities.size(); ++i) {
    devices.present.push_back({"cuda:" + std::to_string(i), capabilities[i] >= 8});
  }
  return devices;
}

Result<std::vector<std::size_t>> place(const std::vector<std::string>& wanted, const Devices& devices) {
  std::set<std::size_t> placed;
  std::vector<std::size_t> gpus;
  for (std::size_t i = 0; i < devices.present.size(); ++i) {
    if (!devices.present[i].is_cpu()) gpus.push_back(i);
  }
  for (const std::string& word : wanted) {
    const auto named = std::find_if(devices.present.begin(), devices.present.end(),
                                    [&](const Device& device) { return device.name == word; });
    if (named != devices.present.end()) {
      placed.insert(static_cast<std::size_t>(named - devices.present.begin()));
    } else if ((word == "auto" || word == "cuda") && !gpus.empty()) {
      placed.insert(gpus.begin(), gpus.end());
    } else if (word == "auto") {
      placed.insert(0);
    } else if (word.rfind("cuda", 0) == 0) {
      return unavailable("device " + word + ": there is none" +
                         (devices.cuda_missing.empty() ? "" : " (" + devices.cuda_missing + ")"));
    } else {
      return invalid_argument("device: auto, cpu, cuda or cuda:N is needed, not " + word);
    }
  }
  if (placed.empty()) return invalid_argument("device: none is named");
  return std::vector<std::size_t>(placed.begin(), placed.end());
}

std::size_t least_waiting(const std::vector<std::size_t>& candidates, const std::vector<std::int64_t>& rows) {
  assert(!candidates.empty());
  return *std::min_element(candidates.begin(), candidates.end(),
                           [&](std::size_t a, std::size_t b) { return rows[a] < rows[b]; });
}

}  // namespace node::inference
