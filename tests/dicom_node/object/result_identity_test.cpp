#include "dicom_node/object/result_identity.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

#include "dicom_node/object/dataset_text.h"
#include "dicom_node/object/part10.h"
#include "tests/dicom_node/object/test_files.h"

namespace node::object {
namespace {

// The vectors are from Python: "2.25.%d" % uuid.uuid5(UUID("6f3c1a52-8a0e-5d5b-9a86-3a1f0c6f7e11"), name).int.
TEST(DeriveUid, IsTheNameBasedUuidOfItsParts) {
  EXPECT_EQ(derive_uid("sc", "1.2.840.113619.2.1", "anomaly", "skelex@sha256:0123", "1").str(),
            "2.25.194157947450531636997474615621185829845");
  EXPECT_EQ(derive_uid("sr", "1.2.3.4", "", std::string(64, 'a'), "2").str(),
            "2.25.112874389262314656604740114189101987940");
  EXPECT_EQ(derive_uid("device", "2.25.7", "", "demo-fracture@sha256:ff", "").str(),
            "2.25.97612358327444725070134520568833054249");
  EXPECT_EQ(derive_uid("tracking", "1.2.3", "R\xC3\xB6ntgen", "", "").str(),
            "2.25.302467376448762177560726797634719393805");
}

TEST(DeriveUid, MadeTheImplementationClassUid) {
  EXPECT_EQ(derive_uid("implementation", "skelex-node", "", "", "").str(), kImplementationClassUid);
}

TEST(DeriveUid, DiffersByEachPart) {
  const auto base = derive_uid("a", "b", "c", "d", "e");
  EXPECT_NE(base, derive_uid("x", "b", "c", "d", "e"));
  EXPECT_NE(base, derive_uid("a", "x", "c", "d", "e"));
  EXPECT_NE(base, derive_uid("a", "b", "x", "d", "e"));
  EXPECT_NE(base, derive_uid("a", "b", "c", "x", "e"));
  EXPECT_NE(base, derive_uid("a", "b", "c", "d", "x"));
}

std::string text(DcmItem& item, const DcmTagKey& tag) {
  OFString value;
  item.findAndGetOFStringArray(tag, value);
  return value.c_str();
}

TEST(CopyIdentity, TakesPatientAndStudyByteForByte) {
  DcmDataset source;
  const std::string name = "M\xFCller^J\xFCrgen=\x1B$B;3ED\x1B(B";  // Latin-1 and ISO 2022, whatever the set says.
  must(source.putAndInsertString(DCM_SpecificCharacterSet, "ISO_IR 100"));
  must(source.putAndInsertString(DCM_TimezoneOffsetFromUTC, "+0100"));
  must(source.putAndInsertString(DCM_StudyInstanceUID, "1.2.3"));
  must(source.putAndInsertString(DCM_PatientName, name.c_str()));
  must(source.putAndInsertString(DCM_PatientID, "0815"));
  must(source.putAndInsertString(DCM_IssuerOfPatientID, "HOSPITAL"));
  must(source.putAndInsertString(DCM_PatientAge, "056Y"));
  must(source.putAndInsertString(DCM_StudyDescription, "Knie bds."));
  DcmItem* issuer = nullptr;
  must(source.findOrCreateSequenceItem(DCM_IssuerOfAccessionNumberSequence, issuer));
  must(issuer->putAndInsertString(DCM_LocalNamespaceEntityID, "RIS"));

  DcmDataset result;
  ASSERT_TRUE(copy_identity(source, result, false).ok());
  EXPECT_EQ(text(result, DCM_SpecificCharacterSet), "ISO_IR 100");
  EXPECT_EQ(text(result, DCM_TimezoneOffsetFromUTC), "+0100");
  EXPECT_EQ(text(result, DCM_StudyInstanceUID), "1.2.3");
  EXPECT_EQ(text(result, DCM_PatientName), name);
  EXPECT_EQ(text(result, DCM_PatientID), "0815");
  EXPECT_EQ(text(result, DCM_IssuerOfPatientID), "HOSPITAL");
  EXPECT_EQ(text(result, DCM_PatientAge), "056Y");
  EXPECT_EQ(text(result, DCM_StudyDescription), "Knie bds.");
  must(result.findAndGetSequenceItem(DCM_IssuerOfAccessionNumberSequence, issuer));
  EXPECT_EQ(text(*issuer, DCM_LocalNamespaceEntityID), "RIS");
}

TEST(CopyIdentity, SendsAbsentTypeTwoAttributesEmptyAndNoOthers) {
  DcmDataset source, result;
  must(source.putAndInsertString(DCM_StudyInstanceUID, "1.2.3"));
  ASSERT_TRUE(copy_identity(source, result, true).ok());
  for (const DcmTagKey& tag : {DCM_PatientName, DCM_PatientID, DCM_PatientBirthDate, DCM_PatientSex, DCM_StudyDate,
                               DCM_StudyTime, DCM_StudyID, DCM_AccessionNumber, DCM_ReferringPhysicianName}) {
    DcmElement* element = nullptr;
    ASSERT_TRUE(result.findAndGetElement(tag, element).good()) << tag.toString();
    EXPECT_EQ(element->getLength(), 0u);
  }
  EXPECT_EQ(result.card(), 10u);
}

TEST(CopyIdentity, NeedsAStudy) {
  DcmDataset source, result;
  EXPECT_EQ(copy_identity(source, result, false).code(), StatusCode::kInvalidArgument);
}

TEST(CopyIdentity, LeavesTheAcquisitionAndPrivateElementsBehind) {
  DcmDataset source, result;
  must(source.putAndInsertString(DCM_StudyInstanceUID, "1.2.3"));
  must(source.putAndInsertString(DCM_KVP, "60"));
  must(source.putAndInsertString(DCM_SeriesInstanceUID, "1.2.3.9"));
  must(source.putAndInsertString(DcmTag(0x0009, 0x0010, EVR_LO), "VENDOR"));
  DcmItem* item = nullptr;
  must(source.findOrCreateSequenceItem(DCM_RequestAttributesSequence, item));
  must(item->putAndInsertString(DCM_RequestedProcedureID, "RP1"));
  must(item->putAndInsertString(DcmTag(0x0009, 0x0010, EVR_LO), "VENDOR"));
  ASSERT_TRUE(copy_identity(source, result, false).ok());
  EXPECT_FALSE(result.tagExists(DCM_KVP));
  EXPECT_FALSE(result.tagExists(DCM_SeriesInstanceUID));
  EXPECT_FALSE(result.tagExists(DcmTagKey(0x0009, 0x0010)));
  must(result.findAndGetSequenceItem(DCM_RequestAttributesSequence, item));
  EXPECT_EQ(text(*item, DCM_RequestedProcedureID), "RP1");
  EXPECT_FALSE(item->tagExists(DcmTagKey(0x0009, 0x0010)));
  must(source.findAndGetSequenceItem(DCM_RequestAttributesSequence, item));
  EXPECT_TRUE(item->tagExists(DcmTagKey(0x0009, 0x0010)));  // The source is as it was.
}

TEST(CopyIdentity, PutsTheRequestOfAReportIntoReferencedRequestSequence) {
  DcmDataset source, result;
  must(source.putAndInsertString(DCM_StudyInstanceUID, "1.2.3"));
  must(source.putAndInsertString(DCM_AccessionNumber, "A1"));
  DcmItem* item = nullptr;
  must(source.findOrCreateSequenceItem(DCM_RequestAttributesSequence, item));
  must(item->putAndInsertString(DCM_RequestedProcedureID, "RP1"));
  must(item->putAndInsertString(DCM_ScheduledProcedureStepID, "SPS1"));
  ASSERT_TRUE(copy_identity(source, result, true).ok());
  EXPECT_FALSE(result.tagExists(DCM_RequestAttributesSequence));
  must(result.findAndGetSequenceItem(DCM_ReferencedRequestSequence, item));
  EXPECT_EQ(text(*item, DCM_StudyInstanceUID), "1.2.3");
  EXPECT_EQ(text(*item, DCM_AccessionNumber), "A1");
  EXPECT_EQ(text(*item, DCM_RequestedProcedureID), "RP1");
  EXPECT_TRUE(item->tagExists(DCM_PlacerOrderNumberImagingServiceRequest));
  EXPECT_TRUE(item->tagExists(DCM_FillerOrderNumberImagingServiceRequest));
  EXPECT_FALSE(item->tagExists(DCM_ScheduledProcedureStepID));
}

TEST(CopyIdentity, WritesDatesAndTimesOfOldAsTheyAreNow) {
  DcmDataset source, result;
  source.putAndInsertString(DCM_StudyInstanceUID, "1.2.3");
  source.putAndInsertString(DCM_StudyDate, "1995.07.20");
  source.putAndInsertString(DCM_StudyTime, "12:30:05.5");
  source.putAndInsertString(DCM_PatientBirthDate, "unknown");
  ASSERT_TRUE(copy_identity(source, result, false).ok());
  EXPECT_EQ(text_of(result, DCM_StudyDate), "19950720");
  EXPECT_EQ(text_of(result, DCM_StudyTime), "123005.5");
  EXPECT_EQ(text_of(result, DCM_PatientBirthDate), "unknown") << "not ours to guess";
}

TEST(ToDicomTime, IsInTheOffsetOfTheSource) {
  const WallTime moment{std::chrono::milliseconds(1793609999007)};  // 2026-11-02 08:59:59.007 UTC
  DcmDataset source;
  must(source.putAndInsertString(DCM_TimezoneOffsetFromUTC, "+0530"));
  EXPECT_EQ(to_dicom_time(moment, source).date, "20261102");
  EXPECT_EQ(to_dicom_time(moment, source).time, "142959.007");
  must(source.putAndInsertString(DCM_TimezoneOffsetFromUTC, "-1000"));
  EXPECT_EQ(to_dicom_time(moment, source).date, "20261101");
  EXPECT_EQ(to_dicom_time(moment, source).time, "225959.007");
}

TEST(ToDicomTime, IsLocalTimeWithoutAnOffset) {
  ASSERT_EQ(setenv("TZ", "XST-3", 1), 0);
  tzset();
  const WallTime moment{std::chrono::milliseconds(1793609999007)};
  DcmDataset source;
  EXPECT_EQ(to_dicom_time(moment, source).time, "115959.007");
  must(source.putAndInsertString(DCM_TimezoneOffsetFromUTC, "noon"));
  EXPECT_EQ(to_dicom_time(moment, source).time, "115959.007");
}

}  // namespace
}  // namespace node::object
