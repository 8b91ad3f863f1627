#include "storage/backup.h"

#include <fmt/format.h>
#include <unistd.h>

#include "dicom_node/operate/commands/commands.h"

namespace node::operate {

int backup(const config::NodeConfig& config, const std::string& directory) {
  const bool terminal = isatty(STDERR_FILENO) != 0;
  const auto progress = [terminal](std::int64_t done, std::int64_t all) {
    if (terminal && done % 1000 == 0) fmt::print(stderr, "{} of {} files\r", done, all);
  };
  const auto report = storage::back_up(config.storage, directory, storage::posix_file_system(), progress);
  if (!report.ok()) {
    fmt::print(stderr, "skelex-node: {}\n", report.status().message());
    return exit_status(report.status());
  }
  fmt::print("{}: the database and {} objects, {} of them links to those of {}\n", directory,
             report->linked + report->copied, report->linked, config.storage.directory);
  for (const std::string& key : report->lost) {
    fmt::print(stderr, "skelex-node: lost: objects/{} is recorded, but not in {}\n", key, config.storage.directory);
  }
  return report->lost.empty() ? 0 : 1;
}

}  // namespace node::operate
