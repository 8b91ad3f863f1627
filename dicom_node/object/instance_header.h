// InstanceHeader: the handful of attributes we use, read from a file up to the pixel data.
//
// Guarantee: reading is bounded before DCMTK parses anything: a walk of our own limits nesting depth, element lengths
//            against the file's size, the elements' number and order, and inflated size (a nested_6000 bomb overflows
//            DCMTK 3.6.7's stack, and elements in descending order cost it the square of their number).
// Threads:   reentrant.
// Source:    PS3.10 7 (file format), PS3.5 7 (data set), PS3.3 C.7 and C.8.11 (attributes).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/status.h"
#include "config/task_config.h"

namespace node::object {

struct InstanceHeader {
  // As written, padding stripped; UIDs are not checked here.
  std::string sop_class_uid, sop_instance_uid, study_instance_uid, series_instance_uid, transfer_syntax_uid;
  // The first group below 0008 that stands in the data set itself, or behind the meta group's declared end: files may
  // have one by mistake, no data set of a C-STORE has.
  std::optional<std::uint16_t> low_group;
  std::string instance_creator_uid;           // (0008,0014): this node's own, for the loop guard.
  std::string modality;                       // (0008,0060)
  std::string presentation_intent_type;       // (0008,0068) "FOR PROCESSING"
  std::vector<std::string> image_type;        // (0008,0008)
  std::string accession_number;               // (0008,0050)
  std::string body_part_examined;             // (0018,0015)
  std::vector<config::Code> anatomic_region;  // (0008,2218)
  std::vector<config::Code> performed_codes;  // (0040,0260): what was done in the image's own series.
  std::vector<config::Code> procedure_codes;  // Of the study and of requests: (0008,1032), (0032,1064), (0040,0008)
  // (0018,1030), (0008,103E), (0008,1030); as all texts here in UTF-8, if the character set is what it says.
  std::string protocol_name, series_description, study_description;
  std::string laterality;     // Image Laterality (0020,0062), else Laterality (0020,0060), else the modifier of
                              // Anatomic Region; upper case
  std::string view_position;  // View Position (0018,5101), else what View Code Sequence (0054,0220) says: "AP"
  std::string orientation;  // Patient Orientation (0020,0020), where rows and columns run to: "L\\F"; upper case; empty
                            // where it has not two values
  std::string patient_sex;  // (0010,0040)
  std::string station_name, institution_name;   // (0008,1010), (0008,0080)
  std::string requested_procedure_description;  // The first of (0032,1060), (0040,0007) of requests, (0040,0254)
  std::string source_ae_title;  // Source Application Entity Title (0002,0016): of a file that nobody sent us.
  int age_years = -1;           // Patient's Age, else from birth and study date; -1: unknown
  int rows = 0, columns = 0, samples_per_pixel = 0, bits_allocated = 0, bits_stored = 0, number_of_frames = 1;
  std::string photometric_interpretation;  // (0028,0004)
  bool has_pixel_data = false;
  bool pixel_data_encapsulated = false;
  std::uint64_t pixel_data_bytes = 0;  // As far as the file holds them; encapsulated: of all fragments.
  bool pixel_data_cut = false;         // The file ends inside them.

  // SHA-256 over the raw values, padding stripped, of the attributes that routing, rendering or results read: the list
  // is kAttributesThatMatter in the .cpp. Two objects with the same digest and the same pixels are the same object,
  // whatever their transfer syntax, Retrieve AE Title or Original Attributes.
  std::string digest;

  bool operator==(const InstanceHeader&) const = default;

  // By Presentation Intent Type, or a SOP class that holds nothing else: not made to be looked at.
  bool is_for_processing() const;

  // Empty if pixel data are complete as far as a header can tell; else "no pixel data", "pixel data empty", "pixel data
  // shorter than rows x columns ask: ...", "the file ends inside the pixel data, ...", or what of the header is
  // impossible.
  std::string pixel_data_problem() const;
};

// Limits of the walk; also those of the image loader.
struct ReadLimits {
  int sequence_depth_max = 64;
  // Of a deflated data set: the least of the first, of inflated_bytes_max() (inflation.h), and of the second and the
  // third times its deflated bytes.
  // Radiographs inflate to 2 to 20 times; nothing of a bomb's 1,000.
  std::uint64_t inflated_bytes_max = 512ull << 20, inflated_bytes_free = 64ull << 20, inflated_ratio_max = 100;
  std::uint64_t elements_max = 100'000;
  // Elements behind one of a greater tag (PS3.5 7.1), of the whole file. One that has N before it in its item counts as
  // 1 + N / 1000.
  std::uint64_t out_of_order_max = 1'000;
};

// A Part 10 file, or a bare data set whose transfer syntax the caller knows (from the presentation context).
// Errors: kInvalidArgument: not parsable up to the pixel data (the message says where), nested too deep.
//         kNotFound, kInternal: the file cannot be read. kUnavailable: hold_inflated().
Result<InstanceHeader> read_instance_header(const std::filesystem::path& file, const ReadLimits& limits = {});
// The same of a file that is in memory.
Result<InstanceHeader> parse_instance_header(std::string_view bytes, const ReadLimits& limits = {});

// The walk alone: everything that opens a peer's file with DCMTK calls this first.
Status check_structure(const std::filesystem::path& file, const ReadLimits& limits = {});

}  // namespace node::object
