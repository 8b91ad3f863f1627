#include "dicom_node/operate/try_image.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>
#include <vector>

#include "dicom_node/object/finding_record.h"
#include "dicom_node/object/image_loader.h"
#include "dicom_node/object/pending_route.h"
#include "dicom_node/object/picture_file.h"
#include "dicom_node/operate/commands/analysed_image.h"
#include "dicom_node/operate/instance_json.h"
#include "dicom_node/operate/listing_json.h"
#include "dicom_node/operate/pictures.h"
#include "dicom_node/report/overlay_picture.h"

namespace node::operate {
namespace {

// A file in memory alone, with a path for readers that want one.
class MemoryFile {
 public:
  static Result<MemoryFile> make(std::string_view bytes) {
    MemoryFile file(memfd_create("skelex-try", MFD_CLOEXEC));
    if (file.descriptor_ < 0) return resource_exhausted("no memory for the file");
    for (std::size_t done = 0; done < bytes.size();) {
      const ssize_t n = ::write(file.descriptor_, bytes.data() + done, bytes.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return resource_exhausted("no memory for the file");
      done += static_cast<std::size_t>(n);
    }
    return file;
  }
  MemoryFile(MemoryFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  MemoryFile& operator=(MemoryFile&&) = delete;
  ~MemoryFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  std::string path() const { return fmt::format("/proc/self/fd/{}", descriptor_); }

 private:
  explicit MemoryFile(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

std::string data_url(const std::string& png) {
  std::string text(4 * ((png.size() + 2) / 3) + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(png.data()), static_cast<int>(png.size()));
  text.resize(static_cast<std::size_t>(length));
  return "data:image/png;base64," + text;
}

std::vector<std::string> every_task(const inference::Predictor& predictor) {
  std::vector<std::string> names;
  for (const inference::TaskInfo& task : predictor.tasks()) names.push_back(task.task);
  return names;
}

}  // namespace

TryImage::TryImage(config::ReportConfig report, std::function<route::Router()> router, inference::Predictor& predictor,
                   Clock& clock)
    : report_(std::move(report)), router_(std::move(router)), predictor_(predictor), clock_(clock) {}

Status TryImage::take_turn() {
  const SteadyTime now = clock_.steady_now();
  MutexLock lock(mutex_);
  while (!turns_.empty() && now - turns_.front() >= std::chrono::minutes(1)) turns_.pop_front();
  if (turns_.size() >= kTriesPerMinuteMax) {
    return unavailable(fmt::format("more than {} images in a minute: try again later", kTriesPerMinuteMax));
  }
  turns_.push_back(now);
  return ok_status();
}

Result<std::string> TryImage::analyse(std::string_view bytes, const std::string& body_part) {
  NODE_RETURN_IF_ERROR(take_turn());
  const bool picture = object::is_picture(bytes);
  std::string dicom;
  if (picture) {
    NODE_ASSIGN_OR_RETURN(dicom, object::picture_as_dicom(bytes, body_part));
  }
  NODE_ASSIGN_OR_RETURN(const MemoryFile file, MemoryFile::make(picture ? std::string_view(dicom) : bytes));
  NODE_ASSIGN_OR_RETURN(report::ReportedImage image, read_image(file.path(), router_()));
  NODE_ASSIGN_OR_RETURN(const object::LoadedImage loaded,
                        object::load_frame(file.path(), 1, {.render_for_processing = true}));

  storage::InstanceRecord& record = image.record;
  std::string note;
  if (record.route.tasks.empty()) {
    note = "No route takes this image (" + record.route.reason + "), so every task was asked.";
    record.route.tasks = every_task(predictor_);
  }
  record.route.priority = std::numeric_limits<int>::min() / 2;
  NODE_ASSIGN_OR_RETURN(const std::vector<std::string> tasks,
                        object::tasks_to_ask_first(record.route, predictor_.tasks()));
  auto answer = submit_image(image, tasks, predictor_).get();
  if (answer.ok()) answer = settle_image(image, std::move(answer).value(), predictor_);
  if (!answer.ok()) return answer.status();
  record.state = storage::InstanceState::kAnalysed;
  record.reason.clear();
  record.route.reason.clear();
  std::string overlay;
  for (const object::FindingRecord& finding : *answer) {
    record.predictions.push_back(object::encode_finding(finding));
    if (finding.prediction.map.size <= 0 || std::max(finding.frame, 1) != 1 || !overlay.empty()) continue;
    NODE_ASSIGN_OR_RETURN(overlay, overlay_png(object::make_preview(loaded, report::kPictureLongSideMax),
                                               finding.prediction, report_.tasks));
  }
  NODE_ASSIGN_OR_RETURN(const std::string preview,
                        preview_png(object::make_preview(loaded, report::kPictureLongSideMax)));
  return fmt::format(R"({{"image":{},"preview":"{}","overlay":"{}","note":{}}})",
                     instance_json(record, report_.tasks, report_.region_head, {}), data_url(preview),
                     overlay.empty() ? "" : data_url(overlay), text_json(note));
}

}  // namespace node::operate
