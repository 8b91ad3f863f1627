#include "dicom_node/object/stored_pixels.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcdeftag.h>
#include <dcmtk/dcmdata/dcfilefo.h>
#include <dcmtk/dcmdata/dcpixel.h>
#include <dcmtk/dcmdata/dcrledrg.h>
#include <dcmtk/dcmdata/dcrleerg.h>
#include <dcmtk/dcmjpeg/djdecode.h>
#include <dcmtk/dcmjpeg/djencode.h>
#include <dcmtk/oflog/oflog.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <string_view>
#include <tuple>
#include <type_traits>

#include "dicom_node/object/dataset_text.h"
#include "dicom_node/object/fragments.h"
#include "dicom_node/object/image_loader.h"
#include "dicom_node/object/jpeg2000.h"
#include "dicom_node/object/jpeg_ls.h"
#include "dicom_node/object/jpeg_stream.h"
#include "dicom_node/object/part10.h"
#include "dicom_node/object/rle.h"
#include "dicom_node/object/structure.h"
#include "storage/uid.h"

namespace node::object {
namespace {

static_assert(std::endian::native == std::endian::little, "stored values are read as bytes of a little endian machine");

using namespace std::string_view_literals;

// What a frame's codestream begins with.
constexpr std::string_view kJpegStart = "\xFF\xD8"sv, kJpeg2000Start = "\xFF\x4F\xFF\x51"sv,
                           kJp2Start = "\0\0\0\x0CjP  "sv;

enum class Coding { kNative, kRle, kJpeg, kJpegLs, kJpeg2000, kUnknown };

Coding coding_of(std::string_view uid) {
  static constexpr std::string_view kPrefix = "1.2.840.10008.1.2";
  if (!uid.starts_with(kPrefix)) return Coding::kUnknown;
  const std::string_view rest = uid.substr(kPrefix.size());
  if (rest.empty() || rest == ".1" || rest == ".2" || rest == ".1.99") return Coding::kNative;
  if (rest == ".5") return Coding::kRle;
  for (const std::string_view jpeg : {".4.50", ".4.51", ".4.53", ".4.55", ".4.57", ".4.70"}) {
    if (rest == jpeg) return Coding::kJpeg;
  }
  if (rest == ".4.80" || rest == ".4.81") return Coding::kJpegLs;
  for (const std::string_view jpeg2000 : {".4.90", ".4.91", ".4.201", ".4.202", ".4.203"}) {
    if (rest == jpeg2000) return Coding::kJpeg2000;
  }
  return Coding::kUnknown;
}

std::int32_t extended(std::uint32_t value, int bits, bool is_signed) {
  value &= (1u << bits) - 1;
  if (is_signed && (value >> (bits - 1) & 1) != 0) value |= ~((1u << bits) - 1);
  return static_cast<std::int32_t>(value);
}

struct Cells {  // How the stored values lie in their allocated bits.
  int bits_allocated, bits_stored, shift;
  bool is_signed;
  int padding_least = 1, padding_greatest = 0;  // Of it, cells that Bits Stored cannot hold stay as they are.

