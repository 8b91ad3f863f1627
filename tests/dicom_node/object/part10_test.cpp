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

TEST_F(Part10, AMetaHeaderIsWhatDcmtkReadsBack) {
  TemporaryFolder folder;
  for (const std::string ae_title : {"XRAY1", "ROOM12", ""}) {  // Odd, even and none.
    const std::string data_set(
        "\x08\x00\x60\x00"
        "CS\x02\x00"
        "DX",
        10);
    const std::string bytes = encode_meta_header(UID_DigitalXRayImageStorageForPresentation, "1.2.826.0.1",
                                                 UID_LittleEndianExplicitTransferSyntax, ae_title) +
                              data_set;
    DcmFileFormat back;
    must(back.loadFile(write_bytes(folder, bytes).c_str()));
    DcmMetaInfo& meta = *back.getMetaInfo();
    const auto value = [&meta](const DcmTagKey& tag) {
      OFString text;
      meta.findAndGetOFString(tag, text);
      return std::string(text.c_str());
    };
    EXPECT_EQ(value(DCM_MediaStorageSOPClassUID), UID_DigitalXRayImageStorageForPresentation);
    EXPECT_EQ(value(DCM_MediaStorageSOPInstanceUID), "1.2.826.0.1");
    EXPECT_EQ(value(DCM_TransferSyntaxUID), UID_LittleEndianExplicitTransferSyntax);
    EXPECT_EQ(value(DCM_ImplementationClassUID), kImplementationClassUid);
    EXPECT_EQ(value(DCM_ImplementationVersionName), kImplementationVersionName);
    EXPECT_EQ(value(DCM_SourceApplicationEntityTitle), ae_title);
    Uint32 group_length = 0;
    must(meta.findAndGetUint32(DCM_FileMetaInformationGroupLength, group_length));
    EXPECT_EQ(bytes.substr(144 + group_length), data_set);
    const Uint8* version = nullptr;
    unsigned long count = 0;
    must(meta.findAndGetUint8Array(DCM_FileMetaInformationVersion, version, &count));
    EXPECT_EQ(count, 2u);
    OFString modality;
    must(back.getDataset()->findAndGetOFString(DCM_Modality, modality));
    EXPECT_EQ(modality, "DX");
  }
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
