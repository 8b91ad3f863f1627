#include "dicom_node/report/study_sources.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "dicom_node/object/character_sets.h"
#include "dicom_node/object/dataset_text.h"
#include "dicom_node/object/part10.h"
#include "dicom_node/object/result_identity.h"
#include "dicom_node/object/sha256.h"
#include "dicom_node/object/valid_values.h"

namespace node::report {
namespace {

ResultReference reference_to(std::string_view form, std::string_view sop_class_uid, const std::string& source_uid,
                             const std::string& models, const std::string& revision, const ResultContext& context) {
  return {std::string(form),
          source_uid,
          "",
          0,
          object::derive_uid(context.referring_kind(form), source_uid, "", models, revision),
          object::derive_uid(context.referring_kind(form) + "-series", source_uid, "", models, revision),
          std::string(sop_class_uid)};
}

Status load_header(const ReportedImage& image, DcmFileFormat& into) {
  NODE_RETURN_IF_ERROR(object::load_dataset(image.file, into, object::Extent::kUpToPixelData));
  return object::make_valid(*into.getDataset());
}

bool names_study(const Source& source) { return !object::text_of(source.dataset(), DCM_StudyInstanceUID).empty(); }

// Patient and study from what was reported earlier, into a data set that holds only what the store knows.
void borrow_identity(const std::vector<std::filesystem::path>& earlier_objects, DcmDataset& into) {
  for (const std::filesystem::path& path : earlier_objects) {
    DcmFileFormat earlier;
    if (object::load_dataset(path, earlier, object::Extent::kUpToPixelData).ok() &&
        object::copy_identity(*earlier.getDataset(), into, /*is_sr=*/false).ok())
      return;
  }
}

// One character set for all that is copied into an object and said in it: that of the sources if they have one between
// them and it holds our `words`, else UTF-8.
void agree_on_characters(const std::vector<DcmDataset*>& sources, const std::string& words) {
  std::set<std::string> sets;
  for (DcmDataset* source : sources)
    if (!object::is_plain(*source)) sets.insert(object::character_set_of(*source));
  if (sets.empty() && words.empty()) return;
  if (sets.size() == 1 && object::from_utf8(words, *sets.begin())) {
    for (DcmDataset* source : sources) source->putAndInsertString(DCM_SpecificCharacterSet, sets.begin()->c_str());
    return;
  }
  for (DcmDataset* source : sources)
    object::make_unicode(*source, object::character_set_of(*source));  // What cannot stays as it is.
}

}  // namespace

DcmDataset& Source::dataset() const { return *file->getDataset(); }

std::string Source::text(std::uint32_t tag) const {
  return object::text_of(dataset(), DcmTagKey(static_cast<Uint16>(tag >> 16), static_cast<Uint16>(tag & 0xFFFF)));
}

std::string Source::side() const {
  const std::string side = object::text_of(dataset(), DCM_ImageLaterality);
  return side.empty() ? object::text_of(dataset(), DCM_Laterality) : side;
}

Status open_header(const ReportedImage& image, const std::string& words, DcmFileFormat& into) {
  NODE_RETURN_IF_ERROR(load_header(image, into));
  agree_on_characters({into.getDataset()}, words);
  return ok_status();
}

Result<std::vector<Source>> open_sources(const ReportedStudy& study, const std::string& words) {
  std::vector<Source> sources;
  for (const ReportedImage& image : study.images) {
    Source source{&image, std::make_shared<DcmFileFormat>()};
    const bool purged = image.record.purged_at.has_value();
    const Status opened = purged ? not_found("purged") : load_header(image, *source.file);
    if (!opened.ok()) {
      if (!purged && !image.findings.empty()) return opened.within("image " + image.record.sop_instance_uid.str());
      source.file = std::make_shared<DcmFileFormat>();
      DcmDataset& known = source.dataset();
      known.putAndInsertString(DCM_SOPClassUID, image.record.sop_class_uid.c_str());
      known.putAndInsertString(DCM_SOPInstanceUID, image.record.sop_instance_uid.str().c_str());
    }
    sources.push_back(std::move(source));
  }
  if (!sources.empty() && std::none_of(sources.begin(), sources.end(), names_study))
    borrow_identity(study.earlier_objects, sources.front().dataset());
  std::vector<DcmDataset*> datasets;
  for (const Source& source : sources) datasets.push_back(&source.dataset());
  agree_on_characters(datasets, words);
  return sources;
}

Result<const Source*> identity_source(const std::vector<Source>& sources) {
  for (const Source& source : sources)
    if (!source.image->findings.empty() && !source.image->record.purged_at) return &source;
  for (const Source& source : sources)
    if (names_study(source)) return &source;
  return invalid_argument("no image that names its study");
}

Result<OpenStudy> open_study(const ReportedStudy& study, const ResultContext& context, bool is_sr) {
  NODE_ASSIGN_OR_RETURN(std::vector<Source> sources, open_sources(study, own_words(context.config, study.images)));
  NODE_ASSIGN_OR_RETURN(const Source* identity, identity_source(sources));
  DcmDataset copied;
  NODE_RETURN_IF_ERROR(object::copy_identity(identity->dataset(), copied, is_sr));
  const OwnText text(copied);
  return OpenStudy{std::move(sources), identity, text};
}

std::vector<DcmItem*> datasets_of(const std::vector<Source>& sources, const std::vector<const ReportedImage*>& images) {
  std::vector<DcmItem*> datasets;
  for (const Source& source : sources)
    if (!source.image->record.purged_at && std::find(images.begin(), images.end(), source.image) != images.end())
      datasets.push_back(&source.dataset());
  return datasets;
}

std::vector<inference::Prediction> models_of(const ReportedStudy& study) {
  std::vector<inference::Prediction> models;
  std::set<std::string> seen;
  for (const ReportedImage& image : study.images) {
    for (const object::FindingRecord& finding : image.findings) {
      if (!seen.insert(finding.prediction.model_version).second) continue;
      inference::Prediction& model = models.emplace_back();
      model.model = finding.prediction.model;
      model.model_version = finding.prediction.model_version;
    }
  }
  return models;
}

std::string models_digest(const ReportedStudy& study) {
  std::set<std::string> lines;
  for (const ReportedImage& image : study.images)
    for (const object::FindingRecord& finding : image.findings)
      lines.insert(finding.prediction.task + "=" + finding.prediction.model_version);
  const std::string text = fmt::format("{}", fmt::join(lines, "\n"));
  object::Sha256 digest;
  digest.update(text);
  return digest.finish_hex();
}

ReportedStudy one_image(const ReportedStudy& study, const std::string& sop_instance_uid) {
  ReportedStudy one{study.study_instance_uid, study.revision, {}, {}, study.predecessors, study.earlier_objects};
  for (const ReportedImage& image : study.images)
    if (image.record.sop_instance_uid.str() == sop_instance_uid) one.images.push_back(image);
  for (const ResultReference& picture : study.illustrations)
    if (picture.source_uid == sop_instance_uid) one.illustrations.push_back(picture);
  return one;
}

ResultReference study_reference(std::string_view form, std::string_view sop_class_uid, const ReportedStudy& study,
                                const ResultContext& context) {
  return reference_to(form, sop_class_uid, study.study_instance_uid.str(), models_digest(study),
                      context.stamp.value_or(context.revision), context);
}

ResultReference image_reference(std::string_view form, std::string_view sop_class_uid, const ReportedImage& image,
                                const ReportedStudy& study, const ResultContext& context) {
  const std::string source_uid = image.record.sop_instance_uid.str();
  return reference_to(form, sop_class_uid, source_uid, models_digest(one_image(study, source_uid)),
                      image_revision(image, context), context);
}

}  // namespace node::report
