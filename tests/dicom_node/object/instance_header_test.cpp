#include "dicom_node/object/instance_header.h"

#include <dcmtk/dcmdata/dcrleerg.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <future>
#include <optional>

#include "dicom_node/object/image_loader.h"
#include "dicom_node/object/inflation.h"
#include "tests/dicom_node/object/test_files.h"

namespace node::object {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class InstanceHeaderTest : public testing::Test {
 protected:
  InstanceHeaderTest() { register_codecs(); }

  InstanceHeader read(
      const std::function<void(DcmDataset&)>& change = [](DcmDataset&) {},
      E_TransferSyntax syntax = EXS_LittleEndianExplicit) {
    DcmFileFormat file = make_image(TestImage{});
    change(*file.getDataset());
    const auto header = read_instance_header(write(folder_, file, syntax));
    if (!header.ok()) {
      ADD_FAILURE() << header.status().message();
      return {};
    }
    return *header;
  }
  Status check(const std::string& bytes, const ReadLimits& limits = {}) {
    return check_structure(write_bytes(folder_, bytes), limits);
  }

  TemporaryFolder folder_;
};

std::function<void(DcmDataset&)> put(const DcmTagKey& tag, const char* value) {
  return [=](DcmDataset& data_set) { must(data_set.putAndInsertString(tag, value)); };
}

void add_code(DcmItem& into, const DcmTagKey& sequence, const DcmTagKey& value_tag, const char* value,
              const char* scheme, const char* meaning, signed long number = 0) {
  DcmItem* item = nullptr;
  must(into.findOrCreateSequenceItem(sequence, item, number));
  must(item->putAndInsertString(value_tag, value));
  must(item->putAndInsertString(DCM_CodingSchemeDesignator, scheme));
  must(item->putAndInsertString(DCM_CodeMeaning, meaning));
}

TEST_F(InstanceHeaderTest, IsTheSameFromMemoryAsFromTheFileWhereALongValueIsOdd) {
  DcmFileFormat file = make_image(TestImage{});
  DcmItem* item = nullptr;
  must(file.getDataset()->findOrCreateSequenceItem(DCM_VOILUTSequence, item));
  const std::vector<Uint16> table(2501, 7);
  must(item->putAndInsertUint16Array(DcmTag(DCM_LUTData, EVR_US), table.data(), table.size()));
  std::string bytes = read_bytes(write(folder_, file, EXS_LittleEndianExplicit));
  const std::size_t length = bytes.find(std::string("\x28\x00\x06\x30US", 6)) + 6;  // (0028,3006), 5002 bytes.
  ASSERT_EQ(bytes.substr(length, 2), "\x8a\x13");
  bytes.replace(length, 2, "\x89\x13");
  bytes.erase(length + 2, 1);
  // Undefined lengths of sequence and item are not touched by a byte that is missing.
  const auto from_file = read_instance_header(write_bytes(folder_, bytes));
  const auto from_memory = parse_instance_header(bytes);
  ASSERT_TRUE(from_file.ok() && from_memory.ok()) << from_file.status().message() << from_memory.status().message();
  EXPECT_EQ(*from_memory, *from_file);
}

TEST_F(InstanceHeaderTest, HoldsTheAttributesAsWritten) {
  const InstanceHeader header = read([](DcmDataset& d) {
    must(d.putAndInsertString(DCM_InstanceCreatorUID, "2.25.1"));
    must(d.putAndInsertString(DCM_ImageType, "ORIGINAL\\PRIMARY\\\\X"));
    must(d.putAndInsertString(DCM_ViewPosition, "AP"));
    must(d.putAndInsertString(DCM_Laterality, "l"));
    must(d.putAndInsertString(DCM_ProtocolName, " Knie ap "));
    add_code(d, DCM_AnatomicRegionSequence, DCM_CodeValue, "72696002", "SCT", "Knee");
    add_code(d, DCM_PerformedProtocolCodeSequence, DCM_CodeValue, "P3", "99X", "third");
    add_code(d, DCM_RequestedProcedureCodeSequence, DCM_LongCodeValue, "12345678901234567890", "LN", "second");
    add_code(d, DCM_ProcedureCodeSequence, DCM_CodeValue, "P1", "99X", "first");
  });
  EXPECT_EQ(header.sop_class_uid, "1.2.840.10008.5.1.4.1.1.1.1");
  EXPECT_EQ(header.sop_instance_uid, "1.2.826.0.1.1.1");
  EXPECT_EQ(header.study_instance_uid, "1.2.826.0.1.1");
  EXPECT_EQ(header.series_instance_uid, "1.2.826.0.1.1.0");
  EXPECT_EQ(header.transfer_syntax_uid, "1.2.840.10008.1.2.1");
  EXPECT_EQ(header.instance_creator_uid, "2.25.1");
  EXPECT_EQ(header.modality, "DX");
  EXPECT_EQ(header.presentation_intent_type, "FOR PRESENTATION");
  EXPECT_THAT(header.image_type, ElementsAre("ORIGINAL", "PRIMARY", "", "X"));
  EXPECT_EQ(header.body_part_examined, "KNEE");
  EXPECT_EQ(header.laterality, "L");
  EXPECT_EQ(header.view_position, "AP");
  EXPECT_EQ(header.protocol_name, "Knie ap");
  ASSERT_EQ(header.anatomic_region.size(), 1u);
  EXPECT_EQ(header.anatomic_region[0].value, "72696002");
  EXPECT_EQ(header.anatomic_region[0].scheme, "SCT");
  ASSERT_EQ(header.procedure_codes.size(), 2u);
  EXPECT_EQ(header.procedure_codes[0].meaning, "first");
  EXPECT_EQ(header.procedure_codes[1].value, "12345678901234567890");
  ASSERT_EQ(header.performed_codes.size(), 1u);
  EXPECT_EQ(header.performed_codes[0].meaning, "third");
  EXPECT_EQ(header.rows, 2);
  EXPECT_EQ(header.columns, 4);
  EXPECT_EQ(header.samples_per_pixel, 1);
  EXPECT_EQ(header.bits_allocated, 16);
  EXPECT_EQ(header.bits_stored, 12);
  EXPECT_EQ(header.number_of_frames, 1);
  EXPECT_EQ(header.photometric_interpretation, "MONOCHROME2");
  EXPECT_TRUE(header.has_pixel_data);
  EXPECT_FALSE(header.pixel_data_encapsulated);
  EXPECT_EQ(header.pixel_data_bytes, 16u);
  EXPECT_EQ(header.pixel_data_problem(), "");
}

TEST_F(InstanceHeaderTest, ImageLateralityOutranksLaterality) {
  EXPECT_EQ(read([](DcmDataset& d) {
              must(d.putAndInsertString(DCM_ImageLaterality, "R"));
              must(d.putAndInsertString(DCM_Laterality, "L"));
            }).laterality,
            "R");
}

TEST_F(InstanceHeaderTest, LateralityInWordsIsThatSide) {
  EXPECT_EQ(read(put(DCM_ImageLaterality, "Left")).laterality, "L");
  EXPECT_EQ(read(put(DCM_Laterality, "RIGHT")).laterality, "R");
  EXPECT_EQ(read(put(DCM_Laterality, "UPRIGHT")).laterality, "UPRIGHT");
}

TEST_F(InstanceHeaderTest, WhatRoutesAskOfTheSenderIsRead) {
  const InstanceHeader header = read([](DcmDataset& d) {
    must(d.putAndInsertString(DCM_PatientSex, "F"));
    must(d.putAndInsertString(DCM_StationName, "BUCKY1"));
    must(d.putAndInsertString(DCM_InstitutionName, "St. Elsewhere"));
    must(d.putAndInsertString(DCM_RequestedProcedureDescription, "Knie 2 Ebenen"));
  });
  EXPECT_EQ(header.patient_sex, "F");
  EXPECT_EQ(header.station_name, "BUCKY1");
  EXPECT_EQ(header.institution_name, "St. Elsewhere");
  EXPECT_EQ(header.requested_procedure_description, "Knie 2 Ebenen");
}

TEST_F(InstanceHeaderTest, ACodedViewCountsWhereNoViewPositionStands) {
  const auto coded = [](const char* value) {
    return [value](DcmDataset& d) { add_code(d, DCM_ViewCodeSequence, DCM_CodeValue, value, "SCT", "a view"); };
  };
  EXPECT_EQ(read(coded("399348003")).view_position, "AP");
  EXPECT_EQ(read(coded("272479007")).view_position, "PA");
  EXPECT_EQ(read(coded("1")).view_position, "");
  EXPECT_EQ(read([&](DcmDataset& d) {
              coded("272479007")(d);
              must(d.putAndInsertString(DCM_ViewPosition, "LL"));
            }).view_position,
            "LL");
}

TEST_F(InstanceHeaderTest, TheModifierOfTheRegionSaysTheSideWhereNoLateralityStands) {
  const auto modified = [](DcmDataset& d) {
    add_code(d, DCM_AnatomicRegionSequence, DCM_CodeValue, "72696002", "SCT", "Knee");
    DcmItem* region = nullptr;
    must(d.findAndGetSequenceItem(DCM_AnatomicRegionSequence, region));
    DcmItem* modifier = nullptr;
    must(region->findOrCreateSequenceItem(DCM_AnatomicRegionModifierSequence, modifier));
    must(modifier->putAndInsertString(DCM_CodeValue, "7771000"));
    must(modifier->putAndInsertString(DCM_CodingSchemeDesignator, "SCT"));
  };
  EXPECT_EQ(read(modified).laterality, "L");
  EXPECT_EQ(read([&](DcmDataset& d) {
              modified(d);
              must(d.putAndInsertString(DCM_Laterality, "R"));
            }).laterality,
            "R");
}

TEST_F(InstanceHeaderTest, RowsAndColumnsRunWhereTheTwoValuesOfPatientOrientationSay) {
  const auto oriented = [&](const char* value) {
    return read([&](DcmDataset& d) { must(d.putAndInsertString(DCM_PatientOrientation, value)); }).orientation;
  };
  EXPECT_EQ(oriented("L\\F"), "L\\F");
  EXPECT_EQ(oriented("lp\\f"), "LP\\F");
  EXPECT_EQ(oriented("\\F"), "");
  EXPECT_EQ(oriented("L\\"), "");
  EXPECT_EQ(oriented("L\\F\\F"), "");
  EXPECT_EQ(oriented("L"), "");
  EXPECT_EQ(oriented(""), "");
}

TEST_F(InstanceHeaderTest, DescriptionsAreUtf8WhateverTheirCharacterSet) {
  const auto described = [](const char* character_set, const char* text) {
    return [character_set, text](DcmDataset& d) {
      must(d.putAndInsertString(DCM_SpecificCharacterSet, character_set));
      must(d.putAndInsertString(DCM_StudyDescription, text));
    };
  };
  EXPECT_EQ(read(described("ISO_IR 100", "Fu\xDF")).study_description, "Fuß");
  EXPECT_EQ(read(described("ISO_IR 144", "\xBA\xDE\xDB\xD5\xDD\xDE")).study_description, "Колено");
  EXPECT_EQ(read(described("ISO_IR 192", "Fuß")).study_description, "Fuß");
  EXPECT_EQ(read(described("", "Fu\xDF")).study_description, "Fu\xDF") << "undeclared: as written";
  EXPECT_EQ(read(described("ISO_IR 999", "Fu\xDF")).study_description, "Fu\xDF") << "unknown: as written";
}

TEST_F(InstanceHeaderTest, AgeIsAsWrittenElseCounted) {
  EXPECT_EQ(read().age_years, 55);  // Born 1970-06-15, studied a day before the birthday.
  EXPECT_EQ(read(put(DCM_StudyDate, "20260615")).age_years, 56);
  EXPECT_EQ(read(put(DCM_PatientBirthDate, "1970.06.15")).age_years, 55);
  EXPECT_EQ(read(put(DCM_PatientAge, "012Y")).age_years, 12);
  EXPECT_EQ(read(put(DCM_PatientAge, "018M")).age_years, 1);
  EXPECT_EQ(read(put(DCM_PatientAge, "104W")).age_years, 1);
  EXPECT_EQ(read(put(DCM_PatientAge, "300D")).age_years, 0);
  EXPECT_EQ(read(put(DCM_PatientAge, "18Y")).age_years, 18);
  EXPECT_EQ(read(put(DCM_PatientAge, "5M")).age_years, 0);
  EXPECT_EQ(read(put(DCM_PatientAge, "18")).age_years, 55);
  EXPECT_EQ(read(put(DCM_PatientAge, "0018Y")).age_years, 55);
  EXPECT_EQ(read(put(DCM_PatientAge, "abcY")).age_years, 55);
  EXPECT_EQ(read(put(DCM_PatientBirthDate, "")).age_years, -1);
  EXPECT_EQ(read(put(DCM_PatientBirthDate, "20300101")).age_years, -1);
}

TEST_F(InstanceHeaderTest, DigestIsTheSameInEveryTransferSyntax) {
  DcmRLEEncoderRegistration::registerCodecs();
  const auto change = [](DcmDataset& d) {
    add_code(d, DCM_AnatomicRegionSequence, DCM_CodeValue, "72696002", "SCT", "Knee");
    must(d.putAndInsertString(DCM_WindowCenter, "100"));
    must(d.putAndInsertUint16(DcmTag(DCM_PixelPaddingValue, EVR_US), 63536));
  };
  const std::string digest = read(change).digest;
  EXPECT_EQ(digest.size(), 64u);
  for (const E_TransferSyntax syntax :
       {EXS_LittleEndianImplicit, EXS_BigEndianExplicit, EXS_DeflatedLittleEndianExplicit, EXS_RLELossless}) {
    EXPECT_EQ(read(change, syntax).digest, digest) << DcmXfer(syntax).getXferName();
  }
}

TEST_F(InstanceHeaderTest, DigestChangesWithWhatMattersOnly) {
  const std::string digest = read().digest;
  for (const auto& [tag, value] : {std::pair(DCM_PatientID, "T2"),
                                   {DCM_BodyPartExamined, "HAND"},
                                   {DCM_Laterality, "L"},
                                   {DCM_WindowCenter, "12"},
                                   {DCM_AccessionNumber, "A"},
                                   {DCM_StudyInstanceUID, "1.9"},
                                   {DCM_PhotometricInterpretation, "MONOCHROME1"}}) {
    EXPECT_NE(read(put(tag, value)).digest, digest) << tag.toString();
  }
  EXPECT_NE(read([](DcmDataset& d) {
              add_code(d, DCM_AnatomicRegionSequence, DCM_CodeValue, "72696002", "SCT", "Knee");
            }).digest,
            digest);
  for (const auto& [tag, value] : {std::pair(DCM_RetrieveAETitle, "PACS"),
                                   {DCM_InstitutionName, "H"},
                                   {DCM_LossyImageCompression, "01"},
                                   {DCM_BodyPartExamined, "KNEE "}}) {
    EXPECT_EQ(read(put(tag, value)).digest, digest) << tag.toString();
  }
  EXPECT_EQ(read([](DcmDataset& d) {
              DcmItem* item = nullptr;
              must(d.findOrCreateSequenceItem(DCM_OriginalAttributesSequence, item));
              must(item->putAndInsertString(DCM_SourceOfPreviousValues, "PACS"));
              must(d.putAndInsertString(DcmTag(0x0009, 0x0010, EVR_LO), "VENDOR"));
            }).digest,
            digest);
}

TEST_F(InstanceHeaderTest, PixelDataProblemsAreNamed) {
  EXPECT_EQ(read([](DcmDataset& d) { d.findAndDeleteElement(DCM_PixelData); }).pixel_data_problem(), "no pixel data");
  EXPECT_EQ(read([](DcmDataset& d) { must(d.putAndInsertUint16(DCM_Rows, 0)); }).pixel_data_problem(),
            "rows or columns are 0 or missing");
  EXPECT_EQ(read([](DcmDataset& d) { must(d.putAndInsertUint16(DCM_Rows, 3)); }).pixel_data_problem(),
            "pixel data shorter than rows x columns ask: 16 bytes for 4 x 3 pixels");
  EXPECT_EQ(read(put(DCM_NumberOfFrames, "2147483647")).pixel_data_problem(),
            "pixel data shorter than rows x columns ask: 16 bytes for 4 x 2 pixels in 2147483647 frames");
  EXPECT_EQ(read(put(DCM_NumberOfFrames, "99999999999")).pixel_data_problem(), "number of frames is 0 or no number");
  // The largest product that a header can state.
  InstanceHeader header = read();
  header.rows = header.columns = header.samples_per_pixel = header.bits_allocated = 65535;
  header.number_of_frames = 2147483647;
  EXPECT_THAT(header.pixel_data_problem(), testing::StartsWith("pixel data shorter than rows x columns ask"));
}

TEST_F(InstanceHeaderTest, CutPixelDataAreAFactAndNoError) {
  DcmFileFormat file = make_image(TestImage{});
  std::string bytes = read_bytes(write(folder_, file));
  bytes.pop_back();
  const auto header = read_instance_header(write_bytes(folder_, bytes));
  ASSERT_TRUE(header.ok()) << header.status().message();
  EXPECT_EQ(header->pixel_data_problem(), "the file ends inside the pixel data, of which it holds 15 bytes");
}

TEST_F(InstanceHeaderTest, AFileCutAnywhereBeforeItsPixelDataIsRefusedOrWhole) {
  DcmFileFormat file = make_image(TestImage{});
  add_code(*file.getDataset(), DCM_AnatomicRegionSequence, DCM_CodeValue, "72696002", "SCT", "Knee");
  const std::string bytes = read_bytes(write(folder_, file));
  const std::size_t pixel_data = bytes.find(std::string("\xE0\x7F\x10\x00", 4));
  ASSERT_NE(pixel_data, std::string::npos);
  int refused = 0;
  for (std::size_t size = 0; size < pixel_data; ++size) {
    const auto header = read_instance_header(write_bytes(folder_, bytes.substr(0, size)));
    if (!header.ok()) {
      EXPECT_EQ(header.status().code(), StatusCode::kInvalidArgument);
      ++refused;
    } else {
      EXPECT_EQ(header->pixel_data_problem(), "no pixel data") << size;  // Cut between two elements.
    }
  }
  EXPECT_GT(refused, static_cast<int>(pixel_data * 9 / 10));
}

TEST_F(InstanceHeaderTest, RefusalsDoNotRepeatThePatient) {
  DcmFileFormat file = make_image(TestImage{});
  std::string bytes = read_bytes(write(folder_, file));
  const std::size_t name = bytes.find("Test^Object");
  ASSERT_NE(name, std::string::npos);
  bytes[name - 2] = '\xF0';  // The name's length: past the end.
  bytes[name - 1] = '\xFF';
  const auto header = read_instance_header(write_bytes(folder_, bytes));
  ASSERT_FALSE(header.ok());
  EXPECT_THAT(header.status().message(), Not(HasSubstr("Test")));
}

TEST_F(InstanceHeaderTest, UidsAreKeptWithWhatDoesNotBelongThere) {
  DcmFileFormat file = make_image(TestImage{});
  std::string bytes = read_bytes(write(folder_, file));
  for (std::size_t at = bytes.find("1.2.826.0.1.1.0"); at != std::string::npos;
       at = bytes.find("1.2.826.0.1.1.0", at + 1))
    bytes.replace(at, 15, std::string("1.2.826\0/../../", 15));
  const auto header = read_instance_header(write_bytes(folder_, bytes));
  ASSERT_TRUE(header.ok());
  EXPECT_NE(header->series_instance_uid, "1.2.826");  // A cut at the NUL would make it look like a UID.
}

TEST_F(InstanceHeaderTest, MissingFileIsNotFound) {
  EXPECT_EQ(read_instance_header(folder_.fresh()).status().code(), StatusCode::kNotFound);
}

// Bytes by hand, for what DCMTK would not write.
std::string tag(unsigned group, unsigned element) {
  return {static_cast<char>(group), static_cast<char>(group >> 8), static_cast<char>(element),
          static_cast<char>(element >> 8)};
}
std::string size32(unsigned long size) {
  return {static_cast<char>(size), static_cast<char>(size >> 8), static_cast<char>(size >> 16),
          static_cast<char>(size >> 24)};
}
std::string short_element(unsigned group, unsigned element, const std::string& vr, const std::string& value) {
  return tag(group, element) + vr + size32(value.size()).substr(0, 2) + value;
}
std::string part10(const std::string& transfer_syntax, const std::string& data_set) {
  const std::string uid = transfer_syntax.size() % 2 == 0 ? transfer_syntax : transfer_syntax + std::string(1, '\0');
  return std::string(128, '\0') + "DICM" + short_element(2, 0x10, "UI", uid) + data_set;
}
constexpr const char* kExplicit = "1.2.840.10008.1.2.1";
constexpr const char* kImplicit = "1.2.840.10008.1.2";
const std::string kModality = short_element(8, 0x60, "CS", "DX");
const std::string kItemOpen = tag(0xFFFE, 0xE000) + size32(0xFFFFFFFF);
const std::string kItemClose = tag(0xFFFE, 0xE00D) + size32(0);
const std::string kSequenceClose = tag(0xFFFE, 0xE0DD) + size32(0);

std::string repeated(const std::string& text, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

enum class Nesting { kExplicit, kUnknown, kImplicit, kImplicitDefined };

std::string nested(int depth, Nesting how) {
  if (how == Nesting::kImplicitDefined) {
    std::string content;
    for (int i = 0; i < depth; ++i) {
      const std::string item = tag(0xFFFE, 0xE000) + size32(content.size()) + content;
      content = tag(9, 0x1001) + size32(item.size()) + item;
    }
    return content;
  }
  std::string open = tag(9, 0x1001);
  if (how == Nesting::kExplicit) open += std::string("SQ\0\0", 4);
  if (how == Nesting::kUnknown) open += std::string("UN\0\0", 4);
  open += size32(0xFFFFFFFF) + kItemOpen;
  std::string inner = open;
  if (how == Nesting::kUnknown) inner = tag(9, 0x1001) + size32(0xFFFFFFFF) + kItemOpen;  // Implicit from there on.
  return open + repeated(inner, depth - 1) + repeated(kItemClose + kSequenceClose, depth);
}

TEST_F(InstanceHeaderTest, NestingIsBoundedHoweverItIsEncoded) {
  for (const Nesting how : {Nesting::kExplicit, Nesting::kUnknown, Nesting::kImplicit, Nesting::kImplicitDefined}) {
    const bool implicit = how == Nesting::kImplicit || how == Nesting::kImplicitDefined;
    const std::string start = implicit ? tag(8, 0x60) + size32(2) + "DX" : kModality;
    const char* syntax = implicit ? kImplicit : kExplicit;
    const Status flat = check(part10(syntax, start + nested(64, how)));
    EXPECT_TRUE(flat.ok()) << static_cast<int>(how) << ": " << flat.message();
    const Status deep = check(part10(syntax, start + nested(65, how)));
    EXPECT_THAT(deep.message(), HasSubstr("nested")) << static_cast<int>(how);
    const Status bomb = check(part10(syntax, start + nested(6000, how)));
    EXPECT_THAT(bomb.message(), HasSubstr("nested")) << static_cast<int>(how);
  }
}

TEST_F(InstanceHeaderTest, BytesThatOnlyLookLikeASequenceArePassedOver) {
  const std::string value = tag(0xFFFE, 0xE000) + size32(4) + "????" + "rest";
  EXPECT_TRUE(check(part10(kImplicit, tag(8, 0x60) + size32(2) + "DX" + tag(9, 0x1001) + size32(value.size()) + value +
                                          tag(0x10, 0x10) + size32(2) + "A "))
                  .ok());
}

TEST_F(InstanceHeaderTest, NumberOfElementsIsBounded) {
  ReadLimits limits;
  limits.elements_max = 100;
  EXPECT_TRUE(check(part10(kExplicit, repeated(kModality, 98)), limits).ok());
  EXPECT_THAT(check(part10(kExplicit, repeated(kModality, 101)), limits).message(), HasSubstr("elements"));
  const std::string fragments = std::string("\xE0\x7F\x10\x00OB\0\0", 8) + size32(0xFFFFFFFF) +
                                repeated(tag(0xFFFE, 0xE000) + size32(0), 101) + kSequenceClose;
  EXPECT_THAT(check(part10("1.2.840.10008.1.2.5", kModality + fragments), limits).message(), HasSubstr("elements"));
}

// `count` empty private elements, the greatest tag first.
std::string descending(int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += short_element(0x11, static_cast<unsigned>(0x1000 + count - i), "CS", "");
  return all;
}

TEST_F(InstanceHeaderTest, ElementsOutOfAscendingOrderAreBounded) {
  const std::string in_item = kItemOpen + descending(1000) + kItemClose;
  const std::string sequence = tag(9, 0x1001) + std::string("SQ\0\0", 4) + size32(0xFFFFFFFF);
  EXPECT_TRUE(check(part10(kExplicit, kModality + descending(1000))).ok());
  EXPECT_TRUE(check(part10(kExplicit, kModality + sequence + repeated(kItemOpen + kItemClose, 5000) + kSequenceClose))
                  .ok());  // Each item begins anew.
  EXPECT_THAT(check(part10(kExplicit, kModality + descending(1002))).message(),
              HasSubstr("too many elements out of ascending order, at byte "));
  // In items, all together; also behind many that are in order.
  EXPECT_THAT(check(part10(kExplicit, kModality + sequence + in_item + in_item + kSequenceClose)).message(),
              HasSubstr("ascending order"));
  std::string behind = short_element(0x13, 0x1000, "CS", "");
  for (unsigned i = 0; i < 1001; ++i) behind += short_element(0x11, 0x1000 + i, "CS", "");
  EXPECT_THAT(check(part10(kExplicit, kModality + behind)).message(), HasSubstr("ascending order"));
  std::string many = kModality;  // Where there are many, few are too many.
  for (unsigned i = 0; i < 50'000; ++i) many += short_element(0x13, i + 0x1000, "CS", "");
  EXPECT_TRUE(check(part10(kExplicit, many + descending(10))).ok());
  EXPECT_THAT(check(part10(kExplicit, many + descending(25))).message(), HasSubstr("ascending order"));
  std::string meta = std::string(128, '\0') + "DICM";
  for (unsigned i = 0; i < 1002; ++i) meta += short_element(2, 0x2000 - i, "SH", "");
  EXPECT_THAT(check(meta + kModality).message(), HasSubstr("ascending order"));
}

TEST_F(InstanceHeaderTest, LengthsPastTheEndAreRefusedAtOnce) {
  const std::string huge = tag(9, 0x1001) + std::string("OB\0\0", 4) + size32(0xFFFFFFF0) + "xx";
  EXPECT_EQ(check(part10(kExplicit, kModality + huge)).code(), StatusCode::kInvalidArgument);
  const std::string item = tag(0xFFFE, 0xE000) + size32(1000) + "xx";
  const std::string sequence = tag(9, 0x1001) + std::string("SQ\0\0", 4) + size32(item.size()) + item;
  EXPECT_EQ(check(part10(kExplicit, kModality + sequence)).code(), StatusCode::kInvalidArgument);
}

TEST_F(InstanceHeaderTest, NothingIsHiddenBehindPixelData) {
  const std::string pixels = std::string("\xE0\x7F\x10\x00OW\0\0", 8) + size32(2) + "xx";
  EXPECT_TRUE(
      check(part10(kExplicit, kModality + pixels + tag(0xFFFC, 0xFFFC) + std::string("OB\0\0", 4) + size32(0))).ok());
  EXPECT_EQ(check(part10(kExplicit, kModality + pixels + nested(6000, Nesting::kExplicit))).code(),
            StatusCode::kInvalidArgument);
}

TEST_F(InstanceHeaderTest, InflatedSizeIsBounded) {
  const std::string plain = kModality + tag(9, 0x1001) + std::string("OB\0\0", 4) + size32(4'000'000) +
                            std::string(4'000'000, '\0') + kModality;
  const std::string packed = deflated(plain);
  ASSERT_LT(packed.size(), 10'000u);
  const std::string bytes = part10("1.2.840.10008.1.2.1.99", packed);
  EXPECT_TRUE(check(bytes).ok()) << check(bytes).message();
  ReadLimits limits;
  limits.inflated_bytes_max = 1'000'000;
  EXPECT_THAT(check(bytes, limits).message(), HasSubstr("inflates to more than 1000000 bytes"));
  limits = {};
  limits.inflated_bytes_free = 1'000'000;  // And a hundred times what is deflated: less than what it inflates to.
  const std::string most = std::to_string(1'000'000 + 100 * packed.size());
  EXPECT_THAT(check(bytes, limits).message(), HasSubstr("inflates to more than " + most + " bytes, the most for its " +
                                                        std::to_string(packed.size()) + " deflated ones"));
  limits.inflated_ratio_max = 1'000;
  EXPECT_TRUE(check(bytes, limits).ok()) << check(bytes, limits).message();
}

TEST_F(InstanceHeaderTest, WhatDeflatedObjectsInflateToIsBoundedOverAllOfThem) {
  const std::string plain =
      tag(8, 0x50) + std::string("UT\0\0", 4) + size32(4'000'000) + std::string(4'000'000, 'x') + kModality;
  const auto path = write_bytes(folder_, part10("1.2.840.10008.1.2.1.99", deflated(plain)));
  const std::uint64_t before = inflated_bytes_max();
  set_inflated_bytes_max(1'000'000);
  EXPECT_THAT(read_instance_header(path).status().message(), HasSubstr("inflates to more than 1000000 bytes"));
  set_inflated_bytes_max(7'000'000);
  EXPECT_TRUE(read_instance_header(path).ok());
  {
    auto others = hold_inflated(4'000'000);
    ASSERT_TRUE(others.ok());
    EXPECT_EQ(hold_inflated(4'000'000, std::chrono::milliseconds(10)).status().code(), StatusCode::kUnavailable);
    EXPECT_TRUE(hold_inflated(3'000'000, std::chrono::milliseconds(10)).ok());
    auto reading = std::async(std::launch::async, [&path] { return read_instance_header(path).ok(); });
    EXPECT_EQ(reading.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
    others->reset();
    EXPECT_TRUE(reading.get());
  }
  EXPECT_TRUE(hold_inflated(7'000'000, std::chrono::milliseconds(10)).ok()) << "all was let go";
  set_inflated_bytes_max(before);
}

// Files may have such groups by mistake; who receives a data set refuses them.
TEST_F(InstanceHeaderTest, AGroupBelow0008IsNamed) {
  const auto low_group = [this](const std::string& bytes) {
    const auto header = read_instance_header(write_bytes(folder_, bytes));
    EXPECT_TRUE(header.ok()) << header.status().message();
    return header.ok() ? header->low_group : std::nullopt;
  };
  EXPECT_EQ(low_group(part10(kExplicit, kModality)), std::nullopt);
  EXPECT_EQ(low_group(part10(kExplicit, short_element(4, 0x1200, "LO", "xx") + kModality)), 4);
  EXPECT_EQ(low_group(part10(kExplicit, kModality + short_element(2, 0x1200, "LO", "xx"))), 2);
}

TEST_F(InstanceHeaderTest, AnotherByteOrderThanDeclaredIsRefused) {
  EXPECT_THAT(check(part10("1.2.840.10008.1.2.2", kModality)).message(), HasSubstr("byte order"));
}

TEST_F(InstanceHeaderTest, WhatIsNoDicomIsRefused) {
  for (const std::string& bytes : {std::string(), std::string("hello"), std::string(200, 'x'), std::string(400, '\0'),
                                   std::string(128, '\0') + "DICM"}) {
    EXPECT_EQ(check(bytes).code(), StatusCode::kInvalidArgument);
  }
}

TEST_F(InstanceHeaderTest, ABareDataSetIsRead) {
  DcmFileFormat file = make_image(TestImage{});
  for (const E_TransferSyntax syntax : {EXS_LittleEndianExplicit, EXS_LittleEndianImplicit, EXS_BigEndianExplicit}) {
    const auto path = folder_.fresh();
    must(file.getDataset()->saveFile(path.c_str(), syntax));
    const auto header = read_instance_header(path);
    ASSERT_TRUE(header.ok()) << header.status().message();
    EXPECT_EQ(header->transfer_syntax_uid, DcmXfer(syntax).getXferID());
    EXPECT_EQ(header->body_part_examined, "KNEE");
    EXPECT_EQ(header->pixel_data_problem(), "");
  }
}

// Where CR and DX images carry them.
TEST_F(InstanceHeaderTest, ReadsWhatWasAskedForInTheRequestAttributesSequence) {
  const InstanceHeader header = read([](DcmDataset& d) {
    must(d.putAndInsertString(DCM_SpecificCharacterSet, "ISO_IR 100"));
    DcmItem* request = nullptr;
    must(d.findOrCreateSequenceItem(DCM_RequestAttributesSequence, request, -2));
    add_code(*request, DCM_RequestedProcedureCodeSequence, DCM_CodeValue, "24721-3", "LN", "asked");
    add_code(*request, DCM_ScheduledProtocolCodeSequence, DCM_CodeValue, "P2", "99X", "planned");
    must(request->putAndInsertString(DCM_ScheduledProcedureStepDescription,
                                     "F\xFC\xDF"
                                     "e beidseits"));
    must(d.putAndInsertString(DCM_PerformedProcedureStepDescription, "done"));
  });
  ASSERT_EQ(header.procedure_codes.size(), 2u);
  EXPECT_EQ(header.procedure_codes[0].meaning, "asked");
  EXPECT_EQ(header.procedure_codes[1].meaning, "planned");
  EXPECT_EQ(header.requested_procedure_description, "Füße beidseits");
}

}  // namespace
}  // namespace node::object
