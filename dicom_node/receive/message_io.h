// What the messages of an association share: reading a data set, seeing that an answer left, words for the log.
//
// Threads: of one association's thread.
// Source:  PS3.7 6.3, 9.3 (messages); PS3.8 Annex E (fragments).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "config/base/status.h"
#include "dicom_node/receive/pdu_reader.h"
#include "storage/spool.h"

class OFCondition;

namespace node::receive {

// What a peer wrote, fit for one key=value.
std::string printable(std::string_view text);

// DCMTK's texts may hold what a peer sent: only module and code.
std::string code_of(const OFCondition& condition);

// Whether DCMTK could write an answer; if not, the association is over.
bool check_sent(PduReader& reader, std::uint64_t association, const OFCondition& condition);

// Takes a data set's bytes as they come. What cannot be kept (too large, disk full) is swallowed, so that the peer's
// message still ends where it should and can be answered.
class DataSetWriter {
 public:
  // `file`: nullptr to swallow everything.
  DataSetWriter(storage::IncomingFile* file, std::uint64_t bytes_max) : file_(file), bytes_max_(bytes_max) {}

  void write(std::string_view bytes) {
    bytes_ += bytes.size();
    if (file_ != nullptr && written_.ok() && !too_large()) written_ = file_->append(bytes.data(), bytes.size());
  }
  std::uint64_t bytes() const { return bytes_; }
  bool too_large() const { return bytes_ > bytes_max_; }
  bool endless() const { return bytes_ / 2 > bytes_max_; }
  const Status& written() const { return written_; }

 private:
  storage::IncomingFile* const file_;
  const std::uint64_t bytes_max_;
  std::uint64_t bytes_ = 0;
  Status written_;
};

// Reads the whole data set, whatever becomes of it: only then may the peer be answered. False: the association is over.
bool read_data_set(PduReader& reader, std::uint8_t context, DataSetWriter& into);

}  // namespace node::receive
