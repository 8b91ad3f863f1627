// EveryCall: a stage of a study's life is lived once for each of its calls to the disk and each way in which that call
// can fail. Stages are in the crash_points_*.cpp, each with what holds of it.
#pragma once

#include <functional>
#include <memory>

#include "tests/crash/hospital.h"

namespace node::crash {

// A stage: what there is to do, from any state in which a crash of it may leave the machine, and what holds.
struct Stage {
  const char* name;
  std::function<std::unique_ptr<Hospital>()> before;  // A machine on which all before it was done.
  std::function<Status(Process&, Hospital&)> live;
  std::function<void(Process&, Hospital&)> check;  // Whatever happened.
  // When it is done; `faults`: each may have cost one re-send.
  std::function<void(Process&, Hospital&, int faults)> check_end;
};

class EveryCall : public testing::TestWithParam<Stage (*)()> {
 protected:
  EveryCall();
  Hospital start() const { return Hospital(*before_); }

  const Stage stage_;
  std::unique_ptr<Hospital> before_;
  int calls_ = 0;
};

// A machine configured so, on which `live` was done.
std::unique_ptr<Hospital> after(const std::function<Status(Process&, Hospital&)>& live, const Plan& plan = {});

// Errors: what the first that was not answered as it must be in the end was answered.
Status receive_all(Process& process, const std::vector<const Image*>& images);

// Every row that says PRESENT has its file, bit for bit; a file without a row is deleted.
void expect_files_as_rows_say(Process& process);
// What left the node is known to it, and no UID of a result has two contents.
void expect_known_what_was_sent(Process& process, Hospital& hospital);

}  // namespace node::crash
