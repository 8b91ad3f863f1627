// load_image: turns a stored object into a Radiograph: decoding, LUTs, photometric interpretation.
//
// Guarantee: pixels as a viewer would show them (PS3.4 N.2): stored value -> Modality LUT or rescale -> VOI LUT or
//            window -> MONOCHROME1 inversion, exactly once; larger = brighter. Nothing is allocated before rows,
//            columns, frames and lengths were checked.
// Threads:   reentrant.
// Shapes:    windowed pixels are in [0, 2^Bits Stored - 1], those of a VOI LUT in its entries' range, those without
//            either in the range of their own values after the modality transform.
// Source:    PS3.3 C.7.6.3, C.11.1, C.11.2, C.11.6.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "inference/predictor.h"

class DcmItem;

namespace node::object {

// DCMTK's decoders, once per process, and its own log off, because its warnings print element values. The functions
// below call it; who calls it first, before any thread, may then give DCMTK's log somewhere to go.
void register_codecs();

struct LoadOptions {
  bool render_for_processing = false;         // Else FOR PROCESSING is kUnsupported.
  bool keep_pixels = false;                   // Radiograph::pixels, to compare them; else Radiograph::grey.
  std::uint64_t pixels_max = 8192ull * 8192;  // Rows x columns.
};

constexpr int kFramesMax = 256;  // That load_frames() goes through.

struct LoadedImage {
  inference::Radiograph radiograph;
  int frame = 0, number_of_frames = 1;  // `frame` counts from 1; 0: there is only one.
  double pixel_aspect = 1.0;            // Height of a pixel / width of a pixel (0028,0034), (0018,1164).
  // What was done, in order: "bits stored=14, header says 12", "modality=lut", "rescale=0.25,-100", "padding=0",
  // "voi=lut 1", "voi=window 1", "voi=window 1 sigmoid", "voi=value range 0 to 4095" (the header has neither),
  // "voi=fallback 0 to 4095" (it has one that shows practically nothing), "jpeg colours=YCbCr, header says otherwise",
  // "rendering=auto 12 to 3456" (FOR PROCESSING), "inverted", "presentation lut shape ignored", "colour=luma",
  // "pixel aspect=0.5", "shutter=CIRCULAR not applied".
  std::vector<std::string> rendering;
  bool lossy = false;  // Has a lossy history (0028,2110).
};

// Errors: kInvalidArgument (no or short pixel data, impossible header), kUnsupported (transfer syntax, several frames,
//         FOR PROCESSING), kResourceExhausted (larger than the limit), kNotFound.
Result<LoadedImage> load_image(const std::filesystem::path& file, const LoadOptions& options = {});
// One frame of several, counted from 1; of a single image its only one. Errors: and kInvalidArgument if there is none.
Result<LoadedImage> load_frame(const std::filesystem::path& file, int frame, const LoadOptions& options = {});
// Each frame in turn, one in memory at a time, until `take` refuses one.
// Errors: as load_image(), and `take`'s own; kResourceExhausted for more than kFramesMax frames.
Status load_frames(const std::filesystem::path& file, const LoadOptions& options,
                   const std::function<Status(LoadedImage)>& take);

// Height of a pixel over its width, by Pixel Aspect Ratio or else the first spacing that there is, which is (row
// distance, column distance), height first; 1 where none can be.
double pixel_aspect_of(DcmItem& data_set);

// What a reader of the results should know of `rendering`: where the image is not shown as its header says, or the
// header says too little; a sentence each. Empty if all was in order.
std::vector<std::string> quality_notes(const std::vector<std::string>& rendering);

// SHA-256 over rows, columns, samples and frames and the decoded stored values (before any LUT), to compare an object
// that came back in another transfer syntax. Errors: as load_image; kUnsupported if it cannot be decoded here.
struct PixelDigest {
  std::string sha256_hex;
  bool lossy_syntax = false;
};
Result<PixelDigest> digest_pixels(const std::filesystem::path& file);

// What drawing needs: 8 bit, min-max over the whole image as the model sees it, aspect ratio made square, reduced
// (never enlarged) to `long_side_max` or, by a whole number of pixels, to down to two thirds of it: then each pixel
// weighs the same and the grain is even.
struct GrayImage {
  int rows = 0, columns = 0;
  std::vector<std::uint8_t> pixels;
};
GrayImage make_preview(const LoadedImage& image, int long_side_max);

}  // namespace node::object
