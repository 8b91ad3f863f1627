#include "dicom_node/report/map_peak.h"

#include <algorithm>

#include "dicom_node/object/map_percentiles.h"

namespace node::report {

std::optional<MapPeak> map_peak(const inference::AnomalyMap& map, int source_rows, int source_columns) {
  if (source_rows < 1 || source_columns < 1) return std::nullopt;
  const std::vector<double> errors = object::patch_errors(map);
  const auto highest = std::max_element(errors.begin(), errors.end());
  if (highest == errors.end() || !(*highest > 0)) return std::nullopt;
  const int across = map.size / map.patch_size, index = static_cast<int>(highest - errors.begin());
  const double width = static_cast<double>(source_columns) / across, height = static_cast<double>(source_rows) / across;
  const int row = index / across, column = index % across;
  return MapPeak{*highest, column * width, row * height, (column + 1) * width, (row + 1) * height};
}

std::vector<std::pair<double, double>> outline(const MapPeak& peak) {
  return {{peak.left, peak.top},
          {peak.right, peak.top},
          {peak.right, peak.bottom},
          {peak.left, peak.bottom},
          {peak.left, peak.top}};
}

}  // namespace node::report
