// map_percentiles: where an anomaly map's errors lie among those of normal images: quantile tables and back.
//
// Guarantee: pure functions of their arguments. A percentile never falls where the value rises, and the same value of
//            the same table has the same percentile in every image.
// Threads:   any.
// Source:    quantiles by linear interpolation between order statistics (Hyndman and Fan 1996, type 7; numpy's
// default);
//            a value that several quantiles share has the middle of their levels (mid-rank).
#pragma once

#include <vector>

#include "inference/predictor.h"

namespace node::object {

// The levels of a table that we make, in percent: 0, 1 ... 99, 99.1 ... 99.9, 100: fine where anomalies are.
std::vector<double> quantile_levels();
// At each of `levels` the quantile of `samples` (not empty; any order).
std::vector<double> quantiles(std::vector<double> samples, const std::vector<double>& levels);

// The percentile, 0 to 100, of `value` in a table of one quantile a level: linear between them, 0 below all, 100 above.
double percentile(const std::vector<double>& levels, const std::vector<double>& quantiles, double value);

// The mean error of each patch, row by row; empty if the map does not consist of whole patches.
std::vector<double> patch_errors(const inference::AnomalyMap& map);

inline bool is_calibrated(const inference::AnomalyMap& map) { return !map.reference.digest.empty(); }
// Of a calibrated map: the percentile of its score, and of each patch's error.
double score_percentile(const inference::AnomalyMap& map);
std::vector<double> patch_percentiles(const inference::AnomalyMap& map);

}  // namespace node::object
