// Reads back what report/ wrote, with DCMTK, for its tests. Include in .cpp files only.
#pragma once

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcistrmb.h>
#include <dcmtk/dcmdata/dctk.h>

#include <memory>
#include <string>

namespace node::report::made {

inline std::unique_ptr<DcmFileFormat> parse(const std::string& bytes) {
  auto file = std::make_unique<DcmFileFormat>();
  DcmInputBufferStream stream;
  stream.setBuffer(bytes.data(), static_cast<offile_off_t>(bytes.size()));
  stream.setEos();
  file->transferInit();
  const OFCondition read = file->read(stream);
  file->transferEnd();
  if (read.bad()) return nullptr;
  file->loadAllDataIntoMemory();
  return file;
}

inline std::string get(DcmItem& item, const DcmTagKey& tag) {
  OFString value;
  item.findAndGetOFStringArray(tag, value);
  return value.c_str();
}

}  // namespace node::report::made
