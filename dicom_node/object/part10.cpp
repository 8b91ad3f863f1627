#include "dicom_node/object/part10.h"

#include <dcmtk/dcmdata/dcdeftag.h>
#include <dcmtk/dcmdata/dcfilefo.h>
#include <dcmtk/dcmdata/dcistrmb.h>
#include <dcmtk/dcmdata/dcmetinf.h>
#include <dcmtk/dcmdata/dcostrmb.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>
#include <vector>

#include "dicom_node/object/dataset_text.h"
#include "dicom_node/object/image_loader.h"
#include "dicom_node/object/inflation.h"
#include "dicom_node/object/structure.h"

namespace node::object {

// derive_uid("implementation", "skelex-node", "", "", "").
const char* const kImplementationClassUid = "2.25.170317118134257328908659060384793530854";
const char* const kImplementationVersionName = "SKELEX_" NODE_VERSION_NAME;

namespace {

// DCMTK reads long values of a file when they are asked for, and so do we of one in memory: else it would allocate what
// an element says before it sees that the bytes end.
class MemoryStream : public DcmInputBufferStream {
 public:
  MemoryStream(std::string_view bytes, std::size_t offset)
      : bytes_(bytes), offset_(offset), uninflated_(currentProducer()) {
    setBuffer(bytes.data() + offset, static_cast<offile_off_t>(bytes.size() - offset));
    setEos();
  }
  DcmInputStreamFactory* newFactory() const override {  // None of what is inflated.
    if (currentProducer() != uninflated_) return nullptr;
    return new Factory(bytes_, offset_ + static_cast<std::size_t>(tell()));
  }

 private:
  class Factory : public DcmInputStreamFactory {
   public:
    Factory(std::string_view bytes, std::size_t offset) : bytes_(bytes), offset_(offset) {}
    DcmInputStream* create() const override { return new MemoryStream(bytes_, offset_); }
    DcmInputStreamFactory* clone() const override { return new Factory(*this); }
    DcmInputStreamFactoryType ident() const override { return DFT_DcmInputFileStreamFactory; }

