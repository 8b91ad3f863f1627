#include "dicom_node/object/crash_point.h"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <string>

namespace node::object {
namespace {

struct Armed {
  std::string name;
  std::atomic<int> passages_left{1};

  Armed() {
    const char* text = std::getenv("SKELEX_NODE_CRASH_POINT");
    if (text == nullptr) return;
    name = text;
    if (const auto colon = name.find(':'); colon != std::string::npos) {
      passages_left = std::atoi(name.c_str() + colon + 1);
      name.resize(colon);
    }
  }
};

}  // namespace

void crash_point(const char* name) {
  static Armed armed;
  if (armed.name.empty() || armed.name != name) return;
  if (--armed.passages_left == 0) std::raise(SIGKILL);
}

}  // namespace node::object
