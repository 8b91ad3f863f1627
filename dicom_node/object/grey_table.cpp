#include "dicom_node/object/grey_table.h"

#include <dcmtk/dcmdata/dcdeftag.h>
#include <dcmtk/dcmdata/dcitem.h>
#include <dcmtk/dcmdata/dcsequen.h>

#include <algorithm>
#include <bitset>
#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "dicom_node/object/dataset_text.h"
#include "dicom_node/object/value_counts.h"

namespace node::object {
namespace {

// A window with more of the pixels at one end is looked at closely: it may show a small object, or miss the image. The
// least that an object is, strictly between the ends: so many of the pixels, in so many of a screen's 256 greys.
constexpr double kSaturatedShareMax = 0.98, kObjectShareMin = 0.001;
constexpr std::size_t kObjectGreysMin = 16;

std::string short_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

struct Lut {
  int first = 0;  // The input value of the first entry.
  std::vector<std::uint16_t> entries;
  double brightest = 0;  // Of the output's range, which begins at 0.
  int bits = 0;

  double operator()(double input) const {
    const double index = std::clamp(input - first, 0.0, static_cast<double>(entries.size() - 1));
    return entries[static_cast<std::size_t>(index)];
  }
};

struct Input {  // Of a LUT: whether it has a sign, and the least and the greatest value that occur.
  bool is_signed = false;
  double least = 0, greatest = 0;
};

// The first value that a LUT of `count` entries maps, from the 16 bits of its descriptor. It has a sign if its input
// has one (PS3.3 C.11.2.1.1), but where the table then lies off all values and would not without: 40000 of a rescaled
// image that also goes a little below zero is 40000, whatever VR it was written in.
int first_mapped(std::uint16_t word, std::size_t count, const Input& input) {
  const auto meets = [&](int first) {
    return first <= input.greatest && first + static_cast<double>(count) - 1 >= input.least;
  };
  const int with_sign = static_cast<std::int16_t>(word), without = word;
  const int rule = input.is_signed ? with_sign : without, other = input.is_signed ? without : with_sign;
  return !meets(rule) && meets(other) ? other : rule;
}

// Nothing if descriptor and data cannot belong together.
std::optional<Lut> read_lut(DcmItem& item, const DcmTagKey& descriptor_tag, const DcmTagKey& data_tag,
                            const Input& input) {
  DcmElement *descriptor_element = nullptr, *data_element = nullptr;
  if (item.findAndGetElement(descriptor_tag, descriptor_element).bad()) return std::nullopt;
  if (item.findAndGetElement(data_tag, data_element).bad()) return std::nullopt;
  const auto descriptor = raw_words(*descriptor_element);
  std::vector<std::uint16_t> words = raw_words(*data_element);
  if (descriptor.size() != 3 || words.empty()) return std::nullopt;
  Lut lut;
  const std::size_t count = descriptor[0] == 0 ? 65536 : descriptor[0];
  lut.first = first_mapped(descriptor[1], count, input);
  lut.bits = descriptor[2];
  if (lut.bits < 8 || lut.bits > 16) return std::nullopt;
  if (lut.bits == 8 && words.size() < count && words.size() * 2 >= count) {  // Two entries in a word.
    std::vector<std::uint16_t> unpacked;
    for (const std::uint16_t word : words) {
      unpacked.push_back(word & 0xFF);
      unpacked.push_back(word >> 8);
    }
    words.swap(unpacked);
  }
  if (words.size() < count) return std::nullopt;
  words.resize(count);
  lut.entries = std::move(words);
  const int highest = *std::max_element(lut.entries.begin(), lut.entries.end());
  const int nominal = (1 << lut.bits) - 1;
  // Many claim 16 bits and use 12.
  lut.brightest = highest > nominal || highest < nominal / 2 ? highest : nominal;
  return lut;
}

std::vector<DcmItem*> items_of(DcmItem& data_set, const DcmTagKey& tag) {
  DcmSequenceOfItems* sequence = nullptr;
  if (data_set.findAndGetSequence(tag, sequence).bad() || sequence == nullptr) return {};
  return all_items(*sequence);
}

// The item that says it of one frame: its own functional group, else the one that all frames share, else the data set.
DcmItem& functional_group(DcmItem& data_set, const DcmTagKey& macro, int frame) {
  for (const auto& [tag, number] : {std::pair(DCM_PerFrameFunctionalGroupsSequence, static_cast<std::size_t>(frame)),
                                    std::pair(DCM_SharedFunctionalGroupsSequence, std::size_t{0})}) {
    const std::vector<DcmItem*> groups = items_of(data_set, tag);
    if (number >= groups.size()) continue;
    if (const std::vector<DcmItem*> items = items_of(*groups[number], macro); !items.empty()) return *items.front();
  }
  return data_set;
}

enum class Function { kLinear, kLinearExact, kSigmoid };

struct Window {
  double center = 0, width = 1;
  Function function = Function::kLinear;

