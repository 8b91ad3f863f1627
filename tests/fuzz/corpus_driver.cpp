// Runs a fuzz target without libFuzzer: over each file of a corpus, then over changed copies of them, the same ones
// each time. It finds little that libFuzzer does not, and keeps what was mended mended in every build with sanitizers.
//
// fuzz_x CORPUS [SECONDS]
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

std::vector<Bytes> read_all(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<Bytes> files;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    files.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return files;
}

// Bytes set, numbers made large, a part cut out or doubled: what most mistakes with lengths need.
Bytes changed(Bytes bytes, std::mt19937_64& random) {
  const auto below = [&random](std::size_t n) { return n == 0 ? 0 : static_cast<std::size_t>(random() % n); };
  for (std::size_t changes = 1 + below(4); changes > 0 && !bytes.empty(); --changes) {
    const std::size_t at = below(bytes.size()), length = 1 + below(std::min<std::size_t>(64, bytes.size() - at));
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at),
               end = begin + static_cast<std::ptrdiff_t>(length);
    switch (below(5)) {
      case 0: bytes[at] = static_cast<std::uint8_t>(random()); break;
      case 1: bytes[at] ^= static_cast<std::uint8_t>(1u << below(8)); break;
      case 2: std::fill_n(begin, std::min<std::size_t>(4, length), below(2) == 0 ? 0xFF : 0x00); break;
      case 3: bytes.erase(begin, end); break;
      default: {
        const Bytes part(begin, end);
        bytes.insert(begin, part.begin(), part.end());
      }
    }
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  using std::chrono::steady_clock;
  const std::vector<Bytes> corpus = read_all(argc > 1 ? argv[1] : "");
  if (corpus.empty()) {
    std::fprintf(stderr, "no corpus\n");
    return 2;
  }
  for (const Bytes& bytes : corpus) LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  const auto end = steady_clock::now() + std::chrono::duration<double>(argc > 2 ? std::atof(argv[2]) : 0);
  std::mt19937_64 random(20261124);
  std::uint64_t runs = corpus.size();
  for (; steady_clock::now() < end; ++runs) {
    const Bytes bytes = changed(corpus[random() % corpus.size()], random);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::printf("%llu runs over %zu files\n", static_cast<unsigned long long>(runs), corpus.size());
  return 0;
}
