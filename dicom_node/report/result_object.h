// ResultObject: one DICOM object that the node makes, and what all of them have in common.
//
// Guarantee: the same input gives the same bytes: times and revisions come with the ResultContext and the images, never
//            from the clock.
// Threads:   reentrant.
// Source:    PS3.3 C.7.5.1 (General Equipment), C.12.1 (SOP Common); IHE RAD AI Results 6.5.3 (Contributing Equipment).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "config/base/clock.h"
#include "config/base/status.h"
#include "config/report_config.h"
#include "dicom_node/object/finding_record.h"
#include "inference/predictor.h"
#include "storage/study_store.h"
#include "storage/uid.h"

class DcmItem;

namespace node::report {

// Raised when the same findings come to be written as other bytes; part of the UIDs.
inline constexpr int kObjectFormat = 12;

inline constexpr const char* kManufacturer = "SKELEX project";
inline constexpr const char* kModelName = "SKELEX node";

inline constexpr const char* kPrivateSchemeName = "SKELEX private codes";
storage::Uid private_scheme_uid();  // Of the scheme 99SKELEX, the same everywhere.

struct ResultContext {
  std::string node_uid;  // Device Observer UID, Instance Creator UID.
  config::ReportConfig config;
  std::string kind_prefix;  // Before the kind in every derived UID: "", "predict-", "shadow-".
  std::string revision;     // Of study objects: the number of the study's report.
  WallTime time{};          // Of study objects: when the study was closed.
  // `predict` has neither versions nor a store: this text stands in place of every revision, and `time` is that of
  // image objects as well.
  std::optional<std::string> stamp;

  // Behind the kind of objects that refer to pictures, of those for readers who get other pictures than the rest, or
  // none: "", "-sc-rle", "-plain".
  std::string variant;

  std::string kind(std::string_view form) const { return kind_prefix + std::string(form); }
  std::string referring_kind(std::string_view form) const { return kind(form) + variant; }
};

struct ReportedImage {
  storage::InstanceRecord record;
  std::filesystem::path file;                   // The object as received: what is drawn and copied.
  std::vector<object::FindingRecord> findings;  // In the order of record.route.tasks.
  std::size_t number = 1;                       // Among the study's, from 1: "image 2" in every form of result.
};

// An object to be made; known before, and without, making it.
struct ResultReference {
  std::string form;        // Its word in `results.forms`: "sc", "sr", ...
  std::string source_uid;  // SOP Instance UID of the image it speaks of; Study Instance UID of study objects.
  std::string task;        // Of the finding it shows: its finding_key(); empty: of all findings.
  int frame = 0;           // Of the source; 0 where there is only one.
  storage::Uid sop_instance_uid;
  storage::Uid series_instance_uid;
  std::string sop_class_uid;
  std::string transfer_syntax_uid = "1.2.840.10008.1.2.1";  // Explicit VR Little Endian, or that of the form.
};

struct Predecessor {             // A report of the same study or image before this one.
  std::string kind, source_uid;  // As ResultObject has them.
  storage::Uid sop_instance_uid;
  storage::Uid series_instance_uid;
  std::string sop_class_uid;
};

struct ReportedStudy {
  storage::Uid study_instance_uid;
  int revision = 1;
  std::vector<ReportedImage> images;           // In order of arrival; those without findings say why in their record.
  std::vector<ResultReference> illustrations;  // Pictures of findings that go out with the reports.
  std::vector<Predecessor> predecessors;       // The newest of each kind and source.
  // Files of earlier revisions' objects, the newest first, some of which may be gone: they name the patient where no
  // image does any more.
  std::vector<std::filesystem::path> earlier_objects{};

  void add(ReportedImage image);  // With the next number.
};

// "Image 2, KNEE".
std::string image_name(const ReportedImage& image);

// The image of the study with that SOP Instance UID; null: none.
const ReportedImage* find_image(const ReportedStudy& study, const std::string& sop_instance_uid);

struct ResultObject {
  storage::Uid sop_instance_uid;
  storage::Uid series_instance_uid;
  std::string sop_class_uid;
  std::string kind;        // "sc", "sr"; with the context's prefix.
  std::string source_uid;  // SOP Instance UID for image objects, Study Instance UID for study objects.
  std::string task;        // Empty for objects that speak of all findings.
  int revision = 1;        // Of the study's report; of image objects the version of the instance.
  std::string bytes;       // A Part 10 file.
  std::string transfer_syntax_uid = "1.2.840.10008.1.2.1";  // Explicit VR Little Endian, or that of the form.
};

// What stands as revision in the UIDs of an image's objects, and the time they bear.
std::string image_revision(const ReportedImage& image, const ResultContext& context);
WallTime image_time(const ReportedImage& image, const ResultContext& context);

// Our own texts (UTF-8: disclaimer, labels, names of models) in the character set of the result, which open_header()
// has chosen so that it holds them; where that could not be done there stands '?'.
class OwnText {
 public:
  explicit OwnText(DcmItem& identity);  // A source, or what copy_identity() has filled from it.
  std::string operator()(const std::string& utf8) const;
  const std::string& character_set() const { return character_set_; }  // Specific Character Set (0008,0005).

 private:
  std::string character_set_;
};
// Texts of VR LO and SH end at 64 and 16 characters; cut between characters, not inside one.
std::string shorten(const std::string& utf8, std::size_t characters_max);
// Those of our texts that are not ASCII, a line each.
std::string own_words(const config::ReportConfig& config, const std::vector<ReportedImage>& images);

// General Equipment, SOP Common, one item of Contributing Equipment per model, dates and times of creation and content.
// `identity`: the source that gives the timezone.
void put_common(DcmItem& result, DcmItem& source, const ResultContext& context, WallTime time,
                const std::vector<inference::Prediction>& models, const OwnText& text);

}  // namespace node::report
