#include "dicom_node/receive/orphans.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string_view>
#include <utility>

#include "dicom_node/object/instance_header.h"
#include "dicom_node/receive/calling_peer.h"
#include "storage/spool_check.h"

namespace node::receive {
namespace {

enum class End {
  kTakenIn,
  kDeleted,
  kKept,  // For what the file is.
  kLeft,  // For what the store or the disk is: nothing that came later may be taken in before it.
};

struct Found {
  End end;
  std::string why, sop_instance_uid{}, study_instance_uid{};
};

std::filesystem::file_time_type written_at(const std::filesystem::path& path) {
  std::error_code unknown;
  return std::filesystem::last_write_time(path, unknown);
}

// In the order in which they were written: of two versions of an image the later one stands.
std::vector<std::string> oldest_first(const std::vector<std::string>& keys, const storage::Spool& spool) {
  std::vector<std::pair<std::filesystem::file_time_type, std::string>> dated;
  for (const std::string& key : keys) {
    dated.emplace_back(written_at(spool.path(key)), key);
  }
  std::sort(dated.begin(), dated.end());
  std::vector<std::string> sorted;
  for (auto& [written, key] : dated) sorted.push_back(std::move(key));
  return sorted;
}

// A message (HL7, webhook) that the node made: what is received always has a Part 10 header.
bool is_message(const std::filesystem::path& path) {
  std::array<char, 4> begin{};
  std::ifstream(path, std::ios::binary).read(begin.data(), begin.size());
  return begin[0] == '{' || std::string_view(begin.data(), begin.size()) == "MSH|";
}

Sender sender_of(const object::InstanceHeader& header, const config::ReceiveConfig& config) {
  const config::PeerConfig* peer = find_peer(config.peers, header.source_ae_title, /*host=*/"");
  return peer != nullptr ? Sender{peer->name, peer->study_quiet_period} : Sender{.name = header.source_ae_title};
}

class Adoption {
 public:
  Adoption(const config::ReceiveConfig& config, storage::Spool& spool, storage::StudyStore& store, Intake& intake)
      : config_(config), spool_(spool), store_(store), intake_(intake) {}

  Result<Found> adopt(const std::string& key) {
    const std::filesystem::path path = spool_.path(key);
    const auto uid = storage::uid_of_key(key);
    const auto file = spool_.measure(key);
    if (!uid.ok() || !file.ok()) return Found{End::kKept, (uid.ok() ? file.status() : uid.status()).message()};
    // The same bytes, in whatever version: taking an old one in again would undo what came after it.
    NODE_ASSIGN_OR_RETURN(const auto known, store_.find_bytes(*uid, file->sha256_hex));
    if (known) return had_before(key, *known);
    // The folder has the digest's first byte (spool.h): of a damaged file it is another, but for one in 256.
    if (!key.starts_with(file->sha256_hex.substr(0, 2)))
      return Found{End::kKept, "its bytes are not those that were stored"};
    if (is_message(path)) return Found{End::kDeleted, "a message that was not recorded"};

    const auto header = object::read_instance_header(path);
    if (!header.ok()) return Found{End::kKept, header.status().message()};
    NODE_ASSIGN_OR_RETURN(const std::string objection, objection_of_held(*uid, path));
    if (!objection.empty()) return Found{End::kKept, objection};
    auto again = spool_.begin_again(key);
    if (!again.ok()) return Found{End::kLeft, again.status().message()};
    const IntakeAnswer answer = intake_.take(
        *std::move(again), {.sop_class_uid = header->sop_class_uid, .sop_instance_uid = header->sop_instance_uid},
        sender_of(*header, config_));
    switch (answer.outcome) {
      case Outcome::kStored:
      case Outcome::kCorrection:
      case Outcome::kConflict:
        date_back(*uid, file->sha256_hex, written_at(path));
        return Found{End::kTakenIn, std::string(to_string(answer.outcome)), uid->str(), answer.study_instance_uid};
      case Outcome::kResend: return Found{End::kDeleted, "nothing that matters differs from what is held"};
      case Outcome::kOwnResult: return Found{End::kDeleted, "a result that was not recorded"};
      case Outcome::kRefused:
      case Outcome::kStoreFailed: break;
    }
    const bool store_failed = answer.outcome == Outcome::kStoreFailed || answer.status == kOutOfResources;
    return Found{store_failed ? End::kLeft : End::kKept,
                 answer.detail.ok() ? answer.error_comment : answer.detail.message()};
  }

