#include "dicom_node/receive/intake.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmjpeg/djencode.h>
#include <dcmtk/dcmjpeg/djrplol.h>
#include <dcmtk/dcmjpeg/djrploss.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "dicom_node/receive/dcmtk_setup.h"
#include "tests/dicom_node/object/test_files.h"
#include "tests/fakes/faulty_file_system.h"
#include "tests/fakes/temporary_store.h"

namespace node::receive {
namespace {

using object::must;
using storage::InstanceState;
using storage::Uid;

constexpr const char* kSop = "1.2.826.0.1.1.1";
constexpr const char* kStudy = "1.2.826.0.1.1";

object::TestImage knee(int brightness = 0) {
  object::TestImage image{.rows = 32, .columns = 32, .bits_allocated = 8, .bits_stored = 8, .values = {}};
  for (int i = 0; i < 32 * 32; ++i) image.values.push_back((i * 7 + brightness) % 200);
  return image;
}

route::Router make_router() {
  config::RouterConfig config;
  config::RouteRule rule;
  rule.name = "knee";
  rule.match.modality = {"CR", "DX"};
  rule.match.body_part = {"KNEE"};
  rule.tasks = {"knee-oa"};
  rule.send_to = {"pacs"};
  config.routes = {rule};
  config.forward = {{.match = {}, .send_to = {"archive"}}};
  config.body_parts.terms = {{"KNEE", "KNEE"}, {"HAND", "HAND"}};
  auto router = route::Router::create(config, {"knee-oa"});
  EXPECT_TRUE(router.ok()) << router.status().message();
  return std::move(router).value();
}

class IntakeTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    configure_dcmtk();
    DJEncoderRegistration::registerCodecs(ECC_lossyYCbCr, EUC_never);  // The UID stays, as with a careless PACS.
  }

  Intake intake() { return Intake(config_, stored_.spool(), *store_, router_); }

  static Command command_of(DcmFileFormat& file) {
    OFString sop_class, sop_instance;
    file.getDataset()->findAndGetOFString(DCM_SOPClassUID, sop_class);
    file.getDataset()->findAndGetOFString(DCM_SOPInstanceUID, sop_instance);
    return {.field = 1,
            .message_id = 1,
            .has_data_set = true,
            .sop_class_uid = sop_class.c_str(),
            .sop_instance_uid = sop_instance.c_str()};
  }

  // As if it had come by C-STORE: a data set as the sender wrote it.
  IntakeAnswer take(DcmFileFormat file, E_TransferSyntax syntax = EXS_LittleEndianExplicit,
                    const DcmRepresentationParameter* parameter = nullptr) {
    const Command command = command_of(file);
    return take(std::move(file), command, syntax, parameter);
  }
  IntakeAnswer take(DcmFileFormat file, const Command& command, E_TransferSyntax syntax = EXS_LittleEndianExplicit,
                    const DcmRepresentationParameter* parameter = nullptr) {
    must(file.getDataset()->chooseRepresentation(syntax, parameter));
    // A Part 10 file from the command's UIDs, whatever the data set says.
    OFString sop_instance;
    object::TemporaryFolder folder;
    const std::filesystem::path path = folder.fresh();
    must(file.saveFile(path.c_str(), syntax, EET_UndefinedLength, EGL_recalcGL, EPD_noChange, 0, 0, EWM_createNewMeta));
    return checked(intake().take(arrived(stored_.spool(), object::read_bytes(path)), command, sender_));
  }
  IntakeAnswer take_bytes(const std::string& bytes) {
    return checked(
        intake().take(arrived(stored_.spool(), bytes), {.sop_class_uid = "1.2", .sop_instance_uid = kSop}, sender_));
  }
  static storage::IncomingFile arrived(storage::Spool& spool, const std::string& bytes) {
    auto begun = spool.begin();
    EXPECT_TRUE(begun.ok());
    EXPECT_TRUE(begun->append(bytes.data(), bytes.size()).ok());
    return std::move(begun).value();
  }
  static IntakeAnswer checked(IntakeAnswer answer) {
    EXPECT_LE(answer.error_comment.size(), 64u);
    EXPECT_EQ(answer.error_comment.empty(), answer.status == kSuccess) << answer.error_comment;
    EXPECT_EQ(answer.error_comment.find("Test^Object"), std::string::npos);
    EXPECT_EQ(answer.detail.message().find("Test^Object"), std::string::npos);
    return answer;
  }