  std::int32_t number(std::uint32_t cell) const { return extended(cell, bits_allocated, is_signed); }
  bool holds(std::int32_t value) const {
    return value == extended(static_cast<std::uint32_t>(value), bits_stored, is_signed);
  }
  bool stays(std::uint32_t cell) const {
    const std::int32_t value = number(cell);
    return value >= padding_least && value <= padding_greatest && !holds(value);
  }
};

// Pixel Padding Value, or the range to Pixel Padding Range Limit in either order (PS3.3 C.7.5.1.1.2). A number is a
// value if Bits Stored can hold it, else a whole cell, of which High Bit shows the value.
std::optional<std::pair<int, int>> padding_of(DcmItem& data_set, const Cells& how) {
  const auto value = word_of(data_set, DCM_PixelPaddingValue);
  if (!value) return std::nullopt;
  const auto limit = word_of(data_set, DCM_PixelPaddingRangeLimit);
  const auto number = [&](std::uint16_t word) {
    const std::int32_t all = how.number(word);
    if (how.shift == 0 || how.holds(all)) return all;
    return extended(static_cast<std::uint32_t>(word) >> how.shift, how.bits_stored, how.is_signed);
  };
  return std::minmax({number(*value), number(limit.value_or(*value))});
}

struct Judgement {
  bool used = false;                            // Some value does not fit into Bits Stored.
  int bits = 0;                                 // That would hold all.
  std::uint64_t steps_all = 0, steps_kept = 0;  // Sums of steps between neighbours with all bits, and with the stored.
};

template <typename Cell>
Judgement judge(const Cell* cells, std::size_t count, const Cells& how) {
  Judgement judgement;
  const int bits_all = how.bits_allocated - how.shift;
  std::int32_t lowest = 0, highest = 0, all_before = 0, kept_before = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (how.stays(cells[i])) continue;
    const std::uint32_t moved = static_cast<std::uint32_t>(cells[i]) >> how.shift;
    const std::int32_t all = extended(moved, bits_all, how.is_signed);
    const std::int32_t kept = extended(moved, how.bits_stored, how.is_signed);
    judgement.used |= all != kept;
    lowest = std::min(lowest, all);
    highest = std::max(highest, all);
    if (i > 0) {
      judgement.steps_all += static_cast<std::uint64_t>(std::abs(all - all_before));
      judgement.steps_kept += static_cast<std::uint64_t>(std::abs(kept - kept_before));
    }
    all_before = all;
    kept_before = kept;
  }
  const auto reach = static_cast<std::uint32_t>(std::max(highest, -(lowest + 1)));
  judgement.bits = std::max(1, static_cast<int>(std::bit_width(reach)) + (how.is_signed ? 1 : 0));
  return judgement;
}

template <typename Cell>
void extend_extremes(const Cell* cells, std::size_t count, StoredPixels& pixels) {
  // All compared as signed, unsigned ones with their half taken off: every x86-64 does that for eight at once.
  using Value = std::make_signed_t<Cell>;
  const int half = pixels.is_signed ? 0 : 1 << (8 * sizeof(Cell) - 1);
  Value least = std::numeric_limits<Value>::max(), greatest = std::numeric_limits<Value>::min();
  for (std::size_t i = 0; i < count; ++i) {
    const auto value = static_cast<Value>(cells[i] ^ half);
    least = std::min(least, value);
    greatest = std::max(greatest, value);
  }
  pixels.least = std::min(pixels.least, least + half);
  pixels.greatest = std::max(pixels.greatest, greatest + half);
}

// With the values in `bytes`, which are or will be of `pixels`.
void extend_extremes(std::span<const std::uint8_t> bytes, StoredPixels& pixels) {
  if (pixels.bits_allocated == 8) return extend_extremes(bytes.data(), bytes.size(), pixels);
  extend_extremes(reinterpret_cast<const std::uint16_t*>(bytes.data()), bytes.size() / 2, pixels);
}

void find_extremes(StoredPixels& pixels) {
  pixels.least = std::numeric_limits<int>::max();
  pixels.greatest = std::numeric_limits<int>::min();
  extend_extremes(pixels.bytes, pixels);
}

// Whether no value uses a bit beyond Bits Stored, but for its sign: mostly so, and then nothing is to be done.
bool fits(const StoredPixels& pixels, const Cells& how) {
  const int values = 1 << how.bits_stored, lowest = how.is_signed ? -values / 2 : 0;
  return pixels.least >= lowest && pixels.greatest < lowest + values;
}

template <typename Cell>
void clean(Bytes& bytes, const Cells& how) {
  auto* cells = reinterpret_cast<Cell*>(bytes.data());
  const std::size_t count = bytes.size() / sizeof(Cell);
  if (how.shift == 0 && how.bits_stored == how.bits_allocated) return;
  for (std::size_t i = 0; i < count; ++i) {
    if (how.stays(cells[i])) continue;
    cells[i] =
        static_cast<Cell>(extended(static_cast<std::uint32_t>(cells[i]) >> how.shift, how.bits_stored, how.is_signed));
  }
}

// Retired: an overlay in the bits that pixels do not use (PS3.3 C.9.2, Overlay Bit Position > 0).
bool has_overlay_in_pixels(DcmItem& data_set) {
  for (Uint16 group = 0x6000; group <= 0x601E; group += 2) {
    if (word_of(data_set, DcmTagKey(group, 0x0102)).value_or(0) > 0) return true;
  }
  return false;
}

void interleave(Bytes& bytes, std::size_t samples, std::size_t cell) {
  Bytes planes(bytes.size());
  planes.swap(bytes);
  const std::size_t pixels = bytes.size() / samples / cell;
  for (std::size_t s = 0; s < samples; ++s) {
    for (std::size_t i = 0; i < pixels; ++i) {
      for (std::size_t b = 0; b < cell; ++b) bytes[(i * samples + s) * cell + b] = planes[(s * pixels + i) * cell + b];
    }
  }
}

}  // namespace

