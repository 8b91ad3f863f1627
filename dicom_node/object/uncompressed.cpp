#include "dicom_node/object/uncompressed.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include <memory>
#include <new>
#include <string>
#include <vector>

#include "dicom_node/object/image_loader.h"
#include "dicom_node/object/part10.h"
#include "dicom_node/object/stored_pixels.h"

namespace node::object {
namespace {

bool reads_better_than_dcmtk(const DcmXfer& syntax) {
  return syntax.getXfer() == EXS_RLELossless ||
         std::string(syntax.getXferID()).starts_with("1.2.840.10008.1.2.4.8") ||  // JPEG-LS.
         std::string(syntax.getXferID()).starts_with("1.2.840.10008.1.2.4.9") ||  // JPEG 2000.
         std::string(syntax.getXferID()).starts_with("1.2.840.10008.1.2.4.20");   // High-Throughput JPEG 2000.
}

Status replace_pixels(const std::filesystem::path& file, DcmDataset& data_set) {
  NODE_ASSIGN_OR_RETURN(const std::unique_ptr<PixelReader> reader, PixelReader::open(file, LoadOptions().pixels_max));
  Bytes bytes;
  StoredPixels first;
  for (int frame = 0; frame < reader->header().number_of_frames; ++frame) {
    NODE_ASSIGN_OR_RETURN(StoredPixels pixels, reader->read_frame(frame, UnusedBits::kKeep));
    if (bytes.size() + pixels.bytes.size() > 0xFFFF'FFF0) return unsupported("more than 4 GB once decoded");
    bytes.insert(bytes.end(), pixels.bytes.begin(), pixels.bytes.end());
    if (frame == 0) first = std::move(pixels);
  }
  auto element = std::make_unique<DcmPixelData>(DCM_PixelData);
  OFCondition done;
  if (first.bits_allocated == 16) {
    element->setVR(EVR_OW);
    done = element->putUint16Array(reinterpret_cast<const Uint16*>(bytes.data()), bytes.size() / 2);
  } else {
    element->setVR(EVR_OB);
    done = element->putUint8Array(bytes.data(), bytes.size());
  }
  if (done.good()) done = data_set.insert(element.get(), OFTrue);
  if (done.good()) element.release();
  if (done.good() && first.samples > 1) done = data_set.putAndInsertUint16(DCM_PlanarConfiguration, 0);
  if (done.good())
    done = data_set.putAndInsertString(DCM_PhotometricInterpretation, first.photometric_interpretation.c_str());
  return done.good() ? ok_status() : internal_error(std::string("replace pixel data: ") + done.text());
}

}  // namespace

Status load_uncompressed(const std::filesystem::path& file, DcmFileFormat& into) try {
  NODE_RETURN_IF_ERROR(load_dataset(file, into, Extent::kWithPixelData));
  DcmDataset& data_set = *into.getDataset();
  const DcmXfer syntax(data_set.getOriginalXfer());
  if (!syntax.isEncapsulated()) return ok_status();
  if (reads_better_than_dcmtk(syntax)) {
    NODE_RETURN_IF_ERROR(replace_pixels(file, data_set));
  } else if (const Status sound = PixelReader::open(file, LoadOptions().pixels_max).status(); !sound.ok()) {
    return unsupported(std::string("the image cannot be decoded from ") + syntax.getXferName() + ": " +
                       sound.message());
  }
  register_codecs();
  if (data_set.chooseRepresentation(EXS_LittleEndianExplicit, nullptr).bad() ||
      !data_set.canWriteXfer(EXS_LittleEndianExplicit)) {
    return unsupported(std::string("the image cannot be decoded from ") + syntax.getXferName());
  }
  return ok_status();
} catch (const std::bad_alloc&) {
  return resource_exhausted("decode pixel data: no memory");
}

}  // namespace node::object