  std::vector<storage::InstanceRecord> held(const std::string& study = kStudy) {
    auto instances = stored_.store().list_instances(Uid::parse(study).value());
    return instances.ok() ? std::move(instances).value() : std::vector<storage::InstanceRecord>{};
  }
  void purge_all();
  std::size_t files() {
    auto keys = stored_.spool().list_keys();
    EXPECT_TRUE(keys.ok());
    return keys->size();
  }
  // Not one file, finished or not, and no row.
  void expect_nothing_kept() {
    EXPECT_EQ(files(), 0u);
    EXPECT_TRUE(held().empty());
    EXPECT_EQ(stored_.store().stats().instances_received, 0);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(stored_.directory())) {
      EXPECT_NE(entry.path().extension(), ".part") << entry.path();
      EXPECT_NE(entry.path().extension(), ".dcm") << entry.path();
    }
  }

  fakes::TemporaryStore stored_;
  storage::StudyStore* store_ = &stored_.store();
  route::Router router_ = make_router();
  config::ReceiveConfig config_;
  Sender sender_{"xray1", std::chrono::milliseconds(10'000)};
};

TEST_F(IntakeTest, WhatTheStoreRefusesForCertainLeavesNoFile) {
  config::StorageConfig config;
  config.directory = (stored_.directory() / "store").string();
  const auto refuses = storage::open_sqlite_study_store_read_only(config, stored_.clock());
  ASSERT_TRUE(refuses.ok()) << refuses.status().message();
  store_ = refuses->get();
  for (int attempt = 0; attempt < 3; ++attempt) EXPECT_EQ(take(make_image(knee())).status, kOutOfResources);
  expect_nothing_kept();
}

TEST_F(IntakeTest, StoresAnImageWithItsRouteAndItsForwarding) {
  const IntakeAnswer answer = take(make_image(knee()));
  EXPECT_EQ(answer.status, kSuccess);
  EXPECT_EQ(answer.outcome, Outcome::kStored);
  EXPECT_EQ(answer.route.rule, "knee");
  ASSERT_EQ(held().size(), 1u);
  const storage::InstanceRecord instance = held().front();
  EXPECT_EQ(instance.peer, "xray1");
  EXPECT_EQ(instance.state, InstanceState::kReceived);
  EXPECT_TRUE(instance.reportable);
  EXPECT_THAT(instance.route.tasks, ::testing::ElementsAre("knee-oa"));
  EXPECT_TRUE(stored_.spool().verify(instance.file).ok());
  const auto deliveries = stored_.store().list_deliveries({.limit = 10});
  ASSERT_TRUE(deliveries.ok());
  ASSERT_EQ(deliveries->size(), 1u);
  EXPECT_EQ(deliveries->front().destination, "archive");
}

// --- Nothing kept -------------------------------------------------------------------------------------------------

TEST_F(IntakeTest, RefusesWhatIsNoDataSet) {
  EXPECT_EQ(take_bytes("no DICOM at all").status, kCannotUnderstand);
  EXPECT_EQ(take_bytes("").status, kCannotUnderstand);
  expect_nothing_kept();
}

TEST_F(IntakeTest, RefusesADataSetCutBeforeThePixelData) {
  object::TemporaryFolder folder;
  DcmFileFormat file = make_image(knee());
  const std::string whole = object::read_bytes(object::write(folder, file));
  EXPECT_EQ(take_bytes(whole.substr(0, whole.size() - 1024 - 60)).status, kCannotUnderstand);
  expect_nothing_kept();
}

TEST_F(IntakeTest, RefusesAStudyUidThatIsMissingOrInvalid) {
  for (const char* uid : {"", "../../x", "1..2", "study one"}) {
    DcmFileFormat file = make_image(knee());
    must(file.getDataset()->putAndInsertString(DCM_StudyInstanceUID, uid));
    EXPECT_EQ(take(file).status, kDataSetMismatch) << uid;
  }
  DcmFileFormat file = make_image(knee());
  must(file.getDataset()->findAndDeleteElement(DCM_StudyInstanceUID));
  EXPECT_EQ(take(file).status, kDataSetMismatch);
  expect_nothing_kept();
}

TEST_F(IntakeTest, UidsOfAnOldDeviceAreKeptWithTheirLeadingZeros) {
  DcmFileFormat file = make_image(knee());
  must(file.getDataset()->putAndInsertString(DCM_StudyInstanceUID, "1.2.03"));
  must(file.getDataset()->putAndInsertString(DCM_SOPInstanceUID, "1.2.03.004"));
  EXPECT_EQ(take(file).status, kSuccess);
  ASSERT_EQ(held("1.2.03").size(), 1u);
  EXPECT_EQ(held("1.2.03")[0].sop_instance_uid.str(), "1.2.03.004");
  EXPECT_TRUE(held("1.2.3").empty());
}

TEST_F(IntakeTest, RefusesASopInstanceUidThatIsAPath) {
  DcmFileFormat file = make_image(knee());
  must(file.getDataset()->putAndInsertString(DCM_SOPInstanceUID, "../../x"));
  EXPECT_EQ(take(file).status, kDataSetMismatch);
  expect_nothing_kept();
  EXPECT_FALSE(std::filesystem::exists(stored_.directory() / "x"));
}

TEST_F(IntakeTest, RefusesACommandThatNamesAnotherInstanceOrClass) {
  DcmFileFormat file = make_image(knee());
  Command other_instance = command_of(file);
  other_instance.sop_instance_uid = "1.2.826.0.1.1.2";
  EXPECT_EQ(take(file, other_instance).status, kDataSetMismatch);
  Command other_class = command_of(file);
  other_class.sop_class_uid = UID_ComputedRadiographyImageStorage;
  EXPECT_EQ(take(file, other_class).status, kDataSetMismatch);
  expect_nothing_kept();
}

TEST_F(IntakeTest, AFullDiskIsNotNow) {
  const IntakeAnswer answer = checked(refusal(resource_exhausted("commit 1.2.3: fsync: No space left on device")));
  EXPECT_EQ(answer.status, kOutOfResources);
  EXPECT_EQ(answer.outcome, Outcome::kRefused);
}

// More than a piece of an IncomingFile: its header is read from the file.
object::TestImage large_knee() {
  object::TestImage image = knee();
  image.rows = 1000;
  image.columns = 700;
  image.values.assign(700'000, 100);
  return image;
}

class IntakeOnAFailingDisk : public IntakeTest, public testing::WithParamInterface<bool> {};

TEST_P(IntakeOnAFailingDisk, IsAProcessingFailure) {
  for (const auto& [failure, status] : {std::pair(data_loss("sync: Input/output error"), kProcessingFailure),
                                        std::pair(resource_exhausted("sync: No space left"), kOutOfResources)}) {
    fakes::FaultyFileSystem file_system;
    config::StorageConfig config;
    config.directory = (stored_.directory() / "faulty").string();
    config.free_bytes_min = 0;
    auto spool = storage::Spool::open(config, file_system);
    ASSERT_TRUE(spool.ok()) << spool.status().message();
    DcmFileFormat file = object::make_image(GetParam() ? large_knee() : knee());
    object::TemporaryFolder folder;
    storage::IncomingFile incoming = arrived(**spool, object::read_bytes(object::write(folder, file)));
    file_system.fail(file_system.calls() + 1, failure);
    Intake intake(config_, **spool, stored_.store(), router_);
    EXPECT_EQ(checked(intake.take(std::move(incoming), command_of(file), sender_)).status, status);
    expect_nothing_kept();
    std::filesystem::remove_all(config.directory);
  }
}

INSTANTIATE_TEST_SUITE_P(ImageIsLarge, IntakeOnAFailingDisk, testing::Bool());

// --- A UID we hold ------------------------------------------------------------------------------------------------

TEST_F(IntakeTest, AResendIsNoNewWork) {
  ASSERT_EQ(take(make_image(knee())).outcome, Outcome::kStored);
  const IntakeAnswer again = take(make_image(knee()));
  EXPECT_EQ(again.status, kSuccess);
  EXPECT_EQ(again.outcome, Outcome::kResend);
  EXPECT_EQ(held().size(), 1u);
  EXPECT_EQ(files(), 1u);
}

TEST_F(IntakeTest, ALargeImageIsTakenAndKnownAgainToo) {
  ASSERT_EQ(take(make_image(large_knee())).outcome, Outcome::kStored);
  EXPECT_EQ(take(make_image(large_knee())).outcome, Outcome::kResend);
  EXPECT_EQ(take(make_image(large_knee()), EXS_DeflatedLittleEndianExplicit).outcome, Outcome::kResend)
      << "deflated it is small, its header is read in memory";
  EXPECT_EQ(files(), 1u);
}

TEST_F(IntakeTest, TheSameImageInAnotherTransferSyntaxIsAResend) {
  const DJ_RPLossless lossless;
  ASSERT_EQ(take(make_image(knee())).outcome, Outcome::kStored);
  EXPECT_EQ(take(make_image(knee()), EXS_LittleEndianImplicit).outcome, Outcome::kResend);
  EXPECT_EQ(take(make_image(knee()), EXS_BigEndianExplicit).outcome, Outcome::kResend);
  EXPECT_EQ(take(make_image(knee()), EXS_DeflatedLittleEndianExplicit).outcome, Outcome::kResend);
  EXPECT_EQ(take(make_image(knee()), EXS_JPEGProcess14SV1, &lossless).outcome, Outcome::kResend);
  EXPECT_EQ(held().size(), 1u);
  EXPECT_EQ(files(), 1u);
}

TEST_F(IntakeTest, ALossyCopyCountsAsTheSamePixels) {
  const DJ_RPLossy lossy(80);
  ASSERT_EQ(take(make_image(knee())).outcome, Outcome::kStored);
  DcmFileFormat copy = make_image(knee());
  must(copy.getDataset()->chooseRepresentation(EXS_JPEGProcess1, &lossy));
  // The encoder writes that the image is derived; that alone would be a correction.
  EXPECT_EQ(take(copy, EXS_JPEGProcess1, &lossy).outcome, Outcome::kCorrection);
  copy = make_image(knee(50));
  must(copy.getDataset()->chooseRepresentation(EXS_JPEGProcess1, &lossy));
  EXPECT_EQ(take(copy, EXS_JPEGProcess1, &lossy).outcome, Outcome::kConflict);  // The same syntax as held now.
}

TEST_F(IntakeTest, OtherPixelsInALosslessSyntaxAreAConflictAllTheSame) {
  const DJ_RPLossless lossless;
  ASSERT_EQ(take(make_image(knee())).outcome, Outcome::kStored);
  EXPECT_EQ(take(make_image(knee(1)), EXS_JPEGProcess14SV1, &lossless).outcome, Outcome::kConflict);
}

TEST_F(IntakeTest, WhatAPacsAddsOnItsWayIsAResend) {
  ASSERT_EQ(take(make_image(knee())).outcome, Outcome::kStored);
  DcmFileFormat returned = make_image(knee());
  must(returned.getDataset()->putAndInsertString(DCM_RetrieveAETitle, "PACS"));
  DcmItem* original = nullptr;
  must(returned.getDataset()->findOrCreateSequenceItem(DCM_OriginalAttributesSequence, original, -2));
  must(original->putAndInsertString(DCM_ModifyingSystem, "PACS"));
  EXPECT_EQ(take(returned).outcome, Outcome::kResend);
  EXPECT_EQ(files(), 1u);
}

TEST_F(IntakeTest, ACorrectedBodyPartIsTheNextVersion) {
  DcmFileFormat first = make_image(knee());
  must(first.getDataset()->putAndInsertString(DCM_BodyPartExamined, "HAND"));
  ASSERT_TRUE(take(first).route.tasks.empty());
  const IntakeAnswer corrected = take(make_image(knee()));
  EXPECT_EQ(corrected.status, kSuccess);
  EXPECT_EQ(corrected.outcome, Outcome::kCorrection);
  EXPECT_EQ(corrected.route.rule, "knee");
  ASSERT_EQ(held().size(), 2u);
  EXPECT_EQ(held().back().version, 2);
  EXPECT_EQ(files(), 2u);
  EXPECT_EQ(take(make_image(knee())).outcome, Outcome::kResend);  // Compared with the newest version.
}

// Forwards, analyses and reports what is held, then lets retention delete it.
void IntakeTest::purge_all() {
  auto& store = stored_.store();
  const auto claims = store.claim_instances(10, std::chrono::milliseconds(0));
  ASSERT_TRUE(claims.ok());
  for (const auto& claim : *claims) {
    EXPECT_TRUE(store.finish_instance(claim.token, {}).ok());
  }
  const auto deliveries = store.claim_due_deliveries("archive", 10, std::chrono::milliseconds(0));
  ASSERT_TRUE(deliveries.ok());
  for (const auto& claim : *deliveries) {
    EXPECT_TRUE(store.finish_delivery(claim.token, {}).ok());
  }
  stored_.clock().advance(std::chrono::seconds(10));
  const auto ready = store.claim_ready_study(std::chrono::milliseconds(0));
  ASSERT_TRUE(ready.ok() && *ready);
  ASSERT_TRUE(store.finish_study((*ready)->token, {}, {}).ok());
  const auto purged = store.purge({std::chrono::milliseconds(0), {}}, 10);
  ASSERT_TRUE(purged.ok());
  ASSERT_EQ(purged->originals.size(), 1u);
  ASSERT_TRUE(stored_.spool().remove(purged->originals[0].key).ok());
}

TEST_F(IntakeTest, AResendOfWhatRetentionDeletedIsNoNewWork) {
  ASSERT_EQ(take(make_image(knee())).outcome, Outcome::kStored);
  purge_all();
  const IntakeAnswer again = take(make_image(knee()), EXS_LittleEndianImplicit);
  EXPECT_EQ(again.status, kSuccess);
  EXPECT_EQ(again.outcome, Outcome::kResend);
  EXPECT_EQ(files(), 0u);
}

TEST_F(IntakeTest, ACorrectionOfWhatRetentionDeletedIsTheNextVersion) {
  ASSERT_EQ(take(make_image(knee())).outcome, Outcome::kStored);
  purge_all();
  DcmFileFormat corrected = make_image(knee());
  must(corrected.getDataset()->putAndInsertString(DCM_BodyPartExamined, "HAND"));
  const IntakeAnswer answer = take(corrected);
  EXPECT_EQ(answer.status, kSuccess);
  EXPECT_EQ(answer.outcome, Outcome::kCorrection);
  EXPECT_EQ(files(), 1u);
}

TEST_F(IntakeTest, OtherPixelsAreRefusedAndKeptAsideOnce) {
  ASSERT_EQ(take(make_image(knee())).outcome, Outcome::kStored);
  for (int attempt = 0; attempt < 3; ++attempt) {
    const IntakeAnswer answer = take(make_image(knee(1)));
    EXPECT_EQ(answer.status, kOtherPixelsUnderKnownUid);
    EXPECT_EQ(answer.outcome, Outcome::kConflict);
  }
  ASSERT_EQ(held().size(), 2u);
  EXPECT_EQ(held().front().state, InstanceState::kReceived);
  EXPECT_EQ(held().back().state, InstanceState::kConflict);
  EXPECT_EQ(files(), 2u);
  EXPECT_EQ(stored_.store().stats().conflicts, 1);
  // The first is still what is held.
  EXPECT_EQ(take(make_image(knee())).outcome, Outcome::kResend);
}

TEST_F(IntakeTest, KeepFirstAnswersAConflictWithSuccess) {
  config_.keep_first_on_conflict = true;
  ASSERT_EQ(take(make_image(knee())).outcome, Outcome::kStored);
  const IntakeAnswer answer = take(make_image(knee(1)));
  EXPECT_EQ(answer.status, kSuccess);
  EXPECT_EQ(answer.outcome, Outcome::kConflict);
  EXPECT_EQ(held().back().state, InstanceState::kConflict);
}

TEST_F(IntakeTest, PixelsThatComeLaterAreAConflict) {
  DcmFileFormat without = make_image(knee());
  must(without.getDataset()->findAndDeleteElement(DCM_PixelData));
  ASSERT_EQ(take(without).outcome, Outcome::kStored);
  EXPECT_EQ(take(make_image(knee())).outcome, Outcome::kConflict);
}

TEST_F(IntakeTest, OfManySendersOfOneUidOneIsFirst) {
  std::vector<Outcome> outcomes(8);
  {
    std::vector<std::jthread> senders;
    for (Outcome& outcome : outcomes) {
      senders.emplace_back([this, &outcome] { outcome = take(make_image(knee())).outcome; });
    }
  }
  EXPECT_EQ(std::count(outcomes.begin(), outcomes.end(), Outcome::kStored), 1);
  EXPECT_EQ(std::count(outcomes.begin(), outcomes.end(), Outcome::kResend), 7);
  EXPECT_EQ(held().size(), 1u);
  EXPECT_EQ(files(), 1u);
}

// --- A UID whose file is lost -------------------------------------------------------------------------------------

class IntakeOfTheLost : public IntakeTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    ASSERT_EQ(take(make_image(knee())).outcome, Outcome::kStored);
    const std::filesystem::path path = stored_.spool().path(held().front().file.key);
    std::string bytes = object::read_bytes(path);
    if (GetParam() == std::string("flipped")) bytes[bytes.size() - 10] ^= 1;
    if (GetParam() == std::string("truncated")) bytes.resize(bytes.size() - 100);
    if (GetParam() == std::string("empty")) bytes.clear();
    if (GetParam() == std::string("deleted")) {
      std::filesystem::remove(path);
    } else {
      std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    }
    ASSERT_EQ(stored_.spool().lost().size(), 0u);
  }
  bool intact() { return stored_.spool().compare(held().front().file).ok(); }
};

