// StudyStore: instances, predictions, results and deliveries; the queue between the four stages.
//
// Guarantee: each method is one whole transaction. When a method that records what a peer was told, what is finished
//            or what was sent returns OK, that survives power loss (marked [synced]); after a crash the rest is as if
//            the call had not been made. Every call may be repeated with the same arguments after an unknown outcome.
// Threads:   every method may be called from any thread; claim_ methods block for at most `wait_max` and return what
//            there is, possibly nothing; after stop() they answer kUnavailable at once, and for no other reason. All
//            writers share group commits.
// Claims:    are no promise: they live in the memory of the process that owns the store, and a restart voids them. A
//            finishing call shows its claim's token; a token that is no longer held changes nothing: kNotFound.
// Time:      the store's own clock decides what is due and writes every time.
// Errors:    kResourceExhausted (disk full), kUnavailable (stopping), kDataLoss (database damaged), kInternal; further
//            ones at each method.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/base/clock.h"
#include "config/base/histogram.h"
#include "config/base/status.h"
#include "storage/route_decision.h"
#include "storage/spool.h"
#include "storage/uid.h"

namespace node::storage {

// RECEIVED has tasks and waits for analysis; the other states are ends. SKIPPED and FAILED say why in `reason`.
enum class InstanceState { kReceived, kAnalysed, kSkipped, kFailed, kConflict };
std::string_view to_string(InstanceState state);  // "received", "analysed", ... as interface.md writes them.

// OPEN takes further instances; CLOSED waits for its instances to end and for its report; FINISHED has its results and
// deliveries recorded; NOT_ROUTED holds no image that is reported on. A routed instance reopens a FINISHED study with
// the next revision, and a CLOSED one with the same revision, since nothing of it has left the node.
enum class StudyState { kOpen, kClosed, kFinished, kNotRouted, kFailed };
std::string_view to_string(StudyState state);

// In the order in which one destination gets the objects of one study: each waits until those of earlier stages of its
// study were delivered to that destination or parked. Originals wait for nothing and nothing waits for them; late ones
// wait for the study to end, too.
enum class DeliveryStage {
  kOriginal = 0,
  kImageObject = 1,
  kReport = 2,
  kKeyObject = 3,
  kLateOriginal = 4,
  kMessage = 5
};

// Of what belongs to a study that a finding has made urgent, at every stage; above all that a route may name,
// while an image of such a finding is still of the study.
inline constexpr int kUrgentPriority = 2000;
// PARKED waits for a person; GIVEN_UP is what a person has decided not to send, and holds nothing up.
enum class DeliveryState { kPending, kDelivered, kParked, kGivenUp };
std::string_view to_string(DeliveryState state);

// How an arriving object relates to what is held under its SOP Instance UID (architecture, section 5).
enum class Arrival {
  kFirst,       // Nothing is held.
  kCorrection,  // Same pixels, another value of an attribute that matters: becomes the next version.
  kConflict,    // Other pixels: kept aside, listed, never analysed or forwarded.
};

struct NewInstance {
  Uid sop_instance_uid;
  Uid study_instance_uid;
  std::string series_instance_uid{};
  std::string sop_class_uid{};
  std::string transfer_syntax_uid{};
  std::string modality{};
  std::string accession_number{};  // To find a study by; never logged.
  std::string peer{};              // Name of the sender in the configuration, or its AE title if unknown.
  std::string header_digest{};     // Over the attributes that matter; compared on a resend.
  StoredFile file{};
  RouteDecision route{};
  bool reportable = false;  // Opens a report of its study: has tasks, or skipped images are reported.
  std::chrono::milliseconds study_quiet_period{10'000};
  std::uint64_t association = 0;  // That carries it, by a number of this process; 0: none. See end_association().
};

struct HeldInstance {  // The newest version held under a SOP Instance UID, for the comparison on a resend.
  int version = 0;
  std::string header_digest{};
  StoredFile file{};
  bool purged = false;  // Retention deleted the file.
};

struct AddResult {
  bool added = false;  // false: another version than `seen_version` is held by now; look again and decide again.
  bool known_conflict = false;  // These bytes were kept aside before; the new file has no row: delete it.
  Status
      refused{};  // Not OK: nothing was recorded, whatever happens to the machine; the new file has no row: delete it.
};

// What one task found, in the words of dicom_node/object/finding_record.h; storage does not look inside.
struct StoredPrediction {
  std::string task{};
  std::string model_version{};
  std::string content{};  // JSON.
  std::string blob{};     // The anomaly map, or empty.
};

struct InstanceRecord {
  std::int64_t id = 0;  // Names the instance and version within this store only.
  Uid sop_instance_uid;
  int version = 1;
  Uid study_instance_uid;
  std::string series_instance_uid{}, sop_class_uid{}, transfer_syntax_uid{}, modality{}, accession_number{}, peer{};
  StoredFile file{};
  RouteDecision route{};
  bool reportable = false;
  InstanceState state = InstanceState::kReceived;
  std::string reason{};
  int attempts = 0;
  WallTime received_at{};
  std::optional<WallTime> predicted_at{};
  std::optional<WallTime> purged_at{};          // When retention deleted the file.
  std::vector<StoredPrediction> predictions{};  // In the order of route.tasks; filled where the method says so.
};

using ClaimToken = std::uint64_t;

struct ClaimedInstance {
  ClaimToken token = 0;
  InstanceRecord instance;
};

struct ResultRecord {  // One DICOM object that we made.
  Uid sop_instance_uid;
  std::string kind{};        // The form: "sr", "sc", ... (dicom-brief section 3).
  std::string source_uid{};  // SOP Instance UID for image objects, Study Instance UID for study objects.
  std::string task{};        // Empty for study objects.
  int revision = 1;          // Of the study's report; for image objects the version of the instance.
  std::string series_instance_uid{};
  std::string sop_class_uid{};
  std::string transfer_syntax_uid{};
  StoredFile file{};
};

struct NewDelivery {
  std::string destination{};  // Name of a peer in the configuration.
  Uid sop_instance_uid;       // Of a result of the same finish_study() call, or of an earlier one.
  DeliveryStage stage = DeliveryStage::kImageObject;
  std::string after{};  // Waits, too, until no result of the study is PENDING at this destination; empty: at none.
};

struct ReadyStudy {
  ClaimToken token = 0;
  Uid study_instance_uid;
  int revision = 1;
  WallTime closed_at{};
  int priority = 0;
  std::string urgent{};                         // Which finding made it urgent; empty: none.
  std::vector<InstanceRecord> instances{};      // Newest versions in order of arrival, ended, with their predictions.
  std::vector<ResultRecord> earlier_results{};  // Of earlier revisions, oldest first: what need not be made again.
  // Once something was reported: the replaced versions of images that corrections have moved to another study; where
  // they left no image to report on, of all images that earlier revisions spoke of.
  std::vector<InstanceRecord> taken_back{};
};

struct ClaimedDelivery {
  ClaimToken token = 0;
  std::int64_t id = 0;
  std::string destination{};
  DeliveryStage stage = DeliveryStage::kOriginal;
  Uid study_instance_uid;
  Uid sop_instance_uid;
  std::string sop_class_uid{}, transfer_syntax_uid{};
  StoredFile file{};
  int attempts = 0;  // Before this one: how often it was offered to the peer.
  int priority = 0;
  std::chrono::milliseconds pending_for{0};  // Since it was recorded, or last released by a person.
};

// --- storage commitment, PS3.4 Annex J ---

struct SopReference {
  std::string sop_class_uid, sop_instance_uid;
};

struct CommitmentFailure {
  SopReference reference{};
  std::uint16_t reason = 0;  // Failure Reason (0008,1197), PS3.3 C.14.
};

struct CommitmentRequest {  // A peer asks us whether what it sent is safe.
  std::int64_t id = 0;
  std::string peer{}, transaction_uid{};
  std::vector<SopReference> references{};
  int attempts = 0;
  std::chrono::milliseconds pending_for{0};
};

struct BegunCommitment {  // We ask a destination; no references: nothing to ask for.
  std::string transaction_uid{};
  std::vector<SopReference> references{};
  int given_up = 0;  // Deliveries that were PARKED, see begin_commitment().
};

// GIVEN_UP: a destination of it will not get it.
enum class Safety { kUnknown, kOtherClass, kWaits, kGivenUp, kSafe };

struct Safekeeping {
  Safety safety = Safety::kUnknown;
  std::optional<StoredFile> file{};  // On what kSafe rests; the caller verifies it. Nothing: on the destinations.
};

struct DeliveryOutcome {
  DeliveryState state = DeliveryState::kDelivered;  // kPending: try again after `retry_in`.
  std::chrono::milliseconds retry_in{0};
  std::optional<std::uint16_t> peer_status{};  // The C-STORE status, if the peer answered one.
  std::string text{};                          // The peer's or the network's own words, free of patient data.
  bool to_be_committed = false;                // Once DELIVERED, the destination is asked to commit to it.
};

struct DeliveryRecord {
  std::int64_t id = 0;
  std::string destination{}, sop_instance_uid{}, study_instance_uid{}, kind{};  // kind: "original", "sc", "sr", ...
  DeliveryState state = DeliveryState::kPending;
  int attempts = 0;
  WallTime created_at{}, due_at{};        // First due; of one that is PENDING: tried next.
  std::optional<WallTime> tried_at{};     // Last offered, or its destination last called for it; also before a release.
  std::optional<WallTime> released_at{};  // By a person, or because its destination is in the configuration again.
  std::optional<WallTime> delivered_at{}, given_up_at{};
  std::optional<std::uint16_t> peer_status{};
  std::string text{};
  std::string commitment{};  // Empty: not asked for; else "due", "asked" or "committed".
};

struct StudySummary {
  std::int64_t key = 0;  // Grows with each study that arrives; see StudyFilter::before.
  std::string study_instance_uid{}, accession_number{};
  StudyState state = StudyState::kOpen;
  std::string reason{};
  std::string urgent{};        // Which finding made it urgent; empty: none.
  std::string not_analysed{};  // Why images of it were skipped or failed: up to five reasons, "; " between.
  int revision = 0;
  int instances = 0, analysed = 0, skipped = 0, failed = 0, conflicts = 0, waiting = 0;
  int deliveries_pending = 0, deliveries_parked = 0, deliveries_done = 0, deliveries_given_up = 0;
  WallTime opened_at{}, last_instance_at{};
  std::optional<WallTime> closed_at{}, finished_at{};
};

// What a listing shows, newest first; all that is set must hold. A page ends where the next one's `before` begins, so
// that the last page costs what the first does.
struct StudyFilter {
  std::optional<StudyState> state{};
  bool conflicts = false;   // Only those that hold an object kept aside.
  bool failures = false;    // Only those that failed, or that hold an image that did.
  bool parked = false;      // Only those with a delivery that waits for a person.
  std::string search{};     // The begin of an accession number or Study Instance UID, or a whole SOP Instance UID. Of
                            // more than kSearchMax that begin so, any.
  std::int64_t before = 0;  // Only those with a smaller key; 0: from the newest.
  int limit = 100;
};
inline constexpr int kSearchMax = 1000;

struct DeliveryFilter {
  std::optional<DeliveryState> state{};
  std::optional<Uid> study{};
  std::int64_t before = 0;  // As above, of DeliveryRecord::id.
  int limit = 100;
};

struct StoreStats {
  std::int64_t instances_received = 0, instances_waiting = 0, studies_open = 0, deliveries_pending = 0,
               deliveries_parked = 0, deliveries_given_up = 0, conflicts = 0;
  std::optional<WallTime> waiting_since{};  // When the instance that waits longest was received; nothing: none waits.
  std::int64_t writes = 0, commits = 0;     // Calls marked [synced] since the start, and the transactions they shared.
  // Of the stop before this start, what does not count as time at rest: the node stood still for long, or a clock is
  // wrong.
  std::chrono::milliseconds stop_not_counted{};
  // Seconds from a study's last image, or the retry that asked for it again, to each result that a peer took.
  HistogramSnapshot delivered_after{};
};

// What a stop of the node counts as time at rest at most, however long it was by the clock: a weekend.
inline constexpr std::chrono::days kStopCountedMax{3};

// How long what is at rest is kept; nothing: for ever. A study is at rest since it ended and everything due for it was
// delivered; a delivery that is pending or parked holds its originals and its results.
struct PurgeLimits {
  std::optional<std::chrono::milliseconds> originals_kept{}, results_kept{};
};

struct PurgedFiles {
  std::vector<StoredFile> originals{}, results{};
};

inline constexpr const char* kNoSuchDestination = "its destination is not in the configuration";

class StudyStore {
 public:
  virtual ~StudyStore() = default;

