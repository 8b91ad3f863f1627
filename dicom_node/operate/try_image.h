// TryImage: one radiograph that somebody dropped on the try page: DICOM, PNG or JPEG; analysed, shown, forgotten.
//
// Guarantee: the same router, loader, engine and pictures as on the DICOM way. Nothing is written: the file lives in
//            memory until the answer is there. It goes last: what came by DICOM is analysed before it.
// Threads:   analyse() from any, one image at a time; it waits for the answer.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <string_view>

#include "config/base/clock.h"
#include "config/base/mutex.h"
#include "config/base/status.h"
#include "config/report_config.h"
#include "dicom_node/route/router.h"
#include "inference/predictor.h"

namespace node::operate {

inline constexpr std::size_t kTryBytesMax = 32 << 20;
inline constexpr int kTriesPerMinuteMax = 30;

class TryImage {
 public:
  // All outlive the TryImage.
  TryImage(config::ReportConfig report, std::function<route::Router()> router, inference::Predictor& predictor,
           Clock& clock);

  // {"image": the object of `predict`, "preview": "data:image/png;base64,...", "overlay": "data:...", "note": "..."}.
  // Where no route takes the image because nothing says what it shows, every task is asked, and `note` says so.
  // `body_part`: of a PNG or JPEG, which says nothing itself; may be empty.
  // Errors: kUnavailable (too many in a minute, or stopping), else as of read_instance_header(), load_frame() and
  //         Predictor::submit().
  Result<std::string> analyse(std::string_view bytes, const std::string& body_part);

 private:
  Status take_turn();

  const config::ReportConfig report_;
  const std::function<route::Router()> router_;
  inference::Predictor& predictor_;
  Clock& clock_;
  Mutex mutex_;
  std::deque<SteadyTime> turns_ GUARDED_BY(mutex_);  // Of the last minute.
};

}  // namespace node::operate
