// The overlays of a study on the frames of one object, and the anomaly map as a Segmentation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "dicom_node/report/multiframe_capture.h"
#include "dicom_node/report/overlay_picture.h"
#include "dicom_node/report/segmentation.h"
#include "dicom_node/report/summary_page.h"
#include "tests/dicom_node/report/made_study.h"
#include "tests/dicom_node/report/parsed.h"

namespace node::report {
namespace {

using made::get;
using testing::HasSubstr;
using testing::IsEmpty;

std::unique_ptr<DcmFileFormat> parsed(const Result<ResultObject>& object) {
  EXPECT_TRUE(object.ok()) << object.status().message();
  return object.ok() ? made::parse(object->bytes) : std::make_unique<DcmFileFormat>();
}

std::unique_ptr<DcmFileFormat> multiframe(const ReportedStudy& study) {
  const auto references = multiframe_references("sc-multiframe", study, made::context());
  EXPECT_EQ(references.size(), 1u);
  return parsed(make_multiframe_capture(study, references.at(0), made::context()));
}

DcmItem& item_of(DcmItem& from, const DcmTagKey& sequence, long index = 0) {
  DcmItem* item = nullptr;
  EXPECT_TRUE(from.findAndGetSequenceItem(sequence, item, index).good()) << sequence.toString();
  static DcmItem none;
  return item == nullptr ? none : *item;
}

std::vector<Uint8> pixels_of(DcmDataset& dataset) {
  const Uint8* values = nullptr;
  unsigned long count = 0;
  EXPECT_TRUE(dataset.findAndGetUint8Array(DCM_PixelData, values, &count).good());
  return {values, values + count};
}

TEST(MultiframeCapture, EachOverlayLiesAtTheTopLeftOfAFrameOfTheLargestSize) {
  const ReportedStudy study =
      made::study({made::image(made::kHand, {made::anomaly()}), made::image(made::kKnee, {made::anomaly(100, 100)})},
                  made::context());
  const auto file = multiframe(study);
  DcmDataset& result = *file->getDataset();
  EXPECT_EQ(get(result, DCM_NumberOfFrames), "2");
  EXPECT_EQ(get(result, DCM_FrameLabelVector), "Image 1\\Image 2");
  const int rows = std::stoi(get(result, DCM_Rows)), columns = std::stoi(get(result, DCM_Columns));
  const std::vector<Uint8> pixels = pixels_of(result);
  ASSERT_GE(pixels.size(), static_cast<std::size_t>(rows) * columns * 3 * 2);
  int rows_max = 0, columns_max = 0;
  for (std::size_t i = 0; i < 2; ++i) {
    SCOPED_TRACE(i);
    const auto drawn = draw_finding(study.images[i], study.illustrations[i], made::context(), kFrameLongSideMax);
    ASSERT_TRUE(drawn.ok());
    const RgbImage& picture = drawn->picture.image;
    rows_max = std::max(rows_max, picture.rows);
    columns_max = std::max(columns_max, picture.columns);
    int wrong = 0;
    for (int y = 0; y < rows; ++y) {
      for (int x = 0; x < columns; ++x) {
        const Colour wanted = y < picture.rows && x < picture.columns ? picture.at(y, x) : kBackground;
        wrong += !std::equal(wanted.begin(), wanted.end(),
                             pixels.begin() + static_cast<std::ptrdiff_t>(((i * rows + y) * columns + x) * 3));
      }
    }
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(get(item_of(result, DCM_SourceImageSequence, static_cast<long>(i)), DCM_ReferencedSOPInstanceUID),
              study.images[i].record.sop_instance_uid.str());
  }
  EXPECT_EQ(rows, rows_max);
  EXPECT_EQ(columns, columns_max);
}

TEST(MultiframeCapture, LeavesOutWhatDoesNotFitTheNegativeFirstAndSaysSo) {
  std::vector<ReportedImage> images;
  for (int i = 0; i < 26; ++i) {  // The last two are positive.
    images.push_back(
        made::image("13_1_knee_ap.dcm", {made::finding(made::fracture_task(), {i < 24 ? 0.1 : 0.9}), made::anomaly()}));
    images.back().record.sop_instance_uid = storage::Uid::parse("1.2.3." + std::to_string(i + 1)).value();
  }
  const auto file = multiframe(made::study(std::move(images), made::context()));
  DcmDataset& result = *file->getDataset();
  EXPECT_EQ(get(result, DCM_NumberOfFrames), "24");
  EXPECT_THAT(get(result, DCM_DerivationDescription), HasSubstr("24 of the study's 26 overlays"));
  EXPECT_THAT(get(result, DCM_FrameLabelVector), HasSubstr("Image 21\\Image 22\\Image 25\\Image 26"));
}

TEST(MultiframeCapture, ThereIsNoneWithoutAMap) {
  const ReportedStudy study =
      made::study({made::image(made::kHand, {made::finding(made::fracture_task(), {0.9})})}, made::context());
  EXPECT_THAT(multiframe_references("sc-multiframe", study, made::context()), IsEmpty());
}

TEST(PicturesOfAStudy, HaveTheSideOfTheirImagesOnlyIfAllHaveIt) {
  const auto sides = [](const std::string& other) {
    const ReportedStudy study = made::study(
        {made::image(made::kHand, {made::anomaly()}), made::image(other, {made::anomaly()})}, made::context());
    const auto summary =
        parsed(make_summary_page(study, summary_references("summary", study, made::context()).at(0), made::context()));
    const auto frames = multiframe(study);
    EXPECT_EQ(get(*summary->getDataset(), DCM_Laterality), get(*frames->getDataset(), DCM_Laterality));
    EXPECT_EQ(get(*summary->getDataset(), DCM_BodyPartExamined), get(*frames->getDataset(), DCM_BodyPartExamined));
    return get(*summary->getDataset(), DCM_BodyPartExamined) + " " + get(*summary->getDataset(), DCM_Laterality);
  };
  EXPECT_EQ(sides(made::kHand), "HAND L");
  EXPECT_EQ(sides("06_1_shoulder_ap.dcm"), " L");
  EXPECT_EQ(sides("07_1_shoulder_ap.dcm"), " ") << "that one is right";
}

std::unique_ptr<DcmFileFormat> segmentation(const ReportedStudy& study) {
  const auto references = segmentation_references("seg", study, made::context());
  EXPECT_EQ(references.size(), 1u);
  return parsed(make_segmentation(study, references.at(0), made::context()));
}

TEST(Segmentation, HoldsTheMapAsSharesOfItsScaleOnThePixelsOfTheImage) {
  const ReportedStudy study = made::study({made::image(made::kHand, {made::anomaly(56, 168, 0.05F)})}, made::context());
  const auto file = segmentation(study), source = std::make_unique<DcmFileFormat>();
  ASSERT_TRUE(source->loadFile(made::radiograph(made::kHand).c_str()).good());
  DcmDataset& result = *file->getDataset();
  EXPECT_EQ(get(result, DCM_SegmentationType), "FRACTIONAL");
  EXPECT_EQ(get(result, DCM_SegmentationFractionalType), "PROBABILITY");
  EXPECT_EQ(get(result, DCM_MaximumFractionalValue), "255");
  for (const DcmTagKey& tag : {DCM_Rows, DCM_Columns}) EXPECT_EQ(get(result, tag), get(*source->getDataset(), tag));
  const int rows = std::stoi(get(result, DCM_Rows)), columns = std::stoi(get(result, DCM_Columns));
  const std::vector<Uint8> pixels = pixels_of(result);
  const auto at = [&](double y, double x) {
    return pixels[static_cast<std::size_t>(y * rows / 224) * columns + static_cast<std::size_t>(x * columns / 224)];
  };
  EXPECT_EQ(at(56, 168), 128) << "half of the scale, whose end is 0.1";
  EXPECT_EQ(at(168, 56), 0);
  EXPECT_EQ(at(56, 56), 0);
}

TEST(Segmentation, NamesItsImageItsSiteAndItsTrackAsTheReportDoes) {
  const ReportedStudy study = made::study({made::image(made::kHand, {made::anomaly()})}, made::context());
  const auto file = segmentation(study);
  const auto report = parsed(make_structured_report(
      study, report_references("sr", UID_ComprehensiveSRStorage, false, study, made::context()).at(0),
      made::context()));
  DcmItem& segment = item_of(*file->getDataset(), DCM_SegmentSequence);
  DcmStack stack;
  ASSERT_TRUE(report->getDataset()->search(DCM_UID, stack, ESM_fromHere, OFTrue).good());  // Of the observer.
  ASSERT_TRUE(report->getDataset()->search(DCM_UID, stack, ESM_afterStackTop, OFTrue).good());
  OFString tracking;
  dynamic_cast<DcmElement*>(stack.top())->getOFString(tracking, 0);
  EXPECT_EQ(get(segment, DCM_TrackingUID), tracking.c_str());
  EXPECT_EQ(get(segment, DCM_TrackingID), "anomaly HAND L image 1");
  DcmItem& region = item_of(segment, DCM_AnatomicRegionSequence);
  EXPECT_EQ(get(region, DCM_CodeValue), "85562004");
  EXPECT_EQ(get(item_of(region, DCM_AnatomicRegionModifierSequence), DCM_CodeMeaning), "Left");
  EXPECT_THAT(get(segment, DCM_SegmentDescription), HasSubstr("No probability. AI result - not for clinical use"));
  EXPECT_EQ(get(item_of(*file->getDataset(), DCM_CodingSchemeIdentificationSequence), DCM_CodingSchemeDesignator),
            "99SKELEX");
  DcmItem& frame = item_of(*file->getDataset(), DCM_PerFrameFunctionalGroupsSequence);
  DcmItem& source = item_of(item_of(frame, DCM_DerivationImageSequence), DCM_SourceImageSequence);
  EXPECT_EQ(get(source, DCM_ReferencedSOPInstanceUID), study.images[0].record.sop_instance_uid.str());
  EXPECT_EQ(get(source, DCM_SpatialLocationsPreserved), "YES");
}

TEST(Segmentation, OfALossyImageSaysSo) {
  const ReportedStudy study = made::study({made::image(made::kJpeg, {made::anomaly()})}, made::context());
  EXPECT_EQ(get(*segmentation(study)->getDataset(), DCM_LossyImageCompression), "01");
}

TEST(Segmentation, AnotherScaleIsAnotherObject) {
  const ReportedStudy study = made::study({made::image(made::kHand, {made::anomaly()})}, made::context());
  ResultContext other = made::context();
  other.config.tasks.back().map_scale_max = 0.2;
  EXPECT_NE(segmentation_references("seg", study, made::context()).at(0).sop_instance_uid,
            segmentation_references("seg", study, other).at(0).sop_instance_uid);
  const ReportedStudy fracture =
      made::study({made::image(made::kHand, {made::finding(made::fracture_task(), {0.9})})}, made::context());
  EXPECT_THAT(segmentation_references("seg", fracture, made::context()), IsEmpty());
}

}  // namespace
}  // namespace node::report
