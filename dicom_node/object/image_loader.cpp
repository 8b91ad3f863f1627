#include "dicom_node/object/image_loader.h"

#include <dcmtk/dcmdata/dcdeftag.h>
#include <dcmtk/dcmdata/dcitem.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <string_view>
#include <utility>

#include "dicom_node/object/dataset_text.h"
#include "dicom_node/object/grey_table.h"
#include "dicom_node/object/sha256.h"
#include "dicom_node/object/stored_pixels.h"

namespace node::object {
namespace {

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

// What of the geometry is known but not made good here: the model's input is square whatever the pixels are.
void note_geometry(DcmItem& data_set, LoadedImage& image) {
  image.pixel_aspect = pixel_aspect_of(data_set);
  constexpr double kSquare = 0.005;
  if (std::abs(image.pixel_aspect - 1) > kSquare) {
    char text[32];
    std::snprintf(text, sizeof text, "pixel aspect=%.4g", image.pixel_aspect);
    image.rendering.emplace_back(text);
  }
  for (const auto& [tag, name] :
       {std::pair(DCM_ShutterShape, "shutter"), std::pair(DCM_CollimatorShape, "collimator")}) {
    for (const std::string& shape : texts_of(data_set, tag)) {
      // The defined terms only: a peer's text is not repeated.
      if (shape == "RECTANGULAR" || shape == "CIRCULAR" || shape == "POLYGONAL" || shape == "BITMAP")
        image.rendering.push_back(std::string(name) + "=" + shape + " not applied");
    }
  }
}

void put_pixels(inference::Radiograph& radiograph, std::vector<float> pixels, bool keep) {
  if (keep || pixels.empty()) {
    radiograph.pixels = std::move(pixels);
    return;
  }
  const auto [least, greatest] = std::minmax_element(pixels.begin(), pixels.end());
  const float lowest = *least, range = *greatest - *least;
  radiograph.grey.resize(pixels.size());
  for (std::size_t i = 0; i < pixels.size(); ++i) radiograph.grey[i] = inference::grey_level(pixels[i], lowest, range);
}

template <typename Cell, typename Value>
void look_up_row(const Cell* cells, std::size_t count, const Value* by_value, Value* out) {
  std::size_t i = 0;
  if constexpr (sizeof(Value) == 1) {  // Eight bytes are written at once: what takes longest is the writing.
    for (; i + 8 <= count; i += 8) {
      std::uint64_t word = 0;
      for (std::size_t k = 0; k < 8; ++k) word |= std::uint64_t{by_value[cells[i + k]]} << (8 * k);
      std::memcpy(out + i, &word, sizeof word);
    }
  }
  for (; i < count; ++i) out[i] = by_value[cells[i]];
}

// One look-up per pixel; the table knows the range of what occurs, so no pass is needed to find it.
void put_pixels(inference::Radiograph& radiograph, const StoredPixels& pixels, const GreyTable& table, bool keep) {
  const auto look_up = [&pixels](const auto& by_value, auto& out) {
    const auto columns = static_cast<std::size_t>(pixels.columns);
    out.reserve(pixels.count());
    pixels.with_cells([&](const auto* cells, std::size_t count) {
      for (std::size_t i = 0; i < count; i += columns) {
        out.resize(i + columns);  // Row by row: its zeros are still in the cache when they are written over.
        look_up_row(cells + i, columns, by_value.data(), out.data() + i);
      }
    });
  };
  if (keep) return look_up(table.brightness, radiograph.pixels);
  std::vector<std::uint8_t> grey(table.brightness.size());
  for (std::size_t i = 0; i < grey.size(); ++i) {
    const float value = std::clamp(table.brightness[i], table.least, table.greatest);  // What occurs lies within.
    grey[i] = inference::grey_level(value, table.least, table.greatest - table.least);
  }
  look_up(grey, radiograph.grey);
}

// How many pixels to take the mean of, in rows and in columns, so that each weighs the same: where sides can be divided
// so and the picture stays beyond two thirds of what it may be. Else 0.
int whole_factor(int rows, int columns, int long_side_max) {
  const int longest = std::max(rows, columns);
  for (int factor = (longest + long_side_max - 1) / long_side_max; 3 * longest >= 2 * long_side_max * factor; ++factor)
    if (rows % factor == 0 && columns % factor == 0) return factor;
  return 0;
}

struct Frames {  // Of one file, opened.
  std::unique_ptr<PixelReader> reader;
  const LoadOptions& options;

