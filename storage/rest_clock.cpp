#include "storage/rest_clock.h"

#include <algorithm>
#include <cstdlib>

#include "storage/study_store.h"

namespace node::storage {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kKeptEvery = std::chrono::hours(1);
constexpr milliseconds kSlewed = std::chrono::minutes(1);  // More between the two clocks is a jump, and written down.

struct Kept {
  std::int64_t time = 0, wall = 0;
};

// Of a database that no start has written it to yet: the newest time in it that is not ahead of `wall`.
Result<Kept> read(Database& database, std::int64_t wall) {
  Query row(database,
            "SELECT max(iif(key = 'rest_time', CAST(value AS INTEGER), NULL)), "
            "max(iif(key = 'rest_time_wall', CAST(value AS INTEGER), NULL)) FROM meta");
  if (!row.next()) return row.status();
  const auto time = row.integer_or_null(), at_wall = row.integer_or_null();
  if (time && at_wall) return Kept{*time, *at_wall};
  Query newest(database,
               "SELECT coalesce(max(time) FILTER (WHERE time <= ?1), max(time), ?1) FROM "
               "(SELECT max(last_instance_at, coalesce(rest_since, 0)) AS time FROM study)",
               wall);
  if (!newest.next()) return newest.status();
  const std::int64_t at = newest.integer();
  return Kept{at, at};
}

}  // namespace

RestClock::RestClock(Clock& clock, std::int64_t origin)
    : clock_(&clock), origin_(origin), steady_origin_(clock.steady_now()) {}

std::int64_t RestClock::now() const {
  return origin_ + std::chrono::duration_cast<milliseconds>(clock_->steady_now() - steady_origin_).count();
}

std::int64_t RestClock::wall() const { return clock_->now().time_since_epoch().count(); }

Result<RestClock> RestClock::start(Database& database, Clock& clock) {
  const std::int64_t wall = clock.now().time_since_epoch().count();
  NODE_ASSIGN_OR_RETURN(const Kept kept, read(database, wall));
  const std::int64_t stop = std::max<std::int64_t>(wall - kept.wall, 0);
  const std::int64_t counted = std::min<std::int64_t>(stop, milliseconds(kStopCountedMax).count());
  RestClock started(clock, kept.time + counted);
  started.not_counted_ = milliseconds(stop - counted);
  NODE_RETURN_IF_ERROR(started.write(database));
  return started;
}

Status RestClock::keep(Database& database) {
  const std::int64_t passed = now() - kept_;
  if (passed < kKeptEvery.count() && std::abs(wall() - kept_wall_ - passed) < kSlewed.count()) return ok_status();
  return write(database);
}

Status RestClock::write(Database& database) {
  const std::int64_t time = now(), at_wall = wall();
  NODE_RETURN_IF_ERROR(
      Query(database, "INSERT OR REPLACE INTO meta VALUES ('rest_time', ?1), ('rest_time_wall', ?2)", time, at_wall)
          .run());
  kept_ = time;
  kept_wall_ = at_wall;
  return ok_status();
}

}  // namespace node::storage
