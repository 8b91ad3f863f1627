// What has to be said beside the findings of an image, and that every form says it.
#include "dicom_node/report/finding_notes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dicom_node/report/messages.h"
#include "dicom_node/report/result_forms.h"
#include "dicom_node/report/study_objects.h"
#include "tests/dicom_node/report/made_study.h"

namespace node::report {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::string kNoRegions = "Regions: no regions found, whole image only";
const std::string kOutOfScope = "out of scope: pes-planus: view is PA, not LL";
const std::string kDisagrees = "The header shows HAND (Body Part Examined), the pixels LOWERLEG (region: leg 0.97)";
const std::string kQuality = "The pixels are not square";

config::TaskConfig region_task() {
  config::TaskConfig task = made::knee_task();
  task.name = "region";
  task.labels = {"hand", "leg"};
  return task;
}

ResultContext context_with_head() {
  ResultContext context = made::context();
  context.config.tasks.push_back(region_task());
  context.config.region_head = {
      "region", 0.8, {{"hand", "HAND"}, {"leg", "LOWERLEG"}}, {{"HAND", {"hand"}}, {"LOWERLEG", {"leg"}}}};
  return context;
}

// A hand in which no region was found, the region head says leg, and a task was left out.
ReportedImage noted_image() {
  object::FindingRecord found = made::finding(made::finds_task(), {0.6, 0.2});
  inference::Region whole;
  whole.label = "whole image";
  whole.bone = "carpal bones";
  whole.box = {0, 0, 9, 9};
  whole.scores = found.prediction.scores;
  found.prediction.regions = {whole};
  for (inference::Score& score : found.prediction.scores) score.region = 0;
  found.prediction.regions_note = "no regions found, whole image only";
  found.rendering.push_back("pixel aspect=1/2");
  object::FindingRecord head = made::finding(region_task(), {0.03, 0.97});
  head.rendering = found.rendering;
  ReportedImage image = made::image(made::kHand, {found, head});
  image.record.route.reason = kOutOfScope;
  return image;
}

inference::Prediction with_box(const std::string& label, const std::string& bone, double sure) {
  inference::Prediction prediction;
  prediction.regions.resize(2);
  inference::Region& box = prediction.regions[1];
  box.source = inference::RegionSource::kDetector;
  box.label = label;
  box.bone = bone;
  box.bone_probability = sure;
  return prediction;
}

TEST(FindingNotes, DetectorAndHeadThatDisagreeAreNamed) {
  EXPECT_THAT(region_disagreements(with_box("patella", "patella", 0.8)), IsEmpty());
  EXPECT_THAT(region_disagreements(with_box("patella", "distal tibia", 0.8)),
              ElementsAre("region 1: detected as patella, taken for distal tibia (0.80)"));
  EXPECT_THAT(region_disagreements(with_box("patella", "distal tibia", 0.4)), IsEmpty()) << "not sure of it";
  inference::Prediction tile = with_box("patella", "distal tibia", 0.9);
  tile.regions[1].source = inference::RegionSource::kTile;
  EXPECT_THAT(region_disagreements(tile), IsEmpty()) << "names no bone";
}

TEST(FindingNotes, EachIsSaidOnceAndOfFramesWhichOne) {
  ReportedImage image = noted_image();
  const config::ReportConfig config = context_with_head().config;
  EXPECT_THAT(image_notes(image, config), ElementsAre(kDisagrees, kOutOfScope, kNoRegions, kQuality));
  image.findings[0].frame = 1;
  image.findings[1].frame = 2;
  EXPECT_THAT(image_notes(image, config), ElementsAre(kDisagrees, kOutOfScope, "frame 1: " + kNoRegions,
                                                      "frame 1: " + kQuality, "frame 2: " + kQuality));
  EXPECT_THAT(image_notes(image, config, 2), ElementsAre(kDisagrees, kOutOfScope, kQuality));
  image.findings.clear();
  EXPECT_THAT(image_notes(image, config), IsEmpty());
  EXPECT_EQ(why_not_analysed(image), kOutOfScope);
  image.record.reason = "damaged";
  EXPECT_EQ(why_not_analysed(image), "damaged");
}

// Those made of text; the pictures are looked at by their own tests.
TEST(FindingNotes, EveryFormThatCarriesFindingsSaysThem) {
  const ResultContext context = context_with_head();
  const ReportedStudy study = made::study({noted_image()}, context);
  WantedForms wanted;
  std::set<std::string> words;
  for (const char* form : {"sr", "sr-3d", "sr-per-image", "sr-text", "gsps"}) {
    wanted.emplace(form, study.study_instance_uid.str());
    wanted.emplace(form, study.images[0].record.sop_instance_uid.str());
  }
  const Status built = build_study_objects(
      study, wanted, {}, context, [&](const Form& form, const ResultReference&, const ResultObject& object) {
        words.insert(std::string(form.word));
        for (const std::string& note : {kNoRegions, kOutOfScope, kDisagrees, kQuality})
          EXPECT_THAT(object.bytes, HasSubstr(note)) << form.word;
        return ok_status();
      });
  EXPECT_TRUE(built.ok()) << built.message();
  EXPECT_EQ(words.size(), 5U);
  for (const config::MessageKind kind : {config::MessageKind::kOru, config::MessageKind::kWebhook}) {
    config::MessageConfig message;
    message.name = "ris";
    message.kind = kind;
    const auto made = make_message(study, "", message, context);
    ASSERT_TRUE(made.ok()) << made.status().message();
    const bool oru = kind == config::MessageKind::kOru;
    std::string list;
    for (const std::string& note : {kDisagrees, kOutOfScope, kNoRegions, kQuality}) {
      EXPECT_THAT(made->bytes, HasSubstr("Image 1, HAND: " + note)) << "the impression";
      list += (list.empty() ? "\"" : ",\"") + note + "\"";
      const std::string segment = "|TX|SKX-NOTE^Quality note^99SKELEX|1|" + note + "|";
      EXPECT_EQ(made->bytes.find(segment) != std::string::npos, oru) << note;
    }
    EXPECT_EQ(made->bytes.find("\"notes\":[" + list + "]") != std::string::npos, !oru);
    EXPECT_THAT(made->bytes, HasSubstr("Implant 0.60 certain, whole image"));
    EXPECT_THAT(made->bytes,
                HasSubstr(oru ? "|1.1|Implant: whole image|" : R"("region":0,"region_name":"whole image")"));
  }
}

TEST(FindingNotes, APictureOfTheSameFindingsIsAnotherOnceTheyChange) {
  const ResultContext context = context_with_head();
  ReportedImage image = noted_image();
  const auto uid = [&] { return overlay_references("sc", image, context).at(0).sop_instance_uid; };
  const storage::Uid before = uid();
  image.record.route.reason = "";
  EXPECT_NE(uid(), before);
}

TEST(FindingNotes, APresentationStateHasRoomForWholeLinesAndSaysThatThereAreMore) {
  const ResultContext context = context_with_head();
  ReportedImage image = noted_image();
  image.record.route.reason = "out of scope: " + std::string(900, 'x');
  const ReportedStudy study = made::study({image}, context);
  const Status built = build_study_objects(study, {{"gsps", image.record.sop_instance_uid.str()}}, {}, context,
                                           [&](const Form&, const ResultReference&, const ResultObject& object) {
                                             EXPECT_THAT(object.bytes, HasSubstr("Tumour 0.20 negative, whole image"));
                                             EXPECT_THAT(object.bytes, HasSubstr("\r\nMore in the report"));
                                             EXPECT_THAT(object.bytes, Not(HasSubstr("xxx")));
                                             return ok_status();
                                           });
  EXPECT_TRUE(built.ok()) << built.message();
}

TEST(FindingNotes, AMessageOfAnImageThatNoRouteTookSaysWhy) {
  ReportedImage image = made::image(made::kHand, {});
  image.record.state = storage::InstanceState::kSkipped;
  image.record.route.reason = "no rule for DX, HAND";
  const ReportedStudy study = made::study({image}, made::context());
  for (const config::MessageKind kind : {config::MessageKind::kOru, config::MessageKind::kWebhook}) {
    config::MessageConfig message;
    message.kind = kind;
    EXPECT_THAT(make_message(study, "", message, made::context())->bytes, HasSubstr("not analysed: no rule for DX"));
  }
}

}  // namespace
}  // namespace node::report