   private:
    std::string_view bytes_;
    std::size_t offset_;
  };
  std::string_view bytes_;
  std::size_t offset_;
  const DcmProducer* uninflated_;
};

// `load` reads as far as a tag.
Result<Structure> load_as_walked(Result<Structure> structure, Extent extent,
                                 const std::function<OFCondition(const DcmTagKey&)>& load) {
  if (!structure.ok()) return structure;
  if (structure->inflated_bytes > 0) {  // DCMTK keeps in memory what has no place in the file.
    const bool whole = extent == Extent::kWithPixelData;
    NODE_ASSIGN_OR_RETURN(structure->inflated,
                          hold_inflated(whole ? structure->inflated_bytes : structure->inflated_header_bytes));
  }
  register_codecs();  // For the silence of DCMTK's log, which would repeat what is wrong with a patient's name.
  const OFCondition read = load(extent == Extent::kUpToPixelData ? DCM_PixelData : DcmTagKey(0x7FE0, 0x0011));
  // DCMTK's conditions name the kind of fault and at most a tag, never a value.
  if (read.bad()) return invalid_argument(std::string("not readable as DICOM: ") + read.text());
  return structure;
}

}  // namespace

Result<Structure> walk_and_load(const std::filesystem::path& file, DcmFileFormat& into, Extent extent,
                                const ReadLimits& limits) {
  return load_as_walked(walk_structure(file, limits), extent, [&](const DcmTagKey& stop) {
    return into.loadFileUntilTag(file.c_str(), EXS_Unknown, EGL_noChange, DCM_MaxReadLength, ERM_autoDetect, stop);
  });
}

Result<Structure> walk_and_load(std::string_view bytes, DcmFileFormat& into, const ReadLimits& limits) {
  return load_as_walked(walk_structure(bytes, limits), Extent::kUpToPixelData, [&](const DcmTagKey& stop) {
    MemoryStream stream(bytes, 0);
    into.transferInit();
    const OFCondition read = into.readUntilTag(stream, EXS_Unknown, EGL_noChange, DCM_MaxReadLength, stop);
    into.transferEnd();
    return read;
  });
}

Status load_dataset(const std::filesystem::path& file, DcmFileFormat& into, Extent extent, const ReadLimits& limits) {
  return walk_and_load(file, into, extent, limits).status();
}

namespace {

void append_little_endian(std::string& bytes, std::uint32_t value, int count) {
  for (int i = 0; i < count; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xFF);
}

// One of group 0002 in Explicit VR Little Endian, its VR with a length of two bytes.
void append_meta_element(std::string& bytes, std::uint16_t element, std::string_view vr, std::string_view value) {
  const std::size_t odd = value.size() % 2;
  append_little_endian(bytes, 0x0002, 2);
  append_little_endian(bytes, element, 2);
  bytes += vr;
  append_little_endian(bytes, static_cast<std::uint32_t>(value.size() + odd), 2);
  bytes += value;
  bytes.append(odd, vr == "UI" ? '\0' : ' ');
}

// Appends what `write` puts into a stream, a bufferful at a time.
template <typename Write>
OFCondition append(std::string& bytes, Write write) {
  std::vector<char> buffer(256 * 1024);
  DcmOutputBufferStream stream(buffer.data(), static_cast<offile_off_t>(buffer.size()));
  while (true) {
    const OFCondition done = write(stream);
    if (done.bad() && done != EC_StreamNotifyClient) return done;
    void* part = nullptr;
    offile_off_t size = 0;
    stream.flushBuffer(part, size);
    bytes.append(static_cast<const char*>(part), static_cast<std::size_t>(size));
    if (done.good()) return done;
  }
}

}  // namespace

std::string encode_meta_header(std::string_view sop_class_uid, std::string_view sop_instance_uid,
                               std::string_view transfer_syntax_uid, std::string_view source_ae_title) {
  using namespace std::string_literals;
  std::string group = "\x02\x00\x01\x00OB\x00\x00\x02\x00\x00\x00\x00\x01"s;  // File Meta Information Version.
  append_meta_element(group, 0x0002, "UI", sop_class_uid);
  append_meta_element(group, 0x0003, "UI", sop_instance_uid);
  append_meta_element(group, 0x0010, "UI", transfer_syntax_uid);
  append_meta_element(group, 0x0012, "UI", kImplementationClassUid);
  append_meta_element(group, 0x0013, "SH", kImplementationVersionName);
  if (!source_ae_title.empty()) append_meta_element(group, 0x0016, "AE", source_ae_title);
  std::string length;
  append_little_endian(length, static_cast<std::uint32_t>(group.size()), 4);
  std::string bytes(128, '\0');
  bytes += "DICM";
  append_meta_element(bytes, 0x0000, "UL", length);
  return bytes += group;
}

Result<std::uint64_t> data_set_offset(const std::filesystem::path& file) {
  constexpr std::size_t kPrefix = 132;  // Preamble and DICM.
  unsigned char head[kPrefix + 12];     // And (0002,0000) UL, the length of what follows of the group: PS3.10 7.1.
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return not_found("the file cannot be opened");
  stream.read(reinterpret_cast<char*>(head), sizeof head);
  constexpr unsigned char kGroupLength[] = {'D', 'I', 'C', 'M', 2, 0, 0, 0, 'U', 'L', 4, 0};
  if (!stream || !std::equal(std::begin(kGroupLength), std::end(kGroupLength), head + 128)) {
    return invalid_argument("no meta group with its length at the beginning of the file");
  }
  std::uint64_t length = 0;
  for (int i = 0; i < 4; ++i) length |= static_cast<std::uint64_t>(head[kPrefix + 8 + i]) << (8 * i);
  return sizeof head + length;
}

Result<std::string> encode_part10(DcmFileFormat& file, const std::string& transfer_syntax_uid) {
  DcmDataset& data_set = *file.getDataset();
  DcmMetaInfo& meta = *file.getMetaInfo();
  if (text_of(data_set, DCM_SOPClassUID).empty() || text_of(data_set, DCM_SOPInstanceUID).empty())
    return invalid_argument("encode DICOM file: no SOP Class or SOP Instance UID");
  const E_TransferSyntax syntax = DcmXfer(transfer_syntax_uid.c_str()).getXfer();
  register_codecs();
  OFCondition done = data_set.chooseRepresentation(syntax, nullptr);
  if (done.good() && !data_set.canWriteXfer(syntax)) done = EC_UnsupportedEncoding;
  if (done.good()) done = file.validateMetaInfo(syntax, EWM_createNewMeta);
  // Ours in place of DCMTK's, hence the group length once more.
  if (done.good()) done = meta.putAndInsertString(DCM_ImplementationClassUID, kImplementationClassUid);
  if (done.good()) done = meta.putAndInsertString(DCM_ImplementationVersionName, kImplementationVersionName);
  if (done.good()) done = meta.computeGroupLengthAndPadding(EGL_withGL, EPD_noChange, EXS_LittleEndianExplicit);

  std::string bytes;
  file.transferInit();
  if (done.good()) {
    done = append(bytes, [&](DcmOutputStream& stream) {
      return meta.write(stream, EXS_LittleEndianExplicit, EET_ExplicitLength, nullptr);
    });
  }
  if (done.good()) {
    done = append(bytes, [&](DcmOutputStream& stream) {
      return data_set.write(stream, syntax, EET_ExplicitLength, nullptr, EGL_withoutGL);
    });
  }
  file.transferEnd();
  if (done.bad()) return invalid_argument(std::string("encode DICOM file: ") + done.text());
  return bytes;
}

}  // namespace node::object
