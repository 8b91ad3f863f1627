#include "dicom_node/operate/pictures.h"

#include <algorithm>

#include "dicom_node/object/finding_record.h"
#include "dicom_node/report/canvas.h"
#include "dicom_node/report/finding_summary.h"
#include "dicom_node/report/overlay_picture.h"

namespace node::operate {
namespace {

Result<object::GrayImage> radiograph_of(const storage::InstanceRecord& instance, int frame,
                                        const storage::Spool& spool) {
  if (instance.purged_at) return not_found("the original was deleted by retention (storage.retention.originals_days)");
  NODE_ASSIGN_OR_RETURN(const object::LoadedImage image,
                        object::load_frame(spool.path(instance.file.key), frame, {.render_for_processing = true}));
  return object::make_preview(image, report::kPictureLongSideMax);
}

}  // namespace

Result<std::string> preview_png(const object::GrayImage& radiograph) {
  report::RgbImage image{radiograph.rows, radiograph.columns, {}};
  image.pixels.reserve(radiograph.pixels.size() * 3);
  for (const std::uint8_t value : radiograph.pixels) image.pixels.insert(image.pixels.end(), 3, value);
  return report::encode_png(image);
}

Result<std::string> overlay_png(const object::GrayImage& radiograph, const inference::Prediction& map,
                                const std::vector<config::TaskConfig>& tasks) {
  const config::TaskConfig task = report::find_task(tasks, map);
  NODE_ASSIGN_OR_RETURN(const report::OverlayPicture drawn,
                        report::draw_overlay(radiograph, map.map, task.map_scale_max, {}));
  return report::encode_png(report::crop(drawn.image, drawn.picture));
}

Result<std::string> preview_png(const storage::InstanceRecord& instance, int frame, const storage::Spool& spool) {
  NODE_ASSIGN_OR_RETURN(const object::GrayImage radiograph, radiograph_of(instance, frame, spool));
  return preview_png(radiograph);
}

Result<std::string> overlay_png(const storage::InstanceRecord& instance, int frame,
                                const std::vector<config::TaskConfig>& tasks, const storage::Spool& spool) {
  for (const storage::StoredPrediction& stored : instance.predictions) {
    NODE_ASSIGN_OR_RETURN(const object::FindingRecord finding, object::decode_finding(stored));
    if (finding.prediction.map.size <= 0 || std::max(finding.frame, 1) != frame) continue;
    NODE_ASSIGN_OR_RETURN(const object::GrayImage radiograph, radiograph_of(instance, frame, spool));
    return overlay_png(radiograph, finding.prediction, tasks);
  }
  return not_found("no anomaly map was drawn of this image");
}

}  // namespace node::operate
