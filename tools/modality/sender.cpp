#include "tools/modality/sender.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmnet/assoc.h>
#include <dcmtk/dcmnet/dimse.h>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <optional>
#include <thread>

#include "config/base/mutex.h"

namespace node::modality {
namespace {

using std::chrono::duration;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kBackoffFirst{100};
constexpr milliseconds kBackoffMax{5'000};
constexpr int kConnectSeconds = 10;
constexpr std::size_t kContextsMax = 128;  // PS3.8 9.3.2.2: odd numbers of one byte.
constexpr std::size_t kRefusalsKept = 20;

std::string first_line(const char* text) {
  const std::string whole = text;
  return whole.substr(0, whole.find('\n'));
}

struct Answer {
  std::uint16_t status = 0;
  std::string comment;
};

bool is_stored(std::uint16_t status) { return status == 0x0000 || (status & 0xF000) == 0xB000; }
bool is_for_later(std::uint16_t status) { return (status & 0xFF00) == 0xA700 || status == 0x0110; }

class Association {
 public:
  static Result<std::unique_ptr<Association>> open(const SendOptions& options, const std::vector<ImageKind>& kinds);
  ~Association();
  Result<Answer> send(const Image& image);

 private:
  T_ASC_Network* network_ = nullptr;
  T_ASC_Association* association_ = nullptr;
  int timeout_s_ = 60;
  bool broken_ = false;
};

Association::~Association() {
  if (association_ != nullptr) {
    if (broken_) {
      ASC_abortAssociation(association_);
    } else {
      ASC_releaseAssociation(association_);
    }
    ASC_destroyAssociation(&association_);
  }
  if (network_ != nullptr) ASC_dropNetwork(&network_);
}

Result<std::unique_ptr<Association>> Association::open(const SendOptions& options,
                                                       const std::vector<ImageKind>& kinds) {
  auto self = std::make_unique<Association>();
  self->timeout_s_ = static_cast<int>(options.dimse_timeout.count());
  const std::string peer = fmt::format("{}:{}", options.host, options.port);
  OFCondition condition = ASC_initializeNetwork(NET_REQUESTOR, 0, kConnectSeconds, &self->network_);
  T_ASC_Parameters* parameters = nullptr;
  if (condition.good()) condition = ASC_createAssociationParameters(&parameters, ASC_MAXIMUMPDUSIZE);
  if (condition.bad()) return internal_error(first_line(condition.text()));
  ASC_setAPTitles(parameters, options.calling_ae_title.c_str(), options.called_ae_title.c_str(), nullptr);
  ASC_setPresentationAddresses(parameters, "modality", peer.c_str());
  T_ASC_PresentationContextID id = 1;
  for (std::size_t i = 0; i < std::min(kinds.size(), kContextsMax); ++i, id += 2) {
    const char* syntax = kinds[i].transfer_syntax_uid.c_str();
    ASC_addPresentationContext(parameters, id, kinds[i].sop_class_uid.c_str(), &syntax, 1);
  }
  condition = ASC_requestAssociation(self->network_, parameters, &self->association_);
  if (condition.bad()) {
    std::string why = first_line(condition.text());
    if (self->association_ == nullptr) {
      ASC_destroyAssociationParameters(&parameters);
    } else {
      T_ASC_RejectParameters rejection{};
      if (condition == DUL_ASSOCIATIONREJECTED &&
          ASC_getRejectParameters(self->association_->params, &rejection).good()) {
        why = fmt::format("association rejected: result {}, source {}, reason {}", static_cast<int>(rejection.result),
                          static_cast<int>(rejection.source), static_cast<int>(rejection.reason) & 0xFF);
      }
      ASC_destroyAssociation(&self->association_);
    }
    return unavailable(why);
  }
  return self;
}

Result<Answer> Association::send(const Image& image) {
  const T_ASC_PresentationContextID context = ASC_findAcceptedPresentationContextID(
      association_, image.kind.sop_class_uid.c_str(), image.kind.transfer_syntax_uid.c_str());
  if (context == 0) {
    return unsupported(fmt::format("the peer takes no {} in {}", image.kind.sop_class_uid,
                                   DcmXfer(image.kind.transfer_syntax_uid.c_str()).getXferName()));
  }
  T_DIMSE_C_StoreRQ request{};
  request.MessageID = association_->nextMsgID++;
  OFStandard::strlcpy(request.AffectedSOPClassUID, image.kind.sop_class_uid.c_str(),
                      sizeof request.AffectedSOPClassUID);
  OFStandard::strlcpy(request.AffectedSOPInstanceUID, image.sop_instance_uid.c_str(),
                      sizeof request.AffectedSOPInstanceUID);
  request.DataSetType = DIMSE_DATASET_PRESENT;
  request.Priority = DIMSE_PRIORITY_MEDIUM;
  T_DIMSE_C_StoreRSP response{};
  DcmDataset* detail = nullptr;
  const OFCondition condition = DIMSE_storeUser(association_, context, &request, nullptr, image.file->getDataset(),
                                                nullptr, nullptr, DIMSE_NONBLOCKING, timeout_s_, &response, &detail);
  const std::unique_ptr<DcmDataset> owned(detail);
  if (condition.bad()) {
    broken_ = true;
    return unavailable(first_line(condition.text()));
  }
  Answer answer{response.DimseStatus, {}};
  OFString comment;
  if (detail != nullptr && detail->findAndGetOFString(DCM_ErrorComment, comment).good()) {
    answer.comment = comment.c_str();
  }
  return answer;
}

// What the threads of all associations share.
class Room {
 public:
  Room(const Examination& examination, const SendOptions& options, Progress& progress, std::ofstream log)
      : examination_(examination), options_(options), progress_(progress), log_(std::move(log)) {}

  void work();
  SendReport finish();

 private:
  enum class Fate { kDone, kLater };
  Fate try_once(const Image& image, std::unique_ptr<Association>& association);
  void stored(const Image& image, double response_ms);
  void refused(const Image& image, const std::string& why);
  void trouble(const std::string& why);
  // false: given up meanwhile.
  bool wait_until(steady_clock::time_point moment) const;

  const Examination& examination_;
  const SendOptions& options_;
  Progress& progress_;
  const steady_clock::time_point begun_ = steady_clock::now();
  std::atomic<std::size_t> next_{0};
  Mutex mutex_;
  std::ofstream log_ GUARDED_BY(mutex_);
  SendReport report_ GUARDED_BY(mutex_);
};

bool Room::wait_until(steady_clock::time_point moment) const {
  const bool bounded = options_.give_up.count() > 0;
  const auto end = begun_ + options_.give_up;
  std::this_thread::sleep_until(bounded ? std::min(moment, end) : moment);
  return !bounded || steady_clock::now() < end;
}

void Room::work() {
  std::unique_ptr<Association> association;
  Result<Image> image = Image{};
  while (true) {
    const std::size_t number = next_++;
    if (number >= examination_.size()) return;
    auto due = begun_;
    if (options_.images_per_second_max > 0) {
      due += std::chrono::duration_cast<steady_clock::duration>(
          duration<double>(static_cast<double>(number) / options_.images_per_second_max));
    }
    image = examination_.load(number, image.ok() ? *std::move(image) : Image{});
    if (!image.ok()) {
      refused({}, image.status().message());
      continue;
    }
    milliseconds backoff = kBackoffFirst;
    while (true) {
      if (!wait_until(due)) {
        MutexLock lock(mutex_);
        ++report_.given_up;
        break;
      }
      if (try_once(*image, association) == Fate::kDone) break;
      ++progress_.retries;
      due = steady_clock::now() + backoff;
      backoff = std::min(backoff * 2, kBackoffMax);
    }
  }
}

Room::Fate Room::try_once(const Image& image, std::unique_ptr<Association>& association) {
  if (!association) {
    auto opened = Association::open(options_, examination_.kinds());
    if (!opened.ok()) {
      trouble(opened.status().message());
      return Fate::kLater;
    }
    association = std::move(opened).value();
    ++progress_.associations;
  }
  const auto begun = steady_clock::now();
  const Result<Answer> answer = association->send(image);
  if (!answer.ok()) {
    if (answer.status().code() == StatusCode::kUnsupported) {
      refused(image, answer.status().message());
      return Fate::kDone;
    }
    trouble(answer.status().message());
    association.reset();  // Nothing is known of this image: it is sent again.
    return Fate::kLater;
  }
  if (is_stored(answer->status)) {
    stored(image, duration<double, std::milli>(steady_clock::now() - begun).count());
    return Fate::kDone;
  }
  const std::string why = fmt::format("{:04X} {}", answer->status, answer->comment);
  if (is_for_later(answer->status)) {
    trouble(why);
    return Fate::kLater;
  }
  refused(image, why);
  return Fate::kDone;
}

void Room::stored(const Image& image, double response_ms) {
  MutexLock lock(mutex_);
  if (log_.is_open()) log_ << image.sop_instance_uid << '\n' << std::flush;
  report_.response_ms.push_back(response_ms);
  ++progress_.stored;
}

void Room::refused(const Image& image, const std::string& why) {
  MutexLock lock(mutex_);
  ++progress_.refused;
  if (report_.refusals.size() < kRefusalsKept) report_.refusals.push_back(image.sop_instance_uid + ": " + why);
}

void Room::trouble(const std::string& why) {
  MutexLock lock(mutex_);
  report_.last_trouble = why;
}

SendReport Room::finish() {
  MutexLock lock(mutex_);
  report_.seconds = duration<double>(steady_clock::now() - begun_).count();
  std::sort(report_.response_ms.begin(), report_.response_ms.end());
  return std::move(report_);
}

}  // namespace

Result<SendReport> send_all(const Examination& examination, const SendOptions& options, Progress& progress) {
  std::ofstream log;
  if (!options.acknowledgement_log.empty()) {
    log.open(options.acknowledgement_log, std::ios::app);
    if (!log) return not_found(options.acknowledgement_log + ": cannot be written");
  }
  dcmConnectionTimeout.set(kConnectSeconds);
  Room room(examination, options, progress, std::move(log));
  std::vector<std::thread> threads;
  for (int i = 0; i < options.associations; ++i) threads.emplace_back([&room] { room.work(); });
  for (std::thread& thread : threads) thread.join();
  return room.finish();
}

}  // namespace node::modality
