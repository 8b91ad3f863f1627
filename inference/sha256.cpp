#include "inference/sha256.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstring>

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace node::inference {
namespace {

#ifdef __x86_64__

#define NODE_SHA_NI __attribute__((target("sha,sse4.1")))

constexpr std::size_t kBlock = 64, kPieceBlocks = 1024;  // Two pieces fit in a core's second cache.

alignas(16) constexpr std::uint32_t kRound[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

struct State {  // The words a to h as the instructions take them; from the highest 32 bits of each to the lowest.
  __m128i abef = _mm_set_epi32(0x6a09e667, static_cast<int>(0xbb67ae85), 0x510e527f, static_cast<int>(0x9b05688c));
  __m128i cdgh = _mm_set_epi32(0x3c6ef372, static_cast<int>(0xa54ff53a), 0x1f83d9ab, 0x5be0cd19);
};

// Takes `blocks` blocks into each of N states, four rounds of one beside four of the next.
template <int N>
NODE_SHA_NI void take(State (&states)[N], const std::byte* const (&data)[N], std::size_t blocks) {
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  State now[N];
  std::copy_n(states, N, now);
  for (std::size_t block = 0; block < blocks; ++block) {
    State before[N];
    std::copy_n(now, N, before);
    __m128i words[4][N];  // The last 16 of the schedule.
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      const __m128i constants = _mm_load_si128(reinterpret_cast<const __m128i*>(kRound + 4 * i));
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) {
        __m128i& word = words[i % 4][n];
        if (i < 4) {
          const auto* const at = reinterpret_cast<const __m128i*>(data[n] + block * kBlock) + i;
          word = _mm_shuffle_epi8(_mm_loadu_si128(at), big_endian);
        } else {
          const __m128i last = words[(i + 3) % 4][n];
          word = _mm_sha256msg1_epu32(word, words[(i + 1) % 4][n]);
          word = _mm_add_epi32(word, _mm_alignr_epi8(last, words[(i + 2) % 4][n], 4));
          word = _mm_sha256msg2_epu32(word, last);
        }
        const __m128i added = _mm_add_epi32(word, constants);
        now[n].cdgh = _mm_sha256rnds2_epu32(now[n].cdgh, now[n].abef, added);
        now[n].abef = _mm_sha256rnds2_epu32(now[n].abef, now[n].cdgh, _mm_shuffle_epi32(added, 0x0e));
      }
    }
    for (int n = 0; n < N; ++n) {
      now[n].abef = _mm_add_epi32(now[n].abef, before[n].abef);
      now[n].cdgh = _mm_add_epi32(now[n].cdgh, before[n].cdgh);
    }
  }
  std::copy_n(now, N, states);
}

// Ends a digest: what is left of `size` bytes behind the last whole block, a one bit, and at the end of a block the
// length in bits.
NODE_SHA_NI Sha256 finish(State state, const std::byte* rest, std::size_t size) {
  std::byte tail[2 * kBlock] = {};
  const std::size_t left = size % kBlock, blocks = left + 9 <= kBlock ? 1 : 2;
  if (left > 0) std::memcpy(tail, rest, left);
  tail[left] = std::byte{0x80};
  for (std::size_t i = 0; i < 8; ++i) {
    tail[blocks * kBlock - 1 - i] = static_cast<std::byte>(std::uint64_t{size} * 8 >> 8 * i);
  }
  State states[1] = {state};
  take<1>(states, {tail}, blocks);

  alignas(16) std::uint32_t feba[4], hgdc[4];  // From the lowest 32 bits to the highest.
  _mm_store_si128(reinterpret_cast<__m128i*>(feba), states[0].abef);
  _mm_store_si128(reinterpret_cast<__m128i*>(hgdc), states[0].cdgh);
  const std::uint32_t words[8] = {feba[3], feba[2], hgdc[3], hgdc[2], feba[1], feba[0], hgdc[1], hgdc[0]};
  Sha256 digest;
  for (std::size_t i = 0; i < digest.size(); ++i) {
    digest[i] = static_cast<std::uint8_t>(words[i / 4] >> (24 - 8 * (i % 4)));
  }
  return digest;
}

bool has_sha_instructions() { return __builtin_cpu_supports("sha") && __builtin_cpu_supports("sse4.1"); }

std::array<Sha256, 2> side_by_side(std::string_view one, std::string_view other, const Look& look) {
  const std::string_view texts[2] = {one, other};
  const auto data_of = [&](int n) { return reinterpret_cast<const std::byte*>(texts[n].data()); };
  const auto blocks_of = [&](int n) { return texts[n].size() / kBlock; };
  State states[2];
  const std::size_t common = std::min(blocks_of(0), blocks_of(1));
  for (std::size_t at = 0; at < common; at += kPieceBlocks) {
    const std::size_t blocks = std::min(kPieceBlocks, common - at);
    take<2>(states, {data_of(0) + at * kBlock, data_of(1) + at * kBlock}, blocks);
    for (const int n : {0, 1}) look(n, texts[n].substr(at * kBlock, blocks * kBlock));
  }
  std::array<Sha256, 2> digests;
  for (const int n : {0, 1}) {
    State alone[1] = {states[n]};
    for (std::size_t at = common; at < blocks_of(n); at += kPieceBlocks) {
      const std::size_t blocks = std::min(kPieceBlocks, blocks_of(n) - at);
      take<1>(alone, {data_of(n) + at * kBlock}, blocks);
      look(n, texts[n].substr(at * kBlock, blocks * kBlock));
    }
    const std::string_view rest = texts[n].substr(blocks_of(n) * kBlock);
    if (!rest.empty()) look(n, rest);
    digests[n] = finish(alone[0], reinterpret_cast<const std::byte*>(rest.data()), texts[n].size());
  }
  return digests;
}

#else

bool has_sha_instructions() { return false; }
std::array<Sha256, 2> side_by_side(std::string_view, std::string_view, const Look&) { return {}; }

#endif

}  // namespace

Sha256 sha256(std::string_view bytes) {
  Sha256 digest{};
  unsigned int length = 0;
  [[maybe_unused]] const int done =
      EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr);
  assert(done == 1 && length == digest.size());
  return digest;
}

std::array<Sha256, 2> sha256_of_two(std::string_view one, std::string_view other, const Look& look) {
  if (has_sha_instructions()) return side_by_side(one, other, look);
  const std::array<Sha256, 2> digests = {sha256(one), sha256(other)};
  look(0, one);
  look(1, other);
  return digests;
}

}  // namespace node::inference
