#include "dicom_node/receive/presentation_contexts.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcuid.h>
#include <dcmtk/dcmnet/assoc.h>
#include <dcmtk/dcmnet/extneg.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace node::receive {
namespace {

constexpr auto kStorageClasses = std::to_array<StorageClass>({
    {UID_ComputedRadiographyImageStorage, "Computed Radiography Image Storage", true},
    {UID_DigitalXRayImageStorageForPresentation, "Digital X-Ray Image Storage - For Presentation", true},
    {UID_DigitalXRayImageStorageForProcessing, "Digital X-Ray Image Storage - For Processing", true},
    {UID_SecondaryCaptureImageStorage, "Secondary Capture Image Storage", true},
    {UID_MultiframeSingleBitSecondaryCaptureImageStorage, "Multi-frame Single Bit Secondary Capture Image Storage",
     true},
    {UID_MultiframeGrayscaleByteSecondaryCaptureImageStorage,
     "Multi-frame Grayscale Byte Secondary Capture Image Storage", true},
    {UID_MultiframeGrayscaleWordSecondaryCaptureImageStorage,
     "Multi-frame Grayscale Word Secondary Capture Image Storage", true},
    {UID_MultiframeTrueColorSecondaryCaptureImageStorage, "Multi-frame True Color Secondary Capture Image Storage",
     true},
    {UID_DigitalMammographyXRayImageStorageForPresentation,
     "Digital Mammography X-Ray Image Storage - For Presentation", true},
    {UID_DigitalMammographyXRayImageStorageForProcessing, "Digital Mammography X-Ray Image Storage - For Processing",
     true},
    // Beside radiographs, so that a sender of whole studies does not get stuck.
    {UID_DigitalIntraOralXRayImageStorageForPresentation, "Digital Intra-Oral X-Ray Image Storage - For Presentation",
     false},
    {UID_DigitalIntraOralXRayImageStorageForProcessing, "Digital Intra-Oral X-Ray Image Storage - For Processing",
     false},
    {UID_GrayscaleSoftcopyPresentationStateStorage, "Grayscale Softcopy Presentation State Storage", false},
    {UID_KeyObjectSelectionDocumentStorage, "Key Object Selection Document Storage", false},
    {UID_BasicTextSRStorage, "Basic Text SR Storage", false},
    {UID_EnhancedSRStorage, "Enhanced SR Storage", false},
    {UID_ComprehensiveSRStorage, "Comprehensive SR Storage", false},
    {UID_Comprehensive3DSRStorage, "Comprehensive 3D SR Storage", false},
    {UID_XRayRadiationDoseSRStorage, "X-Ray Radiation Dose SR Storage", false},
    {UID_EncapsulatedPDFStorage, "Encapsulated PDF Storage", false},
});

// Not JPIP, whose pixels lie on another machine: they could not be kept.
constexpr auto kTransferSyntaxes = std::to_array<TransferSyntax>({
  {UID_LittleEndianImplicitTransferSyntax, "Implicit VR Little Endian"},
      {UID_LittleEndianExplicitTransferSyntax, "Explicit VR Little Endian"},
      {UID_BigEndianExplicitTransferSyntax, "Explicit VR Big Endian (retired)"},
      {UID_DeflatedExplicitVRLittleEndianTransferSyntax, "Deflated Explicit VR Little Endian"},
      {UID_RLELosslessTransferSyntax, "RLE Lossless"}, {UID_JPEGProcess1TransferSyntax, "JPEG Baseline (Process 1)"},
      {UID_JPEGProcess2_4TransferSyntax, "JPEG Extended (Process 2 & 4)"},
      {UID_JPEGProcess14TransferSyntax, "JPEG Lossless (Process 14)"},
      {UID_JPEGProcess14SV1TransferSyntax, "JPEG Lossless, First-Order Prediction (Process 14, Selection Value 1)"},
      {UID_JPEGLSLosslessTransferSyntax, "JPEG-LS Lossless"},
      {UID_JPEGLSLossyTransferSyntax, "JPEG-LS Lossy (Near-Lossless)"},
      {UID_JPEG2000LosslessOnlyTransferSyntax, "JPEG 2000 (Lossless Only)"}, {UID_JPEG2000TransferSyntax, "JPEG 2000"},
      {UID_JPEG2000Part2MulticomponentImageCompressionLosslessOnlyTransferSyntax,
       "JPEG 2000 Part 2 Multi-component (Lossless Only)"},
      {UID_JPEG2000Part2MulticomponentImageCompressionTransferSyntax, "JPEG 2000 Part 2 Multi-component"},
      {UID_MPEG2MainProfileAtMainLevelTransferSyntax, "MPEG2 Main Profile / Main Level"},
      {UID_MPEG2MainProfileAtHighLevelTransferSyntax, "MPEG2 Main Profile / High Level"},
      {UID_MPEG4HighProfileLevel4_1TransferSyntax, "MPEG-4 AVC/H.264 High Profile / Level 4.1"},
      {UID_MPEG4BDcompatibleHighProfileLevel4_1TransferSyntax,
       "MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1"},
      {UID_MPEG4HighProfileLevel4_2_For2DVideoTransferSyntax, "MPEG-4 AVC/H.264 High Profile / Level 4.2 for 2D Video"},
      {UID_MPEG4HighProfileLevel4_2_For3DVideoTransferSyntax, "MPEG-4 AVC/H.264 High Profile / Level 4.2 for 3D Video"},
      {UID_MPEG4StereoHighProfileLevel4_2TransferSyntax, "MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2"},
      {UID_HEVCMainProfileLevel5_1TransferSyntax, "HEVC/H.265 Main Profile / Level 5.1"},
      {UID_HEVCMain10ProfileLevel5_1TransferSyntax, "HEVC/H.265 Main 10 Profile / Level 5.1"},
#if PACKAGE_VERSION_NUMBER >= 368
      {UID_HighThroughputJPEG2000ImageCompressionLosslessOnlyTransferSyntax,
       "High-Throughput JPEG 2000 (Lossless Only)"},
      {UID_HighThroughputJPEG2000RPCLImageCompressionLosslessOnlyTransferSyntax,
       "High-Throughput JPEG 2000 with RPCL Options (Lossless Only)"},
      {UID_HighThroughputJPEG2000ImageCompressionTransferSyntax, "High-Throughput JPEG 2000"},
#endif
});

template <typename Table>
bool lists(const Table& table, std::string_view uid) {
  return std::any_of(table.begin(), table.end(), [uid](const auto& row) { return row.uid == uid; });
}

// What the sender proposes, reordered by the configuration; null: nothing of it can be received.
const char* choose_syntax(const T_ASC_PresentationContext& context, const std::vector<std::string>& preferred) {
  std::vector<const char*> possible;
  for (int i = 0; i < context.transferSyntaxCount; ++i) {
    if (lists(kTransferSyntaxes, context.proposedTransferSyntaxes[i])) {
      possible.push_back(context.proposedTransferSyntaxes[i]);
    }
  }
  for (const std::string& uid : preferred) {
    const auto found = std::find(possible.begin(), possible.end(), uid);
    if (found != possible.end()) return *found;
  }
  return possible.empty() ? nullptr : possible.front();
}

// Each class once, however often it is asked for: the answer's length has 16 bits.
void answer_extended_negotiation(T_ASC_Parameters& parameters, std::set<std::string> accepted_classes) {
  SOPClassExtendedNegotiationSubItemList* requested = nullptr;
  ASC_getRequestedExtNegList(&parameters, &requested);
  if (requested == nullptr) return;
  auto answers = std::make_unique<SOPClassExtendedNegotiationSubItemList>();
  for (const SOPClassExtendedNegotiationSubItem* item : *requested) {
    const char* const uid = item->sopClassUID.c_str();
    if (accepted_classes.erase(uid) == 0) continue;
    auto answer = std::make_unique<SOPClassExtendedNegotiationSubItem>();
    answer->sopClassUID = uid;
    answer->serviceClassAppInfo = new unsigned char[kStorageExtendedNegotiation.size()];
    std::copy(kStorageExtendedNegotiation.begin(), kStorageExtendedNegotiation.end(), answer->serviceClassAppInfo);
    answer->serviceClassAppInfoLength = kStorageExtendedNegotiation.size();
    answers->push_back(answer.release());
  }
  if (!answers->empty()) ASC_setAcceptedExtNegList(&parameters, answers.release());  // Freed with the association.
}

}  // namespace

