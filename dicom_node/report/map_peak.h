// map_peak: where an anomaly map is highest.
//
// Threads: any.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "inference/predictor.h"

namespace node::report {

struct MapPeak {
  double error = 0;                                 // Mean squared error of the patch, the model's own unit.
  double left = 0, top = 0, right = 0, bottom = 0;  // In pixels of the source; (0, 0) is the image's outer corner.
};

// The patch, the unit in which the model hides and redraws, with the highest mean error; the first of equal ones. None:
// no map, no whole patches, nothing but zeros, or a source without size.
std::optional<MapPeak> map_peak(const inference::AnomalyMap& map, int source_rows, int source_columns);

// Its corners as a closed line, clockwise from the top left.
std::vector<std::pair<double, double>> outline(const MapPeak& peak);

}  // namespace node::report
