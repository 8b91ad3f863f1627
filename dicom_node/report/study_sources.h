// study_sources: the images that a study's objects speak of, opened for what is copied from them.
//
// Threads: reentrant; an opened source belongs to one thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "dicom_node/report/result_object.h"

class DcmDataset;
class DcmFileFormat;
class DcmItem;

namespace node::report {

// An image with its data set, up to the pixel data.
struct Source {
  const ReportedImage* image = nullptr;
  std::shared_ptr<DcmFileFormat> file;

  DcmDataset& dataset() const;
  std::string text(std::uint32_t tag) const;  // 0xGGGGEEEE; as object::text_of().
  std::string side() const;                   // Image Laterality, else Laterality: "R", "L", "B", "U" or empty.
};

// The image's data set, up to the pixel data, as results may copy it: in its own character set if that holds our
// `words` (own_words()), else in UTF-8. Errors: as load_dataset() and make_valid().
Status open_header(const ReportedImage& image, const std::string& words, DcmFileFormat& into);

// One for each image of the study, in its order, all in one character set; `study` must live as long as they do. An
// image without findings may be damaged, one that was reported before may be purged: of these the data set holds only
// what the store knows, and, where none of them names the study, of the first what an earlier report names. Errors: as
// open_header() of an image with findings.
Result<std::vector<Source>> open_sources(const ReportedStudy& study, const std::string& words);

// Whose patient and study a study object bears: the first image with findings, else the first that names a study.
// Errors: kInvalidArgument if there is none.
Result<const Source*> identity_source(const std::vector<Source>& sources);

// What a study object copies from, and how its own texts are to be written.
struct OpenStudy {
  std::vector<Source> sources;
  const Source* identity;  // One of them.
  OwnText text;
};
// Errors: as the two above; as copy_identity().
Result<OpenStudy> open_study(const ReportedStudy& study, const ResultContext& context, bool is_sr);

// The data sets of `images`, each once, without those that are purged.
std::vector<DcmItem*> datasets_of(const std::vector<Source>& sources, const std::vector<const ReportedImage*>& images);

// The models that made the study's findings, each once; without scores and maps.
std::vector<inference::Prediction> models_of(const ReportedStudy& study);
// SHA-256, hexadecimal, over the sorted lines `task=model version` of all findings: what stands as model version in the
// UIDs of study objects.
std::string models_digest(const ReportedStudy& study);

// The study as if it held that image alone, and its pictures.
ReportedStudy one_image(const ReportedStudy& study, const std::string& sop_instance_uid);

// A study object of the word `form`: one for the study, its UIDs derived from the study, models_digest() and the
// report's revision.
ResultReference study_reference(std::string_view form, std::string_view sop_class_uid, const ReportedStudy& study,
                                const ResultContext& context);
// An object of one image, derived from it, models_digest() of its findings and its version.
ResultReference image_reference(std::string_view form, std::string_view sop_class_uid, const ReportedImage& image,
                                const ReportedStudy& study, const ResultContext& context);

}  // namespace node::report
