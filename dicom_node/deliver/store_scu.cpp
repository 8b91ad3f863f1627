#include "dicom_node/deliver/store_scu.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmnet/assoc.h>
#include <dcmtk/dcmnet/dimse.h>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "dicom_node/deliver/requestor.h"
#include "dicom_node/object/part10.h"
#include "dicom_node/object/uncompressed.h"

namespace node::deliver {
namespace {

constexpr const char* kUncompressed[] = {UID_LittleEndianExplicitTransferSyntax,
                                         UID_LittleEndianImplicitTransferSyntax};

// A stored data set as DIMSE_storeUser takes one, but written as the bytes that it is in its file.
class StoredDataSet : public DcmDataset {
 public:
  StoredDataSet(const std::filesystem::path& file, std::uint64_t offset) : stream_(file, std::ios::binary) {
    stream_.seekg(static_cast<std::streamoff>(offset));
  }

  OFBool isEmpty(const OFBool) override { return OFFalse; }
  OFBool canWriteXfer(const E_TransferSyntax, const E_TransferSyntax) override { return OFTrue; }
  OFCondition write(DcmOutputStream& out, const E_TransferSyntax, const E_EncodingType, DcmWriteCache*,
                    const E_GrpLenEncoding, const E_PaddingEncoding, const Uint32, const Uint32, Uint32) override {
    while (out.avail() > 0) {
      stream_.read(buffer_.data(), std::min<std::streamsize>(std::ssize(buffer_), out.avail()));
      if (!stream_.is_open() || stream_.bad()) return EC_InvalidStream;
      out.write(buffer_.data(), stream_.gcount());
      if (stream_.eof()) return EC_Normal;
    }
    return EC_StreamNotifyClient;
  }

 private:
  std::ifstream stream_;
  std::vector<char> buffer_ = std::vector<char>(64 * 1024);
};

class DcmtkStoreScu : public StoreScu {
 public:
  Result<Answer> send(const std::filesystem::path& file, const ObjectKind& kind,
                      const std::string& sop_instance_uid) override;
  bool takes(const std::string& sop_class_uid) const override {
    return ASC_findAcceptedPresentationContextID(requestor.association, sop_class_uid.c_str()) != 0;
  }
  bool takes_as_stored(const ObjectKind& kind) const override {
    return context_with(kind.sop_class_uid, kind.transfer_syntax_uid) != 0;
  }
  Status echo() override;

  Requestor requestor;
  bool transcode = true;