TEST_P(IntakeOfTheLost, TheSameBytesTakeItsPlace) {
  const IntakeAnswer answer = take(make_image(knee()));
  EXPECT_EQ(answer.status, kSuccess) << answer.error_comment;
  EXPECT_EQ(answer.outcome, Outcome::kResend);
  EXPECT_EQ(answer.study_instance_uid, kStudy);
  EXPECT_TRUE(intact());
  EXPECT_EQ(stored_.spool().lost().size(), 0u) << "it was, and is back";
  EXPECT_EQ(held().size(), 1u) << "no conflict, no version";
  EXPECT_EQ(files(), 1u);
  EXPECT_EQ(take(make_image(knee())).outcome, Outcome::kResend);
  EXPECT_EQ(take(make_image(knee(1))).outcome, Outcome::kConflict) << "compared again";
  EXPECT_EQ(stored_.spool().lost().size(), 0u);
}

TEST_P(IntakeOfTheLost, ALossThatWasAcceptedIsForgottenOnceItIsSentAgain) {
  ASSERT_TRUE(stored_.store().set_accepted_losses({"aa/of-before.dcm", held().front().file.key}).ok());
  ASSERT_EQ(take(make_image(knee())).outcome, Outcome::kResend);
  EXPECT_TRUE(stored_.store().accepted_losses()->empty()) << "lost once more it is another loss";
}