 private:
  // Why what is held under the UID stands against taking the file in: it came later (of the file nobody was told
  // Success, or it is an earlier version), or it cannot be compared. Empty: nothing does.
  Result<std::string> objection_of_held(const storage::Uid& uid, const std::filesystem::path& path) {
    const auto held = store_.show_instance(uid);
    if (held.status().code() == StatusCode::kNotFound) return std::string();
    if (!held.ok()) return held.status();
    std::filesystem::file_time_type since = std::chrono::file_clock::from_sys(held->received_at);
    if (!held->purged_at) {
      if (!spool_.verify(held->file).ok())
        return std::string("the file held under its UID is lost: skelex-node losses");
      since = written_at(spool_.path(held->file.key));
    }
    return std::string(written_at(path) < since ? "older than what is held under its UID" : "");
  }

  // The copy is as old as the file was, so that what came later is seen to have come later, also at the next start.
  void date_back(const storage::Uid& uid, const std::string& sha256_hex, std::filesystem::file_time_type written) {
    const auto taken = store_.find_bytes(uid, sha256_hex);
    std::error_code unknown;
    if (taken.ok() && *taken) std::filesystem::last_write_time(spool_.path((*taken)->file.key), written, unknown);
  }

  Result<Found> had_before(const std::string& key, const storage::HeldInstance& known) {
    if (known.purged || spool_.verify(known.file).ok()) return Found{End::kDeleted, "a row has or had these bytes"};
    auto again = spool_.begin_again(key);
    Status restored = again.status();
    if (again.ok()) restored = spool_.restore(*std::move(again), known.file);
    if (restored.ok()) restored = storage::forget_restored(spool_, store_);
    if (!restored.ok()) return Found{End::kLeft, restored.message()};
    return Found{End::kDeleted, "put in the place of a lost file of these bytes"};
  }

  const config::ReceiveConfig& config_;
  storage::Spool& spool_;
  storage::StudyStore& store_;
  Intake& intake_;
};

}  // namespace

Result<Orphans> take_in_orphans(const std::vector<std::string>& keys, const config::ReceiveConfig& config,
                                storage::Spool& spool, storage::StudyStore& store, Intake& intake,
                                const std::function<bool(int done)>& go_on) {
  Orphans orphans;
  Adoption adoption(config, spool, store, intake);
  int done = 0;
  for (const std::string& key : oldest_first(keys, spool)) {
    if (!go_on(done)) {
      orphans.left_because = "the node was told to stop";
      break;
    }
    NODE_ASSIGN_OR_RETURN(const Found found, adoption.adopt(key));
    if (found.end == End::kLeft) {
      orphans.left_because = found.why;
      break;
    }
    ++done;
    if (found.end == End::kKept) {
      spdlog::error("event=orphan_kept file={} reason=\"{}\"", key, found.why);
      orphans.kept.push_back(key);
      continue;
    }
    if (found.end == End::kTakenIn) {
      ++orphans.taken_in;
      spdlog::warn("event=orphan_taken_in file={} sop_instance_uid={} study_instance_uid={} as={}", key,
                   found.sop_instance_uid, found.study_instance_uid, found.why);
    } else {
      ++orphans.deleted;
      spdlog::warn("event=orphan_deleted file={} reason=\"{}\"", key, found.why);
    }
    NODE_RETURN_IF_ERROR(spool.remove(key));
  }
  if (orphans.left_because.empty()) return orphans;
  orphans.left = static_cast<int>(keys.size()) - done;
  spdlog::error("event=orphans_left count={} reason=\"{}\"", orphans.left, orphans.left_because);
  return orphans;
}

}  // namespace node::receive
