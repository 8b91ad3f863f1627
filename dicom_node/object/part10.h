// part10: opening a peer's Part 10 file with DCMTK, and writing one of our own into memory.
//
// Guarantee: load_dataset() walks the file with our own bounds (check_structure) before DCMTK parses it, and DCMTK
//            reads no further than the walk did. What encode_part10() writes depends on the data set alone.
// Threads:   reentrant; one DcmFileFormat belongs to one thread.
// Source:    PS3.10 7.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "config/base/status.h"
#include "dicom_node/object/instance_header.h"

class DcmFileFormat;

namespace node::object {

// Of every file and association of ours: (0002,0012), (0002,0013).
extern const char* const kImplementationClassUid;
extern const char* const kImplementationVersionName;

enum class Extent {
  kUpToPixelData,  // Long values stay in the file until they are asked for.
  kWithPixelData,  // And nothing behind them.
};

// Errors: as read_instance_header().
Status load_dataset(const std::filesystem::path& file, DcmFileFormat& into, Extent extent,
                    const ReadLimits& limits = {});

// What stands before a data set that is kept as it came: preamble and meta group. Values as given, but padded.
std::string encode_meta_header(std::string_view sop_class_uid, std::string_view sop_instance_uid,
                               std::string_view transfer_syntax_uid, std::string_view source_ae_title);

// Where the data set of a file begins: behind its meta group. Errors: kNotFound; kInvalidArgument (no group length).
Result<std::uint64_t> data_set_offset(const std::filesystem::path& file);

// The bytes of a Part 10 file, our implementation in its meta group. `file` needs its SOP Class and Instance UID.
// `transfer_syntax_uid`: Explicit VR Little Endian, RLE Lossless or JPEG Lossless (process 14, selection value 1):
// pixels that are not compressed yet are. Errors: kInvalidArgument (an element that cannot be written, another syntax).
Result<std::string> encode_part10(DcmFileFormat& file, const std::string& transfer_syntax_uid = "1.2.840.10008.1.2.1");

}  // namespace node::object
