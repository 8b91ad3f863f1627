#include "dicom_node/report/report_worker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <iterator>
#include <thread>

#include "dicom_node/object/result_identity.h"
#include "storage/file_system.h"
#include "tests/dicom_node/report/made_study.h"
#include "tests/dicom_node/report/parsed.h"
#include "tests/fakes/faulty_file_system.h"

namespace node::report {
namespace {

using storage::DeliveryStage;
using storage::ReadyStudy;
using storage::ResultRecord;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

// Hands out studies and keeps what the report stage answers; the other stages are not there.
class ScriptedStore : public storage::StudyStore {
 public:
  std::vector<ReadyStudy> ready;
  std::vector<ResultRecord> results;
  std::vector<storage::NewDelivery> deliveries;
  std::vector<storage::DeliveryRecord> delivered;  // Of earlier revisions.
  int finished = 0, failed = 0, released = 0;
  std::string reason;
  std::promise<void> ended;
  std::function<void()> finishing;

  storage::Uid node_uid() const override { return storage::Uid::parse(made::kNodeUid).value(); }
  Result<std::optional<ReadyStudy>> claim_ready_study(std::chrono::milliseconds) override {
    if (ready.empty()) return std::optional<ReadyStudy>();
    ReadyStudy study = ready.back();
    ready.pop_back();
    return std::optional<ReadyStudy>(std::move(study));
  }
  Status finish_study(storage::ClaimToken, const std::vector<ResultRecord>& r,
                      const std::vector<storage::NewDelivery>& d) override {
    results = r;
    deliveries = d;
    if (finishing) finishing();
    ++finished;
    ended.set_value();
    return ok_status();
  }
  Status fail_study(storage::ClaimToken, const std::string& why) override {
    ++failed;
    reason = why;
    ended.set_value();
    return ok_status();
  }
  Status release_study(storage::ClaimToken, std::chrono::milliseconds) override {
    ++released;
    ended.set_value();
    return ok_status();
  }

  Result<std::optional<storage::HeldInstance>> find_instance(const storage::Uid&) override { return none(); }
  Result<bool> is_own_result(const storage::Uid&) override { return none(); }
  Result<std::optional<storage::HeldInstance>> find_bytes(const storage::Uid&, const std::string&) override {
    return none();
  }
  Result<storage::AddResult> add_instance(const storage::NewInstance&, storage::Arrival, int) override {
    return none();
  }
  Status end_association(std::uint64_t, bool) override { return none(); }
  Result<std::vector<storage::ClaimedInstance>> claim_instances(int, std::chrono::milliseconds) override {
    return none();
  }
  Status settle_route(storage::ClaimToken, const storage::RouteDecision&) override { return none(); }
  Status finish_instance(storage::ClaimToken, const std::vector<storage::StoredPrediction>&,
                         const std::string&) override {
    return none();
  }
  Status end_instance(storage::ClaimToken, storage::InstanceState, const std::string&) override { return none(); }
  Status release_instance(storage::ClaimToken) override { return none(); }
  Result<std::vector<storage::ClaimedDelivery>> claim_due_deliveries(const std::string&, int,
                                                                     std::chrono::milliseconds) override {
    return none();
  }
  Status finish_delivery(storage::ClaimToken, const storage::DeliveryOutcome&) override { return none(); }
  Status postpone_deliveries(const std::string&, const std::vector<storage::ClaimToken>&, std::chrono::milliseconds,
                             const std::string&) override {
    return none();
  }
  Result<storage::BegunCommitment> begin_commitment(const std::string&, int, std::chrono::milliseconds,
                                                    std::chrono::milliseconds) override {
    return none();
  }
  Result<int> release_commitment(const std::string&, std::chrono::milliseconds,
                                 std::optional<std::chrono::milliseconds>, const std::string&) override {
    return none();
  }
  Result<bool> end_commitment(const std::string&, const std::string&, const std::vector<storage::SopReference>&,
                              const std::vector<storage::CommitmentFailure>&) override {
    return none();
  }
  Status add_commitment_request(const std::string&, const std::string&,
                                const std::vector<storage::SopReference>&) override {
    return none();
  }
  Result<std::vector<storage::CommitmentRequest>> due_commitment_requests(const std::string&, int) override {
    return none();
  }
  Status end_commitment_request(std::int64_t, std::optional<std::chrono::milliseconds>, const std::string&) override {
    return none();
  }
  Result<storage::Safekeeping> safety_of(const storage::SopReference&, bool) override { return none(); }
  Result<std::map<std::string, int>> set_destinations(const std::vector<std::string>&) override { return none(); }
  Result<std::map<std::string, int>> set_commitment_peers(const std::vector<std::string>&,
                                                          const std::vector<std::string>&) override {
    return none();
  }
  Result<storage::DeliveryState> release_delivery(std::int64_t) override { return none(); }
  Status give_up_delivery(std::int64_t) override { return none(); }
  Result<std::vector<storage::StudySummary>> list_studies(const storage::StudyFilter&) override { return none(); }
  Result<storage::StudySummary> find_study(const storage::Uid&) override { return none(); }
  Result<std::vector<storage::InstanceRecord>> list_instances(const storage::Uid&) override { return none(); }
  Result<storage::InstanceRecord> show_instance(const storage::Uid&) override { return none(); }
  Result<std::vector<storage::DeliveryRecord>> list_deliveries(const storage::DeliveryFilter& filter) override {
    EXPECT_TRUE(filter.study);
    EXPECT_GT(filter.limit, 1'000'000) << "of all there are";
    return delivered;
  }
  Result<std::int64_t> data_version() override { return none(); }
  Result<bool> retry_study(const storage::Uid&, std::optional<int>) override { return none(); }
  Status set_accepted_losses(const std::vector<std::string>&) override { return none(); }
  Result<std::vector<std::string>> accepted_losses() override { return none(); }
  Result<storage::PurgedFiles> purge(const storage::PurgeLimits&, int) override { return none(); }
  Result<std::vector<storage::StoredFile>> known_files() override { return none(); }
  storage::StoreStats stats() override { return {}; }
  Status health() override { return ok_status(); }
  void stop() override {}

