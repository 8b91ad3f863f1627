#include "dicom_node/report/key_objects.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmsr/dsrdoc.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "dicom_node/object/result_identity.h"
#include "dicom_node/report/finding_summary.h"
#include "dicom_node/report/sr_document.h"

namespace node::report {
namespace {

constexpr const char* kSeriesNumber = "9003";
constexpr const char* kSeriesDescription = "SKELEX key images - NOT FOR DIAGNOSIS";

bool is_key(const ReportedImage& image, const ResultContext& context) {
  return !image.record.purged_at && outcome_of(context.config.tasks, image.findings) == Outcome::kFound;
}

// The images with findings and their pictures: all that the document names.
ReportedStudy key_images(const ReportedStudy& study, const ResultContext& context) {
  ReportedStudy keys{study.study_instance_uid, study.revision, {}, {}, study.predecessors};
  std::copy_if(study.images.begin(), study.images.end(), std::back_inserter(keys.images),
               [&](const ReportedImage& image) { return is_key(image, context); });
  std::copy_if(study.illustrations.begin(), study.illustrations.end(), std::back_inserter(keys.illustrations),
               [&](const ResultReference& picture) { return find_image(keys, picture.source_uid) != nullptr; });
  return keys;
}

}  // namespace

std::vector<ResultReference> key_object_references(std::string_view form, const ReportedStudy& study,
                                                   const ResultContext& context) {
  const bool any = std::any_of(study.images.begin(), study.images.end(),
                               [&](const ReportedImage& image) { return is_key(image, context); });
  if (!any) return {};
  return {study_reference(form, UID_KeyObjectSelectionDocumentStorage, study, context)};
}

Result<ResultObject> make_key_objects(const ReportedStudy& whole, const ResultReference& reference,
                                      const ResultContext& context) {
  const ReportedStudy study = key_images(whole, context);
  NODE_ASSIGN_OR_RETURN(const OpenStudy opened, open_study(study, context, /*is_sr=*/true));
  const auto& [sources, identity, text] = opened;

  DSRDocument document;
  NODE_RETURN_IF_ERROR(
      to_status(document.createNewDocument(DSRTypes::DT_KeyObjectSelectionDocument), "key object selection"));
  ContentTree tree(document.getTree(), text);
  tree.root(kOfInterest, "2010");
  add_observer(tree, context);
  tree.text(Relation::kContains, kKeyObjectDescription,
            fmt::format("Findings in {} of {} images. {}", study.images.size(), whole.images.size(),
                        context.config.disclaimer));
  for (const Source& source : sources) {  // TID 2010 allows its images no concept name.
    const storage::InstanceRecord& record = source.image->record;
    tree.image(Relation::kContains, nullptr, record.sop_class_uid, record.sop_instance_uid);
    for (const ResultReference& picture : study.illustrations)
      if (picture.source_uid == record.sop_instance_uid.str())
        tree.image(Relation::kContains, nullptr, picture.sop_class_uid, picture.sop_instance_uid);
  }
  NODE_RETURN_IF_ERROR(tree.status());
  return finish_document(
      document, {study, sources, *identity, reference, context, text, context.time, kSeriesNumber, kSeriesDescription});
}

}  // namespace node::report
