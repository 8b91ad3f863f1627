#include "dicom_node/report/multiframe_capture.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "dicom_node/object/part10.h"
#include "dicom_node/object/result_identity.h"
#include "dicom_node/report/finding_summary.h"
#include "dicom_node/report/image_object.h"
#include "dicom_node/report/overlay_picture.h"
#include "dicom_node/report/secondary_capture.h"
#include "dicom_node/report/study_sources.h"

namespace node::report {
namespace {

constexpr SeriesText kSeries{"OT", "9006", "SKELEX overlays - NOT FOR DIAGNOSIS"};
constexpr const char* kForm = "sc";  // The frames are what single overlays would be.

struct Frame {
  const ReportedImage* image;
  ResultReference overlay;
};

std::vector<Frame> all_frames(const ReportedStudy& study, const ResultContext& context) {
  std::vector<Frame> frames;
  for (const ReportedImage& image : study.images) {
    if (image.record.purged_at) continue;
    for (ResultReference& overlay : overlay_references(kForm, image, context))
      frames.push_back({&image, std::move(overlay)});
  }
  return frames;
}

// Cut to what fits, those of images with findings first; in order of arrival again.
std::vector<Frame> shown_frames(std::vector<Frame> frames, const config::ReportConfig& config) {
  if (frames.size() <= kFramesMax) return frames;
  std::stable_partition(frames.begin(), frames.end(), [&](const Frame& frame) {
    return outcome_of(config.tasks, frame.image->findings) == Outcome::kFound;
  });
  frames.erase(frames.begin() + kFramesMax, frames.end());
  std::stable_sort(frames.begin(), frames.end(),
                   [](const Frame& a, const Frame& b) { return a.image->number < b.image->number; });
  return frames;
}

// VR SH.
std::string label_of(const Frame& frame) {
  std::string label = fmt::format("Image {}", frame.image->number);
  if (frame.overlay.frame > 0) label += fmt::format(" frame {}", frame.overlay.frame);
  return label.substr(0, 16);
}

// Leafed through by number and label; nothing moves in time.
void put_frames(DcmItem& result, const std::vector<Frame>& frames) {
  std::string numbers, labels;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    numbers += fmt::format("{}{}", i == 0 ? "" : "\\", i + 1);
    labels += (i == 0 ? "" : "\\") + label_of(frames[i]);
  }
  result.putAndInsertString(DCM_NumberOfFrames, std::to_string(frames.size()).c_str());
  if (frames.size() == 1) return;  // Type 1C: nothing to leaf through.
  auto pointer = std::make_unique<DcmAttributeTag>(DCM_FrameIncrementPointer);
  pointer->putTagVal(DCM_PageNumberVector, 0);
  pointer->putTagVal(DCM_FrameLabelVector, 1);
  if (result.insert(pointer.get(), OFTrue).good()) pointer.release();
  result.putAndInsertString(DCM_PageNumberVector, numbers.c_str());
  result.putAndInsertString(DCM_FrameLabelVector, labels.c_str());
}

// All pictures one after the other, each on a frame of rows x columns; a picture is let go once it is copied.
Status put_pictures(DcmItem& result, std::vector<RgbImage>& pictures, int rows, int columns) {
  const std::size_t line = static_cast<std::size_t>(columns) * 3, frame = line * rows;
  auto pixels = std::make_unique<DcmPixelData>(DCM_PixelData);
  pixels->setVR(EVR_OB);
  Uint8* bytes = nullptr;
  if (pixels->createUint8Array(static_cast<Uint32>(frame * pictures.size()), bytes).bad())
    return resource_exhausted("multi-frame overlay: no memory for its pixels");
  for (RgbImage& picture : pictures) {
    for (std::size_t i = 0; i < frame; i += kBackground.size())
      std::copy(kBackground.begin(), kBackground.end(), bytes + i);
    const std::size_t width = static_cast<std::size_t>(picture.columns) * 3;
    for (int y = 0; y < picture.rows; ++y)
      std::copy_n(picture.pixels.begin() + static_cast<std::ptrdiff_t>(y * width), width, bytes + y * line);
    bytes += frame;
    picture = {};
  }
  if (result.insert(pixels.get(), OFTrue).bad()) return internal_error("multi-frame overlay: pixel data");
  pixels.release();
  return ok_status();
}

}  // namespace

std::vector<ResultReference> multiframe_references(std::string_view form, const ReportedStudy& study,
                                                   const ResultContext& context) {
  if (all_frames(study, context).empty()) return {};
  return {study_reference(form, UID_MultiframeTrueColorSecondaryCaptureImageStorage, study, context)};
}

Result<ResultObject> make_multiframe_capture(const ReportedStudy& study, const ResultReference& reference,
                                             const ResultContext& context) {
  const std::vector<Frame> all = all_frames(study, context), frames = shown_frames(all, context.config);
  if (frames.empty()) return not_found("multi-frame overlay: no image has one");
  std::vector<RgbImage> pictures;
  int rows = 0, columns = 0;
  bool lossy = false;
  for (const Frame& frame : frames) {
    Result<DrawnFinding> drawn = draw_finding(*frame.image, frame.overlay, context, kFrameLongSideMax);
    if (!drawn.ok())
      return drawn.status().within(reference.form + ": image " + frame.image->record.sop_instance_uid.str());
    rows = std::max(rows, drawn->picture.image.rows);
    columns = std::max(columns, drawn->picture.image.columns);
    lossy = lossy || drawn->lossy;
    pictures.push_back(std::move(drawn->picture.image));
  }

  NODE_ASSIGN_OR_RETURN(const std::vector<Source> sources,
                        open_sources(study, own_words(context.config, study.images)));
  NODE_ASSIGN_OR_RETURN(const Source* identity, identity_source(sources));
  DcmDataset& source = identity->dataset();
  std::vector<const ReportedImage*> images;
  for (const Frame& frame : frames) images.push_back(frame.image);
  const std::vector<DcmItem*> shown = datasets_of(sources, images);

  DcmFileFormat file;
  DcmDataset& result = *file.getDataset();
  NODE_RETURN_IF_ERROR(object::copy_identity(source, result, /*is_sr=*/false));
  const OwnText text(result);
  put_common(result, source, context, context.time, models_of(study), text);
  put_series(shown, result, reference, kSeries);
  result.putAndInsertString(DCM_PatientOrientation, "");
  result.putAndInsertString(DCM_ImageType, "DERIVED\\SECONDARY\\\\OVERLAYS");
  put_lossy_history(source, result, lossy);
  for (const Frame& frame : frames) put_source_image(result, *frame.image, frame.overlay.frame, /*unscaled=*/false);
  put_secondary_capture(result, object::to_dicom_time(context.time, source));
  result.putAndInsertString(
      DCM_DerivationDescription,
      fmt::format(
          "{} of the study's {} overlays, one a frame, at the top left of frames of {} columns and {} rows; each "
          "as the Secondary Capture of that image, its radiograph at most {} pixels on the long side",
          frames.size(), all.size(), columns, rows, kFrameLongSideMax)
          .c_str());
  put_frames(result, frames);
  put_rgb(result, rows, columns, is_recognizable(shown));
  NODE_RETURN_IF_ERROR(put_pictures(result, pictures, rows, columns));

  NODE_ASSIGN_OR_RETURN(std::string bytes, object::encode_part10(file));
  return ResultObject{reference.sop_instance_uid,
                      reference.series_instance_uid,
                      reference.sop_class_uid,
                      context.kind(reference.form),
                      reference.source_uid,
                      "",
                      study.revision,
                      std::move(bytes)};
}

}  // namespace node::report