void register_codecs() {
  static std::once_flag once;
  std::call_once(once, [] {
    OFLog::configure(OFLogger::OFF_LOG_LEVEL);
    DcmRLEDecoderRegistration::registerCodecs();  // For delivery; what we read goes through decode_rle().
    DJDecoderRegistration::registerCodecs();
    // For results: the bytes of the same picture are the same, and it stays the same instance.
    DcmRLEEncoderRegistration::registerCodecs();
    DJEncoderRegistration::registerCodecs(ECC_lossyRGB, EUC_never);
  });
}

bool is_lossy_transfer_syntax(const std::string& uid) {
  for (const std::string_view lossy : {".50", ".51", ".53", ".55", ".81", ".91", ".203"}) {
    if (uid == "1.2.840.10008.1.2.4" + std::string(lossy)) return true;
  }
  return false;
}

struct PixelReader::Impl {
  InstanceHeader header;
  DcmFileFormat file;
  std::shared_ptr<void> inflated;      // Structure::inflated, for as long as `file`.
  std::ifstream native;                // Of pixel data that stand in the file as they are wanted; else not open.
  std::uint64_t native_at = 0;         // Where they begin.
  std::optional<Fragments> fragments;  // Of encapsulated pixel data.
  Coding coding = Coding::kUnknown;
  bool wants_extremes = false;  // Of the frame that is read.
  std::string colours_remark;   // Empty, or what StoredPixels::remarks says of them.
  Uint32 next_fragment = 0;

  DcmDataset& data_set() { return *file.getDataset(); }

  Result<DcmPixelData*> pixel_data() {
    DcmElement* element = nullptr;
    if (data_set().findAndGetElement(DCM_PixelData, element).bad()) return invalid_argument("no pixel data");
    auto* pixels = dynamic_cast<DcmPixelData*>(element);
    if (pixels == nullptr) return invalid_argument("no pixel data");
    return pixels;
  }

  // Each fragment that begins a frame, with those that go on with it.
  Status check_jpeg() {
    std::string stream;
    if (fragments->count() > 1) {
      NODE_ASSIGN_OR_RETURN(const std::string first, fragments->read(1));
      follow_colours(first);
    }
    for (std::size_t i = 1; i < fragments->count(); ++i) {
      NODE_ASSIGN_OR_RETURN(const std::string part, fragments->read(i));
      if (part.starts_with(kJpegStart) && !stream.empty()) {
        NODE_RETURN_IF_ERROR(check_jpeg_stream(stream, header.rows, header.columns));
        stream.clear();
      }
      stream += part;
    }
    return check_jpeg_stream(stream, header.rows, header.columns);
  }

  // Of a lossy stream that says what its colours are: many are in YCbCr under a header that says RGB. DCMTK goes by the
  // header, so that is where the truth is put. A lossless stream may have a JFIF marker and be RGB all the same.
  void follow_colours(std::string_view stream) {
    if (header.samples_per_pixel != 3 || !is_lossy_transfer_syntax(header.transfer_syntax_uid)) return;
    const JpegColours colours = jpeg_colours(stream);
    const bool says_ybr = header.photometric_interpretation.starts_with("YBR_");
    if (colours == JpegColours::kUnsaid || (colours == JpegColours::kYcbcr) == says_ybr) return;
    const char* const truth = says_ybr ? "RGB" : "YBR_FULL";
    if (data_set().putAndInsertString(DCM_PhotometricInterpretation, truth).bad()) return;
    colours_remark = std::string("jpeg colours=") + (says_ybr ? "RGB" : "YCbCr") + ", header says otherwise";
  }