  double operator()(double x, double brightest) const {
    switch (function) {
      case Function::kLinear:
        if (x <= center - 0.5 - (width - 1) / 2) return 0;
        if (x > center - 0.5 + (width - 1) / 2) return brightest;  // Width 1: a threshold, and nothing is divided.
        return ((x - (center - 0.5)) / (width - 1) + 0.5) * brightest;
      case Function::kLinearExact:
        if (x <= center - width / 2) return 0;
        if (x > center + width / 2) return brightest;
        return ((x - center) / width + 0.5) * brightest;
      case Function::kSigmoid: return brightest / (1 + std::exp(-4 * (x - center) / width));
    }
    return 0;
  }
};

struct Brightness {  // Of one stored value, before inversion.
  std::vector<double> values;
  double darkest = 0, brightest = 0;  // The range that inversion turns round.
};

// One attempt at a table. With pixels left out of the counts it may come out unsure: then another pixel could have
// made another table.
class TableMaker {
 public:
  TableMaker(DcmItem& data_set, const StoredPixels& pixels, const ValueCounts& counts, int frame)
      : data_set_(data_set),
        modality_item_(functional_group(data_set, DCM_PixelValueTransformationSequence, frame)),
        voi_item_(functional_group(data_set, DCM_FrameVOILUTSequence, frame)),
        pixels_(pixels),
        counts_(counts.counts),
        uncounted_(counts.uncounted) {
    size_ = std::size_t{1} << pixels.bits_allocated;
    padding_.resize(size_);
  }

  Result<GreyTable> make(Presentation presentation) {
    const std::string& photometric = pixels_.photometric_interpretation;
    if (photometric == "PALETTE COLOR") return palette();
    if (!photometric.empty() && photometric != "MONOCHROME1" && photometric != "MONOCHROME2")
      return unsupported("a Photometric Interpretation that fits no grey image");
    apply_modality();
    find_padding();
    find_range();
    Brightness shown;
    if (presentation == Presentation::kAutomatic) {
      shown = automatic();
    } else {
      shown = voi();
    }
    if (photometric == "MONOCHROME1") {
      for (double& value : shown.values) value = shown.darkest + shown.brightest - value;
      note("inverted");
    }
    const std::string shape = text_of(data_set_, DCM_PresentationLUTShape);
    if ((shape == "INVERSE" && photometric == "MONOCHROME2") || (shape == "IDENTITY" && photometric == "MONOCHROME1"))
      note("presentation lut shape ignored");
    return finish(shown.values);
  }

  bool sure() const { return uncounted_ == 0 || sure_; }

 private:
  void note(std::string text) { table_.rendering.push_back(std::move(text)); }

  int value_of(std::size_t i) const {
    if (!pixels_.is_signed) return static_cast<int>(i);
    return pixels_.bits_allocated == 8 ? static_cast<std::int8_t>(i) : static_cast<std::int16_t>(i);
  }
  std::size_t index_of(int value) const { return static_cast<std::size_t>(value) & (size_ - 1); }
  bool counts(std::size_t i) const { return counts_[i] > 0 && padding_[i] == 0; }

