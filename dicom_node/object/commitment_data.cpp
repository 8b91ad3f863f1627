#include "dicom_node/object/commitment_data.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcdeftag.h>
#include <dcmtk/dcmdata/dcitem.h>
#include <dcmtk/dcmdata/dcsequen.h>
#include <fmt/format.h>

#include "dicom_node/object/dataset_text.h"

namespace node::object {
namespace {

using storage::CommitmentFailure;
using storage::SopReference;
using storage::Uid;

Result<SopReference> decode_reference(DcmItem& item) {
  SopReference reference{text_of(item, DCM_ReferencedSOPClassUID), text_of(item, DCM_ReferencedSOPInstanceUID)};
  if (Uid::parse(reference.sop_class_uid).ok() && Uid::parse(reference.sop_instance_uid).ok()) return reference;
  return invalid_argument("storage commitment: a reference without valid UIDs");
}

DcmItem* add_item(DcmItem& data_set, const DcmTagKey& sequence, const SopReference& reference) {
  DcmItem* item = nullptr;
  data_set.findOrCreateSequenceItem(sequence, item, -2);  // -2: one more.
  item->putAndInsertString(DCM_ReferencedSOPClassUID, reference.sop_class_uid.c_str());
  item->putAndInsertString(DCM_ReferencedSOPInstanceUID, reference.sop_instance_uid.c_str());
  return item;
}

}  // namespace

Result<CommitmentData> decode_commitment(DcmItem& data_set) {
  CommitmentData data{text_of(data_set, DCM_TransactionUID), {}};
  if (!Uid::parse(data.transaction_uid).ok()) return invalid_argument("storage commitment: no valid Transaction UID");
  for (const DcmTagKey& tag : {DCM_ReferencedSOPSequence, DCM_FailedSOPSequence}) {
    DcmSequenceOfItems* items = nullptr;
    if (data_set.findAndGetSequence(tag, items).bad() || items == nullptr) continue;
    if (items->card() > kCommitmentReferencesMax) {
      return invalid_argument(fmt::format("storage commitment: more than {} references", kCommitmentReferencesMax));
    }
    for (DcmItem* const item : all_items(*items)) {
      NODE_ASSIGN_OR_RETURN(SopReference reference, decode_reference(*item));
      if (tag == DCM_ReferencedSOPSequence) {
        data.referenced.push_back(std::move(reference));
      } else {
        data.failed.push_back({std::move(reference), word_of(*item, DCM_FailureReason).value_or(0x0110)});
      }
    }
  }
  if (data.referenced.empty() && data.failed.empty()) return invalid_argument("storage commitment: no references");
  return data;
}

void encode_commitment(const CommitmentData& data, DcmItem& data_set) {
  data_set.putAndInsertString(DCM_TransactionUID, data.transaction_uid.c_str());
  for (const SopReference& reference : data.referenced) add_item(data_set, DCM_ReferencedSOPSequence, reference);
  for (const CommitmentFailure& failure : data.failed) {
    add_item(data_set, DCM_FailedSOPSequence, failure.reference)->putAndInsertUint16(DCM_FailureReason, failure.reason);
  }
}

}  // namespace node::object