  // The UID of this installation (Device Observer UID, Instance Creator UID), made at first start.
  virtual Uid node_uid() const = 0;

  // --- receive ------------------------------------------------------------------------------------------------
  // The newest version held under this UID that is no conflict.
  virtual Result<std::optional<HeldInstance>> find_instance(const Uid& sop_instance_uid) = 0;
  // Whether this UID is that of an object we made (the loop guard).
  virtual Result<bool> is_own_result(const Uid& sop_instance_uid) = 0;
  // Of whichever row, of any version, of an object kept aside or of a result, has or had these bytes under this UID.
  virtual Result<std::optional<HeldInstance>> find_bytes(const Uid& sop_instance_uid,
                                                         const std::string& sha256_hex) = 0;
  // Records the instance, its route, its study's (re)opening and one PENDING delivery of the original per
  // route.forward_to. `seen_version`: what find_instance() said, 0 for nothing. An error has an unknown outcome, unlike
  // AddResult::refused. [synced]
  virtual Result<AddResult> add_instance(const NewInstance& instance, Arrival arrival, int seen_version) = 0;
  // The association carries nothing more. It held the study open that it brought the last reportable instance of, until
  // it went on to another, but not beyond StorageConfig::study_open_max; from now on the quiet period counts, or, if
  // its sender says that it was the `whole_study`, the study closes at once. One that brought nothing is no error. What
  // cannot be recorded now, on a full disk, is made good by a later claim_ready_study().
  virtual Status end_association(std::uint64_t association, bool whole_study) = 0;

