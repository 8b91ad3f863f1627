// What a RIS answers to a message: no acknowledgement but of that very message, and no words that a log cannot hold.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "dicom_node/deliver/message_sender.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using node::storage::DeliveryState;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto answer = node::deliver::judge_acknowledgement(text, "42");
  if (!answer.ok()) return 0;
  const bool printable =
      std::all_of(answer->words.begin(), answer->words.end(), [](char c) { return c >= 0x20 && c < 0x7F; });
  const bool named = text.find("MSA|") != text.npos && text.find("|42") != text.npos;
  const bool decided = answer->state == DeliveryState::kDelivered || answer->state == DeliveryState::kPending ||
                       answer->state == DeliveryState::kParked;
  if (!printable || answer->words.size() > 64 || !named || !decided) std::abort();
  return 0;
}
