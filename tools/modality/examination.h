// Examination: the images that a simulated X-ray room sends, one after the other.
//
// Guarantee: with fresh UIDs, the same files, seed and numbers give the same UIDs; the bytes are else as in the file.
// Threads:   immutable after open().
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/base/status.h"

class DcmFileFormat;

namespace node::modality {

struct ExaminationOptions {
  std::size_t repeat = 1;
  bool fresh_uids = false;  // Each repeat is new studies, series and instances.
  std::size_t studies = 0;  // With fresh_uids: all images, in order, in so many studies instead; 0: as the files have.
  std::string seed;         // Of the fresh UIDs.
};

struct ImageKind {  // What is negotiated for one image.
  std::string sop_class_uid, transfer_syntax_uid;
  friend bool operator==(const ImageKind&, const ImageKind&) = default;
};

struct Image {
  ImageKind kind;
  std::string sop_instance_uid;
  std::shared_ptr<DcmFileFormat> file;

  std::string path;  // Where `file` was read, and what it says there; with fresh UIDs it says others now.
  std::string source_study_uid, source_series_uid, source_sop_uid;
};

class Examination {
 public:
  // Every DICOM file among `paths`, folders searched in name order. Errors: kNotFound, kInvalidArgument (a named file
  // is no DICOM; nothing to send).
  static Result<Examination> open(const std::vector<std::string>& paths, const ExaminationOptions& options);

  std::size_t size() const { return files_.size() * options_.repeat; }
  const std::vector<ImageKind>& kinds() const { return kinds_; }
  // `last`, one that is not needed any more, spares reading the same file again.
  // Errors: kNotFound, kInvalidArgument: the file changed since open().
  Result<Image> load(std::size_t number, Image last) const;

 private:
  std::vector<std::string> files_;
  std::vector<ImageKind> kinds_;  // Each once.
  ExaminationOptions options_;
};

}  // namespace node::modality
