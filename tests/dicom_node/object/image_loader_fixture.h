// What the tests of image_loader share: images that a test makes and changes, loaded.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "dicom_node/object/image_loader.h"
#include "tests/dicom_node/object/test_files.h"

namespace node::object {

class ImageLoader : public testing::Test {
 protected:
  // The pixels of an image that `change` has been at.
  LoadedImage load(
      const TestImage& image, const std::function<void(DcmDataset&)>& change = [](DcmDataset&) {},
      E_TransferSyntax syntax = EXS_LittleEndianExplicit, const LoadOptions& options = {}) {
    DcmFileFormat file = make_image(image);
    change(*file.getDataset());
    LoadOptions kept = options;
    kept.keep_pixels = true;
    const auto loaded = load_image(write(folder_, file, syntax), kept);
    if (!loaded.ok()) {
      ADD_FAILURE() << loaded.status().message();
      return {};
    }
    return *loaded;
  }
  Status refusal(
      const TestImage& image, const std::function<void(DcmDataset&)>& change = [](DcmDataset&) {},
      const LoadOptions& options = {}) {
    DcmFileFormat file = make_image(image);
    change(*file.getDataset());
    return load_image(write(folder_, file), options).status();
  }
  static void window(DcmItem& data_set, const char* center, const char* width, const char* function = nullptr) {
    must(data_set.putAndInsertString(DCM_WindowCenter, center));
    must(data_set.putAndInsertString(DCM_WindowWidth, width));
    if (function != nullptr) must(data_set.putAndInsertString(DCM_VOILUTFunction, function));
  }
  static void lut(DcmDataset& data_set, const DcmTagKey& sequence, std::vector<Uint16> descriptor,
                  std::vector<Uint16> entries, unsigned long item_number = 0) {
    DcmItem* item = nullptr;
    must(data_set.findOrCreateSequenceItem(sequence, item, static_cast<signed long>(item_number)));
    must(item->putAndInsertUint16Array(DcmTag(DCM_LUTDescriptor, EVR_US), descriptor.data(), descriptor.size()));
    must(item->putAndInsertUint16Array(DcmTag(DCM_LUTData, EVR_OW), entries.data(), entries.size()));
  }
  static std::vector<float> pixels(const LoadedImage& image) { return image.radiograph.pixels; }

  TemporaryFolder folder_;
};

// A hundred values 0, 10, 20, ...: enough that no window of a test shows "nothing".
inline TestImage ramp() {
  TestImage image;
  image.rows = 10;
  image.columns = 10;
  image.values.clear();
  for (int i = 0; i < 100; ++i) image.values.push_back(i * 10);
  return image;
}

}  // namespace node::object
