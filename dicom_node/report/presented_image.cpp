#include "dicom_node/report/presented_image.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <string_view>

#include "dicom_node/object/dataset_text.h"
#include "dicom_node/object/image_loader.h"
#include "dicom_node/report/image_object.h"

namespace node::report {
namespace {

std::string decimal(double value) { return fmt::format("{:.10g}", value); }  // At most the 16 characters of a DS.

// The step that begins so, without its beginning; nothing if there was none.
std::optional<std::string> step(const std::vector<std::string>& rendering, std::string_view begin) {
  const auto found = std::find_if(rendering.begin(), rendering.end(),
                                  [&](const std::string& text) { return text.starts_with(begin); });
  if (found == rendering.end()) return std::nullopt;
  return found->substr(begin.size());
}

// The same curve with entries of 16 bits.
void widen_table(DcmItem& table) {
  DcmElement *descriptor = nullptr, *data = nullptr;
  if (table.findAndGetElement(DCM_LUTDescriptor, descriptor).bad() || table.findAndGetElement(DCM_LUTData, data).bad())
    return;
  std::vector<Uint16> shape = object::raw_words(*descriptor), entries = object::raw_words(*data);
  if (shape.size() != 3 || shape[2] <= 8 || shape[2] >= 16) return;
  const std::uint32_t most = (1U << shape[2]) - 1;
  for (Uint16& entry : entries)
    entry = static_cast<Uint16>((std::min<std::uint32_t>(entry, most) * 65535U + most / 2) / most);
  shape[2] = 16;
  const DcmEVR vr = descriptor->ident();  // SS or US, as the pixels are.
  table.putAndInsertUint16Array(DcmTag(DCM_LUTData, EVR_OW), entries.data(),
                                static_cast<unsigned long>(entries.size()));
  if (vr == EVR_SS) {
    const std::vector<Sint16> values(shape.begin(), shape.end());
    table.putAndInsertSint16Array(DcmTag(DCM_LUTDescriptor, EVR_SS), values.data(), 3);
  } else {
    table.putAndInsertUint16Array(DcmTag(DCM_LUTDescriptor, EVR_US), shape.data(), 3);
  }
}

void put_modality(DcmItem& source, DcmItem& result, const std::vector<std::string>& rendering) {
  if (step(rendering, "modality=lut") == "") return copy_element(source, result, DCM_ModalityLUTSequence);
  const std::optional<std::string> rescale = step(rendering, "rescale=");
  if (!rescale || *rescale == "ignored") return;
  const auto slopes = object::decimals_of(source, DCM_RescaleSlope),
             intercepts = object::decimals_of(source, DCM_RescaleIntercept);
  result.putAndInsertString(DCM_RescaleSlope, decimal(slopes.empty() ? 1 : slopes.front().value_or(1)).c_str());
  result.putAndInsertString(DCM_RescaleIntercept,
                            decimal(intercepts.empty() ? 0 : intercepts.front().value_or(0)).c_str());
  const std::string type = object::text_of(source, DCM_RescaleType);
  result.putAndInsertString(DCM_RescaleType, type.empty() ? "US" : type.c_str());  // Type 1 here.
}

void put_window(DcmItem& result, double center, double width, const char* function) {
  DcmItem* voi = new_item(result, DCM_SoftcopyVOILUTSequence);
  if (voi == nullptr) return;
  voi->putAndInsertString(DCM_WindowCenter, decimal(center).c_str());
  voi->putAndInsertString(DCM_WindowWidth, decimal(width).c_str());
  if (*function != 0) voi->putAndInsertString(DCM_VOILUTFunction, function);
}

// The number that a step names: "window 2 sigmoid". It counts from 1.
std::size_t number_in(const std::string& text) { return std::strtoul(text.c_str(), nullptr, 10); }

void put_voi_table(DcmItem& source, DcmItem& result, std::size_t number) {
  DcmItem* table = nullptr;
  if (source.findAndGetSequenceItem(DCM_VOILUTSequence, table, static_cast<signed long>(number) - 1).bad()) return;
  DcmItem* voi = new_item(result, DCM_SoftcopyVOILUTSequence);
  if (voi == nullptr) return;
  auto copy = std::make_unique<DcmItem>(*table);
  widen_table(*copy);
  if (voi->insertSequenceItem(DCM_VOILUTSequence, copy.get()).good()) copy.release();
}

void put_voi(DcmItem& source, DcmItem& result, const std::vector<std::string>& rendering) {
  if (const auto lut = step(rendering, "voi=lut ")) return put_voi_table(source, result, number_in(*lut));
  if (const auto window = step(rendering, "voi=window ")) {
    const std::size_t i = number_in(*window) - 1;
    const auto centers = object::decimals_of(source, DCM_WindowCenter),
               widths = object::decimals_of(source, DCM_WindowWidth);
    if (i >= std::min(centers.size(), widths.size()) || !centers[i] || !widths[i]) return;
    const char* function = window->ends_with("sigmoid") ? "SIGMOID" : window->ends_with("exact") ? "LINEAR_EXACT" : "";
    return put_window(result, *centers[i], *widths[i], function);
  }
  for (const std::string_view whole : {"voi=fallback ", "voi=value range ", "rendering=auto "}) {
    const auto range = step(rendering, whole);
    double lowest = 0, highest = 0;
    if (!range || std::sscanf(range->c_str(), "%lf to %lf", &lowest, &highest) != 2) continue;
    // A LINEAR window whose ends are these (PS3.3 C.11.2.1.2.1).
    return put_window(result, (lowest + highest) / 2 + 0.5, highest - lowest + 1, "");
  }
}

bool is_complete_shutter(DcmItem& source, const std::string& shape) {
  const auto all = [&](std::initializer_list<DcmTagKey> tags) {
    return std::all_of(tags.begin(), tags.end(),
                       [&](const DcmTagKey& tag) { return !object::text_of(source, tag).empty(); });
  };
  if (shape == "RECTANGULAR")
    return all({DCM_ShutterLeftVerticalEdge, DCM_ShutterRightVerticalEdge, DCM_ShutterUpperHorizontalEdge,
                DCM_ShutterLowerHorizontalEdge});
  if (shape == "CIRCULAR") return all({DCM_CenterOfCircularShutter, DCM_RadiusOfCircularShutter});
  return shape == "POLYGONAL" && all({DCM_VerticesOfThePolygonalShutter});
}

template <typename Use>
void for_each_overlay(DcmItem& source, const Use& use) {
  for (Uint16 group = 0x6000; group <= 0x601E; group += 2)
    if (source.tagExists(DcmTagKey(group, 0x3000)) || object::word_of(source, DcmTagKey(group, 0x0102)).value_or(0) > 0)
      use(group);
}

}  // namespace

void put_grey_values(DcmItem& source, DcmItem& result, const std::vector<std::string>& rendering) {
  put_modality(source, result, rendering);
  put_voi(source, result, rendering);
  const bool inverse = object::text_of(source, DCM_PhotometricInterpretation) == "MONOCHROME1";
  result.putAndInsertString(DCM_PresentationLUTShape, inverse ? "INVERSE" : "IDENTITY");
}

void put_displayed_area(DcmItem& source, DcmItem& result, int rows, int columns) {
  DcmItem* area = new_item(result, DCM_DisplayedAreaSelectionSequence);
  if (area == nullptr) return;
  const auto put_corner = [&](const DcmTagKey& tag, const std::array<Sint32, 2>& corner) {
    auto element = std::make_unique<DcmSignedLong>(tag);
    if (element->putSint32Array(corner.data(), 2).good() && area->insert(element.get()).good()) element.release();
  };
  put_corner(DCM_DisplayedAreaTopLeftHandCorner, {1, 1});
  put_corner(DCM_DisplayedAreaBottomRightHandCorner, {columns, rows});
  area->putAndInsertString(DCM_PresentationSizeMode, "SCALE TO FIT");
  constexpr int kUnits = 10000;
  const double aspect = object::pixel_aspect_of(source);
  const std::string ratio = aspect == 1 ? "1\\1" : fmt::format("{}\\{}", std::lround(aspect * kUnits), kUnits);
  area->putAndInsertString(DCM_PresentationPixelAspectRatio, ratio.c_str());
}

void put_shutter(DcmItem& source, DcmItem& result) {
  std::string shapes;
  for (const std::string& shape : object::texts_of(source, DCM_ShutterShape))
    if (is_complete_shutter(source, shape)) shapes += (shapes.empty() ? "" : "\\") + shape;
  if (shapes.empty()) return;
  result.putAndInsertString(DCM_ShutterShape, shapes.c_str());
  for (const DcmTagKey& tag :
       {DCM_ShutterLeftVerticalEdge, DCM_ShutterRightVerticalEdge, DCM_ShutterUpperHorizontalEdge,
        DCM_ShutterLowerHorizontalEdge, DCM_CenterOfCircularShutter, DCM_RadiusOfCircularShutter,
        DCM_VerticesOfThePolygonalShutter})
    if (!object::text_of(source, tag).empty()) copy_element(source, result, tag);
  result.putAndInsertUint16(DCM_ShutterPresentationValue,
                            object::word_of(source, DCM_ShutterPresentationValue).value_or(0));  // Black.
}

bool has_overlays(DcmItem& source) {
  bool any = false;
  for_each_overlay(source, [&](Uint16) { any = true; });
  return any;
}

void put_overlay_activation(DcmItem& source, DcmItem& result) {
  for_each_overlay(source, [&](Uint16 group) {
    result.putAndInsertString(DcmTag(DcmTagKey(group, 0x1001), EVR_CS), kOverlayLayer);
  });
}

}  // namespace node::report
