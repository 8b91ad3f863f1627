// The log's lines as JSON: what a message says, as texts of their own.
#include "dicom_node/operate/logging.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace node::operate {
namespace {

nlohmann::json fields(std::string_view message) {
  return nlohmann::json::parse("{" + json_fields(message) + "\"end\":0}");
}

TEST(JsonFields, AreTheMessagesPairs) {
  const auto found = fields("event=delivery state=parked attempt=3 text=\"no room left\"");
  EXPECT_EQ(found,
            (nlohmann::json{
                {"event", "delivery"}, {"state", "parked"}, {"attempt", "3"}, {"text", "no room left"}, {"end", 0}}));
}

TEST(JsonFields, AValueThatHoldsQuotesAndEqualSignsIsWhole) {
  const auto found = fields("event=a text=\"he said \"x = 1\" and \"y\" then\" reason=\"\" peer=pacs");
  EXPECT_EQ(found["text"], "he said \"x = 1\" and \"y\" then");
  EXPECT_EQ(found["reason"], "");
  EXPECT_EQ(found["peer"], "pacs");
}

TEST(JsonFields, WhatIsNoPairOrNotWholeBreaksNothing) {
  EXPECT_EQ(json_fields(""), "");
  EXPECT_EQ(json_fields("plain words, no pair"), "");
  EXPECT_EQ(fields("event=a reason=\"cut off")["reason"], "cut off");
  EXPECT_EQ(fields("time=1 level=2 message=3 event=a event=b")["event"],
            "a");  // The line has its own of the first three.
  EXPECT_FALSE(fields("time=1 level=2").contains("level"));
  EXPECT_EQ(fields("event=\xff\x01")["event"], "\xef\xbf\xbd\x01");
}

}  // namespace
}  // namespace node::operate