  // --- analyze ------------------------------------------------------------------------------------------------
  // Up to `max` instances in state RECEIVED, most urgent first, then oldest; ten minutes of waiting make up for one
  // step of priority, so that nothing waits for ever. Each claim counts an attempt before it returns (survives SIGKILL,
  // need not survive power loss); an instance that was claimed three times without an end becomes FAILED ("took the
  // process down 3 times") instead of being returned. An instance whose claim was lost with its process is offered
  // alone, with no other claim out: so only the guilty one is counted three times.
  virtual Result<std::vector<ClaimedInstance>> claim_instances(int max, std::chrono::milliseconds wait_max) = 0;
  // What the pixels decided of a pending route: takes the place of the instance's route until a retry asks them again;
  // forward_to and pending stay. A crash before finish_instance() asks them again, too.
  virtual Status settle_route(ClaimToken token, const RouteDecision& route) = 0;
  // `urgent`, unless empty, says which finding makes the study urgent: the first of those that are still of it stands,
  // and what of the study waits at any stage, now or later, goes before all else. [synced]
  virtual Status finish_instance(ClaimToken token, const std::vector<StoredPrediction>& predictions,
                                 const std::string& urgent = {}) = 0;
  // SKIPPED or FAILED with a reason. [synced]
  virtual Status end_instance(ClaimToken token, InstanceState state, const std::string& reason) = 0;
  // Gives the claim back and takes the attempt off again: stopping, or a device that is out of memory for now.
  virtual Status release_instance(ClaimToken token) = 0;

