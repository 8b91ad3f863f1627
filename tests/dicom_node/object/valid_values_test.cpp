#include "dicom_node/object/valid_values.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "dicom_node/object/dataset_text.h"

namespace node::object {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kSecondsOfItems = 5;

// Bytes as they stand in a file whose character set is wrong or missing.
std::string set_of(const char* declared, const std::string& name) {
  DcmDataset header;
  if (declared != nullptr) header.putAndInsertString(DCM_SpecificCharacterSet, declared);
  header.putAndInsertString(DCM_PatientName, name.c_str());
  EXPECT_TRUE(make_valid(header).ok());
  EXPECT_EQ(text_of(header, DCM_PatientName), name) << "byte for byte";
  OFString set;
  header.findAndGetOFStringArray(DCM_SpecificCharacterSet, set);
  return set.c_str();
}

TEST(MakeValid, DeclaresTheCharactersThatAMissingUnknownOrLyingSetHides) {
  EXPECT_EQ(set_of(nullptr, "M\xFCller"), "ISO_IR 100");
  EXPECT_EQ(set_of(nullptr, "M\xC3\xBCller"), "ISO_IR 192");
  EXPECT_EQ(set_of(nullptr, "Mueller"), "");
  EXPECT_EQ(set_of("ISO_IR 999", "Mueller"), "");
  EXPECT_EQ(set_of("ISO_IR 999", "M\xFCller"), "ISO_IR 100");
  EXPECT_EQ(set_of("ISO_IR 144", "\xB8\xD2\xD0\xDD\xDE\xD2"), "ISO_IR 144") << "a set that there is stays";
  EXPECT_EQ(set_of("\\ISO 2022 IR 87", "Yamada"), "\\ISO 2022 IR 87");
  EXPECT_EQ(set_of("ISO_IR 192", "M\xFCller"), "ISO_IR 100") << "no UTF-8";
  EXPECT_EQ(set_of("ISO_IR 6", "M\xFCller"), "ISO_IR 100") << "no ASCII";
  EXPECT_EQ(set_of("\\ISO 2022 IR 87", "M\xFCller"), "ISO_IR 100") << "a set of seven bits";
  EXPECT_EQ(set_of("\\ISO 2022 IR 149", "Hong\x1B$)C\xB1\xE8"), "\\ISO 2022 IR 149");
  EXPECT_EQ(set_of("GB18030", "\xCD\xF5^\xD0\xA1\xB6\xAB"), "GB18030");
}

std::string made(const DcmTagKey& tag, const char* value) {
  DcmDataset header;
  header.putAndInsertString(tag, value);
  EXPECT_TRUE(make_valid(header).ok()) << value;
  EXPECT_TRUE(header.tagExists(tag));
  return text_of(header, tag);
}

TEST(MakeValid, EmptiesWhatIsNoValueAndKeepsWhatIs) {
  for (const char* day : {"19600229", "1995.07.20"}) EXPECT_EQ(made(DCM_PatientBirthDate, day), day);
  for (const char* day : {"00000000", "19600231", "unknown", "1960", "196002291"})
    EXPECT_EQ(made(DCM_PatientBirthDate, day), "") << day;
  EXPECT_EQ(made(DCM_StudyTime, "12:30:00"), "12:30:00");
  EXPECT_EQ(made(DCM_StudyTime, "123005.5"), "123005.5");
  EXPECT_EQ(made(DCM_StudyTime, "noon"), "");
  EXPECT_EQ(made(DCM_PatientSex, "O"), "O");
  EXPECT_EQ(made(DCM_PatientSex, "male"), "");
  EXPECT_EQ(made(DCM_PatientAge, "025Y"), "025Y");
  EXPECT_EQ(made(DCM_PatientAge, "25"), "");
  EXPECT_EQ(made(DCM_PatientWeight, "heavy"), "");
  EXPECT_EQ(made(DCM_TimezoneOffsetFromUTC, "-0930"), "-0930");
  EXPECT_EQ(made(DCM_TimezoneOffsetFromUTC, "CET"), "");
  EXPECT_EQ(made(DCM_InstanceNumber, "one"), "");
  EXPECT_EQ(made(DCM_StudyID, "1234567890123456"), "1234567890123456");
  EXPECT_EQ(made(DCM_StudyID, "12345678901234567"), "");
  EXPECT_EQ(made(DCM_StudyID, "1\\2"), "");
  EXPECT_EQ(made(DCM_StudyDescription, std::string(65, 'x').c_str()), "");
  EXPECT_EQ(made(DCM_WindowCenter, "1234.56789012345678\\-2"), "1234.56789\\-2") << "longer than a number may be";
  EXPECT_EQ(made(DCM_WindowCenter, "wide"), "");
  EXPECT_EQ(made(DCM_PatientOrientation, "L\\FP"), "L\\FP");
  EXPECT_EQ(made(DCM_PatientOrientation, "L"), "");
  EXPECT_EQ(made(DCM_BodyPartExamined, "Knee"), "KNEE");
}

TEST(MakeValid, CountsCharactersAndNotBytes) {
  DcmDataset header;
  header.putAndInsertString(DCM_SpecificCharacterSet, "ISO_IR 192");
  std::string name;
  for (int i = 0; i < 64; ++i) name += "\xC3\xBC";
  header.putAndInsertString(DCM_PatientName, (name + "=" + name).c_str());
  EXPECT_TRUE(make_valid(header).ok()) << "64 in each component group";
  header.putAndInsertString(DCM_PatientName, (name + "\xC3\xBC").c_str());
  EXPECT_FALSE(make_valid(header).ok());
}

TEST(MakeValid, WhoseResultItIsIsNotGuessedFromHalfOfIt) {
  for (const auto& [tag, number] : {std::pair{DCM_PatientName, "(0010,0010)"},
                                    {DCM_PatientID, "(0010,0020)"},
                                    {DCM_IssuerOfPatientID, "(0010,0021)"},
                                    {DCM_AccessionNumber, "(0008,0050)"}}) {
    DcmDataset header;
    header.putAndInsertString(tag, std::string(70, 'Q').c_str());
    const Status status = make_valid(header);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << number;
    EXPECT_THAT(status.message(), AllOf(HasSubstr(number), HasSubstr("too long"), Not(HasSubstr("QQ"))));
  }
}

TEST(MakeValid, GivesAnAttributeTheVrThatItHas) {
  DcmDataset header;
  ASSERT_TRUE(header.putAndInsertString(DcmTag(DCM_PatientName, EVR_LO), "Doe^J").good());
  auto unknown = std::make_unique<DcmOtherByteOtherWord>(DcmTag(DCM_PatientID, EVR_UN));
  ASSERT_TRUE(unknown->putUint8Array(reinterpret_cast<const Uint8*>("P-12"), 4).good());
  ASSERT_TRUE(header.insert(unknown.release()).good());
  ASSERT_TRUE(make_valid(header).ok());
  for (const auto& [tag, vr, text] : {std::tuple{DCM_PatientName, EVR_PN, "Doe^J"}, {DCM_PatientID, EVR_LO, "P-12"}}) {
    DcmElement* element = nullptr;
    ASSERT_TRUE(header.findAndGetElement(tag, element).good());
    EXPECT_EQ(element->ident(), vr);
    EXPECT_EQ(text_of(header, tag), text);
  }
}

TEST(MakeValid, AnItemThatLacksWhatItMustHaveIsLeftOutAndASequenceWithoutAnyToo) {
  DcmDataset header;
  DcmItem* item = nullptr;
  header.findOrCreateSequenceItem(DCM_ProcedureCodeSequence, item);
  item->putAndInsertString(DCM_CodeValue, "RPX1");
  header.findOrCreateSequenceItem(DCM_OtherPatientIDsSequence, item, -2);
  item->putAndInsertString(DCM_PatientID, "1");
  header.findOrCreateSequenceItem(DCM_OtherPatientIDsSequence, item, -2);
  item->putAndInsertString(DCM_PatientID, "2");
  item->putAndInsertString(DCM_TypeOfPatientID, "TEXT");
  header.findOrCreateSequenceItem(DCM_PerFrameFunctionalGroupsSequence, item);  // Counted by frame: none may go.
  ASSERT_TRUE(make_valid(header).ok());
  EXPECT_FALSE(header.tagExists(DCM_ProcedureCodeSequence));
  DcmSequenceOfItems* others = nullptr;
  ASSERT_TRUE(header.findAndGetSequence(DCM_OtherPatientIDsSequence, others).good());
  ASSERT_EQ(others->card(), 1u);
  EXPECT_EQ(text_of(*others->getItem(0), DCM_PatientID), "2");
  EXPECT_TRUE(header.tagExists(DCM_PerFrameFunctionalGroupsSequence));
}

// Half of them are to go. By DCMTK's look-up of one by its number this took the square of their number.
TEST(MakeValid, ManyItemsCostNoMoreThanTheirNumber) {
  constexpr int kItems = 60'000;
  DcmDataset header;
  auto sequence = std::make_unique<DcmSequenceOfItems>(DCM_ProcedureCodeSequence);
  for (int i = 0; i < kItems; ++i) {
    auto item = std::make_unique<DcmItem>();
    item->putAndInsertString(DCM_CodeValue, std::to_string(i).c_str());
    if (i % 2 == 0) item->putAndInsertString(DCM_CodingSchemeDesignator, "99SITE");
    item->putAndInsertString(DCM_CodeMeaning, "Knee");
    ASSERT_TRUE(sequence->append(item.release()).good());
  }
  DcmSequenceOfItems& codes = *sequence;
  ASSERT_TRUE(header.insert(sequence.release()).good());
  const std::clock_t begun = std::clock();  // Of this process alone, however busy the machine.
  ASSERT_TRUE(make_valid(header).ok());
  EXPECT_LT(static_cast<double>(std::clock() - begun) / CLOCKS_PER_SEC, kSecondsOfItems);
  const std::vector<DcmItem*> left = all_items(codes);
  ASSERT_EQ(left.size(), kItems / 2u);
  EXPECT_EQ(text_of(*left[1], DCM_CodeValue), "2") << "in their order";
}

TEST(MakeValid, OfACodeTheMeaningIsShortenedAndTheRestStays) {
  DcmDataset header;
  DcmItem* item = nullptr;
  header.findOrCreateSequenceItem(DCM_ProcedureCodeSequence, item);
  item->putAndInsertString(DCM_CodeValue, "RPX1");
  item->putAndInsertString(DCM_CodingSchemeDesignator, "99SITE");
  item->putAndInsertString(DCM_CodeMeaning, std::string(100, 'x').c_str());
  ASSERT_TRUE(make_valid(header).ok());
  EXPECT_EQ(text_of(*item, DCM_CodeMeaning), std::string(64, 'x'));
  EXPECT_EQ(text_of(*item, DCM_CodeValue), "RPX1");
}

}  // namespace
}  // namespace node::object
