#include "dicom_node/object/image_loader.h"

#include <dcmtk/dcmdata/dcdeftag.h>
#include <dcmtk/dcmdata/dcitem.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <new>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <string_view>

#include "dicom_node/object/dataset_text.h"
#include "dicom_node/object/grey_table.h"
#include "dicom_node/object/sha256.h"
#include "dicom_node/object/stored_pixels.h"

namespace node::object {
namespace {

// Height of a pixel over its width. Spacings are (row distance, column distance), that is height first.
double aspect_of(DcmItem& data_set) {
  for (const DcmTagKey& tag : {DCM_PixelAspectRatio, DCM_ImagerPixelSpacing, DCM_PixelSpacing}) {
    const auto values = decimals_of(data_set, tag);
    if (values.size() != 2 || !values[0] || !values[1] || *values[0] <= 0 || *values[1] <= 0) continue;
    const double aspect = *values[0] / *values[1];
    constexpr double kReasonable = 16;
    if (aspect > 1 / kReasonable && aspect < kReasonable) return aspect;
  }
  return 1;
}

// PS3.3 C.7.6.3.1.2: Y of YBR_FULL is this luma already.
Result<std::vector<float>> luma_of(const StoredPixels& pixels) {
  const std::string& photometric = pixels.photometric_interpretation;
  const auto count = static_cast<std::size_t>(pixels.rows) * static_cast<std::size_t>(pixels.columns);
  std::vector<float> luma(count);
  if (photometric == "YBR_FULL_422" && pixels.count() == count * 2) {
    for (std::size_t i = 0; i < count; ++i) luma[i] = pixels.at(i / 2 * 4 + i % 2);  // Y Y Cb Cr of two pixels.
  } else if (photometric.starts_with("YBR_")) {
    for (std::size_t i = 0; i < count; ++i) luma[i] = pixels.at(i * 3);
  } else if (photometric == "RGB") {
    for (std::size_t i = 0; i < count; ++i) {
      luma[i] = static_cast<float>(
          std::round(0.299 * pixels.at(i * 3) + 0.587 * pixels.at(i * 3 + 1) + 0.114 * pixels.at(i * 3 + 2)));
    }
  } else {
    return unsupported("a Photometric Interpretation that fits no colour image");
  }
  return luma;
}

void note_shutters(DcmItem& data_set, std::vector<std::string>& rendering) {
  for (const auto& [tag, name] :
       {std::pair(DCM_ShutterShape, "shutter"), std::pair(DCM_CollimatorShape, "collimator")}) {
    for (const std::string& shape : texts_of(data_set, tag)) {
      // The defined terms only: a peer's text is not repeated.
      if (shape == "RECTANGULAR" || shape == "CIRCULAR" || shape == "POLYGONAL" || shape == "BITMAP")
        rendering.push_back(std::string(name) + "=" + shape + " not applied");
    }
  }
}

}  // namespace

Result<LoadedImage> load_image(const std::filesystem::path& file, const LoadOptions& options) try {
  NODE_ASSIGN_OR_RETURN(const std::unique_ptr<PixelReader> reader, PixelReader::open(file, options.pixels_max));
  const InstanceHeader& header = reader->header();
  if (header.number_of_frames != 1) return unsupported(std::to_string(header.number_of_frames) + " frames");
  const bool for_processing = header.presentation_intent_type == "FOR PROCESSING";
  if (for_processing && !options.render_for_processing) return unsupported("FOR PROCESSING");
  DcmItem& data_set = reader->data_set();
  NODE_ASSIGN_OR_RETURN(StoredPixels pixels, reader->read_frame(0, UnusedBits::kJudge));

  LoadedImage image;
  image.rendering = std::move(pixels.remarks);
  image.radiograph.rows = pixels.rows;
  image.radiograph.columns = pixels.columns;
  image.pixel_aspect = aspect_of(data_set);
  image.lossy =
      text_of(data_set, DCM_LossyImageCompression) == "01" || is_lossy_transfer_syntax(header.transfer_syntax_uid);
  if (pixels.samples == 1) {
    NODE_ASSIGN_OR_RETURN(
        const GreyTable table,
        make_grey_table(data_set, pixels, for_processing ? Presentation::kAutomatic : Presentation::kAsHeaderSays));
    image.rendering.insert(image.rendering.end(), table.rendering.begin(), table.rendering.end());
    image.radiograph.pixels.resize(pixels.count());
    for (std::size_t i = 0; i < pixels.count(); ++i) image.radiograph.pixels[i] = table.brightness[pixels.at(i)];
  } else {
    NODE_ASSIGN_OR_RETURN(image.radiograph.pixels, luma_of(pixels));
    image.rendering.push_back("colour=luma");
  }
  note_shutters(data_set, image.rendering);
  return image;
} catch (const std::bad_alloc&) {
  return resource_exhausted("load image: no memory");
}

Result<PixelDigest> digest_pixels(const std::filesystem::path& file) {
  NODE_ASSIGN_OR_RETURN(const std::unique_ptr<PixelReader> reader, PixelReader::open(file, LoadOptions().pixels_max));
  const InstanceHeader& header = reader->header();
  Sha256 digest;
  for (const int number : {header.rows, header.columns, header.samples_per_pixel, header.number_of_frames}) {
    digest.update(std::to_string(number) + "\n");
  }
  for (int frame = 0; frame < header.number_of_frames; ++frame) {
    NODE_ASSIGN_OR_RETURN(const StoredPixels pixels, reader->read_frame(frame, UnusedBits::kDrop));
    digest.update(pixels.bytes.data(), pixels.bytes.size());
  }
  return PixelDigest{digest.finish_hex(), is_lossy_transfer_syntax(header.transfer_syntax_uid)};
}

GrayImage make_preview(const LoadedImage& image, int long_side_max) {
  const inference::Radiograph& radiograph = image.radiograph;
  if (radiograph.pixels.empty() || long_side_max < 1) return {};
  const auto [low, high] = std::minmax_element(radiograph.pixels.begin(), radiograph.pixels.end());
  const float lowest = *low, range = *high - *low;
  GrayImage whole{radiograph.rows, radiograph.columns, std::vector<std::uint8_t>(radiograph.pixels.size())};
  if (range > 0) {  // The model's own contract: float32, truncated; a constant image is black.
    for (std::size_t i = 0; i < whole.pixels.size(); ++i)
      whole.pixels[i] = static_cast<std::uint8_t>((radiograph.pixels[i] - lowest) / range * 255.0F);
  }
  // The finer direction gives way, so that nothing is enlarged.
  const double rows = image.pixel_aspect < 1 ? whole.rows * image.pixel_aspect : whole.rows;
  const double columns = image.pixel_aspect > 1 ? whole.columns / image.pixel_aspect : whole.columns;
  const double scale = std::min(1.0, long_side_max / std::max(rows, columns));
  GrayImage preview;
  preview.rows = std::max(1, static_cast<int>(std::lround(rows * scale)));
  preview.columns = std::max(1, static_cast<int>(std::lround(columns * scale)));
  if (preview.rows == whole.rows && preview.columns == whole.columns) return whole;
  preview.pixels.resize(static_cast<std::size_t>(preview.rows) * static_cast<std::size_t>(preview.columns));
  const cv::Mat from(whole.rows, whole.columns, CV_8UC1, whole.pixels.data());
  cv::Mat to(preview.rows, preview.columns, CV_8UC1, preview.pixels.data());
  cv::resize(from, to, to.size(), 0, 0, cv::INTER_AREA);
  return preview;
}

}  // namespace node::object
