// FindingRecord: what was found in one image, as the store keeps it and as `predict` and the HTTP API print it.
//
// Analyze writes it, report and operate read it; the stages never see each other, so it stands here.
// Source: interface description of `predict`'s JSON lines in README.md.
#pragma once

#include <string>
#include <vector>

#include "config/base/status.h"
#include "inference/predictor.h"
#include "storage/study_store.h"

namespace node::object {

// One prediction and what was done to the image before it.
struct FindingRecord {
  inference::Prediction prediction;
  std::vector<std::string> rendering;  // LoadedImage::rendering.
  int frame = 0;                       // LoadedImage::frame: 0 where there is only one.
};

// Tells an image's findings apart: the task, and of several frames which one: "anomaly frame 0002". Sorts by frame.
std::string finding_key(const FindingRecord& record);

// The map travels in `blob` as little-endian float32, all else in `content` as JSON; lossless both ways.
storage::StoredPrediction encode_finding(const FindingRecord& record);
// Errors: kDataLoss if the stored text is not what encode_finding() writes.
Result<FindingRecord> decode_finding(const storage::StoredPrediction& stored);

// The seed of an image's masks: the first 6 bytes, big endian, of SHA-256(SOP Instance UID); of a frame of several of
// SHA-256(SOP Instance UID, "/", frame).
std::uint64_t mask_seed(const std::string& sop_instance_uid, int frame = 0);

}  // namespace node::object
