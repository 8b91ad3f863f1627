// The data set of an N-ACTION or N-EVENT-REPORT of storage commitment; what is taken says the same when written again.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcfilefo.h>

#include "dicom_node/object/commitment_data.h"
#include "dicom_node/object/part10.h"
#include "tests/fuzz/fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace node::object;
  const node::fuzz::FuzzFile file(data, size);
  DcmFileFormat format;
  if (!load_dataset(file.path(), format, Extent::kWithPixelData).ok()) return 0;
  const auto read = decode_commitment(*format.getDataset());
  if (!read.ok()) return 0;
  DcmDataset written;
  encode_commitment(*read, written);
  const auto again = decode_commitment(written);
  if (!again.ok() || again->transaction_uid != read->transaction_uid ||
      again->referenced.size() != read->referenced.size() || again->failed.size() != read->failed.size())
    std::abort();
  return 0;
}
