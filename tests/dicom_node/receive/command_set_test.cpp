#include "dicom_node/receive/command_set.h"

#include <gtest/gtest.h>

#include <string>

namespace node::receive {
namespace {

std::string le(std::uint32_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
  return out;
}

std::string element(std::uint16_t number, const std::string& value, std::uint16_t group = 0) {
  return le(group, 2) + le(number, 2) + le(static_cast<std::uint32_t>(value.size()), 4) + value;
}

std::string store_request() {
  return element(0x0000, le(118, 4)) + element(0x0002, std::string("1.2.840.10008.5.1.4.1.1.1\0", 26)) +
         element(0x0100, le(1, 2)) + element(0x0110, le(7, 2)) + element(0x0700, le(0, 2)) + element(0x0800, le(0, 2)) +
         element(0x1000, "1.2.3 ");
}

TEST(Command, HasWhatAStoreRequestSays) {
  const auto command = parse_command(store_request());
  ASSERT_TRUE(command.ok()) << command.status().message();
  EXPECT_EQ(command->field, 0x0001);
  EXPECT_EQ(command->message_id, 7);
  EXPECT_TRUE(command->has_data_set);
  EXPECT_EQ(command->sop_class_uid, "1.2.840.10008.5.1.4.1.1.1");
  EXPECT_EQ(command->sop_instance_uid, "1.2.3");
}

TEST(Command, SaysWhenNoDataSetFollows) {
  const auto command = parse_command(element(0x0100, le(0x30, 2)) + element(0x0800, le(0x0101, 2)));
  ASSERT_TRUE(command.ok());
  EXPECT_FALSE(command->has_data_set);
}

TEST(Command, RefusesEveryCutOfARequest) {
  const std::string whole = store_request();
  int parsed = 0;
  for (std::size_t size = 1; size < whole.size(); ++size) {
    const auto command = parse_command(std::string_view(whole).substr(0, size));
    if (command.ok()) ++parsed;
  }
  EXPECT_EQ(parsed, 4);  // At the ends of the elements from Command Field on only.
}

TEST(Command, RefusesASequenceOfUndefinedLength) {
  std::string nested = element(0x0100, le(1, 2));
  for (int i = 0; i < 1000; ++i) nested += le(0, 2) + le(0x1111, 2) + le(0xFFFFFFFF, 4);
  EXPECT_EQ(parse_command(nested).status().code(), StatusCode::kInvalidArgument);
}

TEST(Command, RefusesOtherGroupsAndACommandWithoutField) {
  EXPECT_EQ(parse_command(element(0x0010, "A^B ", 0x0010)).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(parse_command(element(0x0110, le(7, 2))).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(parse_command("").status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace node::receive