 private:
  static Status none() { return internal_error("not part of this test"); }
};

class ReportStudy : public testing::Test {
 protected:
  ReportStudy() : folder_(std::filesystem::path(testing::TempDir()) / "report_worker_test") {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    config::StorageConfig storage;
    storage.directory = folder_.string();
    spool_ = storage::Spool::open(storage, storage::posix_file_system()).value();
  }
  ~ReportStudy() override { std::filesystem::remove_all(folder_); }

  // An image as the store holds it: its object in the spool, its findings encoded.
  storage::InstanceRecord stored(const std::string& name, std::vector<object::FindingRecord> findings) {
    ReportedImage image = made::image(name, {});
    image.record.file = spool_->store(bytes_of(image.file), image.record.sop_instance_uid).value();
    for (const object::FindingRecord& finding : findings) {
      image.record.route.tasks.push_back(finding.prediction.task);
      image.record.predictions.push_back(object::encode_finding(finding));
    }
    return image.record;
  }

  ReadyStudy ready(std::vector<storage::InstanceRecord> instances) {
    ReadyStudy study{.token = 7, .study_instance_uid = instances.front().study_instance_uid};
    study.closed_at = made::at_noon() + std::chrono::minutes(1);
    study.instances = std::move(instances);
    return study;
  }

  Result<ReportedStudyCounts> report(const ReadyStudy& study, const config::ReportConfig& config) {
    store_.ended = std::promise<void>();
    return report_study(study, config, *spool_, store_);
  }
  Result<ReportedStudyCounts> report(const ReadyStudy& study) { return report(study, made::context().config); }

