#include "inference/sha256.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>

namespace node::inference {
namespace {

std::string noise(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

void expect_as_alone(std::string_view one, std::string_view other) {
  std::string seen[2];
  const auto both = sha256_of_two(one, other, [&](std::size_t which, std::string_view piece) { seen[which] += piece; });
  ASSERT_EQ(both[0], sha256(one)) << one.size() << " beside " << other.size();
  ASSERT_EQ(both[1], sha256(other)) << other.size() << " beside " << one.size();
  ASSERT_TRUE(seen[0] == one && seen[1] == other) << one.size() << " beside " << other.size();
}

// Of any two lengths about the ends of blocks, wherever in memory they lie, OpenSSL says the same.
TEST(Sha256OfTwo, AreThoseOfEachAlone) {
  const std::string one = noise(1 << 12, 1), other = noise(1 << 12, 2);
  for (std::size_t a = 0; a <= 3 * 64 + 1; ++a) {
    for (const std::size_t b : {a, a + 1, a / 2, std::size_t{0}, std::size_t{55}, std::size_t{56}, std::size_t{64}}) {
      expect_as_alone(std::string_view(one).substr(a % 3, a), std::string_view(other).substr(b % 5, b));
    }
  }
}

TEST(Sha256OfTwo, ManyPiecesAreSeenOnceEach) {
  const std::string one = noise((1 << 20) + 17, 3), other = noise(1 << 18, 4);
  expect_as_alone(one, other);
  expect_as_alone(other, one);
  expect_as_alone(one, one);
  expect_as_alone("", one);
}

}  // namespace
}  // namespace node::inference