 private:
  // 0: the peer accepted none. DCMTK would answer with any of the class where there is none with the syntax.
  T_ASC_PresentationContextID context_with(const std::string& sop_class_uid, const std::string& syntax_uid) const {
    const T_ASC_PresentationContextID context =
        ASC_findAcceptedPresentationContextID(requestor.association, sop_class_uid.c_str(), syntax_uid.c_str());
    T_ASC_PresentationContext accepted{};
    if (context == 0 || ASC_findAcceptedPresentationContext(requestor.association->params, context, &accepted).bad()) {
      return 0;
    }
    return syntax_uid == accepted.acceptedTransferSyntax ? context : 0;
  }
};

}  // namespace

Result<std::unique_ptr<StoreScu>> StoreScu::open(const config::DeliveryConfig& config, const config::PeerConfig& peer,
                                                 const std::vector<ObjectKind>& kinds) {
  auto scu = std::make_unique<DcmtkStoreScu>();
  scu->transcode = peer.transcode;
  NODE_RETURN_IF_ERROR(scu->requestor.associate(config, peer, [&](T_ASC_Parameters* parameters) {
    // A context has one answer, so the stored syntax stands in a context of its own: what else the peer takes must not
    // win over it. Beside it, once a class, the uncompressed ones.
    const char* uncompressed[] = {kUncompressed[0], kUncompressed[1]};
    T_ASC_PresentationContextID id = 1;
    ASC_addPresentationContext(parameters, id, UID_VerificationSOPClass, &uncompressed[1], 1);
    std::vector<std::string> classes;
    std::vector<ObjectKind> seen;
    for (const ObjectKind& kind : kinds) {
      if (std::find(seen.begin(), seen.end(), kind) != seen.end() || seen.size() == kKindsMax) continue;
      seen.push_back(kind);
      const char* stored = kind.transfer_syntax_uid.c_str();
      ASC_addPresentationContext(parameters, id += 2, kind.sop_class_uid.c_str(), &stored, 1);
      if (peer.transcode && std::find(classes.begin(), classes.end(), kind.sop_class_uid) == classes.end()) {
        classes.push_back(kind.sop_class_uid);
        ASC_addPresentationContext(parameters, id += 2, kind.sop_class_uid.c_str(), uncompressed, 2);
      }
    }
  }));
  return std::unique_ptr<StoreScu>(std::move(scu));
}

Result<Answer> DcmtkStoreScu::send(const std::filesystem::path& file, const ObjectKind& kind,
                                   const std::string& sop_instance_uid) {
  const std::string what = "send " + sop_instance_uid;
  T_ASC_Association* const association = requestor.association;
  const DcmXfer stored_syntax(kind.transfer_syntax_uid.c_str());
  T_ASC_PresentationContextID context = context_with(kind.sop_class_uid, kind.transfer_syntax_uid);
  const bool as_it_is = context != 0;
  if (!as_it_is && !transcode) {
    return unsupported(fmt::format("{}: the peer does not take SOP class {} in {}, and transcode is false for it", what,
                                   kind.sop_class_uid, stored_syntax.getXferName()));
  }
  for (const char* uncompressed : kUncompressed) {
    if (context == 0) context = context_with(kind.sop_class_uid, uncompressed);
  }
  if (context == 0) {
    return unsupported(
        fmt::format("{}: the peer accepted no presentation context for SOP class {} in {} or uncompressed", what,
                    kind.sop_class_uid, stored_syntax.getXferName()));
  }
  DcmFileFormat decoded;                     // Of what the peer does not take as it is.
  std::unique_ptr<StoredDataSet> unchanged;  // Of what it does.
  if (as_it_is) {
    const auto offset = object::data_set_offset(file);
    if (!offset.ok()) return offset.status().within(what);
    unchanged = std::make_unique<StoredDataSet>(file, *offset);
  } else {
    const Status loaded = object::load_uncompressed(file, decoded);
    if (loaded.code() == StatusCode::kUnsupported || loaded.code() == StatusCode::kInvalidArgument) {
      return unsupported(
          fmt::format("{}: the peer does not take {}, and {}", what, stored_syntax.getXferName(), loaded.message()));
    }
    NODE_RETURN_IF_ERROR(loaded.within(what));
  }

  T_DIMSE_C_StoreRQ request{};
  request.MessageID = association->nextMsgID++;
  OFStandard::strlcpy(request.AffectedSOPClassUID, kind.sop_class_uid.c_str(), sizeof(request.AffectedSOPClassUID));
  OFStandard::strlcpy(request.AffectedSOPInstanceUID, sop_instance_uid.c_str(), sizeof(request.AffectedSOPInstanceUID));
  request.DataSetType = DIMSE_DATASET_PRESENT;
  request.Priority = DIMSE_PRIORITY_MEDIUM;
  T_DIMSE_C_StoreRSP response{};
  DcmDataset* detail = nullptr;
  const OFCondition condition =
      DIMSE_storeUser(association, context, &request, nullptr, unchanged ? unchanged.get() : decoded.getDataset(),
                      nullptr, nullptr, DIMSE_NONBLOCKING, requestor.dimse_timeout_s, &response, &detail);
  const std::unique_ptr<DcmDataset> owned_detail(detail);
  if (condition.bad()) {
    requestor.broken = true;
    return unavailable(what + ": " + words(condition));
  }
  Answer answer;
  answer.status = response.DimseStatus;
  OFString comment;
  if (detail != nullptr && detail->findAndGetOFString(DCM_ErrorComment, comment).good()) {
    answer.words = printable({comment.c_str(), comment.size()});
  }
  return answer;
}

Status DcmtkStoreScu::echo() {
  DIC_US status = 0;
  DcmDataset* detail = nullptr;
  const OFCondition condition = DIMSE_echoUser(requestor.association, requestor.association->nextMsgID++,
                                               DIMSE_NONBLOCKING, requestor.dimse_timeout_s, &status, &detail);
  delete detail;
  if (condition.bad()) {
    requestor.broken = true;
    return unavailable("C-ECHO: " + words(condition));
  }
  if (status != STATUS_Success) return unavailable(fmt::format("C-ECHO: answered {:04X}H", status));
  return ok_status();
}

}  // namespace node::deliver
