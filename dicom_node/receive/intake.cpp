#include "dicom_node/receive/intake.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "dicom_node/object/crash_point.h"
#include "dicom_node/receive/same_pixels.h"
#include "storage/spool_check.h"

namespace node::receive {
namespace {

constexpr int kLooksMax = 16;                      // How often others may be quicker with the same UID.
constexpr std::size_t kErrorCommentBytesMax = 64;  // VR LO.

// What a report lists even if no model reads it.
bool is_image(const object::InstanceHeader& header) { return header.has_pixel_data || header.rows > 0; }

}  // namespace

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::kStored: return "stored";
    case Outcome::kResend: return "resend";
    case Outcome::kCorrection: return "correction";
    case Outcome::kConflict: return "conflict";
    case Outcome::kOwnResult: return "own_result";
    case Outcome::kRefused: return "refused";
    case Outcome::kStoreFailed: return "store_failed";
  }
  return "unknown";
}

IntakeAnswer refusal(std::uint16_t status, std::string_view error_comment, Status detail) {
  IntakeAnswer answer;
  answer.status = status;
  answer.outcome = status == kProcessingFailure ? Outcome::kStoreFailed : Outcome::kRefused;
  answer.error_comment = error_comment.substr(0, kErrorCommentBytesMax);
  answer.detail = std::move(detail);
  return answer;
}

IntakeAnswer refusal(const Status& failure) {
  switch (failure.code()) {
    case StatusCode::kResourceExhausted: return refusal(kOutOfResources, "out of disk space", failure);
    case StatusCode::kUnavailable: return refusal(kOutOfResources, "not now, try again later", failure);
    default: return refusal(kProcessingFailure, "storage failed", failure);
  }
}

Intake::Intake(const config::ReceiveConfig& config, storage::Spool& spool, storage::StudyStore& store,
               const route::Router& router)
    : config_(config), spool_(spool), store_(store), router_(router), node_uid_(store.node_uid().str()) {}

