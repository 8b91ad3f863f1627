#include "dicom_node/object/character_sets.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dicom_node/object/dataset_text.h"

namespace node::object {
namespace {

using testing::Optional;

const std::string kJapanese = "\\ISO 2022 IR 87", kKorean = "\\ISO 2022 IR 149", kChinese = "\\ISO 2022 IR 58";
// PS3.5 H.3.1, H.3.2 and I.2: the standard's own examples.
const std::string kYamada = "Yamada^Tarou=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B=\x1B$B$d$^$@\x1B(B^\x1B$B$?$m$&\x1B(B";
const std::string kYamadaKana = "\xD4\xCF\xC0\xDE^\xC0\xDB\xB3=\x1B$B;3ED\x1B(J^\x1B$BB@O:\x1B(J";
const std::string kHong =
    "Hong^Gildong=\x1B$)C\xFB\xF3^\x1B$)C\xD1\xCE\xD4\xD7=\x1B$)C\xC8\xAB^\x1B$)C\xB1\xE6\xB5\xBF";

TEST(ToUtf8, ReadsTheNamesOfTheStandard) {
  EXPECT_THAT(to_utf8(kYamada, kJapanese), Optional(std::string("Yamada^Tarou=山田^太郎=やまだ^たろう")));
  EXPECT_THAT(to_utf8(kYamadaKana, "ISO 2022 IR 13\\ISO 2022 IR 87"), Optional(std::string("ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎")));
  EXPECT_THAT(to_utf8(kHong, kKorean), Optional(std::string("Hong^Gildong=洪^吉洞=홍^길동")));
  EXPECT_THAT(to_utf8("M\xFCller", "ISO_IR 100"), Optional(std::string("Müller")));
  EXPECT_THAT(to_utf8("\xCD\xF5\xD0\xA1\xB6\xAB", "GB18030"), Optional(std::string("王小东")));
  EXPECT_THAT(to_utf8("Plain", "no set"), Optional(std::string("Plain")));
}

TEST(ToUtf8, SaysWhatIsNoTextOfTheSet) {
  EXPECT_EQ(to_utf8("\x8A\xA9", "ISO_IR 13"), std::nullopt) << "Shift JIS";
  EXPECT_EQ(to_utf8("\x1B$B;", kJapanese), std::nullopt) << "half a character";
  EXPECT_EQ(to_utf8("\x1B$)C\xB1", kJapanese), std::nullopt) << "another escape sequence";
  EXPECT_EQ(to_utf8("\xFF\xFF", "GB18030"), std::nullopt);
  EXPECT_EQ(to_utf8("\xC3", "ISO_IR 192"), std::nullopt);
  EXPECT_EQ(to_utf8("M\xFCller", ""), std::nullopt);
}

TEST(FromUtf8, WhatItWritesReadsBack) {
  for (const auto& [text, set] : {std::pair("人間の診断用ではありません", kJapanese),
                                  {"사람의 판독 전", kKorean},
                                  {"非诊断用途", kChinese},
                                  {"für Prüfung", std::string("ISO_IR 100")},
                                  {"für Prüfung", std::string("ISO 2022 IR 100\\ISO 2022 IR 126")},
                                  {"не для диагностики", std::string("ISO_IR 144")},
                                  {"非诊断用途 für", std::string("GB18030")}}) {
    const auto written = from_utf8(text, set);
    ASSERT_TRUE(written.has_value()) << set;
    EXPECT_THAT(to_utf8(*written, set), Optional(std::string(text))) << set;
  }
}

TEST(FromUtf8, NothingWhereTheSetLacksACharacter) {
  EXPECT_EQ(from_utf8("für", "ISO_IR 144"), std::nullopt);
  EXPECT_EQ(from_utf8("한국", kJapanese), std::nullopt);
  EXPECT_EQ(from_utf8("für", ""), std::nullopt);
  EXPECT_EQ(from_utf8("診断", "ISO_IR 126"), std::nullopt);
}

TEST(MakeUnicode, ConvertsEveryTextOrNone) {
  DcmDataset data_set;
  data_set.putAndInsertString(DCM_SpecificCharacterSet, kJapanese.c_str());
  data_set.putAndInsertString(DCM_PatientName, kYamada.c_str());
  DcmItem* item = nullptr;
  data_set.findOrCreateSequenceItem(DCM_RequestAttributesSequence, item, -2);
  item->putAndInsertString(DCM_RequestedProcedureDescription, "\x1B$B<j\x1B(B");
  EXPECT_FALSE(is_plain(data_set));
  ASSERT_TRUE(make_unicode(data_set, kJapanese));
  EXPECT_EQ(text_of(data_set, DCM_SpecificCharacterSet), "ISO_IR 192");
  EXPECT_EQ(text_of(data_set, DCM_PatientName), "Yamada^Tarou=山田^太郎=やまだ^たろう");
  EXPECT_EQ(text_of(*item, DCM_RequestedProcedureDescription), "手");

  DcmDataset broken;
  broken.putAndInsertString(DCM_SpecificCharacterSet, kJapanese.c_str());
  broken.putAndInsertString(DCM_PatientName, kYamada.c_str());
  broken.putAndInsertString(DCM_StudyDescription, "\x1B$B<");
  EXPECT_FALSE(make_unicode(broken, kJapanese));
  EXPECT_EQ(text_of(broken, DCM_PatientName), kYamada);
}

}  // namespace
}  // namespace node::object
