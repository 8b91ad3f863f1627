#include "dicom_node/receive/message_io.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/ofstd/ofcond.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace node::receive {
namespace {
constexpr std::size_t kLogTextMax = 64;
}  // namespace

std::string printable(std::string_view text) {
  std::string out(text.substr(0, kLogTextMax));
  for (char& c : out) {
    if (c <= ' ' || c > '~' || c == '"' || c == '=') c = '_';
  }
  return out.empty() ? "-" : out;
}

std::string code_of(const OFCondition& condition) {
  return fmt::format("{}:{:#06x}", condition.module(), condition.code());
}

bool check_sent(PduReader& reader, std::uint64_t association, const OFCondition& condition) {
  if (condition.good()) return true;
  spdlog::warn("event=answer_failed association={} code={}", association, code_of(condition));
  return reader.end(Ending::kPeerGone);
}

bool read_data_set(PduReader& reader, std::uint8_t context, DataSetWriter& into) {
  PresentationDataValue value;
  do {
    if (!reader.next(value)) return false;
    if (value.is_command) return reader.fail("a command within a data set");
    if (value.context != context) return reader.fail("data in two contexts");
    into.write(value.fragment);
    if (into.endless()) return reader.fail("a data set without end");
  } while (!value.is_last);
  return true;
}

}  // namespace node::receive
