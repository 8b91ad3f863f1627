// node.yaml as its administrator, or nobody, wrote it.
#include "config/node_config.h"
#include "tests/fuzz/fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const node::fuzz::FuzzFile file(data, size);
  (void)node::config::read_node_config(file.path(), {}, {});
  return 0;
}