  // Whether all that lies between the least and the greatest stored value lies between theirs in `values` too, so that
  // pixels left out change no extreme.
  bool is_monotonic(const std::vector<double>& values) const {
    bool rises = true, falls = true;
    double before = values[index_of(pixels_.least)];
    for (int value = pixels_.least; value <= pixels_.greatest; ++value) {
      const double here = values[index_of(value)];
      rises &= here >= before;
      falls &= here <= before;
      before = here;
    }
    return rises || falls;
  }

  Input stored_input() const {
    return {pixels_.is_signed, static_cast<double>(pixels_.least), static_cast<double>(pixels_.greatest)};
  }

  void apply_modality() {
    modality_.resize(size_);
    for (std::size_t i = 0; i < size_; ++i) modality_[i] = value_of(i);
    bits_ = pixels_.bits_stored;
    input_is_signed_ = pixels_.is_signed;
    if (const auto items = items_of(data_set_, DCM_ModalityLUTSequence); !items.empty()) {
      if (const auto lut = read_lut(*items.front(), DCM_LUTDescriptor, DCM_LUTData, stored_input())) {
        for (double& value : modality_) value = (*lut)(value);
        bits_ = lut->bits;
        input_is_signed_ = false;
        return note("modality=lut");
      }
      return note("modality=lut ignored");
    }
    const auto slopes = decimals_of(modality_item_, DCM_RescaleSlope),
               intercepts = decimals_of(modality_item_, DCM_RescaleIntercept);
    if (slopes.empty() && intercepts.empty()) return;
    const auto slope = slopes.empty() ? std::optional(1.0) : slopes.front();
    const auto intercept = intercepts.empty() ? std::optional(0.0) : intercepts.front();
    constexpr double kReasonable = 1e9;  // Beyond it float32 no longer tells stored values apart.
    if (!slope || !intercept || std::abs(*slope) < 1 / kReasonable || std::abs(*slope) > kReasonable ||
        std::abs(*intercept) > kReasonable)
      return note("rescale=ignored");
    if (*slope == 1 && *intercept == 0) return;
    for (double& value : modality_) value = value * *slope + *intercept;
    // What could come of Bits Stored, not only what does.
    const int values = 1 << pixels_.bits_stored, lowest = pixels_.is_signed ? -values / 2 : 0;
    for (const int end : {lowest, lowest + values - 1}) input_is_signed_ |= end * *slope + *intercept < 0;
    note("rescale=" + short_text(*slope) + "," + short_text(*intercept));
  }

  void find_padding() {
    if (!pixels_.padding) return;
    const auto [low, high] = *pixels_.padding;
    sure_ &= high < pixels_.least || low > pixels_.greatest;
    std::uint64_t left = 0, padded = 0;
    for (std::size_t i = 0; i < size_; ++i) {
      padding_[i] = value_of(i) >= low && value_of(i) <= high;
      (padding_[i] != 0 ? padded : left) += counts_[i];
    }
    const std::string text = std::to_string(low) + (high != low ? ".." + std::to_string(high) : "");
    if (left == 0) {
      padding_.assign(size_, 0);
      return note("padding=" + text + " ignored");
    }
    if (padded > 0) note("padding=" + text);
  }

  void find_range() {
    sure_ &= is_monotonic(modality_);
    lowest_ = std::numeric_limits<double>::max();
    highest_ = std::numeric_limits<double>::lowest();
    for (std::size_t i = 0; i < size_; ++i) {
      if (!counts(i)) continue;
      lowest_ = std::min(lowest_, modality_[i]);
      highest_ = std::max(highest_, modality_[i]);
    }
  }

  Brightness value_range() const {
    Brightness shown{modality_, lowest_, highest_};
    for (double& value : shown.values) value = std::clamp(value, lowest_, highest_);
    return shown;
  }