  // --- report -------------------------------------------------------------------------------------------------
  // Closes what is due to be closed (closed_at is written once per revision), then claims the most urgent study that
  // is CLOSED with every instance ended; waiting counts as for instances.
  virtual Result<std::optional<ReadyStudy>> claim_ready_study(std::chrono::milliseconds wait_max) = 0;
  // Records results and one PENDING delivery per object and destination; the study is FINISHED. A result whose UID is
  // known already is left as it is. Before it nothing has left the node; after it nothing is redone. [synced]
  virtual Status finish_study(ClaimToken token, const std::vector<ResultRecord>& results,
                              const std::vector<NewDelivery>& deliveries) = 0;
  virtual Status fail_study(ClaimToken token, const std::string& reason) = 0;  // [synced]
  // Gives the claim back; this process does not offer the study again before `retry_in` has passed.
  virtual Status release_study(ClaimToken token, std::chrono::milliseconds retry_in) = 0;

  // --- deliver ------------------------------------------------------------------------------------------------
  // Up to `max` deliveries that are due at `destination`, most urgent first, then oldest; see DeliveryStage. One that
  // was offered before lets the others go first, so that what a peer stumbles over holds up nothing else.
  virtual Result<std::vector<ClaimedDelivery>> claim_due_deliveries(const std::string& destination, int max,
                                                                    std::chrono::milliseconds wait_max) = 0;
  virtual Status finish_delivery(ClaimToken token, const DeliveryOutcome& outcome) = 0;  // [synced]
  // The destination could not be reached: gives the claims back, no attempt is counted, and `text`, unless empty, is
  // kept as the reason. This process offers nothing at `destination` before `retry_in` has passed or a person has
  // released a delivery there. Tokens that are no longer held change nothing.
  virtual Status postpone_deliveries(const std::string& destination, const std::vector<ClaimToken>& tokens,
                                     std::chrono::milliseconds retry_in, const std::string& text) = 0;
  // What of `destination` was delivered, is to be committed and was not asked for, under a new Transaction UID; with it
  // what was asked for and got no answer within its `answer_within`; of that, what was delivered longer than
  // `give_up_after` ago is PARKED. [synced]
  virtual Result<BegunCommitment> begin_commitment(const std::string& destination, int max,
                                                   std::chrono::milliseconds answer_within,
                                                   std::chrono::milliseconds give_up_after) = 0;
  // It could not be asked: what was begun is asked for again after `retry_in`, or, if it was delivered longer than
  // `give_up_after` ago, PARKED. Returns how many were parked. [synced]
  virtual Result<int> release_commitment(const std::string& transaction_uid, std::chrono::milliseconds retry_in,
                                         std::optional<std::chrono::milliseconds> give_up_after,
                                         const std::string& text) = 0;
  // What the destination reports: committed, or not: 0112 (it has no such instance) is sent again, 0110, 0131 and 0213
  // are asked for again, and what failed three times, or otherwise, is PARKED. False: no such transaction of this
  // destination. A report that comes twice changes nothing the second time. [synced]
  virtual Result<bool> end_commitment(const std::string& destination, const std::string& transaction_uid,
                                      const std::vector<SopReference>& committed,
                                      const std::vector<CommitmentFailure>& failed) = 0;