  Status decode_jpeg2000_frame(int frame, StoredPixels& pixels) {
    NODE_ASSIGN_OR_RETURN(const std::string stream, fragments->codestream(frame));
    NODE_ASSIGN_OR_RETURN(Jpeg2000Image image, decode_jpeg2000(stream, pixels.rows, pixels.columns, pixels.samples,
                                                               pixels.bits_allocated / 8));
    pixels.bytes = std::move(image.bytes);
    if (image.colour_transformed && pixels.photometric_interpretation.starts_with("YBR_"))
      pixels.photometric_interpretation = "RGB";
    return ok_status();
  }

  Status decode_jpeg_ls_frame(int frame, StoredPixels& pixels) {
    NODE_ASSIGN_OR_RETURN(std::string stream, fragments->codestream(frame));
    NODE_ASSIGN_OR_RETURN(JpegLsImage image, decode_jpeg_ls(std::move(stream), pixels.rows, pixels.columns,
                                                            pixels.samples, pixels.bits_allocated / 8));
    pixels.bytes = std::move(image.bytes);
    if (image.planar)
      interleave(pixels.bytes, static_cast<std::size_t>(pixels.samples),
                 static_cast<std::size_t>(pixels.bits_allocated) / 8);
    return ok_status();
  }

  Status decode_rle_frame(int frame, StoredPixels& pixels) {
    NODE_ASSIGN_OR_RETURN(const std::string stream, fragments->codestream(frame));
    const auto seen = [&](std::span<const std::uint8_t> piece) {
      if (wants_extremes) extend_extremes(piece, pixels);
    };
    NODE_ASSIGN_OR_RETURN(
        pixels.bytes,
        decode_rle(stream, static_cast<std::size_t>(pixels.rows) * static_cast<std::size_t>(pixels.columns),
                   static_cast<std::size_t>(pixels.samples), static_cast<std::size_t>(pixels.bits_allocated) / 8,
                   seen));
    return ok_status();
  }

  std::size_t frame_bytes(const StoredPixels& pixels) const {
    const bool halved = coding == Coding::kNative && pixels.photometric_interpretation == "YBR_FULL_422";
    return static_cast<std::size_t>(pixels.rows) * static_cast<std::size_t>(pixels.columns) *
           static_cast<std::size_t>(halved ? 2 : pixels.samples) * static_cast<std::size_t>(pixels.bits_allocated / 8);
  }

  Status read_native_frame(int frame, StoredPixels& pixels) {
    const std::size_t size = frame_bytes(pixels);
    pixels.bytes.resize(size);
    native.seekg(static_cast<std::streamoff>(native_at + size * static_cast<std::size_t>(frame)));
    constexpr std::size_t kPiece = 128 * 1024;
    for (std::size_t at = 0; at < size; at += kPiece) {
      const std::span<std::uint8_t> piece(pixels.bytes.data() + at, std::min(kPiece, size - at));
      if (!native.read(reinterpret_cast<char*>(piece.data()), static_cast<std::streamsize>(piece.size())))
        return data_loss("read pixel data: the file became shorter");
      if (wants_extremes) extend_extremes(piece, pixels);  // While it is in the cache.
    }
    return ok_status();
  }

  Status decode_dcmtk_frame(int frame, StoredPixels& pixels) {
    if (native.is_open()) return read_native_frame(frame, pixels);
    NODE_ASSIGN_OR_RETURN(DcmPixelData* const element, pixel_data());
    if (coding == Coding::kNative) {
      const std::size_t size = frame_bytes(pixels);
      pixels.bytes.resize(size);
      const OFCondition read = element->getPartialValue(
          pixels.bytes.data(), static_cast<Uint32>(size * static_cast<std::size_t>(frame)), static_cast<Uint32>(size));
      if (read.bad()) return data_loss(std::string("read pixel data: ") + read.text());
      return ok_status();
    }
    if (header.number_of_frames > 1) {  // DCMTK finds the frame behind the last one, but no other without a table.
      NODE_ASSIGN_OR_RETURN(const Fragments::Range range, fragments->range_of(frame));
      next_fragment = static_cast<Uint32>(range.first);
    }
    Uint32 size = 0;
    if (element->getUncompressedFrameSize(&data_set(), size).bad() || size == 0)
      return invalid_argument("pixel data of an impossible size");
    pixels.bytes.resize(std::size_t{size} + size % 2);
    OFString colour_model;
    const OFCondition decoded =
        element->getUncompressedFrame(&data_set(), static_cast<Uint32>(frame), next_fragment, pixels.bytes.data(),
                                      static_cast<Uint32>(pixels.bytes.size()), colour_model);
    if (decoded.bad()) return invalid_argument(std::string("decode pixel data: ") + decoded.text());
    pixels.bytes.resize(size);
    if (!colour_model.empty()) pixels.photometric_interpretation = colour_model.c_str();
    return ok_status();
  }
};

