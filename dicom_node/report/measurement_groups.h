// measurement_groups: what each image and task has to say, as TID 1501 groups below Imaging Measurements.
//
// Threads: reentrant.
// Source:  PS3.16 TID 1501, 300, 320, 4019.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "dicom_node/report/codes.h"
#include "dicom_node/report/content_tree.h"
#include "dicom_node/report/result_object.h"
#include "dicom_node/report/study_sources.h"

class DSRDocumentTree;

namespace node::report {

// What a finding is known by, in the report and wherever else it is. Neither model nor revision is in it: the finding
// of a later run is the same thing, tracked.
struct Tracking {
  std::string identifier;  // For a person: "anomaly KNEE L image 2".
  storage::Uid uid;
};
Tracking tracking_of(const Source& source, const object::FindingRecord& finding, const ResultContext& context);

// The region from the term that routed the image; else the source's own code, if it has one.
std::optional<Code> finding_site(const Source& source);

// "R", "L", "B", "U" or empty: of the half that was looked at, else of the image.
std::string side_of(const Source& source, const inference::Prediction& prediction);

// The current item is a measurement group: name, version, digest, thresholds and parameters of what made it.
void add_algorithm(ContentTree& tree, const object::FindingRecord& finding, const config::TaskConfig& task);

// One group for each finding of `sources`, in a tree made from the root template TID 1500.
// Errors: kInternal: DCMTK refuses a content item; the message says which.
Status add_measurement_groups(DSRDocumentTree& document, const std::vector<Source>& sources, const ReportedStudy& study,
                              const ResultContext& context, const OwnText& text);

}  // namespace node::report
