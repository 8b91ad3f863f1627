// regions: which parts of an image a region task looks at, and their pixels. Standard library only.
//
// Guarantee: every region that comes out lies in the image and is not empty; whatever a detector says, there is an
//            answer: none at all is "whole image only", with the reason in the note.
// Threads:   any.
// Source:    the SKELEX work's region path: corners truncated to whole pixels and clamped, no padding; one 8-bit image,
//            never stretched again per crop. Non-maximum suppression per label, as of its detector's library. Without a
//            detector: four tiles of 0.6 of each side in the corners and one of 0.5 in the middle, inside the range of
//            the crops (0.2 to 1 of a side) on which the head was trained.
#pragma once

#include <string>
#include <vector>

#include "config/task_config.h"
#include "inference/predictor.h"
#include "inference/preprocess.h"

namespace node::inference {

struct DetectedBox {  // In pixels of the radiograph, as the detector says: perhaps outside, empty, no number.
  float left = 0, top = 0, right = 0, bottom = 0;
  float score = 0;
  float label = 0;  // Index of the detector's labels, as it says: perhaps none, or half a number.
};

struct ChosenRegions {
  std::vector<Region> regions;  // Without the whole image; logits and scores are still to come.
  std::string note;             // As of Prediction::regions_note.
};

// More boxes than this of at least score_min that do not overlap are no finding but a detector that went wrong; before
// that a detector answers every place where it may have seen one bone, some 25,000 of them.
inline constexpr int kBoxesMax = 1000, kCandidatesMax = 30'000;

// Boxes of at least score_min, without those that overlap a surer one of their label, whichever of the classes with
// that label each is of; the surest count_max of them. A box of a side marker or of a lesion (kNoRegions) is no region.
// NaN, infinities, scores above 1 and unknown labels condemn them all.
ChosenRegions choose_regions(std::vector<DetectedBox> boxes, const std::vector<std::string>& labels,
                             const config::RegionSelection& selection, std::int32_t rows, std::int32_t columns);

// Labels of the published detector that name no bone, and of others the marker that does not say its side.
inline const std::vector<std::string> kNoRegions{"right", "left", "abnormal bone lesion", "side marker"};

// What a detector's class is called: the bone of the head, or the one of kNoRegions, that it names in whatever case and
// with spaces, underscores, hyphens or nothing between the words ("L", "R", "Left Marker" and the like are markers);
// else as it is.
std::string region_label(const std::string& name);

// Of these labels those that are neither: looked at under their own names, which no head can confirm. For a person:
// "'knee', 'foot'", each of at most 40 characters, none of them a control character; empty if there are none.
std::string unknown_labels(const std::vector<std::string>& labels);

ChosenRegions tiles(std::int32_t rows, std::int32_t columns);

// The half of a film of both sides, the patient's right at the left of the image. An odd column is the left half's.
Box half_of(std::int32_t rows, std::int32_t columns, config::Half half);

// The same for the whole image.
Region whole_image(std::int32_t rows, std::int32_t columns);

// `box` must lie in the image and not be empty.
GreyImage crop(const GreyImage& image, const Box& box);

}  // namespace node::inference