  std::vector<std::string> kinds() const {
    std::vector<std::string> kinds;
    for (const ResultRecord& result : store_.results) kinds.push_back(result.kind);
    return kinds;
  }
  // "sc -> pacs"
  std::vector<std::string> sent() const {
    std::vector<std::string> lines;
    for (const storage::NewDelivery& delivery : store_.deliveries) {
      for (const ResultRecord& result : store_.results) {
        if (result.sop_instance_uid != delivery.sop_instance_uid) continue;
        EXPECT_EQ(delivery.stage, result.kind.starts_with("sr") ? DeliveryStage::kReport : DeliveryStage::kImageObject);
        lines.push_back(result.kind + " -> " + delivery.destination);
      }
    }
    return lines;
  }
  // Of the same study, after what the store holds had been sent.
  ReadyStudy next_revision(std::vector<storage::InstanceRecord> instances) {
    ReadyStudy again = ready(std::move(instances));
    again.revision = 2;
    again.earlier_results = store_.results;
    for (const storage::NewDelivery& delivery : store_.deliveries)
      store_.delivered.push_back({.destination = delivery.destination,
                                  .sop_instance_uid = delivery.sop_instance_uid.str(),
                                  .state = storage::DeliveryState::kDelivered});
    return again;
  }
  static std::string bytes_of(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }
  std::string bytes_of(const ResultRecord& result) const { return bytes_of(spool_->path(result.file.key)); }
  std::unique_ptr<DcmFileFormat> read(const ResultRecord& result) {
    auto file = std::make_unique<DcmFileFormat>();
    EXPECT_TRUE(file->loadFile(spool_->path(result.file.key).c_str()).good());
    return file;
  }