PixelReader::PixelReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PixelReader::~PixelReader() = default;
const InstanceHeader& PixelReader::header() const { return impl_->header; }
DcmItem& PixelReader::data_set() { return impl_->data_set(); }

Result<std::unique_ptr<PixelReader>> PixelReader::open(const std::filesystem::path& file, std::uint64_t pixels_max) {
  auto impl = std::make_unique<Impl>();
  NODE_ASSIGN_OR_RETURN(impl->header, read_instance_header(file));
  const InstanceHeader& header = impl->header;
  if (const std::string problem = header.pixel_data_problem(); !problem.empty()) return invalid_argument(problem);
  const std::uint64_t pixels =
      std::uint64_t{static_cast<std::uint32_t>(header.rows)} * static_cast<std::uint32_t>(header.columns);
  if (pixels > pixels_max) {
    return resource_exhausted(std::to_string(header.columns) + " x " + std::to_string(header.rows) +
                              " pixels: more than the limit of " + std::to_string(pixels_max));
  }
  if (header.bits_allocated != 8 && header.bits_allocated != 16)
    return unsupported(std::to_string(header.bits_allocated) + " bits allocated");
  if (header.samples_per_pixel != 1 && header.samples_per_pixel != 3)
    return unsupported(std::to_string(header.samples_per_pixel) + " samples per pixel");
  impl->coding = coding_of(header.transfer_syntax_uid);
  if (impl->coding == Coding::kUnknown) {
    // A Uid of a peer's file is no text to repeat before it was checked.
    const auto uid = storage::Uid::parse(header.transfer_syntax_uid);
    return unsupported("transfer syntax " + (uid.ok() ? uid->str() : "without a valid UID"));
  }
  if ((impl->coding != Coding::kNative) != header.pixel_data_encapsulated)
    return invalid_argument("pixel data encoded otherwise than the transfer syntax says");
  // DCMTK copies pixel data once or twice: read from where the walk has found them, they come as they are. It needs
  // them where it has to decode them, or to turn their bytes round.
  const bool plain =
      header.transfer_syntax_uid == "1.2.840.10008.1.2" || header.transfer_syntax_uid == "1.2.840.10008.1.2.1";
  const bool by_dcmtk = impl->coding == Coding::kJpeg || (impl->coding == Coding::kNative && !plain);
  NODE_ASSIGN_OR_RETURN(
      Structure structure,
      walk_and_load(file, impl->file, by_dcmtk ? Extent::kWithPixelData : Extent::kUpToPixelData, {}));
  impl->inflated = structure.inflated;
  if (plain) {
    impl->native.open(file, std::ios::binary);
    if (!impl->native) return internal_error("open pixel data");
    impl->native_at = structure.pixel_data_offset;
  }
  if (header.pixel_data_encapsulated) {
    std::vector<std::string_view> begin = {kJpegStart};
    if (impl->coding == Coding::kJpeg2000) begin = {kJpeg2000Start, kJp2Start};
    NODE_ASSIGN_OR_RETURN(impl->fragments, Fragments::open(file, std::move(structure.fragments),
                                                           header.number_of_frames, std::move(begin)));
  }
  if (impl->coding == Coding::kJpeg) NODE_RETURN_IF_ERROR(impl->check_jpeg());
  return std::unique_ptr<PixelReader>(new PixelReader(std::move(impl)));
}

