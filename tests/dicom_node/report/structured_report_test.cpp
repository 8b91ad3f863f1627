#include "dicom_node/report/structured_report.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmsr/dsrdoc.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <sstream>

#include "dicom_node/object/result_identity.h"
#include "tests/dicom_node/report/made_study.h"
#include "tests/dicom_node/report/parsed.h"

namespace node::report {
namespace {

using made::get;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

// One content item as "TYPE concept = value", its children below it.
struct Item {
  std::string relationship, type, concept_name, value;
  std::vector<Item> children;

  std::vector<const Item*> all(const std::string& name) const {
    std::vector<const Item*> found;
    for (const Item& child : children)
      if (child.concept_name == name) found.push_back(&child);
    return found;
  }
  const Item& one(const std::string& name) const {
    const auto found = all(name);
    EXPECT_EQ(found.size(), 1u) << name << " in " << concept_name;
    static const Item kNone;
    return found.empty() ? kNone : *found.front();
  }
  std::vector<std::string> values(const std::string& name) const {
    std::vector<std::string> found;
    for (const Item* item : all(name)) found.push_back(item->value);
    return found;
  }
};

std::string code_in(DcmItem& item, const DcmTagKey& sequence) {
  DcmItem* code = nullptr;
  if (item.findAndGetSequenceItem(sequence, code).bad()) return "";
  return get(*code, DCM_CodeValue);
}

unsigned long get_count(DcmItem& item, const DcmTagKey& tag) {
  DcmElement* element = nullptr;
  return item.findAndGetElement(tag, element).good() ? element->getVM() : 0;
}

Item read_item(DcmItem& from) {
  Item item;
  item.relationship = get(from, DCM_RelationshipType);
  item.type = get(from, DCM_ValueType);
  item.concept_name = code_in(from, DCM_ConceptNameCodeSequence);
  if (item.type == "TEXT") item.value = get(from, DCM_TextValue);
  if (item.type == "UIDREF") item.value = get(from, DCM_UID);
  if (item.type == "CODE") item.value = code_in(from, DCM_ConceptCodeSequence);
  DcmItem* inner = nullptr;
  if (item.type == "IMAGE" && from.findAndGetSequenceItem(DCM_ReferencedSOPSequence, inner).good())
    item.value = get(*inner, DCM_ReferencedSOPInstanceUID);
  if (item.type == "SCOORD") {
    for (unsigned long i = 0; i < get_count(from, DCM_GraphicData); ++i) {
      Float32 number = 0;
      from.findAndGetFloat32(DCM_GraphicData, number, i);
      item.value += (i == 0 ? "" : "\\") + std::to_string(static_cast<int>(number));
    }
  }
  if (item.type == "NUM" && from.findAndGetSequenceItem(DCM_MeasuredValueSequence, inner).good())
    item.value = get(*inner, DCM_NumericValue) + " " + code_in(*inner, DCM_MeasurementUnitsCodeSequence);
  DcmSequenceOfItems* content = nullptr;
  if (from.findAndGetSequence(DCM_ContentSequence, content).good())
    for (unsigned long i = 0; i < content->card(); ++i) item.children.push_back(read_item(*content->getItem(i)));
  return item;
}

struct Made {
  ResultObject object;
  std::unique_ptr<DcmFileFormat> file;
  Item root;
  DcmDataset& dataset() { return *file->getDataset(); }
  std::vector<const Item*> groups() const {
    return root.all("126010").empty() ? std::vector<const Item*>() : root.one("126010").all("125007");
  }
};

Made make(const ReportedStudy& study, const ResultContext& context) {
  auto object = make_structured_report(
      study, report_references("sr", UID_ComprehensiveSRStorage, false, study, context).at(0), context);
  EXPECT_TRUE(object.ok()) << object.status().message();
  auto file = made::parse(object->bytes);
  EXPECT_NE(file, nullptr);
  DSRDocument document;  // DCMTK's own reader checks value types and relationships against the IOD.
  const OFCondition read = document.read(*file->getDataset());
  EXPECT_TRUE(read.good()) << read.text();
  EXPECT_EQ(document.getDocumentType(), DSRTypes::DT_ComprehensiveSR);
  Item root = read_item(*file->getDataset());
  return {std::move(object).value(), std::move(file), std::move(root)};
}

Made make_one(std::vector<object::FindingRecord> findings, const std::string& name = made::kHand) {
  return make(made::study({made::image(name, std::move(findings))}, made::context()), made::context());
}

std::vector<std::string> evidence(DcmDataset& dataset) {
  std::vector<std::string> uids;
  DcmStack stack;
  DcmItem* evidence = nullptr;
  if (dataset.findAndGetSequenceItem(DCM_CurrentRequestedProcedureEvidenceSequence, evidence).bad()) return uids;
  while (evidence->search(DCM_ReferencedSOPInstanceUID, stack, ESM_afterStackTop, OFTrue).good()) {
    OFString uid;
    dynamic_cast<DcmElement*>(stack.top())->getOFString(uid, 0);
    uids.push_back(uid.c_str());
  }
  return uids;
}

void collect_images(const Item& item, std::set<std::string>& into) {
  if (item.type == "IMAGE") into.insert(item.value);
  for (const Item& child : item.children) collect_images(child, into);
}

TEST(StructuredReport, RootSaysLanguageDeviceAndProcedure) {
  const Made sr = make_one({made::finding(made::fracture_task(), {0.83})});
  EXPECT_EQ(sr.root.concept_name, "126000");
  EXPECT_EQ(sr.root.one("121049").value, "en-US");
  EXPECT_EQ(sr.root.one("121005").value, "121007");
  EXPECT_EQ(sr.root.one("121012").value, made::kNodeUid);
  EXPECT_EQ(sr.root.one("121013").value, "SKELEX");
  EXPECT_FALSE(sr.root.all("121058").empty());
  EXPECT_EQ(sr.root.one("111028").children.size(), 1u);
}

TEST(StructuredReport, ACodeStandsInTheSchemeThatTheConfigurationNames) {
  ResultContext context = made::context();
  context.config.tasks[0].code = {"RID0", "RADLEX", "what is looked for"};
  const Made sr =
      make(made::study({made::image(made::kHand, {made::finding(made::fracture_task(), {0.83})})}, context), context);
  EXPECT_EQ(sr.groups().at(0)->one("121071").value, "RID0");
  EXPECT_NE(sr.object.bytes.find("RADLEX"), std::string::npos);
}

TEST(StructuredReport, OneGroupPerImageAndTaskWithTrackingSiteAndAlgorithm) {
  const ReportedImage image = made::image(made::kHand, {made::finding(made::fracture_task(), {0.83}), made::anomaly()});
  const Made sr = make(made::study({image}, made::context()), made::context());
  ASSERT_EQ(sr.groups().size(), 2u);
  const Item& group = *sr.groups()[0];
  EXPECT_THAT(group.one("112039").value, HasSubstr("fracture HAND L"));
  EXPECT_EQ(group.one("112040").value,
            object::derive_uid("tracking", image.record.sop_instance_uid.str(), "fracture", "", "").str());
  EXPECT_EQ(group.one("121071").value, "125605004");
  EXPECT_EQ(group.one("363698007").value, "85562004");
  EXPECT_EQ(group.one("363698007").one("272741003").value, "7771000");
  EXPECT_EQ(group.one("111001").value, "demo-fracture");
  EXPECT_EQ(group.one("111003").value, "demo-fracture@sha256:0f1e2d3c");
  EXPECT_EQ(group.one("111000").value, "123110");
  EXPECT_THAT(group.values("111002"),
              ElementsAre("digest=sha256:0f1e2d3c" + std::string(56, '0'), "threshold_doubtful=0.3",
                          "threshold_certain=0.7", "rendering voi=window 1"));
  EXPECT_THAT(group.values("121112"), ElementsAre(image.record.sop_instance_uid.str()));
  EXPECT_THAT(sr.groups()[1]->values("111002"),
              ElementsAre("digest=sha256:0f1e2d3c" + std::string(56, '0'), "mode=partition", "passes=8",
                          "mask_ratio=0.75", "seed=185372638192", "rendering voi=window 1"));
}

TEST(StructuredReport, ProbabilityWithUnitAndDecisionByTheThresholds) {
  for (const auto& [probability, number, decision] : {std::tuple{0.8132, "0.8132 1", "52101004"},
                                                      {0.5, "0.5000 1", "373068000"},
                                                      {0.0417, "0.0417 1", "272519000"},
                                                      {0.299976, "0.29998 1", "272519000"},  // Absent below 0.3.
                                                      {1.0000001, "1.0000 1", "52101004"}}) {
    const Made sr = make_one({made::finding(made::fracture_task(), {probability})});
    ASSERT_EQ(sr.groups().size(), 1u);
    EXPECT_EQ(sr.groups()[0]->one("SKX-PROB").value, number);
    EXPECT_EQ(sr.groups()[0]->one("125605004").value, decision);
  }
}

TEST(StructuredReport, EachLabelHasItsOwnProbabilityAndDecision) {
  // Swapping two labels, or their codes, breaks this.
  const Made sr = make_one({made::finding(made::finds_task(), {0.9, 0.2})});
  ASSERT_EQ(sr.groups().size(), 1u);
  std::map<std::string, std::string> probabilities;
  for (const Item* number : sr.groups()[0]->all("SKX-PROB")) probabilities[number->one("121071").value] = number->value;
  EXPECT_EQ(probabilities["40388003"], "0.9000 1") << "implant";
  EXPECT_EQ(probabilities["126537000"], "0.2000 1") << "neoplasm";
  EXPECT_EQ(sr.groups()[0]->one("40388003").value, "52101004") << "implant is present";
  EXPECT_EQ(sr.groups()[0]->one("126537000").value, "272519000") << "neoplasm is absent";
}

TEST(StructuredReport, SoftmaxHasANumberPerClassAndTheLeadingOneAsCode) {
  const Made sr = make_one({made::finding(made::knee_task(), {0.05, 0.1, 0.6, 0.15, 0.1})}, made::kKnee);
  ASSERT_EQ(sr.groups().size(), 1u);
  const Item& group = *sr.groups()[0];
  ASSERT_EQ(group.all("SKX-PROB").size(), 5u);
  EXPECT_EQ(group.all("SKX-PROB")[2]->value, "0.6000 1");
  EXPECT_EQ(group.all("SKX-PROB")[2]->one("121071").value, "SKX-KNEE-OA-KL-2");
  EXPECT_EQ(group.one("SKX-KL").value, "SKX-KNEE-OA-KL-2");
  EXPECT_EQ(group.one("SKX-LEVEL").value, "SKX-CERTAIN");
}

TEST(StructuredReport, ASoftmaxBelowItsThresholdNamesNoClass) {
  ResultContext context = made::context();
  for (config::TaskConfig& task : context.config.tasks) {
    if (task.name == "knee-oa") task.threshold_doubtful = 0.4;
  }
  const ReportedImage image = made::image(made::kKnee, {made::finding(made::knee_task(), {0.2, 0.2, 0.3, 0.2, 0.1})});
  const Made sr = make(made::study({image}, context), context);
  ASSERT_EQ(sr.groups().size(), 1u);
  EXPECT_EQ(sr.groups()[0]->all("SKX-PROB").size(), 5u);
  EXPECT_EQ(sr.groups()[0]->one("SKX-KL").value, "373068000") << "undetermined";
  EXPECT_TRUE(sr.groups()[0]->all("SKX-LEVEL").empty());
}

TEST(StructuredReport, QuantityHasItsOwnUnit) {
  const Made sr = make_one({made::finding(made::age_task(), {132.25})});
  EXPECT_EQ(sr.groups().at(0)->one("SKX-BONEAGE").value, "132.2500 mo");
}

TEST(StructuredReport, AValueThatIsNoNumberIsSaidToBeSo) {
  const Made sr = make_one({made::finding(made::age_task(), {std::nan("")})});
  EXPECT_EQ(sr.groups().at(0)->one("SKX-BONEAGE").value, "");
  EXPECT_THAT(sr.object.bytes, HasSubstr("Not a number"));
}

TEST(StructuredReport, AnomalyHasItsScoreSaysItIsUncalibratedAndShowsTheOverlay) {
  const ReportedImage image = made::image(made::kHand, {made::anomaly()});
  const ReportedStudy study = made::study({image}, made::context());
  const Made sr = make(study, made::context());
  const Item& group = *sr.groups().at(0);
  EXPECT_EQ(group.one("SKX-ANOM").value, "0.000510 1");
  EXPECT_THAT(group.values("SKX-NOTE"), testing::Contains(HasSubstr("uncalibrated")));
  EXPECT_EQ(group.one("121080").value, study.illustrations.at(0).sop_instance_uid.str());
}

TEST(StructuredReport, ACalibratedAnomalyHasItsPercentileInPercentAndSaysAmongWhat) {
  object::FindingRecord finding = made::anomaly();
  const Made uncalibrated = make_one({finding});
  EXPECT_TRUE(uncalibrated.groups().at(0)->all("SKX-ANOM-PCT").empty());
  made::calibrate(finding);
  const Made sr = make_one({finding});
  const Item& group = *sr.groups().at(0);
  EXPECT_EQ(group.one("SKX-ANOM").value, "0.000510 1");
  EXPECT_EQ(group.one("SKX-ANOM-PCT").value, "45.9 %");
  EXPECT_THAT(group.values("SKX-NOTE"), testing::Contains(HasSubstr("214 normal images of HAND")));
  EXPECT_THAT(group.values("SKX-NOTE"), testing::Not(testing::Contains(HasSubstr("uncalibrated"))));
  EXPECT_THAT(group.values("111002"), testing::Contains(HasSubstr("calibration=sha256:feedbeef")));
  EXPECT_NE(sr.object.sop_instance_uid, uncalibrated.object.sop_instance_uid) << "other bytes, another UID";
}

TEST(StructuredReport, SaysWhereAnAnomalyMapIsHighest) {
  const ReportedImage image = made::image(made::kHand, {made::anomaly()});
  Made sr = make(made::study({image}, made::context()), made::context());
  const Item& peak = sr.groups().at(0)->one("SKX-ANOM-PEAK");
  EXPECT_EQ(peak.value, "0.100000 1");
  const Item& region = peak.one("121112");
  EXPECT_EQ(region.type, "SCOORD");
  EXPECT_EQ(region.relationship, "INFERRED FROM");
  ASSERT_EQ(region.children.size(), 1u);
  EXPECT_EQ(region.children[0].relationship, "SELECTED FROM");
  EXPECT_EQ(region.children[0].value, image.record.sop_instance_uid.str());
}

TEST(StructuredReport, AHalfOfAFilmHasItsOwnSideAndItsOutline) {
  ResultContext context = made::context();
  std::vector<object::FindingRecord> halves;
  for (const config::Half half : {config::Half::kRight, config::Half::kLeft}) {
    config::TaskConfig task = made::knee_task();
    task.name = config::half_name(task.name, half);
    context.config.tasks.push_back(task);
    halves.push_back(made::finding(task, {0.1, 0.1, 0.6, 0.1, 0.1}));
  }
  halves[0].prediction.part = {"R", {0, 0, 30, 40}};
  halves[1].prediction.part = {"L", {30, 0, 61, 40}};
  ReportedImage image = made::image(made::kKnee, halves);
  image.record.route.reason = "split: knee-oa read each half of the film by itself";
  const Made sr = make(made::study({image}, context), context);
  ASSERT_EQ(sr.groups().size(), 2u);
  const std::vector<std::string> outlines{"0\\0\\30\\0\\30\\40\\0\\40\\0\\0", "30\\0\\61\\0\\61\\40\\30\\40\\30\\0"};
  for (std::size_t i = 0; i < 2; ++i) {
    const Item& group = *sr.groups()[i];
    EXPECT_EQ(group.one("363698007").one("272741003").value, i == 0 ? "24028007" : "7771000");
    EXPECT_THAT(group.one("112039").value, HasSubstr(i == 0 ? "right half KNEE R" : "left half KNEE L"));
    const Item& region = group.one("111030");
    EXPECT_EQ(region.type, "SCOORD");
    EXPECT_EQ(region.value, outlines[i]);
    ASSERT_EQ(region.children.size(), 1u);
    EXPECT_EQ(region.children[0].relationship, "SELECTED FROM");
    EXPECT_EQ(region.children[0].value, image.record.sop_instance_uid.str());
    EXPECT_THAT(group.values("121112"), IsEmpty()) << "the source is the half, not the image";
    EXPECT_THAT(group.values("SKX-NOTE"), testing::Contains(HasSubstr("split: knee-oa")));
    EXPECT_EQ(group.all("SKX-PROB").size(), 5u);
  }
  EXPECT_NE(sr.groups()[0]->one("112040").value, sr.groups()[1]->one("112040").value);
}

TEST(StructuredReport, SaysOfTheWholeStudyWhetherAnythingWasFound) {
  const auto overall = [](std::vector<object::FindingRecord> findings) {
    return make_one(std::move(findings)).root.one("C0034375").values("SKX-OVERALL");
  };
  EXPECT_THAT(overall({made::finding(made::fracture_task(), {0.1}), made::anomaly()}), ElementsAre("SKX-NOTHING"));
  EXPECT_THAT(overall({made::finding(made::fracture_task(), {0.31})}), ElementsAre("SKX-FOUND"));
  EXPECT_THAT(overall({made::anomaly()}), IsEmpty()) << "no task looked for anything";
}

TEST(StructuredReport, ABoneAgeSaysThatTheModelKnowsNoSex) {
  const auto of_sex = [](const char* sex) {
    ReportedImage image = made::image(made::kHand, {made::finding(made::age_task(), {132})});
    image.file = testing::TempDir() + "/hand_of_sex.dcm";
    DcmFileFormat file;
    EXPECT_TRUE(file.loadFile(made::radiograph(made::kHand).c_str()).good());
    file.getDataset()->putAndInsertString(DCM_PatientSex, sex);
    EXPECT_TRUE(file.saveFile(image.file.c_str()).good());
    return make(made::study({image}, made::context()), made::context()).groups().at(0)->values("SKX-NOTE");
  };
  const std::string known = "The model does not know the patient's sex; norms for comparison: those of sex ";
  EXPECT_THAT(of_sex("F"), testing::Contains(known + "F"));
  EXPECT_THAT(of_sex("O"), testing::Not(testing::Contains(HasSubstr("sex"))));
}

TEST(StructuredReport, SaysBodyPartAndWhatItWasTakenFrom) {
  const Made sr = make_one({made::finding(made::fracture_task(), {0.1})});
  EXPECT_THAT(sr.groups().at(0)->values("SKX-NOTE"),
              testing::Contains("Body part HAND, taken from Body Part Examined"));
}

TEST(StructuredReport, SaysWhereHeaderAndRegionHeadDisagreeStrongly) {
  config::TaskConfig region = made::knee_task();
  region.name = "region";
  region.labels = {"hand", "wrist", "leg"};
  ResultContext context = made::context();
  context.config.tasks.push_back(region);
  context.config.region_head = {"region",
                                0.8,
                                {{"hand", "HAND"}, {"wrist", "WRIST"}, {"leg", "LOWERLEG"}},
                                {{"HAND", {"hand"}}, {"WRIST", {"hand", "forearm"}}, {"LOWERLEG", {"leg"}}}};
  const auto notes = [&](std::vector<double> probabilities) {
    const ReportedImage image = made::image(
        made::kHand, {made::finding(made::fracture_task(), {0.1}), made::finding(region, std::move(probabilities))});
    return make(made::study({image}, context), context).groups().at(0)->values("SKX-NOTE");
  };
  EXPECT_THAT(notes({0.02, 0.01, 0.97}),
              testing::Contains("The header shows HAND (Body Part Examined), the pixels LOWERLEG (region: leg 0.97)"));
  const auto disagrees = testing::Contains(HasSubstr("the pixels"));
  EXPECT_THAT(notes({0.15, 0.1, 0.75}), testing::Not(disagrees)) << "not sure enough";
  EXPECT_THAT(notes({0.05, 0.94, 0.01}), testing::Not(disagrees)) << "neighbours";
  EXPECT_THAT(notes({0.97, 0.02, 0.01}), testing::Not(disagrees)) << "the same";
  // The third of the three that may disagree: the detector, with header and head.
  object::FindingRecord found = made::finding(made::fracture_task(), {0.1});
  found.prediction.regions.resize(2);
  found.prediction.regions[0].label = "whole image";
  inference::Region& box = found.prediction.regions[1];
  box.source = inference::RegionSource::kDetector;
  box.label = "leg";
  box.box = {0, 0, 9, 9};
  box.detector_score = 0.875;
  box.bone = "hand";
  box.bone_probability = 0.75;
  const auto with_box = [&](std::vector<double> probabilities) {
    const ReportedImage image = made::image(made::kHand, {found, made::finding(region, std::move(probabilities))});
    return make(made::study({image}, context), context).groups().at(0)->values("SKX-NOTE");
  };
  const std::string detector = "he header shows HAND (Body Part Examined), the detector LOWERLEG (fracture: leg 0.88)";
  EXPECT_THAT(with_box({0.97, 0.02, 0.01}),
              testing::IsSupersetOf({"T" + detector, std::string("region 1: detected as leg, taken for hand (0.75)")}));
  EXPECT_THAT(with_box({0.02, 0.01, 0.97}),
              testing::Contains(
                  "The header shows HAND (Body Part Examined), the pixels LOWERLEG (region: leg 0.97); T" + detector));
  box.detector_score = 0.4;
  EXPECT_THAT(with_box({0.97, 0.02, 0.01}), testing::Not(testing::Contains(HasSubstr("the detector")))) << "not sure";
  box.detector_score = 0.9;
  box.label = "wrist";
  EXPECT_THAT(with_box({0.97, 0.02, 0.01}), testing::Not(testing::Contains(HasSubstr("the detector")))) << "neighbours";

  context.config.region_head.task = "";
  EXPECT_THAT(notes({0.02, 0.01, 0.97}), testing::Not(disagrees)) << "no region head";
  context.config.region_head.terms.clear();  // As without one: what a bone is a part of is known all the same.
  context.config.region_head.aliases = {{"DISTAL TIBIA", "LOWERLEG"}, {"CARPAL BONES", "WRIST"}};
  box.label = "distal tibia";
  EXPECT_THAT(with_box({0.97, 0.02, 0.01}),
              testing::Contains(
                  "The header shows HAND (Body Part Examined), the detector LOWERLEG (fracture: distal tibia 0.90)"));
  for (const char* label : {"carpal bones", "knee cap"}) {  // A neighbour; what no table knows.
    box.label = label;
    EXPECT_THAT(with_box({0.97, 0.02, 0.01}), testing::Not(testing::Contains(HasSubstr("the detector")))) << label;
  }
}

TEST(StructuredReport, AScoreOfRegionsSaysWhichOneDecidedAndTheWholeImageHasItsOwn) {
  object::FindingRecord found = made::finding(made::finds_task(), {0.6, 0.9});
  inference::Prediction& prediction = found.prediction;
  prediction.regions.resize(2);
  prediction.regions[0].label = "whole image";
  prediction.regions[0].scores = {{"Implant", 0.6}, {"Tumour", 0.2}};
  prediction.regions[1].source = inference::RegionSource::kDetector;
  prediction.regions[1].label = "distal femur";
  prediction.regions[1].box = {1, 2, 30, 40};
  prediction.regions[1].scores = {{"Implant", 0.1}, {"Tumour", 0.9}};
  prediction.scores[0].region = 0;
  prediction.scores[1].region = 1;
  const ReportedImage image = made::image(made::kHand, {found});
  const std::string uid = image.record.sop_instance_uid.str();
  const Made sr = make(made::study({image}, made::context()), made::context());
  ASSERT_EQ(sr.groups().size(), 3U);
  const std::vector<const Item*> numbers = sr.groups()[0]->all("SKX-PROB");
  ASSERT_EQ(numbers.size(), 2U);
  const Item &whole = numbers[0]->one("121112"), &box = numbers[1]->one("121112");
  EXPECT_EQ(whole.relationship + " " + whole.type + " " + whole.value, "INFERRED FROM IMAGE " + uid);
  EXPECT_EQ(box.relationship + " " + box.type + " " + box.value,
            "INFERRED FROM SCOORD 1\\2\\30\\2\\30\\40\\1\\40\\1\\2");
  ASSERT_EQ(box.children.size(), 1U);
  EXPECT_EQ(box.children[0].value, uid);
  EXPECT_THAT(sr.groups()[0]->values("SKX-NOTE"),
              testing::IsSupersetOf({"Implant: from the whole image", "Tumour: from region 1 distal femur"}));
  const Item& own = *sr.groups()[1];
  EXPECT_EQ(own.one("112039").value, "finds image 1 region 0 whole image");
  EXPECT_THAT(own.values("SKX-PROB"), ElementsAre("0.6000 1", "0.2000 1"));
  EXPECT_THAT(own.values("121112"), ElementsAre(uid));
  EXPECT_THAT(own.values("111030"), IsEmpty()) << "the image is its region";
  EXPECT_EQ(own.one("363698007").value, "85562004");
  EXPECT_EQ(own.values("111001"), sr.groups()[0]->values("111001")) << "the algorithm";
  EXPECT_EQ(sr.groups()[2]->values("111003"), sr.groups()[0]->values("111003"));
  EXPECT_FALSE(sr.groups()[2]->one("363698007").all("272741003").empty()) << "the film's side";

  ReportedImage of_both = image;
  DcmFileFormat film;
  ASSERT_TRUE(film.loadFile(image.file.c_str()).good());
  ASSERT_TRUE(film.getDataset()->putAndInsertString(DCM_ImageLaterality, "B").good());
  of_both.file = testing::TempDir() + "film_of_both_sides_" + std::to_string(getpid()) + ".dcm";
  ASSERT_TRUE(film.saveFile(of_both.file.c_str()).good());
  const Made both = make(made::study({of_both}, made::context()), made::context());
  EXPECT_FALSE(both.groups()[1]->one("363698007").all("272741003").empty()) << "the whole film is of both";
  EXPECT_TRUE(both.groups()[2]->one("363698007").all("272741003").empty())
      << "a box is of either, of which nobody says";
  EXPECT_THAT(sr.groups()[2]->values("SKX-PROB"), ElementsAre("0.1000 1", "0.9000 1"));
}

TEST(StructuredReport, OnlyCodesOfBodyPartsAreSites) {
  config::TaskConfig bones = made::knee_task(), named = made::knee_task();
  bones.name = "region";
  bones.labels = {"long bone", "clavicle"};
  bones.label_codes = {{"R-1", "99X", "Long bone"}, {"51299004", "SCT", "Clavicle"}};
  named.name = "bones";
  named.labels = {"distal fibula", "scapula"};
  named.label_codes = {{"R-2", "99X", "Distal fibula"}, {"79601000", "SCT", "Scapula"}};
  ResultContext context = made::context();
  context.config.tasks.insert(context.config.tasks.end(), {bones, named});
  context.config.region_head.aliases = {{"SCAPULA", "SCAPULA"}, {"DISTAL FIBULA", "FIBULA"}, {"PATELLA", "PATELLA"}};
  const auto sites = [&](const std::string& label) {
    object::FindingRecord found = made::finding(made::finds_task(), {0.6, 0.9});
    found.prediction.regions.resize(1);
    found.prediction.regions[0].source = inference::RegionSource::kDetector;
    found.prediction.regions[0].label = label;
    found.prediction.regions[0].box = {1, 2, 30, 40};
    return make(made::study({made::image(made::kHand, {found})}, context), context).groups().at(1)->values("363698007");
  };
  EXPECT_THAT(sites("Implant"), IsEmpty()) << "what a task looks for is no site";
  EXPECT_THAT(sites("Fracture"), IsEmpty());
  EXPECT_THAT(sites("scapula"), ElementsAre("79601000"));
  EXPECT_THAT(sites("distal fibula"), ElementsAre("R-2")) << "a softmax of body parts";
  EXPECT_THAT(sites("patella"), ElementsAre(testing::StartsWith("SKX-"))) << "named by no task";
  EXPECT_THAT(sites("long bone"), IsEmpty()) << "a name of no body part, no region head";
  context.config.region_head.task = "region";
  EXPECT_THAT(sites("long bone"), ElementsAre("R-1"));
}

TEST(StructuredReport, NamesImagesThatWereNotAnalysedAndWhy) {
  ReportedImage skipped = made::image(made::kShoulder, {});
  skipped.record.state = storage::InstanceState::kSkipped;
  skipped.record.route.reason = "no rule for DX, SHOULDER";
  ReportedImage failed = made::image(made::kKnee, {});
  failed.record.state = storage::InstanceState::kFailed;
  failed.record.reason = "pixel data shorter than Rows x Columns";
  failed.file = "no such file";  // Damaged: the report is made all the same.
  const ReportedImage good = made::image(made::kHand, {made::finding(made::fracture_task(), {0.1})});
  Made sr = make(made::study({good, skipped, failed}, made::context()), made::context());
  const Item& notes = sr.root.one("C0034375");
  EXPECT_THAT(notes.values("SKX-SKIPPED"), ElementsAre("Image 2, SHOULDER, " + skipped.record.sop_instance_uid.str() +
                                                           ": skipped: no rule for DX, SHOULDER",
                                                       "Image 3, KNEE, " + failed.record.sop_instance_uid.str() +
                                                           ": failed: pixel data shorter than Rows x Columns"));
  EXPECT_THAT(notes.values("121106"), ElementsAre("AI result - not for clinical use"));
  EXPECT_EQ(sr.groups().size(), 1u);
}

TEST(StructuredReport, AStudyWithNothingAnalysedStillSaysSo) {
  ReportedImage skipped = made::image(made::kShoulder, {});
  skipped.record.state = storage::InstanceState::kSkipped;
  skipped.record.reason = "no rule";
  Made sr = make(made::study({skipped}, made::context()), made::context());
  EXPECT_THAT(sr.groups(), IsEmpty());
  EXPECT_EQ(sr.root.one("C0034375").all("SKX-SKIPPED").size(), 1u);
}

TEST(StructuredReport, EverythingTheTreeRefersToIsInTheEvidence) {
  const ReportedImage a = made::image("02_1_foot_ap.dcm", {made::anomaly()});
  const ReportedImage b =
      made::image("02_2_foot_obl.dcm", {made::finding(made::fracture_task(), {0.9}), made::anomaly()});
  ReportedImage c = made::image("02_3_foot_obl.dcm", {});
  c.record.state = storage::InstanceState::kSkipped;
  Made sr = make(made::study({a, b, c}, made::context()), made::context());
  std::set<std::string> images;
  collect_images(sr.root, images);
  EXPECT_EQ(images.size(), 5u) << "three images and two overlays";
  const std::vector<std::string> listed = evidence(sr.dataset());
  EXPECT_EQ(std::set<std::string>(listed.begin(), listed.end()), images);
  EXPECT_EQ(listed.size(), images.size()) << "each once";
}

TEST(StructuredReport, ASecondRevisionNamesItsPredecessor) {
  ReportedStudy study = made::study({made::image(made::kHand, {made::anomaly()})}, made::context());
  Made first = make(study, made::context());
  EXPECT_FALSE(first.dataset().tagExists(DCM_PredecessorDocumentsSequence));
  ResultContext again = made::context();
  again.revision = "2";
  study.revision = 2;
  study.predecessors = {{first.object.kind, first.object.source_uid, first.object.sop_instance_uid,
                         first.object.series_instance_uid, first.object.sop_class_uid}};
  Made second = make(study, again);
  EXPECT_NE(second.object.sop_instance_uid, first.object.sop_instance_uid);
  DcmItem* before = nullptr;
  ASSERT_TRUE(second.dataset().findAndGetSequenceItem(DCM_PredecessorDocumentsSequence, before).good());
  DcmStack stack;
  ASSERT_TRUE(before->search(DCM_ReferencedSOPInstanceUID, stack, ESM_fromHere, OFTrue).good());
  OFString uid;
  dynamic_cast<DcmElement*>(stack.top())->getOFString(uid, 0);
  EXPECT_EQ(std::string(uid.c_str()), first.object.sop_instance_uid.str());
}

TEST(StructuredReport, AReportWithoutPicturesReplacesTheLikeElseTheUsualOne) {
  ReportedStudy study = made::study({made::image(made::kHand, {made::anomaly()})}, made::context());
  ResultContext plain = made::context();
  plain.variant = "-plain";
  const storage::Uid usual = storage::Uid::parse("1.2.3.1").value(), like = storage::Uid::parse("1.2.3.2").value();
  const auto replaced = [&] {
    Made sr = make(study, plain);
    DcmItem* before = nullptr;
    sr.dataset().findAndGetSequenceItem(DCM_PredecessorDocumentsSequence, before);
    DcmStack stack;
    OFString uid;
    if (before != nullptr && before->search(DCM_ReferencedSOPInstanceUID, stack, ESM_fromHere, OFTrue).good())
      dynamic_cast<DcmElement*>(stack.top())->getOFString(uid, 0);
    return std::string(uid.c_str());
  };
  study.predecessors = {{"sr", study.study_instance_uid.str(), usual, usual, UID_ComprehensiveSRStorage}};
  EXPECT_EQ(replaced(), usual.str());
  study.predecessors.push_back({"sr-plain", study.study_instance_uid.str(), like, like, UID_ComprehensiveSRStorage});
  EXPECT_EQ(replaced(), like.str());
}

TEST(StructuredReport, ACascadeSaysWhyATaskWasAskedAndWhyOneWasNot) {
  ResultContext context = made::context();
  config::TaskConfig later = made::fracture_task();
  later.name = "later";
  later.when = {{"fracture", "", 0.5}};
  context.config.tasks.push_back(later);
  object::FindingRecord asked = made::finding(later, {0.9});
  ReportedImage image = made::image(made::kHand, {made::finding(made::fracture_task(), {0.83}), asked});
  Made chain = make(made::study({image}, context), context);
  ASSERT_EQ(chain.groups().size(), 2u);
  EXPECT_THAT(chain.groups().at(1)->values("SKX-NOTE"),
              testing::Contains("Asked because fracture Fracture 0.8300 is 0.5 or more"));

  image.findings[1].prediction.scores.clear();
  image.findings[1].prediction.not_asked = "fracture 0.12 below 0.5";
  Made ended = make(made::study({image}, context), context);
  EXPECT_EQ(ended.groups().size(), 1u) << "no finding of a task that was not asked";
  EXPECT_THAT(ended.object.bytes, HasSubstr("later was not asked: fracture 0.12 below 0.5"));
}

TEST(StructuredReport, SameWorkMakesSameBytes) {
  const ReportedStudy study = made::study(
      {made::image(made::kHand, {made::finding(made::fracture_task(), {0.83}), made::anomaly()})}, made::context());
  EXPECT_EQ(make(study, made::context()).object.bytes, make(study, made::context()).object.bytes);
}

TEST(StructuredReport, UidsFollowTheRecipe) {
  const ReportedStudy study = made::study(
      {made::image(made::kHand, {made::finding(made::fracture_task(), {0.83}), made::anomaly()})}, made::context());
  const Made sr = make(study, made::context());
  // SHA-256 of "anomaly=demo-anomaly@sha256:0f1e2d3c\nfracture=demo-fracture@sha256:0f1e2d3c".
  const std::string models = "9f775d76a5ec8901c83f631f3e71c9d6927d7f1f7150267dc02646328be2cfcc";
  EXPECT_EQ(sr.object.sop_instance_uid, object::derive_uid("sr", study.study_instance_uid.str(), "", models, "1"));
  EXPECT_EQ(sr.object.series_instance_uid,
            object::derive_uid("sr-series", study.study_instance_uid.str(), "", models, "1"));
  ResultContext predict = made::context();
  predict.kind_prefix = "predict-";
  predict.stamp = "20261102082000";
  EXPECT_EQ(make(study, predict).object.sop_instance_uid,
            object::derive_uid("predict-sr", study.study_instance_uid.str(), "", models, "20261102082000"));
}

TEST(StructuredReport, HeaderSaysWhatKindOfDocumentItIs) {
  const ReportedStudy study = made::study({made::image(made::kHand, {made::anomaly()})}, made::context());
  Made sr = make(study, made::context());
  DcmDataset& d = sr.dataset();
  EXPECT_EQ(get(d, DCM_Modality), "SR");
  EXPECT_EQ(get(d, DCM_CompletionFlag), "COMPLETE");
  EXPECT_EQ(get(d, DCM_VerificationFlag), "UNVERIFIED");
  EXPECT_EQ(get(d, DCM_PreliminaryFlag), "PRELIMINARY");
  EXPECT_EQ(get(d, DCM_ContentQualification), "RESEARCH");
  EXPECT_EQ(get(d, DCM_InstanceCreatorUID), made::kNodeUid);
  EXPECT_EQ(get(d, DCM_SeriesNumber), "9001");
  EXPECT_EQ(get(d, DCM_StudyInstanceUID), study.study_instance_uid.str());
  const object::DicomDateTime moment = object::to_dicom_time(made::context().time, d);
  EXPECT_EQ(get(d, DCM_ContentDate), moment.date);
  EXPECT_EQ(get(d, DCM_ContentTime), moment.time);
  EXPECT_FALSE(d.tagExists(DCM_Laterality));
  DcmItem* scheme = nullptr;
  ASSERT_TRUE(d.findAndGetSequenceItem(DCM_CodingSchemeIdentificationSequence, scheme).good());
  EXPECT_EQ(get(*scheme, DCM_CodingSchemeDesignator), "99SKELEX");
}

TEST(StructuredReport, AForeignDisclaimerKeepsTheCharacterSetTrue) {
  ResultContext context = made::context();
  context.config.disclaimer = "Nicht f\u00fcr die Diagnose";
  Made sr = make(made::study({made::image(made::kHand, {made::anomaly()})}, context), context);
  EXPECT_EQ(get(sr.dataset(), DCM_SpecificCharacterSet), "ISO_IR 192");
  EXPECT_THAT(sr.root.one("C0034375").values("121106"), ElementsAre("Nicht f\u00fcr die Diagnose"));
}

TEST(StructuredReport, WithoutAnImageThereIsNoReport) {
  const ReportedStudy empty{storage::Uid::parse("1.2.3").value(), 1, {}, {}, {}};
  const ResultContext context = made::context();
  const auto references = report_references("sr", UID_ComprehensiveSRStorage, false, empty, context);
  EXPECT_EQ(make_structured_report(empty, references.at(0), context).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace node::report