  Brightness automatic() {
    sure_ = false;
    std::vector<std::pair<double, std::uint64_t>> sorted;
    std::uint64_t all = 0;
    for (std::size_t i = 0; i < size_; ++i) {
      if (!counts(i)) continue;
      sorted.emplace_back(modality_[i], counts_[i]);
      all += counts_[i];
    }
    std::sort(sorted.begin(), sorted.end());
    const auto percentile = [&](double share) {
      std::uint64_t seen = 0;
      for (const auto& [value, count] : sorted) {
        seen += count;
        if (static_cast<double>(seen) >= share * static_cast<double>(all)) return value;
      }
      return sorted.back().first;
    };
    Brightness shown{modality_, percentile(0.005), percentile(0.995)};
    note("rendering=auto " + short_text(shown.darkest) + " to " + short_text(shown.brightest));
    for (double& value : shown.values) value = std::clamp(value, shown.darkest, shown.brightest);
    return shown;
  }

  // The header's VOI LUTs, then its windows, are alternatives: the first that can be read and shows something is used.
  Brightness voi() {
    const std::vector<DcmItem*> items = items_of(voi_item_, DCM_VOILUTSequence);
    for (std::size_t i = 0; i < items.size(); ++i) {
      const auto lut = read_lut(*items[i], DCM_LUTDescriptor, DCM_LUTData, {input_is_signed_, lowest_, highest_});
      if (!lut) continue;
      Brightness shown{modality_, 0, lut->brightest};
      for (double& value : shown.values) value = (*lut)(value);
      if (!shows_something(shown)) continue;
      note("voi=lut " + std::to_string(i + 1));
      return shown;
    }
    const auto centers = decimals_of(voi_item_, DCM_WindowCenter), widths = decimals_of(voi_item_, DCM_WindowWidth);
    Window window;
    const std::string function = text_of(voi_item_, DCM_VOILUTFunction);
    if (function == "LINEAR_EXACT") window.function = Function::kLinearExact;
    if (function == "SIGMOID") window.function = Function::kSigmoid;
    const double brightest = (1 << bits_) - 1;
    for (std::size_t i = 0; i < std::min(centers.size(), widths.size()); ++i) {
      if (!centers[i] || !widths[i]) continue;
      const bool legal = window.function == Function::kLinear ? *widths[i] >= 1 : *widths[i] > 0;
      if (!legal) continue;
      window.center = *centers[i];
      window.width = *widths[i];
      Brightness shown{modality_, 0, brightest};
      for (int v = pixels_.least; v <= pixels_.greatest; ++v) {
        double& value = shown.values[index_of(v)];
        value = window(value, brightest);
      }
      if (!shows_something(shown)) continue;
      static constexpr std::string_view kNames[] = {"", " linear exact", " sigmoid"};
      note("voi=window " + std::to_string(i + 1) + std::string(kNames[static_cast<int>(window.function)]));
      return shown;
    }
    const bool tried = !items.empty() || !centers.empty() || !widths.empty();
    note((tried ? "voi=fallback " : "voi=value range ") + short_text(lowest_) + " to " + short_text(highest_));
    return value_range();
  }

  bool shows_something(const Brightness& shown) {
    sure_ &= is_monotonic(shown.values);
    std::uint64_t dark = 0, bright = 0, between = 0, all = uncounted_;
    std::bitset<256> greys;
    double least = std::numeric_limits<double>::max(), greatest = std::numeric_limits<double>::lowest();
    const double margin = (shown.brightest - shown.darkest) * 1e-6;  // A sigmoid comes near its ends only.
    for (std::size_t i = 0; i < size_; ++i) {
      if (!counts(i)) continue;
      all += counts_[i];
      if (!std::isfinite(shown.values[i])) return false;
      least = std::min(least, shown.values[i]);
      greatest = std::max(greatest, shown.values[i]);
      const bool is_dark = shown.values[i] <= shown.darkest + margin;
      const bool is_bright = shown.values[i] >= shown.brightest - margin;
      if (is_dark) dark += counts_[i];
      if (is_bright) bright += counts_[i];
      if (is_dark || is_bright) continue;
      between += counts_[i];
      const double share = (shown.values[i] - shown.darkest) / (shown.brightest - shown.darkest);
      greys.set(static_cast<std::size_t>(std::clamp(share, 0.0, 1.0) * 255));
    }
    if (least == greatest && lowest_ < highest_) return false;
    const double most = kSaturatedShareMax * static_cast<double>(all);
    const auto at_most = [most](std::uint64_t count) { return static_cast<double>(count) <= most; };
    sure_ &= at_most(dark + uncounted_) && at_most(bright + uncounted_);
    if (at_most(dark) && at_most(bright)) return true;
    return static_cast<double>(between) >= kObjectShareMin * static_cast<double>(all) &&
           greys.count() >= kObjectGreysMin;
  }

