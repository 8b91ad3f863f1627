// Fragments: the encapsulated pixel data of one file, frame by frame, read from where the walk has found them.
//
// Threads:   one object belongs to one thread.
// Source:    PS3.5 A.4.
#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/status.h"
#include "dicom_node/object/structure.h"

namespace node::object {

class Fragments {
 public:
  struct Range {
    std::size_t first, end;  // Item 0 is the Basic Offset Table.
  };

  // `found`: Structure::fragments. `begin`: what each frame's codestream begins with. Errors: kInternal.
  static Result<Fragments> open(const std::filesystem::path& file, std::vector<Structure::Fragment> found, int frames,
                                std::vector<std::string_view> begin);

  // Those of one frame, counted from 0: all of them, or one, or as the Basic Offset Table says, or, where that is
  // empty, from one that begins a codestream to the next. Errors: kInvalidArgument, kDataLoss.
  Result<Range> range_of(int frame);
  // The compressed bytes of one frame. Errors: and as range_of().
  Result<std::string> codestream(int frame);
  std::size_t count() const { return found_.size(); }
  // Up to `size_max` bytes of one of them, from its start. Errors: kDataLoss.
  Result<std::string> read(std::size_t index, std::size_t size_max = SIZE_MAX);

 private:
  Status append(std::size_t index, std::size_t size_max, std::string& bytes);

  std::ifstream file_;
  std::vector<Structure::Fragment> found_;
  int frames_ = 1;
  std::vector<std::string_view> begin_;
};

}  // namespace node::object
