#include "dicom_node/receive/command_set.h"

namespace node::receive {
namespace {

std::uint32_t little_endian(std::string_view bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = bytes.size(); i > 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[i - 1]);
  return value;
}

std::uint16_t us(std::string_view value) {
  return value.size() == 2 ? static_cast<std::uint16_t>(little_endian(value)) : std::uint16_t{0};
}

std::string ui(std::string_view value) {
  while (!value.empty() && (value.back() == '\0' || value.back() == ' ')) value.remove_suffix(1);
  return std::string(value);
}

}  // namespace

Result<Command> parse_command(std::string_view bytes) {
  constexpr std::uint32_t kNoDataSet = 0x0101;
  Command command;
  bool has_field = false;
  while (!bytes.empty()) {
    if (bytes.size() < 8) return invalid_argument("command set: cut element");
    const std::uint32_t group = little_endian(bytes.substr(0, 2));
    const std::uint32_t element = little_endian(bytes.substr(2, 2));
    const std::uint32_t length = little_endian(bytes.substr(4, 4));
    bytes.remove_prefix(8);
    if (group != 0) return invalid_argument("command set: an element of another group than 0000");
    if (length > bytes.size()) return invalid_argument("command set: a length beyond its end");
    const std::string_view value = bytes.substr(0, length);
    bytes.remove_prefix(length);
    switch (element) {
      case 0x0002:
      case 0x0003: command.sop_class_uid = ui(value); break;
      case 0x0100:
        command.field = us(value);
        has_field = true;
        break;
      case 0x0110: command.message_id = us(value); break;
      case 0x0800: command.has_data_set = us(value) != kNoDataSet; break;
      case 0x0900: command.status = us(value); break;
      case 0x1000:
      case 0x1001: command.sop_instance_uid = ui(value); break;
      case 0x1002:
      case 0x1008: command.type_id = us(value); break;
      default: break;
    }
  }
  if (!has_field) return invalid_argument("command set: no Command Field");
  return command;
}

}  // namespace node::receive