  // A peer asks; the same Transaction UID again asks anew. [synced]
  virtual Status add_commitment_request(const std::string& peer, const std::string& transaction_uid,
                                        const std::vector<SopReference>& references) = 0;
  // Of one peer, oldest first.
  virtual Result<std::vector<CommitmentRequest>> due_commitment_requests(const std::string& peer, int max) = 0;
  // It was answered, given up with `text`, or is to be looked at again. [synced]
  virtual Status end_commitment_request(std::int64_t id, std::optional<std::chrono::milliseconds> retry_in,
                                        const std::string& text) = 0;
  // Whether an instance is durable here, as far as its row knows, or was delivered everywhere before it was deleted.
  // `after_delivery`: only the latter counts, and commitment by those destinations that were asked for it.
  virtual Result<Safekeeping> safety_of(const SopReference& reference, bool after_delivery) = 0;

  // Says which destinations there are. What is PENDING for another, now or later, is PARKED with kNoSuchDestination, so
  // that nothing waits without a word; what was parked so comes due again once its destination is back. Returns how
  // many were parked, by destination. [synced]
  virtual Result<std::map<std::string, int>> set_destinations(const std::vector<std::string>& names) = 0;
  // Says which destinations are asked to commit, and which peers can be answered. What another was to commit to, or was
  // parked because it could not be asked or never answered, counts as DELIVERED; what another has asked is given up.
  // Returns how many deliveries were freed, by destination. [synced]
  virtual Result<std::map<std::string, int>> set_commitment_peers(const std::vector<std::string>& committing,
                                                                  const std::vector<std::string>& callable) = 0;
  // PARKED or GIVEN_UP to PENDING, due now, its attempts and its time counted anew. Returns the state in which it was:
  // one that is PENDING only waits no longer, one that was released and is DELIVERED since stays so. Errors: kNotFound
  // (no such id), kInvalidArgument (delivered without having been parked, its object is deleted, or its destination is
  // none of set_destinations()). [synced]
  virtual Result<DeliveryState> release_delivery(std::int64_t id) = 0;
  // PARKED to GIVEN_UP: it is not sent, and no longer keeps its study from retention. One that was given up already is
  // no error. Errors: kNotFound (no such id), kInvalidArgument (not parked). [synced]
  virtual Status give_up_delivery(std::int64_t id) = 0;

