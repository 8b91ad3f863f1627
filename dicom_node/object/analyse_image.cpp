#include "dicom_node/object/analyse_image.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "config/base/mutex.h"
#include "dicom_node/object/crash_point.h"
#include "dicom_node/object/image_loader.h"

namespace node::object {
namespace {

// What came back so far. The loader counts as one that is outstanding until it has submitted its last frame.
class Gathering {
 public:
  explicit Gathering(std::function<void(Result<std::vector<FindingRecord>>)> done) : done_(std::move(done)) {}

  void expect_one() {
    MutexLock lock(mutex_);
    ++outstanding_;
  }

  void take(Result<std::vector<FindingRecord>> findings) {
    {
      MutexLock lock(mutex_);
      if (findings.ok()) {
        std::move(findings->begin(), findings->end(), std::back_inserter(findings_));
      } else if (failure_.ok()) {
        failure_ = findings.status();
      }
      if (--outstanding_ > 0) return;
    }
    // Nothing is outstanding: no other thread comes here any more.
    MutexLock lock(mutex_);
    std::stable_sort(findings_.begin(), findings_.end(),
                     [](const FindingRecord& a, const FindingRecord& b) { return a.frame < b.frame; });
    if (failure_.ok()) {
      done_(std::move(findings_));
    } else {
      done_(failure_);
    }
  }

 private:
  const std::function<void(Result<std::vector<FindingRecord>>)> done_;
  Mutex mutex_;
  int outstanding_ GUARDED_BY(mutex_) = 1;
  std::vector<FindingRecord> findings_ GUARDED_BY(mutex_);
  Status failure_ GUARDED_BY(mutex_);
};

}  // namespace

void analyse_image(const std::filesystem::path& file, const storage::InstanceRecord& instance,
                   const std::vector<std::string>& tasks, const std::vector<FindingRecord>& earlier,
                   inference::Predictor& predictor, std::function<void(Result<std::vector<FindingRecord>>)> done) {
  const auto gathering = std::make_shared<Gathering>(std::move(done));
  const Status loaded = load_frames(file, {.render_for_processing = true}, [&](LoadedImage image) {
    crash_point("loaded");
    gathering->expect_one();
    const int frame = image.frame;
    std::vector<inference::Prediction> known;
    for (const FindingRecord& finding : earlier) {
      if (finding.frame == frame) known.push_back(finding.prediction);
    }
    predictor.submit({.image = std::move(image.radiograph),
                      .tasks = tasks,
                      .seed = mask_seed(instance.sop_instance_uid.str(), frame),
                      .priority = instance.route.priority,
                      .body_part = instance.route.body_part,
                      .known = std::move(known)},
                     [gathering, frame,
                      rendering = std::move(image.rendering)](Result<std::vector<inference::Prediction>> predictions) {
                       if (!predictions.ok()) {
                         const Status& status = predictions.status();
                         return gathering->take(frame == 0 ? status : status.within("frame " + std::to_string(frame)));
                       }
                       std::vector<FindingRecord> findings;
                       for (inference::Prediction& prediction : *predictions)
                         findings.push_back({std::move(prediction), rendering, frame});
                       gathering->take(std::move(findings));
                     });
    return ok_status();
  });
  if (loaded.ok()) {
    gathering->take(std::vector<FindingRecord>());
  } else {
    gathering->take(loaded);
  }
}

}  // namespace node::object