TEST_P(IntakeOfTheLost, OtherBytesAreRefusedInWordsAndNotKept) {
  const std::size_t before = files();
  for (const int brightness : {0, 1}) {
    const IntakeAnswer answer = take(make_image(knee(brightness)), EXS_LittleEndianImplicit);
    EXPECT_EQ(answer.status, kProcessingFailure);
    EXPECT_EQ(answer.outcome, Outcome::kStoreFailed);
    EXPECT_EQ(answer.error_comment, "the held file is lost, and these are other bytes");
    EXPECT_EQ(answer.study_instance_uid, kStudy);
  }
  EXPECT_FALSE(intact());
  EXPECT_EQ(stored_.spool().lost().size(), 1u) << "however often it is found";
  EXPECT_EQ(held().size(), 1u);
  EXPECT_EQ(files(), before);
  EXPECT_EQ(take(make_image(knee())).outcome, Outcome::kResend) << "the right ones still do";
  EXPECT_TRUE(intact());
}

TEST_P(IntakeOfTheLost, ManySendersOfTheSameBytesAreAllAnsweredSuccess) {
  std::vector<std::uint16_t> statuses(8, 1);
  {
    std::vector<std::jthread> senders;
    for (std::uint16_t& status : statuses) {
      senders.emplace_back([this, &status] { status = take(make_image(knee())).status; });
    }
  }
  EXPECT_THAT(statuses, ::testing::Each(kSuccess));
  EXPECT_TRUE(intact());
  EXPECT_EQ(files(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Kinds, IntakeOfTheLost, ::testing::Values("flipped", "truncated", "empty", "deleted"),
                         [](const auto& kind) { return std::string(kind.param); });

// --- Our own results ----------------------------------------------------------------------------------------------

TEST_F(IntakeTest, AnObjectThatThisNodeCreatedIsDropped) {
  DcmFileFormat file = make_image(knee());
  must(file.getDataset()->putAndInsertString(DCM_InstanceCreatorUID, stored_.store().node_uid().str().c_str()));
  const IntakeAnswer answer = take(file);
  EXPECT_EQ(answer.status, kSuccess);
  EXPECT_EQ(answer.outcome, Outcome::kOwnResult);
  expect_nothing_kept();
}

TEST_F(IntakeTest, AResultThatComesBackIsDroppedByItsUid) {
  ASSERT_EQ(take(make_image(knee())).outcome, Outcome::kStored);
  auto claimed = stored_.store().claim_instances(1, std::chrono::milliseconds(0));
  ASSERT_TRUE(claimed.ok() && claimed->size() == 1);
  ASSERT_TRUE(stored_.store().finish_instance(claimed->front().token, {}).ok());
  stored_.clock().advance(std::chrono::seconds(11));
  auto ready = stored_.store().claim_ready_study(std::chrono::milliseconds(0));
  ASSERT_TRUE(ready.ok() && ready->has_value());
  const Uid result_uid = Uid::parse("2.25.42").value();
  auto result_file = stored_.spool().store("a report", result_uid);
  ASSERT_TRUE(result_file.ok());
  ASSERT_TRUE(stored_.store()
                  .finish_study((*ready)->token,
                                {{.sop_instance_uid = result_uid,
                                  .kind = "sc",
                                  .source_uid = kSop,
                                  .task = "knee-oa",
                                  .revision = 1,
                                  .sop_class_uid = UID_SecondaryCaptureImageStorage,
                                  .transfer_syntax_uid = UID_LittleEndianExplicitTransferSyntax,
                                  .file = *result_file}},
                                {})
                  .ok());
  DcmFileFormat returned = make_image(knee());  // As a PACS may strip it: without Instance Creator UID.
  must(returned.getDataset()->putAndInsertString(DCM_SOPInstanceUID, "2.25.42"));
  const IntakeAnswer answer = take(returned);
  EXPECT_EQ(answer.status, kSuccess);
  EXPECT_EQ(answer.outcome, Outcome::kOwnResult);
  EXPECT_EQ(held().size(), 1u);
  EXPECT_EQ(files(), 2u);
}

// --- Everything else is stored and answered 0x0000, with a reason ---------------------------------------------------

class IntakeOfTheUnreadable : public IntakeTest {
 protected:
  void expect_stored_with_reason(DcmFileFormat file, E_TransferSyntax syntax = EXS_LittleEndianExplicit) {
    const IntakeAnswer answer = take(std::move(file), syntax);
    EXPECT_EQ(answer.status, kSuccess);
    EXPECT_EQ(answer.outcome, Outcome::kStored);
    EXPECT_TRUE(answer.route.tasks.empty());
    EXPECT_FALSE(answer.route.reason.empty());
    EXPECT_THAT(answer.route.forward_to, ::testing::ElementsAre("archive"));
    ASSERT_EQ(held().size(), 1u);
    EXPECT_EQ(held().front().state, InstanceState::kSkipped);
    EXPECT_EQ(held().front().reason, answer.route.reason);
    EXPECT_FALSE(held().front().reportable);
  }
};

TEST_F(IntakeOfTheUnreadable, NoPixelData) {
  DcmFileFormat file = make_image(knee());
  must(file.getDataset()->findAndDeleteElement(DCM_PixelData));
  expect_stored_with_reason(file);
}

TEST_F(IntakeOfTheUnreadable, ShortPixelData) {
  DcmFileFormat file = make_image(knee());
  must(file.getDataset()->putAndInsertUint16(DCM_Rows, 64));
  expect_stored_with_reason(file);
}

TEST_F(IntakeOfTheUnreadable, UnknownBodyPart) {
  DcmFileFormat file = make_image(knee());
  must(file.getDataset()->putAndInsertString(DCM_BodyPartExamined, "TAIL"));
  expect_stored_with_reason(file);
}

TEST_F(IntakeOfTheUnreadable, SeveralFrames) {
  object::TestImage image = knee();
  image.rows = 16;
  image.frames = 2;
  expect_stored_with_reason(make_image(image));
}

TEST_F(IntakeOfTheUnreadable, ForProcessing) {
  DcmFileFormat file = make_image(knee());
  must(file.getDataset()->putAndInsertString(DCM_PresentationIntentType, "FOR PROCESSING"));
  must(file.getDataset()->putAndInsertString(DCM_SOPClassUID, UID_DigitalXRayImageStorageForProcessing));
  expect_stored_with_reason(file);
}

TEST_F(IntakeOfTheUnreadable, AReportListsThemIfTheSiteWantsThat) {
  config_.report_skipped = true;
  DcmFileFormat file = make_image(knee());
  must(file.getDataset()->putAndInsertString(DCM_BodyPartExamined, "TAIL"));
  ASSERT_EQ(take(file).status, kSuccess);
  EXPECT_TRUE(held().front().reportable);
}

}  // namespace
}  // namespace node::receive