  static Result<Frames> open(const std::filesystem::path& file, const LoadOptions& options) {
    NODE_ASSIGN_OR_RETURN(std::unique_ptr<PixelReader> reader, PixelReader::open(file, options.pixels_max));
    if (reader->header().is_for_processing() && !options.render_for_processing) return unsupported("FOR PROCESSING");
    return Frames{std::move(reader), options};
  }

  int count() const { return reader->header().number_of_frames; }

  Result<LoadedImage> load(int frame) try {
    const InstanceHeader& header = reader->header();
    DcmItem& data_set = reader->data_set();
    NODE_ASSIGN_OR_RETURN(StoredPixels pixels, reader->read_frame(frame - 1, UnusedBits::kJudge));
    LoadedImage image;
    image.number_of_frames = count();
    image.frame = count() > 1 ? frame : 0;
    image.rendering = std::move(pixels.remarks);
    image.radiograph.rows = pixels.rows;
    image.radiograph.columns = pixels.columns;
    image.lossy =
        text_of(data_set, DCM_LossyImageCompression) == "01" || is_lossy_transfer_syntax(header.transfer_syntax_uid);
    if (pixels.samples == 1) {
      const auto presentation = header.is_for_processing() ? Presentation::kAutomatic : Presentation::kAsHeaderSays;
      NODE_ASSIGN_OR_RETURN(const GreyTable table, make_grey_table(data_set, pixels, presentation, frame - 1));
      image.rendering.insert(image.rendering.end(), table.rendering.begin(), table.rendering.end());
      put_pixels(image.radiograph, pixels, table, options.keep_pixels);
    } else {
      NODE_ASSIGN_OR_RETURN(std::vector<float> luma, luma_of(pixels));
      put_pixels(image.radiograph, std::move(luma), options.keep_pixels);
      image.rendering.push_back("colour=luma");
    }
    note_geometry(data_set, image);
    return image;
  } catch (const std::bad_alloc&) {
    return resource_exhausted("load image: no memory");
  }
};

}  // namespace

double pixel_aspect_of(DcmItem& data_set) {
  for (const DcmTagKey& tag : {DCM_PixelAspectRatio, DCM_ImagerPixelSpacing, DCM_PixelSpacing}) {
    const auto values = decimals_of(data_set, tag);
    if (values.size() != 2 || !values[0] || !values[1] || *values[0] <= 0 || *values[1] <= 0) continue;
    const double aspect = *values[0] / *values[1];
    constexpr double kReasonable = 16;
    if (aspect > 1 / kReasonable && aspect < kReasonable) return aspect;
  }
  return 1;
}

Result<LoadedImage> load_image(const std::filesystem::path& file, const LoadOptions& options) {
  NODE_ASSIGN_OR_RETURN(Frames frames, Frames::open(file, options));
  if (frames.count() != 1) return unsupported(std::to_string(frames.count()) + " frames");
  return frames.load(1);
}

Result<LoadedImage> load_frame(const std::filesystem::path& file, int frame, const LoadOptions& options) {
  NODE_ASSIGN_OR_RETURN(Frames frames, Frames::open(file, options));
  if (frame < 1 || frame > frames.count()) return invalid_argument("no frame " + std::to_string(frame));
  return frames.load(frame);
}

Status load_frames(const std::filesystem::path& file, const LoadOptions& options,
                   const std::function<Status(LoadedImage)>& take) {
  NODE_ASSIGN_OR_RETURN(Frames frames, Frames::open(file, options));
  if (frames.count() > kFramesMax) {
    return resource_exhausted(std::to_string(frames.count()) + " frames: more than " + std::to_string(kFramesMax));
  }
  for (int frame = 1; frame <= frames.count(); ++frame) {
    Result<LoadedImage> image = frames.load(frame);
    if (!image.ok())
      return frames.count() == 1 ? image.status() : image.status().within("frame " + std::to_string(frame));
    NODE_RETURN_IF_ERROR(take(std::move(image).value()));
  }
  return ok_status();
}

std::vector<std::string> quality_notes(const std::vector<std::string>& rendering) {
  static constexpr std::pair<std::string_view, std::string_view> kNotes[] = {
      {"bits stored=", "Bits Stored is wrong: the pixels use more bits than the header says"},
      {"modality=lut ignored", "The Modality LUT is damaged and was not applied"},
      {"rescale=ignored", "Rescale Slope or Intercept is no usable number and was not applied"},
      {"voi=fallback",
       "The header's window or VOI LUT is unreadable, or leaves practically all of the image black or white: its whole "
       "range of values is shown"},
      {"voi=value range", "The header has neither window nor VOI LUT: the image's whole range of values is shown"},
      {"rendering=auto", "FOR PROCESSING: shown by its own values, 0.5 to 99.5 percent, not as the maker would"},
      {"presentation lut shape ignored",
       "Presentation LUT Shape contradicts the Photometric Interpretation, which was followed"},
      {"jpeg colours=", "The JPEG stream has other colours than the header says: the stream was followed"},
      {"colour=luma", "A colour image, read by its luminance"},
      {"pixel aspect=", "The pixels are not square"},
      {"shutter=", "A display shutter is in the header: what lies outside it was analysed too"},
  };
  std::vector<std::string> notes;
  for (const auto& [begin, note] : kNotes) {
    const bool any = std::any_of(rendering.begin(), rendering.end(),
                                 [begin = begin](const std::string& step) { return step.starts_with(begin); });
    if (any) notes.emplace_back(note);
  }
  return notes;
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
  inference::Radiograph seen{radiograph.rows, radiograph.columns, {}, radiograph.grey};
  if (seen.grey.empty()) put_pixels(seen, radiograph.pixels, /*keep=*/false);
  if (seen.grey.empty() || long_side_max < 1) return {};
  GrayImage whole{radiograph.rows, radiograph.columns, std::move(seen.grey)};
  // The finer direction gives way, so that nothing is enlarged.
  const double rows = image.pixel_aspect < 1 ? whole.rows * image.pixel_aspect : whole.rows;
  const double columns = image.pixel_aspect > 1 ? whole.columns / image.pixel_aspect : whole.columns;
  const double scale = std::min(1.0, long_side_max / std::max(rows, columns));
  GrayImage preview;
  preview.rows = std::max(1, static_cast<int>(std::lround(rows * scale)));
  preview.columns = std::max(1, static_cast<int>(std::lround(columns * scale)));
  if (image.pixel_aspect == 1) {
    if (const int factor = whole_factor(whole.rows, whole.columns, long_side_max); factor > 0) {
      preview.rows = whole.rows / factor;
      preview.columns = whole.columns / factor;
    }
  }
  if (preview.rows == whole.rows && preview.columns == whole.columns) return whole;
  preview.pixels.resize(static_cast<std::size_t>(preview.rows) * static_cast<std::size_t>(preview.columns));
  const cv::Mat from(whole.rows, whole.columns, CV_8UC1, whole.pixels.data());
  cv::Mat to(preview.rows, preview.columns, CV_8UC1, preview.pixels.data());
  cv::resize(from, to, to.size(), 0, 0, cv::INTER_AREA);
  return preview;
}

}  // namespace node::object
