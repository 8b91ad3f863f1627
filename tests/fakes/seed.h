/// The seed of a test that draws its input: NODE_SEED from the environment, else always the same.
#pragma once

#include <cstdlib>
#include <string>

namespace node {

inline unsigned test_seed() {
  const char* const text = std::getenv("NODE_SEED");
  return text == nullptr ? 1U : static_cast<unsigned>(std::stoul(text));
}

}  // namespace node