  // --- operate ------------------------------------------------------------------------------------------------
  virtual Result<std::vector<StudySummary>> list_studies(const StudyFilter& filter) = 0;
  virtual Result<StudySummary> find_study(const Uid& study_instance_uid) = 0;  // Errors: kNotFound.
  // All versions in order of arrival, with predictions.
  virtual Result<std::vector<InstanceRecord>> list_instances(const Uid& study_instance_uid) = 0;
  // The newest version that is no conflict, with predictions. Errors: kNotFound.
  virtual Result<InstanceRecord> show_instance(const Uid& sop_instance_uid) = 0;
  virtual Result<std::vector<DeliveryRecord>> list_deliveries(const DeliveryFilter& filter) = 0;
  // Another number than before once anything that a listing shows has changed. Costs next to nothing.
  virtual Result<std::int64_t> data_version() = 0;
  // Opens the next revision of a study's report, its instances to be analysed again, each as its next version, so that
  // their image objects get UIDs of their own; what was purged keeps what was found. Urgent is what is found so again;
  // what earlier revisions made and have yet to send keeps its place. What waits for its analysis waits on, as the same
  // version. False: there is nothing to do again. Of `seen_revision`, where the caller names what is to be made again,
  // there is nothing once the study has a later one; else, where all of it waits for its analysis anyhow, or a retry
  // led to the revision that it has and nothing failed in it. Errors: kNotFound; kInvalidArgument: all its images were
  // purged, or it has no such revision yet. [synced]
  virtual Result<bool> retry_study(const Uid& study_instance_uid, std::optional<int> seen_revision = std::nullopt) = 0;
  // Marks up to `files_max` files as PURGED, of the studies that are at rest longest, first; the caller deletes them.
  // Their rows stay, so that a resend is still known. [synced]
  virtual Result<PurgedFiles> purge(const PurgeLimits& limits, int files_max) = 0;
  // Keys of all files that a row says are PRESENT: originals and results. For the invariants at start.
  virtual Result<std::vector<StoredFile>> known_files() = 0;
  // Keys of files whose loss a person has accepted; the whole set is replaced. [synced]
  virtual Status set_accepted_losses(const std::vector<std::string>& keys) = 0;
  virtual Result<std::vector<std::string>> accepted_losses() = 0;
  virtual StoreStats stats() = 0;
  // Errors: the reason why the store cannot take a write now.
  virtual Status health() = 0;

  // Wakes every waiter; from then on claim_ methods answer kUnavailable and others still work. May be called twice.
  virtual void stop() = 0;
};

}  // namespace node::storage