  Result<GreyTable> palette() {
    sure_ = false;
    std::optional<Lut> red = read_lut(data_set_, DCM_RedPaletteColorLookupTableDescriptor,
                                      DCM_RedPaletteColorLookupTableData, stored_input());
    std::optional<Lut> green = read_lut(data_set_, DCM_GreenPaletteColorLookupTableDescriptor,
                                        DCM_GreenPaletteColorLookupTableData, stored_input());
    std::optional<Lut> blue = read_lut(data_set_, DCM_BluePaletteColorLookupTableDescriptor,
                                       DCM_BluePaletteColorLookupTableData, stored_input());
    if (!red || !green || !blue) return unsupported("a palette that is missing, segmented or damaged");
    std::vector<double> luma(size_);
    for (std::size_t i = 0; i < size_; ++i) {
      const int value = value_of(i);
      luma[i] = std::round(0.299 * (*red)(value) + 0.587 * (*green)(value) + 0.114 * (*blue)(value));
    }
    note("colour=luma");
    return finish(luma);
  }

  GreyTable finish(const std::vector<double>& shown) {
    double darkest = std::numeric_limits<double>::max();
    for (std::size_t i = 0; i < size_; ++i) {
      if (counts(i)) darkest = std::min(darkest, shown[i]);
    }
    table_.brightness.resize(size_);
    table_.least = std::numeric_limits<float>::max();
    table_.greatest = std::numeric_limits<float>::lowest();
    for (std::size_t i = 0; i < size_; ++i) {
      const auto value = static_cast<float>(padding_[i] != 0 ? darkest : shown[i]);
      table_.brightness[i] = value;
      if (counts_[i] == 0) continue;
      table_.least = std::min(table_.least, value);
      table_.greatest = std::max(table_.greatest, value);
    }
    return std::move(table_);
  }

  DcmItem& data_set_;
  DcmItem& modality_item_;  // Where rescale and windows of this frame stand: mostly in the data set itself.
  DcmItem& voi_item_;
  const StoredPixels& pixels_;
  const std::vector<std::uint32_t>& counts_;
  const std::uint64_t uncounted_;
  bool sure_ = true;  // Though pixels were left out.
  std::size_t size_ = 0;
  std::vector<std::uint8_t> padding_;  // 1: it is.
  std::vector<double> modality_;
  int bits_ = 0;                  // Of the modality transform's output.
  bool input_is_signed_ = false;  // Of the VOI LUT.
  double lowest_ = 0, highest_ = 0;
  GreyTable table_;
};

}  // namespace

Result<GreyTable> make_grey_table(DcmItem& data_set, const StoredPixels& pixels, Presentation presentation, int frame) {
  // Every eighth row mostly says enough: the image's extremes are known, and enough of it is neither black nor white.
  Result<GreyTable> table = unsupported("");
  for (const int step : {8, 1}) {
    const ValueCounts counts = count_values(pixels, step);
    TableMaker maker(data_set, pixels, counts, frame);
    table = maker.make(presentation);
    if (!table.ok() || maker.sure()) break;
  }
  return table;
}

}  // namespace node::object
