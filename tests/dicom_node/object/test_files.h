// DICOM files that tests make: a small DX image whose every attribute a test may change before it is written.
#pragma once

#include <dcmtk/dcmdata/dctk.h>
#include <unistd.h>
#include <zlib.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace node::object {

// Deleted with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    static std::atomic<int> count{0};
    path_ = std::filesystem::temp_directory_path() /
            ("node-object-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::filesystem::path fresh() { return path_ / (std::to_string(files_++) + ".dcm"); }

 private:
  std::filesystem::path path_;
  int files_ = 0;
};

inline void must(const OFCondition& condition) {
  if (condition.bad()) throw std::runtime_error(condition.text());
}

// Without zlib's header: PS3.5 A.5.
inline std::string deflated(const std::string& plain) {
  z_stream stream{};
  if (deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY) != Z_OK) throw std::runtime_error("zlib");
  std::string packed(deflateBound(&stream, plain.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  const int ended = deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  if (ended != Z_STREAM_END) throw std::runtime_error("zlib");
  return packed;
}

struct TestImage {
  int rows = 2, columns = 4, samples = 1, frames = 1;
  int bits_allocated = 16, bits_stored = 12, high_bit = -1;  // -1: bits_stored - 1.
  bool is_signed = false;
  std::string photometric = "MONOCHROME2";
  std::vector<int> values = {0, 100, 200, 300, 400, 1000, 2000, 4095};  // One per sample, written as they are.
};

// Without VOI attributes: those are the tests' business.
inline DcmFileFormat make_image(const TestImage& image) {
  DcmFileFormat file;
  DcmDataset& data_set = *file.getDataset();
  const auto text = [&](const DcmTagKey& tag, const std::string& value) {
    must(data_set.putAndInsertString(tag, value.c_str()));
  };
  const auto word = [&](const DcmTagKey& tag, int value) {
    must(data_set.putAndInsertUint16(tag, static_cast<Uint16>(value)));
  };
  text(DCM_SOPClassUID, "1.2.840.10008.5.1.4.1.1.1.1");
  text(DCM_SOPInstanceUID, "1.2.826.0.1.1.1");
  text(DCM_StudyInstanceUID, "1.2.826.0.1.1");
  text(DCM_SeriesInstanceUID, "1.2.826.0.1.1.0");
  text(DCM_Modality, "DX");
  text(DCM_PresentationIntentType, "FOR PRESENTATION");
  text(DCM_PatientName, "Test^Object");
  text(DCM_PatientID, "T1");
  text(DCM_PatientBirthDate, "19700615");
  text(DCM_StudyDate, "20260614");
  text(DCM_BodyPartExamined, "KNEE");
  text(DCM_PhotometricInterpretation, image.photometric);
  if (image.frames != 1) text(DCM_NumberOfFrames, std::to_string(image.frames));
  word(DCM_SamplesPerPixel, image.samples);
  if (image.samples > 1) word(DCM_PlanarConfiguration, 0);
  word(DCM_Rows, image.rows);
  word(DCM_Columns, image.columns);
  word(DCM_BitsAllocated, image.bits_allocated);
  word(DCM_BitsStored, image.bits_stored);
  word(DCM_HighBit, image.high_bit < 0 ? image.bits_stored - 1 : image.high_bit);
  word(DCM_PixelRepresentation, image.is_signed ? 1 : 0);
  if (image.bits_allocated == 8) {
    std::vector<Uint8> cells(image.values.begin(), image.values.end());
    if (cells.size() % 2 != 0) cells.push_back(0);
    must(data_set.putAndInsertUint8Array(DCM_PixelData, cells.data(), cells.size()));
  } else {
    const std::vector<Uint16> cells(image.values.begin(), image.values.end());
    must(data_set.putAndInsertUint16Array(DCM_PixelData, cells.data(), cells.size()));
  }
  return file;
}

inline std::filesystem::path write(TemporaryFolder& folder, DcmFileFormat& file,
                                   E_TransferSyntax syntax = EXS_LittleEndianExplicit) {
  const std::filesystem::path path = folder.fresh();
  must(file.getDataset()->chooseRepresentation(syntax, nullptr));
  must(file.saveFile(path.c_str(), syntax));
  return path;
}

inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::filesystem::path write_bytes(TemporaryFolder& folder, const std::string& bytes) {
  const std::filesystem::path path = folder.fresh();
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

}  // namespace node::object
