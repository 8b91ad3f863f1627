#include "inference/checkpoint_place.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <vector>

#include "inference/readable.h"

namespace node::inference {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kNameMax = 80, kHeadBytes = 1 << 20;  // The pickle comes first in the file, and is small.

bool ends_with(const std::string& name, const std::vector<std::string>& endings) {
  return std::any_of(endings.begin(), endings.end(), [&](const std::string& one) { return name.ends_with(one); });
}

// Its pickle names the Python classes of which it is made.
bool is_of_yolo(const fs::path& file) {
  std::string head(kHeadBytes, '\0');
  std::ifstream stream(file, std::ios::binary);
  stream.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<std::size_t>(std::max<std::streamsize>(stream.gcount(), 0)));
  return head.find("ultralytics") != std::string::npos || head.find("models.yolo") != std::string::npos;
}

std::string export_of(const std::string& file) {
  return file +
         ", a pickle of Python classes of Ultralytics, which nothing but Python reads: `yolo export model=" + file +
         " format=torchscript` makes a TorchScript file of it, beside which a manifest.json is wanted "
         "(inference/README.md"
         ", \"A TorchScript detector\")";
}

}  // namespace

std::string why_no_checkpoint(const std::string& directory) {
  std::vector<fs::path> files, deeper;
  std::error_code error;
  bool any = false;
  for (fs::directory_iterator at(directory, error); !error && at != fs::directory_iterator(); at.increment(error)) {
    std::error_code ignored;
    any = true;
    const fs::path& path = at->path();
    if (!fs::is_directory(path, ignored)) {
      files.push_back(path);
    } else if (fs::exists(path / "config.json", ignored) || fs::exists(path / "manifest.json", ignored)) {
      deeper.push_back(path);
    }
  }
  if (!any && !error) return "is empty: a checkpoint is a directory with config.json and model.safetensors";
  std::sort(files.begin(), files.end());
  std::sort(deeper.begin(), deeper.end());
  const std::string none = "has no config.json: ";
  const auto name_of = [](const fs::path& path) { return readable(path.filename().string(), kNameMax); };
  for (const fs::path& file : files) {
    if (!ends_with(file.string(), {".torchscript"})) continue;
    return "has a TorchScript file, " + name_of(file) +
           ", and no manifest.json beside it, which says what it answers (inference/README.md, \"A TorchScript "
           "detector\")";
  }
  const bool weights = std::any_of(files.begin(), files.end(), [](const fs::path& file) {
    return ends_with(file.string(), {".pt", ".pth", ".bin", ".safetensors"});
  });
  if (!deeper.empty() && !weights) {
    return none + "the checkpoint lies one level deeper, in " + deeper.front().string() +
           (deeper.size() > 1 ? " or another of its " + std::to_string(deeper.size()) + " like it" : "");
  }
  std::string perhaps;
  for (const fs::path& file : files) {
    if (!ends_with(file.string(), {".pt"})) continue;
    if (is_of_yolo(file)) return none + "it has " + export_of(name_of(file));
    const std::string name = file.filename().string();  // As Ultralytics calls them, and others too.
    if (name == "best.pt" || name == "last.pt") perhaps = "; or it has " + export_of(name);
  }
  return none +
         "tensors alone, as accelerate or a fine-tuning script leaves them, are made such a directory by "
         "tools/state_dict (--help; README.md, \"All of SKELEX\")" +
         perhaps;
}

}  // namespace node::inference
