#include "dicom_node/object/part10.h"

#include <gtest/gtest.h>

#include "dicom_node/object/image_loader.h"
#include "tests/dicom_node/object/test_files.h"

namespace node::object {
namespace {

class Part10 : public testing::Test {
 protected:
  Part10() { register_codecs(); }  // DCMTK's log off.
};

TEST_F(Part10, EncodesWhatDcmtkReadsBack) {
  TemporaryFolder folder;
  DcmFileFormat file = make_image(TestImage{});
  const auto bytes = encode_part10(file);
  ASSERT_TRUE(bytes.ok()) << bytes.status().message();
  DcmFileFormat back;
  must(back.loadFile(write_bytes(folder, *bytes).c_str()));
  OFString text;
  must(back.getMetaInfo()->findAndGetOFString(DCM_ImplementationClassUID, text));
  EXPECT_EQ(text, kImplementationClassUid);
  must(back.getMetaInfo()->findAndGetOFString(DCM_ImplementationVersionName, text));
  EXPECT_EQ(text, kImplementationVersionName);
  EXPECT_LE(text.size(), 16u);
  must(back.getMetaInfo()->findAndGetOFString(DCM_MediaStorageSOPInstanceUID, text));
  EXPECT_EQ(text, "1.2.826.0.1.1.1");
  EXPECT_EQ(back.getDataset()->getOriginalXfer(), EXS_LittleEndianExplicit);
  Uint32 group_length = 0;
  must(back.getMetaInfo()->findAndGetUint32(DCM_FileMetaInformationGroupLength, group_length));
  EXPECT_EQ(bytes->substr(144 + group_length, 4), std::string("\x08\x00\x16\x00", 4));  // The data set begins there.
}

TEST_F(Part10, SameDataSetSameBytes) {
  DcmFileFormat one = make_image(TestImage{}), other = make_image(TestImage{});
  EXPECT_EQ(*encode_part10(one), *encode_part10(other));
}

TEST_F(Part10, EncodesMoreThanOneBufferful) {
  TemporaryFolder folder;
  TestImage image;
  image.rows = image.columns = 1000;
  image.values.assign(1'000'000, 0);
  for (std::size_t i = 0; i < image.values.size(); ++i) image.values[i] = static_cast<int>(i % 4096);
  DcmFileFormat file = make_image(image);
  const auto bytes = encode_part10(file);
  ASSERT_TRUE(bytes.ok());
  DcmFileFormat back;
  ASSERT_TRUE(load_dataset(write_bytes(folder, *bytes), back, Extent::kWithPixelData).ok());
  const Uint16* pixels = nullptr;
  unsigned long count = 0;
  must(back.getDataset()->findAndGetUint16Array(DCM_PixelData, pixels, &count));
  ASSERT_EQ(count, 1'000'000u);
  for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(pixels[i], i % 4096);
}

TEST_F(Part10, NeedsASopInstance) {
  DcmFileFormat file = make_image(TestImage{});
  file.getDataset()->findAndDeleteElement(DCM_SOPInstanceUID);
  EXPECT_EQ(encode_part10(file).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(Part10, LoadsNothingFromThePixelDataOn) {
  TemporaryFolder folder;
  DcmFileFormat file = make_image(TestImage{});
  const auto path = write(folder, file);
  DcmFileFormat header, whole;
  ASSERT_TRUE(load_dataset(path, header, Extent::kUpToPixelData).ok());
  EXPECT_FALSE(header.getDataset()->tagExists(DCM_PixelData));
  EXPECT_TRUE(header.getDataset()->tagExists(DCM_PixelRepresentation));
  ASSERT_TRUE(load_dataset(path, whole, Extent::kWithPixelData).ok());
  EXPECT_TRUE(whole.getDataset()->tagExists(DCM_PixelData));
}

}  // namespace
}  // namespace node::object