Result<StoredPixels> PixelReader::read_frame(int frame, UnusedBits unused_bits) try {
  const InstanceHeader& header = impl_->header;
  DcmDataset& data_set = impl_->data_set();
  StoredPixels pixels;
  pixels.rows = header.rows;
  pixels.columns = header.columns;
  pixels.samples = header.samples_per_pixel;
  pixels.bits_allocated = header.bits_allocated;
  pixels.bits_stored = header.bits_stored;
  pixels.is_signed = word_of(data_set, DCM_PixelRepresentation).value_or(0) == 1;
  pixels.photometric_interpretation = header.photometric_interpretation;
  if (!impl_->colours_remark.empty()) pixels.remarks.push_back(impl_->colours_remark);
  impl_->wants_extremes = pixels.samples == 1 && unused_bits != UnusedBits::kKeep;
  switch (impl_->coding) {
    case Coding::kJpeg2000: NODE_RETURN_IF_ERROR(impl_->decode_jpeg2000_frame(frame, pixels)); break;
    case Coding::kJpegLs: NODE_RETURN_IF_ERROR(impl_->decode_jpeg_ls_frame(frame, pixels)); break;
    case Coding::kRle: NODE_RETURN_IF_ERROR(impl_->decode_rle_frame(frame, pixels)); break;
    default: NODE_RETURN_IF_ERROR(impl_->decode_dcmtk_frame(frame, pixels));
  }
  const std::size_t cell = static_cast<std::size_t>(pixels.bits_allocated) / 8;
  const std::size_t expected = impl_->frame_bytes(pixels);
  if (pixels.bytes.size() < expected) return invalid_argument("fewer pixels decoded than rows x columns ask");
  pixels.bytes.resize(expected);
  if (pixels.samples == 3) {
    const bool planar = word_of(data_set, DCM_PlanarConfiguration).value_or(0) == 1;
    // What the decoders called above give is interleaved whatever the header says of the compressed form.
    if (planar && (impl_->coding == Coding::kNative || impl_->coding == Coding::kJpeg))
      interleave(pixels.bytes, 3, cell);
    return pixels;
  }
  if (unused_bits == UnusedBits::kKeep) return pixels;

  Cells how{pixels.bits_allocated, pixels.bits_stored, 0, pixels.is_signed};
  const int high_bit = word_of(data_set, DCM_HighBit).value_or(static_cast<std::uint16_t>(how.bits_stored - 1));
  if (high_bit >= how.bits_stored && high_bit < how.bits_allocated) {
    how.shift = high_bit + 1 - how.bits_stored;
    pixels.remarks.push_back("high bit=" + std::to_string(high_bit));
  }
  pixels.padding = padding_of(data_set, how);
  if (pixels.padding && how.shift == 0 && unused_bits == UnusedBits::kJudge)
    std::tie(how.padding_least, how.padding_greatest) = *pixels.padding;
  if (pixels.least > pixels.greatest) find_extremes(pixels);
  if (how.shift == 0 && fits(pixels, how)) return pixels;
  if (unused_bits == UnusedBits::kJudge && how.bits_stored + how.shift < how.bits_allocated &&
      !has_overlay_in_pixels(data_set)) {
    const auto bits_needed = [&]<typename Cell>(const Cell* cells) {
      const Judgement judgement = judge(cells, pixels.bytes.size() / sizeof(Cell), how);
      if (!judgement.used) return 0;
      // Pixels are smooth: dropping bits that hold rubbish makes them smoother, dropping bits of theirs makes them
      // wrap.
      return judgement.steps_all < judgement.steps_kept ? judgement.bits : -1;
    };
    const int bits = cell == 1 ? bits_needed(pixels.bytes.data())
                               : bits_needed(reinterpret_cast<const std::uint16_t*>(pixels.bytes.data()));
    if (bits > 0) {
      pixels.remarks.push_back("bits stored=" + std::to_string(bits) + ", header says " +
                               std::to_string(how.bits_stored));
      pixels.bits_stored = how.bits_stored = bits;
    } else if (bits < 0) {
      pixels.remarks.push_back("unused bits masked");
    }
  }
  cell == 1 ? clean<std::uint8_t>(pixels.bytes, how) : clean<std::uint16_t>(pixels.bytes, how);
  find_extremes(pixels);
  return pixels;
} catch (const std::bad_alloc&) {
  return resource_exhausted("decode pixel data: no memory");
}

}  // namespace node::object
