// RestClock: the time by which retention counts how long a study is at rest.
//
// Guarantee: no clock that is wrong, ahead or behind, at a start or in the middle, makes what is kept look old: while a
//            process runs it goes on with the steady clock, and from one process to the next by what the wall clock
//            says has passed, between nothing and kStopCountedMax. So a start makes nothing older than by that.
// Threads:   now() from any; the others where the database is written.
#pragma once

#include <chrono>
#include <cstdint>

#include "config/base/clock.h"
#include "storage/sqlite_database.h"

namespace node::storage {

class RestClock {
 public:
  // Counts the stop before this start, kStopCountedMax of it at most. Errors: those of the database.
  static Result<RestClock> start(Database& database, Clock& clock);

  std::int64_t now() const;  // Milliseconds since 1970, as the times that were written before there was this clock.
  // Writes down where it is, now and then: what the next start goes on from. Within a transaction.
  Status keep(Database& database);
  std::chrono::milliseconds not_counted() const { return not_counted_; }  // Of the stop before this start.

 private:
  RestClock(Clock& clock, std::int64_t origin);
  std::int64_t wall() const;
  Status write(Database& database);

  Clock* clock_;
  std::int64_t origin_;
  SteadyTime steady_origin_;
  std::int64_t kept_ = 0, kept_wall_ = 0;
  std::chrono::milliseconds not_counted_{};
};

}  // namespace node::storage
