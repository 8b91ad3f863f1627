// have_same_pixels: whether two objects under one SOP Instance UID are the same picture.
//
// Threads: reentrant.
// Errors:  kNotFound, kInternal, kDataLoss: a file cannot be read. Bytes that cannot be decoded are no error.
#pragma once

#include <filesystem>
#include <string_view>

#include "config/base/status.h"

namespace node::receive {

Result<bool> have_same_bytes(const std::filesystem::path& a, const std::filesystem::path& b);
bool is_in_file(std::string_view bytes, const std::filesystem::path& file);  // And nothing else. False if unreadable.

// Compared decoded. If one of them is lossy or cannot be decoded here and the transfer syntaxes differ, they count as
// the same; if neither can be decoded and the syntaxes are the same, the encoded pixel data are compared. Objects
// without pixel data have the same.
Result<bool> have_same_pixels(const std::filesystem::path& a, const std::filesystem::path& b);

}  // namespace node::receive
