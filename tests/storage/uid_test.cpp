#include "storage/uid.h"

#include <gtest/gtest.h>

namespace node::storage {
namespace {

TEST(Uid, AcceptsWhatTheStandardAllows) {
  const std::string longest = "1." + std::string(62, '1');
  for (const std::string& text :
       {std::string("1.2.840.10008.1.2"), std::string("0"), std::string("2.25.0"), std::string("1.0.3"),
        std::string("2.25.329800735698586629295641978511506172918"), longest}) {
    const auto uid = Uid::parse(text);
    ASSERT_TRUE(uid.ok()) << uid.status().message();
    EXPECT_EQ(uid->str(), text);
  }
}

TEST(Uid, RefusesEverythingElse) {
  for (const std::string& text :
       {std::string(""), std::string("."), std::string("1..2"), std::string(".1"), std::string("1."),
        std::string("../../x"), std::string("1/2"), std::string("1.2 "), std::string("1.2\0", 4), std::string("1.-2"),
        std::string("1.2a"), std::string("1.2\n"), std::string("\xd9\xa1.2"), "1." + std::string(63, '1'),
        std::string(100'000, '1')}) {
    const auto uid = Uid::parse(text);
    EXPECT_FALSE(uid.ok()) << text;
    EXPECT_EQ(uid.status().code(), StatusCode::kInvalidArgument);
  }
}

TEST(Uid, KeepsALeadingZeroOfAnOldDevice) {
  for (const std::string text : {"01", "1.02", "1.00", "1.2.840.03.4"}) {
    const auto uid = Uid::parse(text);
    ASSERT_TRUE(uid.ok()) << uid.status().message();
    EXPECT_EQ(uid->str(), text);
  }
  EXPECT_NE(*Uid::parse("1.02"), *Uid::parse("1.2"));
}

TEST(Uid, RepeatsNoMoreThanSixtyFourPrintableCharactersOfAHostileText) {
  const auto uid = Uid::parse("\x1b[2J\n" + std::string(10'000, 'A'));
  ASSERT_FALSE(uid.ok());
  EXPECT_LT(uid.status().message().size(), 150u);
  for (char c : uid.status().message()) EXPECT_TRUE(c >= ' ' && c <= '~');
}

}  // namespace
}  // namespace node::storage
