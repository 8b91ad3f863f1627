#include "dicom_node/receive/presentation_contexts.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcuid.h>
#include <dcmtk/dcmnet/assoc.h>

#include <algorithm>
#include <array>

namespace node::receive {
namespace {

constexpr std::array<std::string_view, 20> kStorageClasses = {
    // Radiographs, which the router looks at.
    UID_ComputedRadiographyImageStorage,
    UID_DigitalXRayImageStorageForPresentation,
    UID_DigitalXRayImageStorageForProcessing,
    UID_SecondaryCaptureImageStorage,
    UID_MultiframeSingleBitSecondaryCaptureImageStorage,
    UID_MultiframeGrayscaleByteSecondaryCaptureImageStorage,
    UID_MultiframeGrayscaleWordSecondaryCaptureImageStorage,
    UID_MultiframeTrueColorSecondaryCaptureImageStorage,
    // Stored and forwarded, so that a sender of whole studies does not get stuck.
    UID_DigitalMammographyXRayImageStorageForPresentation,
    UID_DigitalMammographyXRayImageStorageForProcessing,
    UID_DigitalIntraOralXRayImageStorageForPresentation,
    UID_DigitalIntraOralXRayImageStorageForProcessing,
    UID_GrayscaleSoftcopyPresentationStateStorage,
    UID_KeyObjectSelectionDocumentStorage,
    UID_BasicTextSRStorage,
    UID_EnhancedSRStorage,
    UID_ComprehensiveSRStorage,
    UID_Comprehensive3DSRStorage,
    UID_XRayRadiationDoseSRStorage,
    UID_EncapsulatedPDFStorage,
};

constexpr std::array<std::string_view, 13> kTransferSyntaxes = {
    UID_LittleEndianExplicitTransferSyntax,
    UID_LittleEndianImplicitTransferSyntax,
    UID_BigEndianExplicitTransferSyntax,
    UID_DeflatedExplicitVRLittleEndianTransferSyntax,
    UID_RLELosslessTransferSyntax,
    UID_JPEGProcess1TransferSyntax,
    UID_JPEGProcess2_4TransferSyntax,
    UID_JPEGProcess14TransferSyntax,
    UID_JPEGProcess14SV1TransferSyntax,
    UID_JPEGLSLosslessTransferSyntax,
    UID_JPEGLSLossyTransferSyntax,
    UID_JPEG2000LosslessOnlyTransferSyntax,
    UID_JPEG2000TransferSyntax,
};

template <typename Uids>
bool holds(const Uids& uids, std::string_view uid) {
  return std::find(uids.begin(), uids.end(), uid) != uids.end();
}

}  // namespace

bool is_storage_class(std::string_view sop_class_uid) { return holds(kStorageClasses, sop_class_uid); }

int negotiate(T_ASC_Parameters& parameters) {
  int accepted = 0;
  const int proposed = ASC_countPresentationContexts(&parameters);
  for (int i = 0; i < proposed; ++i) {
    T_ASC_PresentationContext context{};
    if (ASC_getPresentationContext(&parameters, i, &context).bad()) continue;
    const T_ASC_PresentationContextID id = context.presentationContextID;
    if (context.abstractSyntax != std::string_view(UID_VerificationSOPClass) &&
        !is_storage_class(context.abstractSyntax)) {
      ASC_refusePresentationContext(&parameters, id, ASC_P_ABSTRACTSYNTAXNOTSUPPORTED);
      continue;
    }
    const char* chosen = nullptr;
    for (int syntax = 0; syntax < context.transferSyntaxCount && chosen == nullptr; ++syntax) {
      if (holds(kTransferSyntaxes, context.proposedTransferSyntaxes[syntax])) {
        chosen = context.proposedTransferSyntaxes[syntax];
      }
    }
    if (chosen == nullptr) {
      ASC_refusePresentationContext(&parameters, id, ASC_P_TRANSFERSYNTAXESNOTSUPPORTED);
    } else if (ASC_acceptPresentationContext(&parameters, id, chosen).good()) {
      ++accepted;
    }
  }
  return accepted;
}

}  // namespace node::receive