  std::filesystem::path folder_;
  fakes::FaultyFileSystem full_;
  std::unique_ptr<storage::Spool> spool_;
  ScriptedStore store_;
};

TEST_F(ReportStudy, OverlaysGoToTheirRoutesDestinationsAndTheReportToAll) {
  storage::InstanceRecord a = stored("02_1_foot_ap.dcm", {made::anomaly()});
  storage::InstanceRecord b = stored("02_2_foot_obl.dcm", {made::finding(made::fracture_task(), {0.9})});
  a.route.results_to = {"pacs"};
  b.route.results_to = {"pacs", "archive"};
  const auto done = report(ready({a, b}));
  ASSERT_TRUE(done.ok()) << done.status().message();
  EXPECT_EQ(store_.finished, 1);
  EXPECT_THAT(kinds(), testing::ElementsAre("sc", "sr"));
  EXPECT_THAT(sent(), UnorderedElementsAre("sc -> pacs", "sr -> pacs", "sr -> archive"));
  for (const ResultRecord& result : store_.results) {
    EXPECT_TRUE(spool_->verify(result.file).ok());
    EXPECT_EQ(made::get(*read(result)->getDataset(), DCM_SOPInstanceUID), result.sop_instance_uid.str());
  }
  EXPECT_EQ(store_.results[0].source_uid, a.sop_instance_uid.str());
  EXPECT_EQ(store_.results[0].task, "anomaly");
  EXPECT_EQ(store_.results[1].source_uid, a.study_instance_uid.str());
}

TEST_F(ReportStudy, FormsOfADestinationAreObeyed) {
  storage::InstanceRecord a = stored(made::kHand, {made::anomaly()});
  a.route.results_to = {"pacs", "archive", "viewer"};
  config::ReportConfig config = made::context().config;
  config.forms = {{"archive", {"sr"}}, {"viewer", {"sc"}}};
  ASSERT_TRUE(report(ready({a}), config).ok());
  EXPECT_THAT(sent(), UnorderedElementsAre("sc -> pacs", "sr -> pacs", "sr-plain -> archive", "sc -> viewer"));
}

TEST_F(ReportStudy, AReportRefersToThePicturesThatItsReaderGetsAndToNoOther) {
  storage::InstanceRecord a = stored(made::kHand, {made::anomaly()});
  a.route.results_to = {"pacs", "small", "texts", "archive"};
  config::ReportConfig config = made::context().config;
  config.forms = {{"small", {"sr", "sc-rle"}}, {"texts", {"sr", "sr-text"}}, {"archive", {"sr", "gsps"}}};
  ASSERT_TRUE(report(ready({a}), config).ok());
  EXPECT_THAT(kinds(), testing::ElementsAre("sc", "sc-rle", "sr", "gsps", "sr-plain", "sr-text-plain", "sr-sc-rle"));
  std::map<std::string, std::string> uids, bytes;
  for (const ResultRecord& result : store_.results) {
    uids[result.kind] = result.sop_instance_uid.str();
    bytes[result.kind] = bytes_of(result);
  }
  const auto named = [&](const std::string& report, const std::string& picture) {
    return bytes[report].find(uids[picture]) != std::string::npos;
  };
  EXPECT_TRUE(named("sr", "sc") && named("sr-sc-rle", "sc-rle"));
  EXPECT_FALSE(named("sr", "sc-rle") || named("sr-sc-rle", "sc") || named("sr-plain", "sc") ||
               named("sr-plain", "sc-rle") || named("sr-text-plain", "sc"));
  std::map<std::string, std::string> reports;
  for (const storage::NewDelivery& delivery : store_.deliveries)
    for (const auto& [kind, uid] : uids)
      if (uid == delivery.sop_instance_uid.str() && kind.starts_with("sr"))
        reports[delivery.destination] += (reports[delivery.destination].empty() ? "" : " ") + kind;
  EXPECT_EQ(reports,
            (std::map<std::string, std::string>{
                {"pacs", "sr"}, {"small", "sr-sc-rle"}, {"texts", "sr-plain sr-text-plain"}, {"archive", "sr-plain"}}));
  EXPECT_NE(bytes["sr-plain"].find("anomaly HAND L"), std::string::npos);
}

TEST_F(ReportStudy, EveryFormThatSomebodyTakesIsMadeOnce) {
  storage::InstanceRecord a = stored("02_1_foot_ap.dcm", {made::anomaly()});
  storage::InstanceRecord b = stored("02_2_foot_obl.dcm", {made::finding(made::fracture_task(), {0.9})});
  a.route.results_to = b.route.results_to = {"pacs", "air"};
  config::ReportConfig config = made::context().config;
  config.forms = {{"pacs", {"sr-3d", "sc"}}, {"air", {"sr-3d", "sc", "sr-per-image"}}};
  const auto done = report(ready({a, b}), config);
  ASSERT_TRUE(done.ok()) << done.status().message();
  EXPECT_THAT(kinds(), testing::ElementsAre("sc", "sr-3d", "sr-per-image", "sr-per-image"));
  EXPECT_THAT(sent(), UnorderedElementsAre("sc -> pacs", "sc -> air", "sr-3d -> pacs", "sr-3d -> air",
                                           "sr-per-image -> air", "sr-per-image -> air"));
  EXPECT_EQ(done->overlays, 1);
  EXPECT_EQ(done->reports, 3);
}

TEST_F(ReportStudy, AStudyOfWhichNothingWasRoutedIsToldToThoseWhomTheConfigurationNames) {
  storage::InstanceRecord skipped = stored(made::kHand, {});
  skipped.state = storage::InstanceState::kSkipped;
  skipped.route = {};
  skipped.route.reason = skipped.reason = "no rule for DX, CHEST";
  config::ReportConfig config = made::context().config;
  config.report_skipped = true;
  config.skipped_to = {"pacs", "viewer"};
  config.forms = {{"viewer", {"sc"}}};
  ASSERT_TRUE(report(ready({skipped}), config).ok());
  EXPECT_THAT(sent(), UnorderedElementsAre("sr -> pacs"));

  store_.results.clear();
  store_.deliveries.clear();
  skipped.route.results_to = {"archive"};  // Its rule was found, and the image could not be read.
  ASSERT_TRUE(report(ready({skipped}), config).ok());
  EXPECT_THAT(sent(), UnorderedElementsAre("sr -> archive"));

  store_.results.clear();
  store_.deliveries.clear();
  storage::InstanceRecord kept_here = stored(made::kHand, {made::finding(made::fracture_task(), {0.1})});
  kept_here.route.results_to = {};  // What is found in it is nobody's business.
  ASSERT_TRUE(report(ready({kept_here}), config).ok());
  EXPECT_THAT(sent(), testing::IsEmpty());
}

TEST_F(ReportStudy, AnOverlayThatNobodyTakesIsNotMadeNorReferredTo) {
  config::ReportConfig config = made::context().config;
  config.forms = {{"pacs", {"sr"}}};
  ASSERT_TRUE(report(ready({stored(made::kHand, {made::anomaly()})}), config).ok());
  EXPECT_THAT(kinds(), testing::ElementsAre("sr"));
  EXPECT_EQ(bytes_of(store_.results[0]).find(UID_SecondaryCaptureImageStorage), std::string::npos)
      << "no reference to an object that does not exist";
}

TEST_F(ReportStudy, WhatIsInShadowStaysOutOfTheReport) {
  storage::InstanceRecord open = stored("02_1_foot_ap.dcm", {made::anomaly()});
  storage::InstanceRecord shadow = stored("02_2_foot_obl.dcm", {made::anomaly()});
  shadow.route.shadow = true;
  ASSERT_TRUE(report(ready({open, shadow})).ok());
  EXPECT_THAT(kinds(), testing::ElementsAre("sc", "sr"));
  const std::string bytes = bytes_of(store_.results[1]);
  EXPECT_NE(bytes.find(open.sop_instance_uid.str()), std::string::npos);
  EXPECT_EQ(bytes.find(shadow.sop_instance_uid.str()), std::string::npos);
}

TEST_F(ReportStudy, AStudyAllInShadowIsBuiltAndEndsWithoutDeliveries) {
  storage::InstanceRecord shadow = stored(made::kHand, {made::anomaly()});
  shadow.route.shadow = true;
  const auto done = report(ready({shadow}));
  ASSERT_TRUE(done.ok()) << done.status().message();
  EXPECT_TRUE(done->shadow);
  EXPECT_EQ(store_.finished, 1);
  EXPECT_THAT(kinds(), testing::ElementsAre("shadow-sc", "shadow-sr")) << "kinds, hence UIDs, of their own";
  EXPECT_THAT(store_.deliveries, IsEmpty());
}

TEST_F(ReportStudy, ASecondRevisionMakesNoOverlayAgainAndNamesTheFirstReport) {
  const storage::InstanceRecord a = stored("02_1_foot_ap.dcm", {made::anomaly()});
  ASSERT_TRUE(report(ready({a})).ok());
  const std::vector<ResultRecord> first = store_.results;
  ASSERT_EQ(first.size(), 2u);

  ReadyStudy again = ready({a, stored("02_2_foot_obl.dcm", {made::anomaly()})});
  again.revision = 2;
  again.earlier_results = first;
  ASSERT_TRUE(report(again).ok());
  EXPECT_THAT(kinds(), testing::ElementsAre("sc", "sr"));
  EXPECT_EQ(store_.results[0].source_uid, again.instances[1].sop_instance_uid.str()) << "of the late image only";
  EXPECT_THAT(sent(), UnorderedElementsAre("sc -> pacs", "sr -> pacs"));
  EXPECT_EQ(store_.results[1].revision, 2);
  EXPECT_NE(store_.results[1].sop_instance_uid, first[1].sop_instance_uid);
  const auto file = read(store_.results[1]);
  DcmItem* before = nullptr;
  ASSERT_TRUE(file->getDataset()->findAndGetSequenceItem(DCM_PredecessorDocumentsSequence, before).good());
  DcmStack stack;
  ASSERT_TRUE(before->search(DCM_ReferencedSOPInstanceUID, stack, ESM_fromHere, OFTrue).good());
  OFString uid;
  dynamic_cast<DcmElement*>(stack.top())->getOFString(uid, 0);
  EXPECT_EQ(std::string(uid.c_str()), first[1].sop_instance_uid.str());
}

TEST_F(ReportStudy, AStudyWhoseOnlyImageWasMovedSaysSoInPlaceOfItsReport) {
  storage::InstanceRecord moved = stored(made::kHand, {made::anomaly()});
  moved.route.results_to = {"pacs", "archive"};
  ASSERT_TRUE(report(ready({moved})).ok());
  const storage::Uid first = store_.results.back().sop_instance_uid;
  ReadyStudy again = next_revision({moved});
  again.instances.clear();
  again.taken_back = {moved};
  const auto done = report(again);
  ASSERT_TRUE(done.ok()) << done.status().message();
  EXPECT_THAT(sent(), UnorderedElementsAre("sr -> pacs", "sr -> archive"))
      << "to all who had the first, and no overlay";
  const auto file = read(store_.results[0]);
  DcmItem* before = nullptr;
  ASSERT_TRUE(file->getDataset()->findAndGetSequenceItem(DCM_PredecessorDocumentsSequence, before).good());
  const std::string bytes = bytes_of(store_.results[0]);
  EXPECT_NE(bytes.find(first.str()), std::string::npos);
  EXPECT_NE(bytes.find("moved to another study by a correction"), std::string::npos);
  EXPECT_EQ(bytes.find("anomaly HAND L"), std::string::npos) << "nothing is found in it any more";

  // Retention has the original: the earlier report says whose it was.
  const storage::InstanceRecord there = moved;
  moved.purged_at = WallTime{};
  const auto path = spool_->path(moved.file.key);
  std::filesystem::rename(path, path.string() + ".away");
  again.taken_back = {moved};
  ASSERT_TRUE(report(again).ok());
  EXPECT_THAT(sent(), UnorderedElementsAre("sr -> pacs", "sr -> archive"));
  for (const DcmTagKey& tag : {DCM_PatientName, DCM_PatientID, DCM_StudyInstanceUID, DCM_StudyDate}) {
    const auto purged = read(store_.results[0]);
    OFString of_first, of_second;
    file->getDataset()->findAndGetOFString(tag, of_first);
    purged->getDataset()->findAndGetOFString(tag, of_second);
    EXPECT_EQ(of_first, of_second);
    EXPECT_FALSE(of_second.empty());
  }
  EXPECT_NE(bytes_of(store_.results[0]).find("withdrawn: image moved to another study"), std::string::npos);
  std::filesystem::rename(path.string() + ".away", path);
  moved = there;
  again.taken_back = {moved};

  // It is still there, but by its corrected header no image to be read: whoever had the report hears of it.
  storage::InstanceRecord unrouted = moved;
  unrouted.state = storage::InstanceState::kSkipped;
  unrouted.reason = "no rule for DX, CHEST";
  unrouted.route = {};
  unrouted.predictions.clear();
  again.instances = {unrouted};
  ASSERT_TRUE(report(again).ok());
  EXPECT_THAT(sent(), UnorderedElementsAre("sr -> pacs", "sr -> archive"));
  EXPECT_EQ(bytes_of(store_.results[0]).find("moved to another study"), std::string::npos);
}

TEST_F(ReportStudy, AnImageThatWasMovedOutOfAStudyIsSaidToBeWithdrawn) {
  const storage::InstanceRecord moved = stored("02_1_foot_ap.dcm", {made::anomaly()});
  const storage::InstanceRecord stays = stored("02_2_foot_obl.dcm", {made::anomaly()});
  ASSERT_TRUE(report(ready({moved, stays})).ok());
  ReadyStudy again = next_revision({moved, stays});
  again.instances = {stays};
  again.taken_back = {moved};
  ASSERT_TRUE(report(again).ok());
  EXPECT_THAT(sent(), UnorderedElementsAre("sr -> pacs"));
  EXPECT_NE(bytes_of(store_.results[0]).find("withdrawn: image moved to another study"), std::string::npos);
}

TEST_F(ReportStudy, WhoHadAnEarlierReportGetsTheNextThoughNoImageNamesThemAnyMore) {
  storage::InstanceRecord moved = stored("02_1_foot_ap.dcm", {made::anomaly()});
  storage::InstanceRecord stays = stored("02_2_foot_obl.dcm", {made::anomaly()});
  moved.route.results_to = {"pacs", "archive"};
  stays.route.results_to = {"viewer"};
  ASSERT_TRUE(report(ready({moved, stays})).ok());
  const storage::Uid first = store_.results.back().sop_instance_uid;
  ReadyStudy again = next_revision({stays});
  for (storage::DeliveryRecord& record : store_.delivered)
    if (record.destination == "archive") record.state = storage::DeliveryState::kGivenUp;
  ASSERT_TRUE(report(again).ok());
  EXPECT_THAT(sent(), UnorderedElementsAre("sr -> viewer", "sr -> pacs")) << "not who was never to have it";
  const std::string bytes = bytes_of(store_.results[0]);
  EXPECT_NE(bytes.find(first.str()), std::string::npos);
  EXPECT_EQ(bytes.find(moved.sop_instance_uid.str()), std::string::npos);
}

TEST_F(ReportStudy, WhatACorrectionPutsIntoShadowIsTakenBackAndNothingSaidInItsPlace) {
  storage::InstanceRecord image = stored(made::kHand, {made::anomaly()});
  ASSERT_TRUE(report(ready({image})).ok());
  const storage::Uid first = store_.results.back().sop_instance_uid;
  image.route.shadow = true;
  image.route.results_to = {"elsewhere"};
  const auto done = report(next_revision({image}));
  ASSERT_TRUE(done.ok()) << done.status().message();
  EXPECT_THAT(sent(), UnorderedElementsAre("sr -> pacs"));
  const std::string bytes = bytes_of(store_.results.back());
  EXPECT_NE(bytes.find(first.str()), std::string::npos);
  EXPECT_NE(bytes.find("no longer reported on since a correction"), std::string::npos);
  EXPECT_EQ(bytes.find("anomaly HAND L"), std::string::npos) << "what is found in shadow stays there";
}

TEST_F(ReportStudy, WhatRetentionDeletedIsReportedFromWhatWasFoundWhenALateImageComes) {
  storage::InstanceRecord a =
      stored("02_1_foot_ap.dcm", {made::anomaly(), made::finding(made::fracture_task(), {0.9})});
  ASSERT_TRUE(report(ready({a})).ok());
  const std::vector<ResultRecord> first = store_.results;
  const std::string patient = made::get(*read(first[1])->getDataset(), DCM_PatientID);
  ASSERT_FALSE(patient.empty());
  for (const ResultRecord& result : first) ASSERT_TRUE(spool_->remove(result.file.key).ok());
  ASSERT_TRUE(spool_->remove(a.file.key).ok());
  a.purged_at = made::at_noon();

  storage::InstanceRecord never_drawn = stored("02_3_foot_obl.dcm", {made::anomaly()});
  ASSERT_TRUE(spool_->remove(never_drawn.file.key).ok());
  never_drawn.purged_at = made::at_noon();
  ReadyStudy again = ready({a, never_drawn, stored("02_2_foot_obl.dcm", {made::anomaly()})});
  again.revision = 2;
  again.earlier_results = first;
  const auto done = report(again);
  ASSERT_TRUE(done.ok()) << done.status().message();
  EXPECT_THAT(kinds(), testing::ElementsAre("sc", "sr"));
  EXPECT_EQ(store_.results[0].source_uid, again.instances[2].sop_instance_uid.str());
  const auto file = read(store_.results[1]);
  EXPECT_EQ(made::get(*file->getDataset(), DCM_PatientID), patient) << "from the image that is there";
  DcmItem* before = nullptr;
  EXPECT_TRUE(file->getDataset()->findAndGetSequenceItem(DCM_PredecessorDocumentsSequence, before).good())
      << "its series is known without its file";
  const std::string bytes = bytes_of(store_.results[1]);
  EXPECT_NE(bytes.find(a.sop_instance_uid.str()), std::string::npos);
  EXPECT_NE(bytes.find(first[0].sop_instance_uid.str()), std::string::npos) << "the overlay of the purged image";
}

TEST_F(ReportStudy, SameStudyTwiceMakesSameObjects) {
  const ReadyStudy study = ready({stored(made::kHand, {made::finding(made::fracture_task(), {0.9}), made::anomaly()})});
  ASSERT_TRUE(report(study).ok());
  const std::vector<ResultRecord> first = store_.results;
  ASSERT_TRUE(report(study).ok());
  ASSERT_EQ(store_.results.size(), first.size());
  for (std::size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(store_.results[i].sop_instance_uid, first[i].sop_instance_uid);
    EXPECT_EQ(store_.results[i].file.sha256_hex, first[i].file.sha256_hex);
  }
}

TEST_F(ReportStudy, AConflictUnderAKnownUidIsNotReported) {
  const storage::InstanceRecord a = stored(made::kHand, {made::finding(made::fracture_task(), {0.9})});
  storage::InstanceRecord conflict = stored(made::kKnee, {});
  conflict.state = storage::InstanceState::kConflict;
  conflict.sop_instance_uid = a.sop_instance_uid;
  ASSERT_TRUE(report(ready({a, conflict})).ok());
  EXPECT_EQ(store_.results.size(), 1u);
}

TEST_F(ReportStudy, AFailureBeforeTheEndLeavesNothingInTheSpool) {
  storage::InstanceRecord good = stored("02_1_foot_ap.dcm", {made::anomaly()});
  storage::InstanceRecord lost = stored("02_2_foot_obl.dcm", {made::anomaly()});
  ASSERT_TRUE(spool_->remove(lost.file.key).ok());
  const std::size_t before = spool_->list_keys()->size();
  const auto done = report(ready({good, lost}));
  EXPECT_EQ(done.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(done.status().message(), testing::HasSubstr(lost.sop_instance_uid.str()));
  EXPECT_EQ(spool_->list_keys()->size(), before);
  EXPECT_EQ(store_.finished, 0);
}

TEST_F(ReportStudy, AFindingThatCannotBeReadIsDataLoss) {
  storage::InstanceRecord broken = stored(made::kHand, {made::anomaly()});
  broken.predictions[0].content = "{";
  EXPECT_EQ(report(ready({broken})).status().code(), StatusCode::kDataLoss);
}

TEST_F(ReportStudy, TheWorkerSaysHowLongAStudyIsInHand) {
  store_.ready = {ready({stored(made::kKnee, {made::anomaly()})})};
  std::promise<void> reached, go_on;
  store_.finishing = [&] {
    reached.set_value();
    go_on.get_future().wait();
  };
  std::future<void> ended = store_.ended.get_future();
  auto worker = ReportWorker::start(made::context().config, *spool_, store_);
  reached.get_future().wait();
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_GE(worker->stats().stuck, std::chrono::milliseconds(5));
  go_on.set_value();
  ended.wait();
  worker->stop();
  EXPECT_EQ(worker->stats().stuck.count(), 0) << "at rest";
}

TEST_F(ReportStudy, TheWorkerReportsFailsAndReleases) {
  storage::InstanceRecord lost = stored(made::kHand, {made::anomaly()});
  store_.ready = {ready({stored(made::kKnee, {made::anomaly()})})};
  std::future<void> ended = store_.ended.get_future();
  auto worker = ReportWorker::start(made::context().config, *spool_, store_);
  ended.wait();
  worker->stop();
  worker->stop();
  EXPECT_EQ(store_.finished, 1);
  EXPECT_EQ(worker->stats().reports, 1u);
  EXPECT_EQ(worker->stats().overlays, 1u);

  // A file that is gone will not come back: the study's failure.
  ASSERT_TRUE(spool_->remove(lost.file.key).ok());
  store_.ended = std::promise<void>();
  ended = store_.ended.get_future();
  store_.ready = {ready({lost})};
  worker = ReportWorker::start(made::context().config, *spool_, store_);
  ended.wait();
  worker->stop();
  EXPECT_EQ(store_.failed, 1);
  EXPECT_THAT(store_.reason, testing::HasSubstr(lost.sop_instance_uid.str()));

  // A full disk will not stay full.
  store_.ended = std::promise<void>();
  ended = store_.ended.get_future();
  store_.ready = {ready({stored(made::kShoulder, {made::anomaly()})})};
  config::StorageConfig storage;
  storage.directory = folder_.string();
  spool_ = storage::Spool::open(storage, full_).value();
  full_.fail(full_.calls() + 1, resource_exhausted("No space left on device"));
  worker = ReportWorker::start(made::context().config, *spool_, store_);
  ended.wait();
  worker->stop();
  EXPECT_EQ(store_.released, 1);
  EXPECT_EQ(worker->stats().retries, 1u);
}

}  // namespace
}  // namespace node::report
