#include "dicom_node/report/secondary_capture.h"

#include <gtest/gtest.h>

#include "dicom_node/object/part10.h"
#include "dicom_node/object/result_identity.h"
#include "tests/dicom_node/report/made_study.h"
#include "tests/dicom_node/report/parsed.h"

namespace node::report {
namespace {

using made::get;

struct Made {
  Overlay overlay;
  std::unique_ptr<DcmFileFormat> file;
  DcmDataset& dataset() { return *file->getDataset(); }
};

Made make(const ReportedImage& image, const ResultContext& context) {
  const auto references = overlay_references("sc", image, context);
  EXPECT_EQ(references.size(), 1u);
  auto overlay = make_overlay(image, references.at(0), context);
  EXPECT_TRUE(overlay.ok()) << overlay.status().message();
  auto file = made::parse(overlay->object.bytes);
  EXPECT_NE(file, nullptr);
  return {std::move(overlay).value(), std::move(file)};
}

std::unique_ptr<DcmFileFormat> source(const std::string& name) {
  auto file = std::make_unique<DcmFileFormat>();
  EXPECT_TRUE(object::load_dataset(made::radiograph(name), *file, object::Extent::kUpToPixelData).ok());
  return file;
}

TEST(SecondaryCapture, HasTheAttributesOfItsIodAndCopiesTheIdentityOfItsSource) {
  const ReportedImage image = made::image(made::kHand, {made::finding(made::fracture_task(), {0.83}), made::anomaly()});
  Made sc = make(image, made::context());
  DcmDataset& d = sc.dataset();
  const auto from = source(made::kHand);
  for (const DcmTagKey& tag : {DCM_PatientName, DCM_PatientID, DCM_PatientBirthDate, DCM_PatientSex,
                               DCM_StudyInstanceUID, DCM_StudyDate, DCM_AccessionNumber, DCM_BodyPartExamined})
    EXPECT_EQ(get(d, tag), get(*from->getDataset(), tag)) << tag.toString();
  EXPECT_EQ(get(d, DCM_SOPClassUID), UID_SecondaryCaptureImageStorage);
  EXPECT_EQ(get(d, DCM_Modality), "OT");
  EXPECT_EQ(get(d, DCM_ConversionType), "WSD");
  EXPECT_EQ(get(d, DCM_ImageType), "DERIVED\\SECONDARY\\\\ANOMALY_MAP");
  EXPECT_EQ(get(d, DCM_SeriesNumber), "9002");
  EXPECT_EQ(get(d, DCM_BurnedInAnnotation), "YES");
  EXPECT_EQ(get(d, DCM_Laterality), "L");
  EXPECT_EQ(get(d, DCM_PhotometricInterpretation), "RGB");
  EXPECT_EQ(get(d, DCM_ContentQualification), "RESEARCH");
  EXPECT_EQ(get(d, DCM_InstanceCreatorUID), made::kNodeUid);
  EXPECT_FALSE(d.tagExists(DCM_PixelSpacing)) << "nobody shall measure on it";
  EXPECT_FALSE(d.tagExists(DCM_WindowCenter));
  EXPECT_EQ(sc.overlay.object.kind, "sc");
  EXPECT_EQ(sc.overlay.object.task, "anomaly");
}

TEST(SecondaryCapture, NamesItsSourceImageAndTheModelsThatMadeIt) {
  const ReportedImage image = made::image(made::kHand, {made::finding(made::fracture_task(), {0.83}), made::anomaly()});
  Made sc = make(image, made::context());
  DcmItem* item = nullptr;
  ASSERT_TRUE(sc.dataset().findAndGetSequenceItem(DCM_SourceImageSequence, item).good());
  EXPECT_EQ(get(*item, DCM_ReferencedSOPInstanceUID), image.record.sop_instance_uid.str());
  EXPECT_EQ(get(*item, DCM_ReferencedSOPClassUID), image.record.sop_class_uid);
  EXPECT_EQ(get(*item, DCM_SpatialLocationsPreserved), "YES");
  DcmSequenceOfItems* equipment = nullptr;
  ASSERT_TRUE(sc.dataset().findAndGetSequence(DCM_ContributingEquipmentSequence, equipment).good());
  ASSERT_EQ(equipment->card(), 2u);
  EXPECT_EQ(get(*equipment->getItem(1), DCM_SoftwareVersions), "demo-anomaly@sha256:0f1e2d3c");
  EXPECT_NE(get(*equipment->getItem(0), DCM_DeviceUID), get(*equipment->getItem(1), DCM_DeviceUID));
}

TEST(SecondaryCapture, PixelsAreThePictureAndTheHottestOnesLieWhereThePatchWasPlanted) {
  Made sc = make(made::image(made::kHand, {made::anomaly(56, 168, 0.1f)}), made::context());
  Uint16 rows = 0, columns = 0;
  sc.dataset().findAndGetUint16(DCM_Rows, rows);
  sc.dataset().findAndGetUint16(DCM_Columns, columns);
  const Uint8* pixels = nullptr;
  unsigned long count = 0;
  ASSERT_TRUE(sc.dataset().findAndGetUint8Array(DCM_PixelData, pixels, &count).good());
  ASSERT_EQ(count, 3ul * rows * columns);
  EXPECT_TRUE(std::equal(pixels, pixels + count, sc.overlay.picture.image.pixels.begin()));

  // Against the radiograph alone: what the map has changed, and most where.
  const Rectangle area = sc.overlay.picture.picture;
  double sum_y = 0, sum_x = 0, weight = 0;
  for (int y = 0; y < area.height; ++y) {
    for (int x = 0; x < area.width; ++x) {
      const std::size_t i = (static_cast<std::size_t>(y) * columns + x) * 3;
      const int grey = sc.overlay.radiograph.pixels[static_cast<std::size_t>(y) * area.width + x];
      if (std::abs(pixels[i] - grey) < 40) continue;
      sum_y += y;
      sum_x += x;
      ++weight;
    }
  }
  ASSERT_GT(weight, 0);
  EXPECT_NEAR(sum_y / weight / area.height, 56 / 224.0, 0.03);
  EXPECT_NEAR(sum_x / weight / area.width, 168 / 224.0, 0.03);
}

TEST(SecondaryCapture, LossyHistoryIsInherited) {
  ReportedImage image = made::image(made::kJpeg, {made::anomaly()});
  Made lossy = make(image, made::context());
  EXPECT_EQ(get(lossy.dataset(), DCM_LossyImageCompression), "01");
  EXPECT_EQ(get(lossy.dataset(), DCM_LossyImageCompressionMethod),
            get(*source(made::kJpeg)->getDataset(), DCM_LossyImageCompressionMethod));

  // The same of an image without one: an uncompressed radiograph that says nothing of compression.
  DcmFileFormat file;
  ASSERT_TRUE(object::load_dataset(made::radiograph(made::kKnee), file, object::Extent::kWithPixelData).ok());
  for (const DcmTagKey& tag :
       {DCM_LossyImageCompression, DCM_LossyImageCompressionRatio, DCM_LossyImageCompressionMethod})
    file.getDataset()->findAndDeleteElement(tag);
  image = made::image(made::kKnee, {made::anomaly()});
  image.file = std::filesystem::path(testing::TempDir()) / "never_lossy.dcm";
  ASSERT_TRUE(file.saveFile(image.file.c_str(), EXS_LittleEndianExplicit).good());
  EXPECT_EQ(get(make(image, made::context()).dataset(), DCM_LossyImageCompression), "00");
  std::filesystem::remove(image.file);
}

TEST(SecondaryCapture, LateralityIsSentWhereTheBodyPartHasASide) {
  Made hand = make(made::image(made::kHand, {made::anomaly()}), made::context());
  EXPECT_EQ(get(hand.dataset(), DCM_Laterality), "L");
  Made foot = make(made::image("02_1_foot_ap.dcm", {made::anomaly()}), made::context());
  EXPECT_TRUE(foot.dataset().tagExists(DCM_Laterality));
  EXPECT_EQ(get(foot.dataset(), DCM_Laterality), "") << "no side is known";
  Made pelvis = make(made::image("10_1_pelvis_ap.dcm", {made::anomaly()}), made::context());
  EXPECT_FALSE(pelvis.dataset().tagExists(DCM_Laterality));
}

TEST(SecondaryCapture, TimesAreThoseOfThePrediction) {
  ReportedImage image = made::image(made::kHand, {made::anomaly()});
  Made sc = make(image, made::context());
  const auto from = source(made::kHand);
  const object::DicomDateTime moment = object::to_dicom_time(*image.record.predicted_at, *from->getDataset());
  EXPECT_EQ(get(sc.dataset(), DCM_ContentDate), moment.date);
  EXPECT_EQ(get(sc.dataset(), DCM_ContentTime), moment.time);
  EXPECT_EQ(get(sc.dataset(), DCM_DateOfSecondaryCapture), moment.date);
}

TEST(SecondaryCapture, SameWorkMakesSameBytes) {
  const ReportedImage image = made::image(made::kKnee, {made::finding(made::fracture_task(), {0.83}), made::anomaly()});
  EXPECT_EQ(make(image, made::context()).overlay.object.bytes, make(image, made::context()).overlay.object.bytes);
}

TEST(SecondaryCapture, WhatChangesTheBytesChangesTheUid) {
  const ReportedImage image = made::image(made::kHand, {made::finding(made::fracture_task(), {0.83}), made::anomaly()});
  const auto uid = [](const ReportedImage& i, const ResultContext& c) {
    return overlay_references("sc", i, c).at(0).sop_instance_uid.str();
  };
  std::set<std::string> uids{uid(image, made::context())};
  EXPECT_TRUE(uids.insert([&] {
                    ResultContext c = made::context();
                    c.config.disclaimer = "other";
                    return uid(image, c);
                  }())
                  .second);
  EXPECT_TRUE(uids.insert([&] {
                    ResultContext c = made::context();
                    c.config.tasks.back().map_scale_max = 0.2;
                    return uid(image, c);
                  }())
                  .second);
  EXPECT_TRUE(uids.insert([&] {
                    ResultContext c = made::context();
                    c.config.tasks.front().threshold_certain = 0.9;
                    return uid(image, c);
                  }())
                  .second);
  EXPECT_TRUE(uids.insert([&] {
                    ReportedImage i = image;
                    i.record.version = 2;
                    return uid(i, made::context());
                  }())
                  .second);
  EXPECT_TRUE(uids.insert([&] {
                    ReportedImage i = image;
                    i.findings[0].prediction.model_version = "retrained";
                    return uid(i, made::context());
                  }())
                  .second);
  EXPECT_TRUE(uids.insert([&] {
                    ResultContext c = made::context();
                    c.kind_prefix = "predict-";
                    return uid(image, c);
                  }())
                  .second);
  // The study's revision does not: a late image sends nothing again for the others.
  ResultContext later = made::context();
  later.revision = "2";
  EXPECT_FALSE(uids.insert(uid(image, later)).second);
}

TEST(SecondaryCapture, SaysWhetherItsColoursAreCalibratedAndHasAnotherUidThen) {
  object::FindingRecord finding = made::anomaly();
  Made before = make(made::image(made::kHand, {finding}), made::context());
  EXPECT_NE(get(before.dataset(), DCM_DerivationDescription).find("fixed scale 0 to 0.1, uncalibrated"),
            std::string::npos);
  made::calibrate(finding);
  Made after = make(made::image(made::kHand, {finding}), made::context());
  const std::string words = get(after.dataset(), DCM_DerivationDescription);
  EXPECT_NE(words.find("percentiles among the patches of 214 normal images of HAND, calibration sha256:feedbeef"),
            std::string::npos)
      << words;
  EXPECT_EQ(words.find("uncalibrated"), std::string::npos);
  EXPECT_LE(words.size(), 1024u) << "VR ST";
  EXPECT_NE(after.overlay.object.sop_instance_uid, before.overlay.object.sop_instance_uid);
  EXPECT_NE(after.overlay.picture.image.pixels, before.overlay.picture.image.pixels);
}

TEST(SecondaryCapture, AForeignDisclaimerKeepsTheCharacterSetTrue) {
  ResultContext context = made::context();
  context.config.tasks.back().name = "anomalie-\u00fc";
  object::FindingRecord finding = made::anomaly();
  finding.prediction.task = "anomalie-\u00fc";
  finding.prediction.model_version = "modell-\u00fc@sha256:1";
  Made sc = make(made::image(made::kHand, {finding}), context);
  EXPECT_EQ(get(sc.dataset(), DCM_SpecificCharacterSet), "ISO_IR 192");
  EXPECT_NE(get(sc.dataset(), DCM_DerivationDescription).find("modell-\u00fc"), std::string::npos);
}

TEST(OwnText, IsWrittenInTheCharacterSetOfTheSource) {
  DcmDataset source;
  source.putAndInsertString(DCM_SpecificCharacterSet, "ISO_IR 100");
  const OwnText latin(source);
  EXPECT_EQ(latin.character_set(), "ISO_IR 100");
  EXPECT_EQ(latin("f\u00fcr"), "f\xFCr");
  EXPECT_EQ(latin("\u043d\u0435 for"), "?? for") << "no Cyrillic in Latin-1";
  source.putAndInsertString(DCM_SpecificCharacterSet, "ISO_IR 192");
  EXPECT_EQ(OwnText(source)("\u043d\u0435"), "\u043d\u0435");
}

TEST(SecondaryCapture, ABrokenImageIsAStatus) {
  ReportedImage image = made::image(made::kHand, {made::anomaly()});
  const auto references = overlay_references("sc", image, made::context());
  image.file = "no such file";
  EXPECT_EQ(make_overlay(image, references.at(0), made::context()).status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace node::report