IntakeAnswer Intake::take(storage::IncomingFile file, const Command& command, const Sender& sender) {
  object::crash_point("received");
  // What is it? Read up to the pixel data only, within bounds, before anything else looks at it.
  const auto bytes = file.bytes();
  if (!bytes) {
    if (const Status flushed = file.flush(); !flushed.ok()) return refusal(flushed);
  }
  const auto header = bytes ? object::parse_instance_header(*bytes) : object::read_instance_header(file.path());
  if (!header.ok()) {
    const StatusCode code = header.status().code();
    if (code == StatusCode::kNotFound || code == StatusCode::kInternal || code == StatusCode::kUnavailable)
      return refusal(header.status());
    return refusal(kCannotUnderstand, "data set cannot be parsed", header.status());
  }
  if (header->low_group) {  // It would be read as what we say of the object, its transfer syntax for one.
    char comment[64];
    std::snprintf(comment, sizeof comment, "an element of group %04x, which no data set may have", *header->low_group);
    return refusal(kCannotUnderstand, comment);
  }
  const auto sop_instance_uid = storage::Uid::parse(header->sop_instance_uid);
  const auto study_instance_uid = storage::Uid::parse(header->study_instance_uid);
  if (!sop_instance_uid.ok()) return refusal(kDataSetMismatch, "SOP Instance UID missing or invalid");
  if (!study_instance_uid.ok()) return refusal(kDataSetMismatch, "Study Instance UID missing or invalid");
  if (command.sop_instance_uid != sop_instance_uid->str()) {
    return refusal(kDataSetMismatch, "SOP Instance UID of command and data set differ");
  }
  if (command.sop_class_uid != header->sop_class_uid) {
    return refusal(kDataSetMismatch, "SOP Class UID of command and data set differ");
  }

  IntakeAnswer answer;
  answer.study_instance_uid = study_instance_uid->str();
  const auto failed = [&answer](const Status& failure) {
    IntakeAnswer refused = refusal(failure);
    refused.study_instance_uid = answer.study_instance_uid;
    return refused;
  };

  // One of ours, returned by a PACS? It must not start work again.
  const auto is_own_result = store_.is_own_result(*sop_instance_uid);
  if (!is_own_result.ok()) return failed(is_own_result.status());
  if (*is_own_result || header->instance_creator_uid == node_uid_) {
    answer.outcome = Outcome::kOwnResult;
    return answer;
  }

  storage::NewInstance instance{.sop_instance_uid = *sop_instance_uid,
                                .study_instance_uid = *study_instance_uid,
                                .series_instance_uid = header->series_instance_uid,
                                .sop_class_uid = header->sop_class_uid,
                                .transfer_syntax_uid = header->transfer_syntax_uid,
                                .modality = header->modality,
                                .accession_number = header->accession_number,
                                .peer = sender.name,
                                .header_digest = header->digest,
                                .file = {},
                                .route = router_.route(*header, sender.name),
                                .reportable = false,
                                .study_quiet_period = sender.study_quiet_period,
                                .association = sender.association};
  instance.reportable = !instance.route.tasks.empty() || (config_.report_skipped && is_image(*header));

  // Is its UID known? If somebody else adds the same UID meanwhile, the question is asked again.
  std::optional<storage::StoredFile> stored;
  for (int look = 0; look < kLooksMax; ++look) {
    const auto held = store_.find_instance(*sop_instance_uid);
    if (!held.ok()) return failed(held.status());
    Arrival arrival = Arrival::kFirst;
    if (held->has_value()) {
      if (!stored) {
        if (bytes && !(*held)->purged && is_in_file(*bytes, spool_.path((*held)->file.key))) {
          answer.outcome = Outcome::kResend;  // Nothing was written.
          return answer;
        }
        if (const Status flushed = file.flush(); !flushed.ok()) return failed(flushed);
      }
      const auto relation = compare(stored ? spool_.path(stored->key) : file.path(), *header, **held);
      if (!relation.ok()) {
        const auto now = store_.find_instance(*sop_instance_uid);  // Retention or a correction may have been quicker.
        if (now.ok() && now->has_value() &&
            ((*now)->purged != (*held)->purged || (*now)->version != (*held)->version)) {
          continue;
        }
        if (relation.status().code() == StatusCode::kDataLoss) {
          const Status lost = spool_.verify((*held)->file);
          if (lost.ok()) continue;  // Another sender has brought it back.
          if (lost.code() == StatusCode::kDataLoss) {
            spdlog::error("event=data_loss sop_instance_uid={} reason=\"{}\"", sop_instance_uid->str(), lost.message());
          }
          if (lost.code() == StatusCode::kDataLoss && !stored) {
            IntakeAnswer restored = restore(std::move(file), **held, *sop_instance_uid);
            restored.study_instance_uid = answer.study_instance_uid;
            return restored;
          }
        }
        discard(stored);
        return failed(relation.status());
      }
      if (!relation->has_value()) {
        discard(stored);
        answer.outcome = Outcome::kResend;
        return answer;
      }
      arrival = **relation;
    }

    // The bytes are durable before the row, the row before the answer.
    if (!stored) {
      if (const Status flushed = file.flush(); !flushed.ok()) return failed(flushed);
      object::crash_point("written");
      auto committed = spool_.commit(std::move(file), *sop_instance_uid);
      if (!committed.ok()) return failed(committed.status());
      stored = instance.file = *std::move(committed);
      object::crash_point("spooled");
    }
    if (arrival == Arrival::kConflict) {
      if (!config_.keep_first_on_conflict) {
        answer.status = kOtherPixelsUnderKnownUid;
        answer.error_comment = "other pixels are held under this SOP Instance UID";
      }
      answer.outcome = Outcome::kConflict;
      const auto kept_aside = is_kept_aside(*sop_instance_uid, *study_instance_uid, *stored);
      if (!kept_aside.ok() || *kept_aside) {  // A sender that tries again fills no disk.
        discard(stored);
        return kept_aside.ok() ? answer : failed(kept_aside.status());
      }
    }
    const auto added = store_.add_instance(instance, arrival, held->has_value() ? (*held)->version : 0);
    // After a commit that failed the row may be there all the same, so the file stays: at worst it is an orphan, which
    // the next start takes in, unless what came later is held by then.
    if (!added.ok()) return failed(added.status());
    if (!added->refused.ok()) {
      discard(stored);
      return failed(added->refused);
    }
    if (added->added) {
      object::crash_point("recorded");
      if (arrival == Arrival::kCorrection) answer.outcome = Outcome::kCorrection;
      if (arrival != Arrival::kConflict) answer.route = std::move(instance.route);
      return answer;
    }
  }
  discard(stored);
  return failed(unavailable("add " + sop_instance_uid->str() + ": others keep adding the same UID"));
}

