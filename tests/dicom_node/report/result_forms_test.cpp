#include "dicom_node/report/result_forms.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcuid.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "config/result_forms.h"
#include "dicom_node/report/codes.h"
#include "dicom_node/report/study_objects.h"
#include "tests/dicom_node/conformance_tables.h"
#include "tests/dicom_node/report/made_study.h"
#include "tests/dicom_node/report/parsed.h"

namespace node::report {
namespace {

std::vector<std::string> words() {
  std::vector<std::string> words;
  for (const Form& form : forms()) words.emplace_back(form.word);
  return words;
}

struct Made {
  std::vector<std::string> names;
  std::vector<ResultObject> objects;
};

Made make_all(const ReportedStudy& study, const std::set<storage::Uid>& made_before = {}) {
  WantedForms wanted;
  for (const Form& form : forms()) {
    wanted.emplace(form.word, study.study_instance_uid.str());
    for (const ReportedImage& image : study.images) wanted.emplace(form.word, image.record.sop_instance_uid.str());
  }
  Made made;
  const Status status = build_study_objects(study, wanted, made_before, made::context(),
                                            [&](const Form&, const ResultReference& reference, ResultObject o) {
                                              made.names.push_back(file_name(study, reference));
                                              made.objects.push_back(std::move(o));
                                              return ok_status();
                                            });
  EXPECT_TRUE(status.ok()) << status.message();
  return made;
}

ReportedStudy two_images() {
  return {storage::Uid::parse(made::image("02_1_foot_ap.dcm", {}).record.study_instance_uid.str()).value(),
          1,
          {made::image("02_1_foot_ap.dcm", {made::anomaly()}),
           made::image("02_2_foot_obl.dcm", {made::finding(made::fracture_task(), {0.9})})},
          {},
          {}};
}

TEST(ResultForms, EveryWordOfTheConfigurationIsMadeAndNoOther) {
  EXPECT_THAT(words(), testing::UnorderedElementsAreArray(config::kResultForms.begin(), config::kResultForms.end()));
  for (const std::string_view word : config::kDefaultResultForms)
    EXPECT_THAT(words(), testing::Contains(std::string(word)));
}

TEST(ResultForms, PicturesOfTwoTasksOnOneModelHaveEachAFileOfItsOwn) {
  object::FindingRecord other = made::anomaly(), plain = made::finding(made::fracture_task(), {0.9});
  other.prediction.task = "again";
  plain.prediction.model = other.prediction.model;
  const auto names = [](const std::vector<object::FindingRecord>& findings) {
    const ReportedStudy study = made::study({made::image("02_1_foot_ap.dcm", findings)}, made::context());
    std::vector<std::string> names;
    for (const ResultReference& reference : study.illustrations) names.push_back(file_name(study, reference));
    return names;
  };
  const std::string name = names({made::anomaly(), plain}).at(0);
  const std::string base = name.substr(0, name.size() - 4);
  EXPECT_TRUE(name.ends_with("-demo-anomaly.dcm")) << name << ": a task that draws nothing takes no name";
  EXPECT_THAT(names({made::anomaly(), other}), testing::ElementsAre(base + "-anomaly.dcm", base + "-again.dcm"));
  other.prediction.model = "elsewhere";
  EXPECT_EQ(names({made::anomaly(), other}).at(0), name);
}

TEST(ResultForms, StandInTheOrderInWhichTheyAreDelivered) {
  EXPECT_TRUE(
      std::is_sorted(forms().begin(), forms().end(), [](const Form& a, const Form& b) { return a.stage < b.stage; }));
}

TEST(ResultForms, EachHasTheClassThatItsWordPromises) {  // PS3.6 table A-1.
  const std::map<std::string, std::string> promised{{"sc", "1.2.840.10008.5.1.4.1.1.7"},
                                                    {"sc-rle", "1.2.840.10008.5.1.4.1.1.7"},
                                                    {"sc-jpeg", "1.2.840.10008.5.1.4.1.1.7"},
                                                    {"sc-multiframe", "1.2.840.10008.5.1.4.1.1.7.4"},
                                                    {"summary", "1.2.840.10008.5.1.4.1.1.7"},
                                                    {"seg", "1.2.840.10008.5.1.4.1.1.66.4"},
                                                    {"sr", "1.2.840.10008.5.1.4.1.1.88.33"},
                                                    {"sr-3d", "1.2.840.10008.5.1.4.1.1.88.34"},
                                                    {"sr-enhanced", "1.2.840.10008.5.1.4.1.1.88.22"},
                                                    {"sr-text", "1.2.840.10008.5.1.4.1.1.88.11"},
                                                    {"gsps", "1.2.840.10008.5.1.4.1.1.11.1"},
                                                    {"kos", "1.2.840.10008.5.1.4.1.1.88.59"}};
  for (const Form& form : forms()) {
    const std::string word(form.word);
    EXPECT_EQ(form.sop_class_uid, promised.at(word.substr(0, word.find("-per-image")))) << word;
  }
}

TEST(ResultForms, CompressedOverlaysAreThePictureBitForBitAndSmaller) {
  const Made made = make_all(two_images());
  std::map<std::string, std::vector<Uint8>> pixels;
  std::map<std::string, std::size_t> sizes;
  for (const ResultObject& object : made.objects) {
    if (!object.kind.starts_with("sc") || object.kind == "sc-multiframe") continue;
    const auto file = made::parse(object.bytes);
    OFString syntax;
    file->getMetaInfo()->findAndGetOFString(DCM_TransferSyntaxUID, syntax);
    EXPECT_EQ(object.transfer_syntax_uid, syntax.c_str()) << object.kind;
    ASSERT_TRUE(file->getDataset()->chooseRepresentation(EXS_LittleEndianExplicit, nullptr).good()) << object.kind;
    const Uint8* values = nullptr;
    unsigned long count = 0;
    ASSERT_TRUE(file->getDataset()->findAndGetUint8Array(DCM_PixelData, values, &count).good());
    pixels[object.kind].assign(values, values + count);
    sizes[object.kind] = object.bytes.size();
    if (made::get(*file->getDataset(), DCM_PlanarConfiguration) == "1") {  // RLE gives planes back.
      std::vector<Uint8>& planes = pixels[object.kind];
      std::vector<Uint8> mixed(planes.size());
      for (std::size_t i = 0; i < planes.size() / 3; ++i)
        for (std::size_t s = 0; s < 3; ++s) mixed[3 * i + s] = planes[s * (planes.size() / 3) + i];
      planes = mixed;
    }
  }
  EXPECT_EQ(pixels["sc-rle"], pixels["sc"]);
  EXPECT_EQ(pixels["sc-jpeg"], pixels["sc"]);
  EXPECT_LT(sizes["sc-rle"], sizes["sc"]);
  EXPECT_LT(sizes["sc-jpeg"], sizes["sc"] / 2);
}

TEST(ResultForms, TheConformanceStatementListsThem) {
  std::string rows;
  for (const Form& form : forms()) {
    rows +=
        fmt::format("| `{}` | {} | {} | {} |\n", form.word, dcmFindNameOfUID(std::string(form.sop_class_uid).c_str()),
                    form.sop_class_uid, form.of == FormOf::kImage ? "image" : "study");
  }
  EXPECT_EQ(conformance::table_of("result forms"), rows);
}

TEST(ResultForms, TheConformanceStatementListsTheirCodes) {
  std::set<std::tuple<std::string, std::string, std::string>> codes;
  for (const Code& code : codes_in_results()) codes.emplace(code.scheme, code.value, code.meaning);
  std::string rows;
  for (const auto& [scheme, value, meaning] : codes) rows += fmt::format("| {} | {} | {} |\n", value, scheme, meaning);
  EXPECT_EQ(conformance::table_of("codes"), rows);
}

TEST(ResultForms, EachIsAnObjectOfItsOwnKindSeriesAndClass) {
  const Made made = make_all(two_images());
  std::set<std::string> uids, series, kinds;
  for (std::size_t i = 0; i < made.objects.size(); ++i) {
    const ResultObject& object = made.objects[i];
    SCOPED_TRACE(made.names[i]);
    EXPECT_TRUE(uids.insert(object.sop_instance_uid.str()).second);
    EXPECT_TRUE(series.insert(object.series_instance_uid.str()).second);
    kinds.insert(object.kind);
    const auto form =
        std::find_if(forms().begin(), forms().end(), [&](const Form& f) { return f.word == object.kind; });
    ASSERT_NE(form, forms().end());
    const auto file = made::parse(object.bytes);
    EXPECT_EQ(made::get(*file->getDataset(), DCM_SOPClassUID), form->sop_class_uid);
    EXPECT_EQ(made::get(*file->getDataset(), DCM_SOPInstanceUID), object.sop_instance_uid.str());
    EXPECT_EQ(made::get(*file->getDataset(), DCM_SeriesInstanceUID), object.series_instance_uid.str());
  }
  const auto all = words();
  EXPECT_EQ(kinds, std::set<std::string>(all.begin(), all.end()));
}

TEST(ResultForms, APictureThatIsSentInThreeCodingsIllustratesOnce) {
  const Made made = make_all(two_images());
  for (const ResultObject& object : made.objects) {
    if (object.kind != "sr") continue;
    for (const ResultObject& picture : made.objects) {
      if (!picture.kind.starts_with("sc")) continue;
      EXPECT_EQ(object.bytes.find(picture.sop_instance_uid.str()) != std::string::npos, picture.kind == "sc");
    }
  }
}

TEST(ResultForms, AReportOfOneImageNamesNoOther) {
  const ReportedStudy study = two_images();
  const Made made = make_all(study);
  const std::string first = study.images[0].record.sop_instance_uid.str(),
                    second = study.images[1].record.sop_instance_uid.str();
  int seen = 0;
  for (const ResultObject& object : made.objects) {
    if (object.kind != "sr-per-image") continue;
    ++seen;
    EXPECT_NE(object.bytes.find(object.source_uid), std::string::npos);
    EXPECT_EQ(object.bytes.find(object.source_uid == first ? second : first), std::string::npos);
  }
  EXPECT_EQ(seen, 2);
}

TEST(ResultForms, ALateImageMakesNothingAgainOfTheOthers) {
  ReportedStudy study = two_images();
  const ReportedImage late = study.images[1];
  study.images.pop_back();
  std::set<storage::Uid> before;
  for (const ResultObject& object : make_all(study).objects) before.insert(object.sop_instance_uid);
  study.add(late);
  for (const ResultObject& object : make_all(study, before).objects)
    EXPECT_NE(object.source_uid, study.images[0].record.sop_instance_uid.str()) << object.kind;
}

}  // namespace
}  // namespace node::report