std::span<const StorageClass> storage_classes() { return kStorageClasses; }
std::span<const TransferSyntax> transfer_syntaxes() { return kTransferSyntaxes; }

bool is_storage_class(std::string_view sop_class_uid, const config::ReceiveConfig& config) {
  const std::vector<std::string>& more = config.more_sop_classes;
  return lists(kStorageClasses, sop_class_uid) || std::find(more.begin(), more.end(), sop_class_uid) != more.end();
}

Status check_preferred_syntaxes(const config::ReceiveConfig& config) {
  for (const std::string& uid : config.transfer_syntaxes) {
    if (!lists(kTransferSyntaxes, uid)) {
      return invalid_argument(
          fmt::format("node.transfer_syntaxes: {} is no transfer syntax that this node can receive; "
                      "dicom_node/CONFORMANCE.md lists those that are",
                      uid));
    }
  }
  return ok_status();
}

int negotiate(T_ASC_Parameters& parameters, const config::ReceiveConfig& config) {
  int accepted = 0;
  std::set<std::string> accepted_classes;
  const int proposed = ASC_countPresentationContexts(&parameters);
  for (int i = 0; i < proposed; ++i) {
    T_ASC_PresentationContext context{};
    if (ASC_getPresentationContext(&parameters, i, &context).bad()) continue;
    const T_ASC_PresentationContextID id = context.presentationContextID;
    const bool storage = is_storage_class(context.abstractSyntax, config);
    const bool commitment = context.abstractSyntax == std::string_view(UID_StorageCommitmentPushModelSOPClass);
    if (!storage && !commitment && context.abstractSyntax != std::string_view(UID_VerificationSOPClass)) {
      ASC_refusePresentationContext(&parameters, id, ASC_P_ABSTRACTSYNTAXNOTSUPPORTED);
      continue;
    }
    const char* chosen = choose_syntax(context, config.transfer_syntaxes);
    if (chosen == nullptr) {
      ASC_refusePresentationContext(&parameters, id, ASC_P_TRANSFERSYNTAXESNOTSUPPORTED);
    } else if (ASC_acceptPresentationContext(&parameters, id, chosen,
                                             commitment ? context.proposedRole : ASC_SC_ROLE_DEFAULT)
                   .good()) {
      ++accepted;
      if (storage) accepted_classes.emplace(context.abstractSyntax);
    }
  }
  answer_extended_negotiation(parameters, std::move(accepted_classes));
  return accepted;
}

}  // namespace node::receive
