#include "dicom_node/object/map_percentiles.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace node::object {

std::vector<double> quantile_levels() {
  std::vector<double> levels;
  for (int percent = 0; percent <= 99; ++percent) levels.push_back(percent);
  for (int tenth = 1; tenth <= 9; ++tenth) levels.push_back((990 + tenth) / 10.0);
  levels.push_back(100);
  return levels;
}

std::vector<double> quantiles(std::vector<double> samples, const std::vector<double>& levels) {
  std::sort(samples.begin(), samples.end());
  std::vector<double> values;
  for (const double level : levels) {
    const double rank = level / 100 * static_cast<double>(samples.size() - 1);
    const auto below = static_cast<std::size_t>(rank);
    const std::size_t above = std::min(below + 1, samples.size() - 1);
    values.push_back(std::lerp(samples[below], samples[above], rank - static_cast<double>(below)));
  }
  return values;
}

double percentile(const std::vector<double>& levels, const std::vector<double>& quantiles, double value) {
  const auto first = std::lower_bound(quantiles.begin(), quantiles.end(), value);  // Not below the value.
  const auto last = std::upper_bound(first, quantiles.end(), value);               // Above it.
  const auto level = [&](auto at) { return levels[static_cast<std::size_t>(at - quantiles.begin())]; };
  if (first != last) return (level(first) + level(last - 1)) / 2;
  if (first == quantiles.begin()) return 0;
  if (first == quantiles.end()) return 100;
  return std::lerp(level(first - 1), level(first), (value - *(first - 1)) / (*first - *(first - 1)));
}

std::vector<double> patch_errors(const inference::AnomalyMap& map) {
  const std::int32_t side = map.patch_size;
  if (side < 1 || map.size % side != 0) return {};
  const std::int32_t across = map.size / side;
  std::vector<double> means(static_cast<std::size_t>(across) * across, 0.0);
  for (std::int32_t y = 0; y < map.size; ++y) {
    for (std::int32_t x = 0; x < map.size; ++x)
      means[static_cast<std::size_t>(y / side) * across + x / side] +=
          map.values[static_cast<std::size_t>(y) * map.size + x];
  }
  for (double& mean : means) mean /= static_cast<double>(side) * side;
  return means;
}

double score_percentile(const inference::AnomalyMap& map) {
  return percentile(map.reference.levels, map.reference.image_score, map.score);
}

std::vector<double> patch_percentiles(const inference::AnomalyMap& map) {
  std::vector<double> ranked = patch_errors(map);
  for (double& value : ranked) value = percentile(map.reference.levels, map.reference.patch_error, value);
  return ranked;
}

}  // namespace node::object
