// inflation: how many bytes of deflated objects lie inflated in memory at once, of all threads together.
//
// Guarantee: whoever is granted bytes holds them until it lets them go, and all that is held is never more than the
//            limit. A request waits for others to be done, and not for ever.
// Threads:   all functions from any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "config/base/status.h"

namespace node::object {

// Of all together, and hence of one object; of the process, 1 GiB until it is set. The node sets node.object_bytes_max.
void set_inflated_bytes_max(std::uint64_t bytes);
std::uint64_t inflated_bytes_max();

// Held for as long as the result lives. Errors: kUnavailable after `patience`.
Result<std::shared_ptr<void>> hold_inflated(std::uint64_t bytes,
                                            std::chrono::milliseconds patience = std::chrono::seconds(30));

}  // namespace node::object
