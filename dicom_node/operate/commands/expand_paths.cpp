#include <algorithm>
#include <filesystem>

#include "dicom_node/operate/commands/commands.h"

namespace node::operate {

Result<std::vector<InputPath>> expand_paths(const std::vector<std::string>& paths) {
  namespace fs = std::filesystem;
  std::vector<InputPath> found;
  std::error_code error;
  for (const std::string& path : paths) {
    if (!fs::exists(path, error)) return not_found(path + ": no such file or folder");
    if (!fs::is_directory(path, error)) {
      found.push_back({path, true});
      continue;
    }
    std::vector<std::string> below;
    for (fs::recursive_directory_iterator entry(path, fs::directory_options::skip_permission_denied, error), end;
         !error && entry != end; entry.increment(error)) {
      if (entry->is_regular_file(error)) below.push_back(entry->path().string());
    }
    if (error) return not_found(path + ": " + error.message());
    std::sort(below.begin(), below.end());
    for (std::string& file : below) found.push_back({std::move(file), false});
  }
  return found;
}

}  // namespace node::operate
