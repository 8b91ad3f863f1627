// sr_document: what every object of the structured report family has around its content tree.
//
// Threads: reentrant.
// Source:  PS3.3 C.17.2 (SR Document General), C.17.6.2 (Key Object Document), C.12.1 (Coding Scheme Identification).
#pragma once

#include <vector>

#include "config/base/status.h"
#include "dicom_node/report/codes.h"
#include "dicom_node/report/content_tree.h"
#include "dicom_node/report/result_object.h"
#include "dicom_node/report/study_sources.h"

class DSRDocument;
class OFCondition;

namespace node::report {

struct DocumentFrame {
  const ReportedStudy& study;
  const std::vector<Source>& sources;  // All of these, and the study's illustrations, are named as evidence.
  const Source& identity;              // Whose patient and study are copied.
  const ResultReference& reference;
  const ResultContext& context;
  const OwnText& text;
  WallTime time;
  const char* series_number;
  const char* series_description;
};

// Language and device observer (TID 1204, 1002, 1004), below the root, which is the current item.
void add_observer(ContentTree& tree, const ResultContext& context);

// Completes `document`, whose tree stands, and writes it: evidence, predecessors, coding schemes, flags of a machine's
// unread output, identity, times, UIDs. The same input gives the same bytes.
// Errors: kInternal: DCMTK refuses something; the message says what. As copy_identity().
Result<ResultObject> finish_document(DSRDocument& document, const DocumentFrame& frame);

// The imaging procedures that made the images (0008,1032), each once, in the source's own characters; if none is
// named, the code for an unspecified radiograph.
std::vector<Code> procedures_reported(const std::vector<Source>& sources);

// What DCMTK answered; kInternal "WHAT: its words" unless it is good.
Status to_status(const OFCondition& condition, const char* what);

}  // namespace node::report
