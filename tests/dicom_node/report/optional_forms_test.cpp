// Key Object Selection, Basic Text SR and Presentation State, and the place of a map's peak.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <functional>

#include "dicom_node/object/image_loader.h"
#include "dicom_node/object/uncompressed.h"
#include "dicom_node/report/key_objects.h"
#include "dicom_node/report/map_peak.h"
#include "dicom_node/report/presentation_state.h"
#include "dicom_node/report/result_forms.h"
#include "dicom_node/report/study_sources.h"
#include "dicom_node/report/summary_page.h"
#include "dicom_node/report/text_report.h"
#include "tests/dicom_node/report/made_study.h"
#include "tests/dicom_node/report/parsed.h"

namespace node::report {
namespace {

using made::get;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// Of a foot, three views: a fracture in the second, nothing in the first, the third not analysed.
ReportedStudy foot(double first = 0.1, double second = 0.9) {
  ReportedImage third = made::image("02_3_foot_obl.dcm", {});
  third.record.state = storage::InstanceState::kSkipped;
  third.record.route.reason = "no rule for DX, FOOT";
  return made::study({made::image("02_1_foot_ap.dcm", {made::finding(made::fracture_task(), {first}), made::anomaly()}),
                      made::image("02_2_foot_obl.dcm", {made::finding(made::fracture_task(), {second})}), third},
                     made::context());
}

std::vector<std::string> all_of(DcmItem& item, const DcmTagKey& tag) {
  std::vector<std::string> found;
  DcmStack stack;
  while (item.search(tag, stack, ESM_afterStackTop, OFTrue).good()) {
    OFString value;
    dynamic_cast<DcmElement*>(stack.top())->getOFStringArray(value);
    found.emplace_back(value.c_str());
  }
  return found;
}

// Of the content tree alone: the evidence names images too.
std::vector<std::string> referenced(DcmDataset& dataset) {
  DcmSequenceOfItems* content = nullptr;
  std::vector<std::string> found;
  if (dataset.findAndGetSequence(DCM_ContentSequence, content).bad()) return found;
  for (unsigned long i = 0; i < content->card(); ++i)
    for (std::string& uid : all_of(*content->getItem(i), DCM_ReferencedSOPInstanceUID)) found.push_back(std::move(uid));
  return found;
}

std::unique_ptr<DcmFileFormat> parsed(const Result<ResultObject>& object) {
  EXPECT_TRUE(object.ok()) << object.status().message();
  return object.ok() ? made::parse(object->bytes) : std::make_unique<DcmFileFormat>();
}

TEST(KeyObjects, AreTheImagesInWhichSomethingWasFoundWithTheirPictures) {
  const ReportedStudy study = foot(0.35, 0.1);  // Doubtful is found.
  const auto references = key_object_references("kos", study, made::context());
  ASSERT_EQ(references.size(), 1u);
  const auto file = parsed(make_key_objects(study, references[0], made::context()));
  EXPECT_THAT(referenced(*file->getDataset()), ElementsAre(study.images[0].record.sop_instance_uid.str(),
                                                           study.illustrations.at(0).sop_instance_uid.str()));
  EXPECT_EQ(get(*file->getDataset(), DCM_Modality), "KO");
  EXPECT_THAT(all_of(*file->getDataset(), DCM_TextValue),
              testing::Contains("Findings in 1 of 3 images. AI result - not for clinical use"));
  EXPECT_FALSE(file->getDataset()->tagExists(DCM_CompletionFlag)) << "not of this IOD";
}

TEST(KeyObjects, ThereIsNoneWhereNothingWasFound) {
  EXPECT_THAT(key_object_references("kos", foot(0.1, 0.29), made::context()), IsEmpty());
}

TEST(TextReport, SaysOfEachImageWhatWasFoundOrWhyNot) {
  const ReportedStudy study = foot();
  const auto file = parsed(make_text_report(
      study, study_reference("sr-text", UID_BasicTextSRStorage, study, made::context()), made::context()));
  const auto texts = all_of(*file->getDataset(), DCM_TextValue);
  EXPECT_THAT(texts, testing::Contains(testing::AllOf(HasSubstr("Image 1, FOOT"), HasSubstr("Fracture 0.10 negative"),
                                                      HasSubstr("by fracture: demo-fracture 0f1e2d3c"))));
  EXPECT_THAT(texts, testing::Contains(testing::AllOf(HasSubstr("Image 2, FOOT"), HasSubstr("Fracture 0.90 certain"))));
  EXPECT_THAT(texts, testing::Contains(testing::AllOf(HasSubstr("Image 3"), HasSubstr("no rule for DX, FOOT"))));
  EXPECT_THAT(texts.back(), HasSubstr("Image 2, FOOT: Fracture 0.90 certain."));
  EXPECT_EQ(get(*file->getDataset(), DCM_Modality), "SR");
}

TEST(TextReport, SaysWhichTasksWereLeftOut) {
  ReportedStudy study = foot();
  study.images.front().record.route.reason = "out of scope: pes-planus: view is AP, not LL";
  const auto file = parsed(make_text_report(
      study, study_reference("sr-text", UID_BasicTextSRStorage, study, made::context()), made::context()));
  EXPECT_THAT(all_of(*file->getDataset(), DCM_TextValue),
              testing::Contains(testing::AllOf(HasSubstr("Image 1, FOOT"), HasSubstr("out of scope: pes-planus"))));
}

TEST(SummaryPage, HasARowForEachRegionAndALineForWhatWasLeftOut) {
  const auto rows_of = [](const ReportedStudy& study) {
    const auto file = parsed(make_summary_page(
        study, study_reference("summary", UID_SecondaryCaptureImageStorage, study, made::context()), made::context()));
    return std::stoi(get(*file->getDataset(), DCM_Rows));
  };
  ReportedStudy study =
      made::study({made::image(made::kHand, {made::finding(made::finds_task(), {0.2, 0.6})})}, made::context());
  const int plain = rows_of(study);
  study.images[0].record.route.reason = "out of scope: bone-age: age is unknown";
  const int with_reason = rows_of(study);
  EXPECT_GT(with_reason, plain + 10);
  inference::Prediction& prediction = study.images[0].findings[0].prediction;
  inference::Region region;
  region.label = "whole image";
  region.box = {0, 0, 9, 9};
  region.scores = prediction.scores;
  region.bone = "carpal bones";
  region.detector_score = 0.9;
  prediction.regions = {region};
  const int one = rows_of(study);
  EXPECT_GT(one, with_reason + 10);
  prediction.regions.push_back(region);
  const int two = rows_of(study);
  EXPECT_GT(two, one + 10);
  prediction.regions_note = "no regions found, whole image only";
  EXPECT_GT(rows_of(study), two + 10);
  prediction.regions.resize(40, region);  // No page is as long as a detector likes.
  const int many = rows_of(study);
  prediction.regions.resize(400, region);
  EXPECT_EQ(rows_of(study), many);
}

TEST(TextReport, ItsImpressionIsWhatAReaderShouldTakeAway) {
  const config::ReportConfig config = made::context().config;
  EXPECT_EQ(impression(foot(), config),
            "AI result - not for clinical use\r\nImage 2, FOOT: Fracture 0.90 certain.\r\nNothing found in 1 further "
            "image.\r\nNot analysed: 1 of 3 images.");
  EXPECT_EQ(impression(foot(0.1, 0.2), config),
            "AI result - not for clinical use\r\nNothing found in 2 images.\r\nNot analysed: 1 of 3 images.");
  EXPECT_THAT(impression(made::study({made::image(made::kHand, {made::anomaly()})}, made::context()), config),
              HasSubstr("No task that was asked decides whether something is there."));
}

TEST(MapPeak, IsTheHighestPatchInPixelsOfTheSource) {
  inference::AnomalyMap map = made::patch_at(8 + 16 * 3, 8 + 16 * 10, 0.1F);  // Patch row 3, column 10 of 14.
  const auto peak = map_peak(map, 2800, 1400);
  ASSERT_TRUE(peak);
  EXPECT_NEAR(peak->error, 0.1, 1e-6);
  EXPECT_EQ(std::tie(peak->left, peak->right, peak->top, peak->bottom), std::make_tuple(1000., 1100., 600., 800.));
  map.values.assign(map.values.size(), 0.0F);
  EXPECT_FALSE(map_peak(map, 2800, 1400)) << "nothing stands out";
  EXPECT_FALSE(map_peak(made::patch_at(50, 50, 0.1F), 0, 0));
  EXPECT_FALSE(map_peak({}, 10, 10));
}

// Of a radiograph as the node renders it, changed before that by `change`.
std::unique_ptr<DcmFileFormat> state_of(
    const std::string& name, const std::function<void(DcmDataset&)>& change = [](DcmDataset&) {}) {
  ReportedStudy study = made::study({made::image(name, {made::anomaly()})}, made::context());
  ReportedImage& image = study.images.front();
  DcmFileFormat source;
  EXPECT_TRUE(source.loadFile(image.file.c_str()).good());
  change(*source.getDataset());
  const std::string changed = testing::TempDir() + "presentation_state_source_" + std::to_string(getpid()) + ".dcm";
  EXPECT_TRUE(source.saveFile(changed.c_str()).good());
  image.file = changed;
  image.findings.front().rendering = object::load_image(changed)->rendering;
  const auto references = presentation_references("gsps", study, made::context());
  EXPECT_EQ(references.size(), 1u);
  return parsed(make_presentation_state(study, references.at(0), made::context()));
}

TEST(PresentationState, MarksThePeakOnTheWholeImage) {
  const auto file = state_of(made::kHand);
  DcmDataset& state = *file->getDataset();
  DcmFileFormat source;
  ASSERT_TRUE(source.loadFile(made::radiograph(made::kHand).c_str()).good());
  const int rows = std::stoi(get(*source.getDataset(), DCM_Rows)),
            columns = std::stoi(get(*source.getDataset(), DCM_Columns));
  EXPECT_THAT(all_of(state, DCM_DisplayedAreaBottomRightHandCorner),
              ElementsAre(std::to_string(columns) + "\\" + std::to_string(rows)));
  DcmItem *annotation = nullptr, *graphic = nullptr;
  ASSERT_TRUE(state.findAndGetSequenceItem(DCM_GraphicAnnotationSequence, annotation).good());
  ASSERT_TRUE(annotation->findAndGetSequenceItem(DCM_GraphicObjectSequence, graphic).good());
  const Float32* points = nullptr;
  unsigned long count = 0;
  ASSERT_TRUE(graphic->findAndGetFloat32Array(DCM_GraphicData, points, &count).good());
  ASSERT_EQ(count, 10u);
  EXPECT_EQ(points[0], points[8]) << "closed";
  EXPECT_EQ(points[1], points[9]) << "closed";
  const auto peak = map_peak(made::anomaly().prediction.map, rows, columns);
  EXPECT_NEAR(points[0], peak->left, 0.01);
  EXPECT_NEAR(points[5], peak->bottom, 0.01);
  EXPECT_THAT(all_of(state, DCM_UnformattedTextValue).at(0), HasSubstr("AI result - not for clinical use"));
}

TEST(PresentationState, ShowsTheGreyValuesAsTheSourceDoes) {
  for (const std::string& name : {made::kHand, made::kShoulder, made::kKnee}) {
    SCOPED_TRACE(name);
    DcmFileFormat source;
    ASSERT_TRUE(source.loadFile(made::radiograph(name).c_str()).good());
    DcmDataset& image = *source.getDataset();
    const auto file = state_of(name);
    DcmDataset& state = *file->getDataset();
    EXPECT_EQ(get(state, DCM_PresentationLUTShape),
              get(image, DCM_PhotometricInterpretation) == "MONOCHROME1" ? "INVERSE" : "IDENTITY");
    DcmItem* voi = nullptr;
    if (!get(image, DCM_WindowCenter).empty()) {
      ASSERT_TRUE(state.findAndGetSequenceItem(DCM_SoftcopyVOILUTSequence, voi).good());
      EXPECT_EQ(std::stod(get(*voi, DCM_WindowCenter)), std::stod(get(image, DCM_WindowCenter)));
      EXPECT_EQ(std::stod(get(*voi, DCM_WindowWidth)), std::stod(get(image, DCM_WindowWidth)));
    }
    EXPECT_EQ(get(state, DCM_Modality), "PR");
  }
}

// What the state leaves out of an image's appearance is not shown (PS3.4 N.2), so it says how the models saw it.
TEST(PresentationState, ShowsWhatWasRenderedWhereTheHeaderIsOfNoUse) {
  const auto useless = state_of(made::kHand, [](DcmDataset& d) {
    d.putAndInsertString(DCM_WindowCenter, "60000");
    d.putAndInsertString(DCM_WindowWidth, "100");
  });
  DcmItem* voi = nullptr;
  ASSERT_TRUE(useless->getDataset()->findAndGetSequenceItem(DCM_SoftcopyVOILUTSequence, voi).good());
  const double center = std::stod(get(*voi, DCM_WindowCenter)), width = std::stod(get(*voi, DCM_WindowWidth));
  DcmFileFormat source;
  ASSERT_TRUE(object::load_uncompressed(made::radiograph(made::kHand), source).ok());
  const Uint16* values = nullptr;
  unsigned long count = 0;
  ASSERT_TRUE(source.getDataset()->findAndGetUint16Array(DCM_PixelData, values, &count).good());
  const auto [least, greatest] = std::minmax_element(values, values + count);
  EXPECT_EQ(center - 0.5 - (width - 1) / 2, *least);
  EXPECT_EQ(center - 0.5 + (width - 1) / 2, *greatest);

  const auto second = state_of(made::kHand, [](DcmDataset& d) {
    d.putAndInsertString(DCM_WindowCenter, "60000\\2000");
    d.putAndInsertString(DCM_WindowWidth, "100\\3000.25");
    d.putAndInsertString(DCM_VOILUTFunction, "SIGMOID");
    d.putAndInsertString(DCM_RescaleSlope, "2.00000000000000000000000001");
    d.putAndInsertString(DCM_RescaleIntercept, "-7");
  });
  ASSERT_TRUE(second->getDataset()->findAndGetSequenceItem(DCM_SoftcopyVOILUTSequence, voi).good());
  EXPECT_EQ(get(*voi, DCM_WindowCenter), "2000");
  EXPECT_EQ(get(*voi, DCM_WindowWidth), "3000.25");
  EXPECT_EQ(get(*voi, DCM_VOILUTFunction), "SIGMOID");
  EXPECT_EQ(get(*second->getDataset(), DCM_RescaleSlope), "2");
  EXPECT_EQ(get(*second->getDataset(), DCM_RescaleIntercept), "-7");
}

TEST(PresentationState, DrawsTheRegionsWithTheirNumbers) {
  object::FindingRecord found = made::finding(made::finds_task(), {0.6, 0.9});
  inference::Prediction& prediction = found.prediction;
  prediction.regions.resize(2);
  prediction.regions[0].label = "whole image";
  prediction.regions[1].source = inference::RegionSource::kDetector;
  prediction.regions[1].box = {1, 2, 30, 40};
  for (inference::Region& region : prediction.regions) region.scores = prediction.scores;
  const ReportedStudy study = made::study({made::image(made::kHand, {found})}, made::context());
  const auto references = presentation_references("gsps", study, made::context());
  const auto file = parsed(make_presentation_state(study, references.at(0), made::context()));
  DcmItem *annotation = nullptr, *graphic = nullptr, *none = nullptr;
  ASSERT_TRUE(file->getDataset()->findAndGetSequenceItem(DCM_GraphicAnnotationSequence, annotation).good());
  ASSERT_TRUE(annotation->findAndGetSequenceItem(DCM_GraphicObjectSequence, graphic).good());
  EXPECT_FALSE(annotation->findAndGetSequenceItem(DCM_GraphicObjectSequence, none, 1).good()) << "no box of the whole";
  const Float32* points = nullptr;
  unsigned long count = 0;
  ASSERT_TRUE(graphic->findAndGetFloat32Array(DCM_GraphicData, points, &count).good());
  EXPECT_THAT(std::vector<float>(points, points + count), ElementsAre(1, 2, 30, 2, 30, 40, 1, 40, 1, 2));
  EXPECT_THAT(all_of(*file->getDataset(), DCM_UnformattedTextValue), testing::Contains(testing::StartsWith("1")));
}

TEST(PresentationState, KeepsOverlaysShutterAndTheShapeOfPixels) {
  const auto file = state_of(made::kHand, [](DcmDataset& d) {
    d.putAndInsertString(DCM_ShutterShape, "RECTANGULAR\\CIRCULAR");  // Of the circle nothing else is said.
    for (const DcmTagKey& tag : {DCM_ShutterLeftVerticalEdge, DCM_ShutterRightVerticalEdge,
                                 DCM_ShutterUpperHorizontalEdge, DCM_ShutterLowerHorizontalEdge})
      d.putAndInsertString(tag, "10");
    d.putAndInsertUint16(DcmTag(DcmTagKey(0x6002, 0x0010), EVR_US), 8);
    const Uint8 bits[8] = {1};
    d.putAndInsertUint8Array(DcmTag(DcmTagKey(0x6002, 0x3000), EVR_OB), bits, 8);
    d.findAndDeleteElement(DCM_PixelAspectRatio);
    d.putAndInsertString(DCM_ImagerPixelSpacing, "0.2\\0.1");
  });
  DcmDataset& state = *file->getDataset();
  EXPECT_EQ(get(state, DCM_ShutterShape), "RECTANGULAR");
  EXPECT_EQ(get(state, DCM_ShutterLeftVerticalEdge), "10");
  EXPECT_EQ(get(state, DCM_ShutterPresentationValue), "0");
  EXPECT_EQ(get(state, DcmTagKey(0x6002, 0x1001)), "OVERLAYS");
  EXPECT_THAT(all_of(state, DCM_GraphicLayer), testing::Contains("OVERLAYS"));
  EXPECT_THAT(all_of(state, DCM_PresentationPixelAspectRatio), ElementsAre("20000\\10000"));
}

TEST(PresentationState, IsMadeOfImagesWithFindingsAlone) {
  const ReportedStudy study = foot();
  std::vector<std::string> sources;
  for (const ResultReference& reference : presentation_references("gsps", study, made::context()))
    sources.push_back(reference.source_uid);
  EXPECT_THAT(sources, ElementsAre(study.images[0].record.sop_instance_uid.str(),
                                   study.images[1].record.sop_instance_uid.str()));
  const auto second = parsed(
      make_presentation_state(study, presentation_references("gsps", study, made::context()).at(1), made::context()));
  EXPECT_THAT(all_of(*second->getDataset(), DCM_GraphicData), IsEmpty()) << "no map, no mark";
  EXPECT_THAT(all_of(*second->getDataset(), DCM_UnformattedTextValue).at(0), HasSubstr("Fracture 0.90 certain"));
}

}  // namespace
}  // namespace node::report
