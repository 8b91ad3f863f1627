// Intake: decides what becomes of one received object, and what its sender is told.
//
// Guarantee: status 0x0000 for an object that was not held before means that its bytes, its row and its route are
//            durable. Whatever is refused leaves no file and no row, but a conflict, which is kept aside.
// Threads:   take() may be called from any thread; two senders of one UID are put in order by the store.
// Source:    PS3.4 Table B.2-1; PS3.7 9.1.1.1.9, Annex C. Which case is answered with what: README.md, "What a C-STORE
//            is answered".
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "config/base/status.h"
#include "config/peer_config.h"
#include "dicom_node/object/instance_header.h"
#include "dicom_node/receive/command_set.h"
#include "dicom_node/route/router.h"
#include "storage/spool.h"
#include "storage/study_store.h"

namespace node::receive {

// C-STORE status codes.
inline constexpr std::uint16_t kSuccess = 0x0000;
inline constexpr std::uint16_t kProcessingFailure = 0x0110;
inline constexpr std::uint16_t kSopClassNotSupported = 0x0122;
inline constexpr std::uint16_t kOutOfResources = 0xA700;
inline constexpr std::uint16_t kDataSetMismatch = 0xA900;
inline constexpr std::uint16_t kCannotUnderstand = 0xC000;
inline constexpr std::uint16_t kOtherPixelsUnderKnownUid = 0xC001;
// What a C-STORE is answered otherwise than with success.
inline constexpr std::array kRefusals{kProcessingFailure, kSopClassNotSupported, kOutOfResources,
                                      kDataSetMismatch,   kCannotUnderstand,     kOtherPixelsUnderKnownUid};

struct StoreStatus {
  std::uint16_t status;
  std::string_view meaning;
};
inline constexpr std::array kStoreStatuses = {
    StoreStatus{kSuccess, "Success: the object and its route are durable"},
    StoreStatus{kProcessingFailure, "Failure: the store of the node failed"},
    StoreStatus{kSopClassNotSupported, "Failure: the SOP class was not accepted for this presentation context"},
    StoreStatus{kOutOfResources, "Failure: out of disk space, stopping, or larger than node.object_bytes_max"},
    StoreStatus{kDataSetMismatch, "Failure: UIDs missing, invalid, or other than those of the command"},
    StoreStatus{kCannotUnderstand, "Failure: not parsable up to the pixel data"},
    StoreStatus{kOtherPixelsUnderKnownUid, "Failure: the UID is held with other pixels"},
};

enum class Outcome {
  kStored,       // New.
  kResend,       // Held already, nothing that matters differs.
  kCorrection,   // Held already with the same pixels: the next version.
  kConflict,     // Held already with other pixels: kept aside.
  kOwnResult,    // One of ours coming back: dropped.
  kRefused,      // Nothing kept.
  kStoreFailed,  // The store itself failed.
};
std::string_view to_string(Outcome outcome);

struct IntakeAnswer {
  std::uint16_t status = kSuccess;
  Outcome outcome = Outcome::kStored;
  std::string error_comment;       // (0000,0902), at most 64 characters, nothing of the patient. Empty on success.
  std::string study_instance_uid;  // A checked one, for the log; empty if there is none.
  storage::RouteDecision route;    // Of what was stored.
  Status detail;                   // What failed beneath, for the log.
};

struct Sender {
  std::string name;  // The peer's in the configuration, or the calling AE title of an unknown one.
  std::chrono::milliseconds study_quiet_period{10'000};
  std::uint64_t association = 0;  // By a number of this process; holds the studies that it carries open.
};

// An object refused before or instead of being looked at. The comment is cut to what (0000,0902) may hold.
IntakeAnswer refusal(std::uint16_t status, std::string_view error_comment, Status detail = {});
// The same, from a failure of spool or store: a full disk and stopping are 0xA700, "not now"; all else 0x0110.
IntakeAnswer refusal(const Status& failure);

class Intake {
 public:
  // All must outlive the Intake.
  Intake(const config::ReceiveConfig& config, storage::Spool& spool, storage::StudyStore& store,
         const route::Router& router);

  // `file` has got a whole Part 10 file, its data set bit for bit as received.
  IntakeAnswer take(storage::IncomingFile file, const Command& command, const Sender& sender);

 private:
  using Arrival = storage::Arrival;
  // How an object relates to the one held under its UID; nothing: nothing that matters differs. Errors: kDataLoss (the
  // held file is not as it was stored, unless retention has deleted it meanwhile), ...
  Result<std::optional<Arrival>> compare(const std::filesystem::path& file, const object::InstanceHeader& header,
                                         const storage::HeldInstance& held) const;
  // The answer where the file of `held` is lost: success if `file` has got the bytes that were stored, and is put in
  // its place.
  IntakeAnswer restore(storage::IncomingFile file, const storage::HeldInstance& held,
                       const storage::Uid& sop_instance_uid);
  Result<bool> is_kept_aside(const storage::Uid& sop_instance_uid, const storage::Uid& study_instance_uid,
                             const storage::StoredFile& file);
  void discard(const std::optional<storage::StoredFile>& loser);

  const config::ReceiveConfig& config_;
  storage::Spool& spool_;
  storage::StudyStore& store_;
  const route::Router& router_;
  const std::string node_uid_;
};

}  // namespace node::receive
