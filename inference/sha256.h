// SHA-256 of bytes, and of two byte strings in the time of the longer one.
//
// A round of SHA-256 waits for the one before it, so that a CPU with SHA instructions is half idle on one string:
// OpenSSL does 1.6 GB/s on a core, two strings side by side 3.1 GB/s. A checkpoint of a gigabyte is many tensors, each
// with its own digest, and their digests are most of what its loading takes.
//
// Threads:   pure; any. Never fails: without such instructions OpenSSL does one string after the other.
// Source:    FIPS 180-4.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

namespace node::inference {

using Sha256 = std::array<std::uint8_t, 32>;

Sha256 sha256(std::string_view bytes);

// `look` gets every piece of both once it is hashed and as it still lies in the cache: 0 or 1, whose it is, and the
// bytes. Pieces are whole blocks of 64 bytes but for the last.
using Look = std::function<void(std::size_t which, std::string_view piece)>;
std::array<Sha256, 2> sha256_of_two(std::string_view one, std::string_view other, const Look& look);

}  // namespace node::inference