Result<std::optional<storage::Arrival>> Intake::compare(const std::filesystem::path& file,
                                                        const object::InstanceHeader& header,
                                                        const storage::HeldInstance& held) const {
  // What is purged cannot be compared; its pixels count as the same, as those of a copy that cannot be decoded.
  if (held.purged) {
    return header.digest == held.header_digest ? std::optional<Arrival>() : std::optional(Arrival::kCorrection);
  }
  const std::filesystem::path held_file = spool_.path(held.file.key);
  auto same_bytes = have_same_bytes(file, held_file);
  if (same_bytes.ok() && *same_bytes) return std::optional<Arrival>();
  NODE_RETURN_IF_ERROR(spool_.compare(held.file));  // Only what was stored is worth a comparison.
  // A lost file may have been put back between the two looks.
  if (!same_bytes.ok()) same_bytes = have_same_bytes(file, held_file);
  NODE_RETURN_IF_ERROR(same_bytes.status());
  if (*same_bytes) return std::optional<Arrival>();
  NODE_ASSIGN_OR_RETURN(const bool same_pixels, have_same_pixels(file, held_file));
  if (!same_pixels) return std::optional(Arrival::kConflict);
  if (header.digest != held.header_digest) return std::optional(Arrival::kCorrection);
  return std::optional<Arrival>();
}

IntakeAnswer Intake::restore(storage::IncomingFile file, const storage::HeldInstance& held,
                             const storage::Uid& sop_instance_uid) {
  if (const Status restored = spool_.restore(std::move(file), held.file); !restored.ok()) {
    if (restored.code() != StatusCode::kInvalidArgument) return refusal(restored);
    return refusal(kProcessingFailure, "the held file is lost, and these are other bytes", restored);
  }
  if (const Status forgotten = storage::forget_restored(spool_, store_); !forgotten.ok())  // The next start does.
    spdlog::warn("event=accepted_loss_left file={} reason=\"{}\"", held.file.key, forgotten.message());
  const auto now = store_.find_instance(sop_instance_uid);  // Retention would not come back for it.
  if (now.ok() && now->has_value() && (*now)->purged && (*now)->file.key == held.file.key) discard(held.file);
  spdlog::warn("event=lost_file_restored sop_instance_uid={} file={}", sop_instance_uid.str(), held.file.key);
  IntakeAnswer answer;
  answer.outcome = Outcome::kResend;
  return answer;
}

Result<bool> Intake::is_kept_aside(const storage::Uid& sop_instance_uid, const storage::Uid& study_instance_uid,
                                   const storage::StoredFile& file) {
  NODE_ASSIGN_OR_RETURN(const auto instances, store_.list_instances(study_instance_uid));
  return std::any_of(instances.begin(), instances.end(), [&](const storage::InstanceRecord& known) {
    return known.state == storage::InstanceState::kConflict && known.sop_instance_uid == sop_instance_uid &&
           known.file.sha256_hex == file.sha256_hex;
  });
}

void Intake::discard(const std::optional<storage::StoredFile>& loser) {
  if (!loser) return;
  const Status removed = spool_.remove(loser->key);
  if (!removed.ok()) spdlog::warn("event=orphan_left file={} reason=\"{}\"", loser->key, removed.message());
}

}  // namespace node::receive
