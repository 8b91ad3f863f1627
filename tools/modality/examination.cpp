#include "tools/modality/examination.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "dicom_node/object/result_identity.h"

namespace node::modality {
namespace {

namespace fs = std::filesystem;

bool is_dicom(const fs::path& path) {
  char magic[132] = {};
  std::ifstream(path, std::ios::binary).read(magic, sizeof magic);
  return std::string_view(magic + 128, 4) == "DICM";
}

Result<ImageKind> kind_of(const fs::path& path, DcmFileFormat& file, Uint32 bytes_max) {
  if (file.loadFile(OFFilename(path.c_str()), EXS_Unknown, EGL_noChange, bytes_max).bad()) {
    return invalid_argument(path.string() + ": cannot be read as DICOM");
  }
  OFString sop_class;
  file.getDataset()->findAndGetOFString(DCM_SOPClassUID, sop_class);
  return ImageKind{sop_class.c_str(), DcmXfer(file.getDataset()->getOriginalXfer()).getXferID()};
}

std::string fresh(std::string_view kind, const std::string& source, const std::string& seed, std::size_t number) {
  return object::derive_uid(kind, source, "", seed, std::to_string(number)).str();
}

std::string value(DcmDataset& dataset, const DcmTagKey& tag) {
  OFString text;
  dataset.findAndGetOFString(tag, text);
  return text.c_str();
}

}  // namespace

Result<Examination> Examination::open(const std::vector<std::string>& paths, const ExaminationOptions& options) {
  Examination examination;
  examination.options_ = options;
  for (const std::string& path : paths) {
    std::error_code error;
    if (fs::is_directory(path, error)) {
      std::vector<std::string> found;
      for (const auto& entry : fs::recursive_directory_iterator(path, error)) {
        if (entry.is_regular_file(error) && is_dicom(entry.path())) found.push_back(entry.path().string());
      }
      std::sort(found.begin(), found.end());
      examination.files_.insert(examination.files_.end(), found.begin(), found.end());
    } else if (!fs::exists(path, error)) {
      return not_found(path + ": no such file or folder");
    } else if (!is_dicom(path)) {
      return invalid_argument(path + ": no DICOM file");
    } else {
      examination.files_.push_back(path);
    }
  }
  if (examination.files_.empty()) return invalid_argument("no DICOM file found");
  for (const std::string& path : examination.files_) {
    DcmFileFormat file;
    NODE_ASSIGN_OR_RETURN(const ImageKind kind, kind_of(path, file, 1024));
    auto& kinds = examination.kinds_;
    if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) kinds.push_back(kind);
  }
  return examination;
}

Result<Image> Examination::load(std::size_t number, Image last) const {
  const std::string& path = files_[number % files_.size()];
  Image image = std::move(last);
  if (image.path != path) {
    image.path = path;
    image.file = std::make_shared<DcmFileFormat>();
    NODE_ASSIGN_OR_RETURN(image.kind, kind_of(path, *image.file, DCM_MaxReadLength));
    image.source_study_uid = value(*image.file->getDataset(), DCM_StudyInstanceUID);
    image.source_series_uid = value(*image.file->getDataset(), DCM_SeriesInstanceUID);
    image.source_sop_uid = value(*image.file->getDataset(), DCM_SOPInstanceUID);
  }
  DcmDataset& dataset = *image.file->getDataset();
  if (options_.fresh_uids) {
    const std::size_t round = number / files_.size();
    const bool one_per_file = options_.studies == 0;
    // Images are spread evenly and in order: an X-ray room finishes one patient before the next.
    const std::size_t study = one_per_file ? round : number * options_.studies / size();
    const auto put = [&](const DcmTagKey& tag, std::string_view kind, const std::string& source, std::size_t of) {
      dataset.putAndInsertString(tag, fresh(kind, source, options_.seed, of).c_str());
    };
    put(DCM_StudyInstanceUID, "modality-study", one_per_file ? image.source_study_uid : "study", study);
    put(DCM_SeriesInstanceUID, "modality-series", one_per_file ? image.source_series_uid : "series", study);
    put(DCM_SOPInstanceUID, "modality-image", image.source_sop_uid, number);
  }
  image.sop_instance_uid = value(dataset, DCM_SOPInstanceUID);
  return image;
}

}  // namespace node::modality
