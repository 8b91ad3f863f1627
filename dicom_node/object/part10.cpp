#include "dicom_node/object/part10.h"

#include <dcmtk/dcmdata/dcdeftag.h>
#include <dcmtk/dcmdata/dcfilefo.h>
#include <dcmtk/dcmdata/dcmetinf.h>
#include <dcmtk/dcmdata/dcostrmb.h>

#include <vector>

namespace node::object {

// derive_uid("implementation", "skelex-node", "", "", "").
const char* const kImplementationClassUid = "2.25.170317118134257328908659060384793530854";
const char* const kImplementationVersionName = "SKELEX_" NODE_VERSION_NAME;

Status load_dataset(const std::filesystem::path& file, DcmFileFormat& into, Extent extent, const ReadLimits& limits) {
  NODE_RETURN_IF_ERROR(check_structure(file, limits));
  const DcmTagKey stop = extent == Extent::kUpToPixelData ? DCM_PixelData : DcmTagKey(0x7FE0, 0x0011);
  const OFCondition read =
      into.loadFileUntilTag(file.c_str(), EXS_Unknown, EGL_noChange, DCM_MaxReadLength, ERM_autoDetect, stop);
  // DCMTK's conditions name the kind of fault and at most a tag, never a value.
  if (read.bad()) return invalid_argument(std::string("not readable as DICOM: ") + read.text());
  return ok_status();
}

Result<std::string> encode_part10(DcmFileFormat& file) {
  OFCondition done = file.validateMetaInfo(EXS_LittleEndianExplicit, EWM_createNewMeta);
  DcmMetaInfo& meta = *file.getMetaInfo();
  if (done.good()) done = meta.putAndInsertString(DCM_ImplementationClassUID, kImplementationClassUid);
  if (done.good()) done = meta.putAndInsertString(DCM_ImplementationVersionName, kImplementationVersionName);
  // Once more, for the group length.
  if (done.good()) done = file.validateMetaInfo(EXS_LittleEndianExplicit, EWM_dontUpdateMeta);
  if (done.bad()) return invalid_argument(std::string("encode DICOM file: ") + done.text());

  std::string bytes;
  std::vector<char> buffer(256 * 1024);
  DcmOutputBufferStream stream(buffer.data(), static_cast<offile_off_t>(buffer.size()));
  file.transferInit();
  do {
    done = file.write(stream, EXS_LittleEndianExplicit, EET_ExplicitLength, nullptr, EGL_recalcGL, EPD_noChange, 0, 0,
                      0, EWM_dontUpdateMeta);
    if (done.bad() && done != EC_StreamNotifyClient) break;
    void* part = nullptr;
    offile_off_t size = 0;
    stream.flushBuffer(part, size);
    bytes.append(static_cast<const char*>(part), static_cast<std::size_t>(size));
  } while (done == EC_StreamNotifyClient);
  file.transferEnd();
  if (done.bad()) return invalid_argument(std::string("encode DICOM file: ") + done.text());
  return bytes;
}

}  // namespace node::object
