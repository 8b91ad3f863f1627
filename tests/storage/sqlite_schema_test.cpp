// Every schema that a node ever made is brought up to date with its content. Never change a
// schema_version_N.h, nor a step of schema_steps.h.
#include "storage/sqlite_schema.h"

#include <map>

#include "storage/sqlite_study_store.h"
#include "tests/storage/schema_steps.h"
#include "tests/storage/schema_version_1.h"
#include "tests/storage/study_store_fixture.h"

namespace node::storage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class SqliteSchema : public StudyStoreFixture {
 protected:
  void SetUp() override {
    clock_.set_wall(WallTime(seconds(5000)));  // Soon after what the old databases hold.
    auto old = raw();
    ASSERT_TRUE(old->execute("PRAGMA journal_mode = WAL").ok());
    ASSERT_TRUE(old->execute(kSchemaVersion1).ok());
    ASSERT_TRUE(old->execute(kContentOfVersion1).ok());
  }
  Result<std::unique_ptr<StudyStore>> open_store() override { return open_sqlite_study_store(config(), clock_); }
  config::StorageConfig config() const {
    config::StorageConfig config;
    config.directory = directory_.path().string();
    return config;
  }
  std::unique_ptr<Database> raw() const {
    return Database::open(directory_.path() / "studies.sqlite", Database::Mode::kReadWrite).value();
  }
  // As a node of that version left it.
  void make(std::size_t version) {
    auto old = raw();
    for (std::size_t next = 2; next <= version; ++next) {
      const SchemaStep& step = kSchemaSteps.at(next - 2);
      ASSERT_TRUE(old->execute(step.sql).ok()) << next;
      ASSERT_TRUE(old->execute(step.content).ok()) << next;
    }
    ASSERT_TRUE(
        Query(*old, "UPDATE meta SET value = ? WHERE key = 'schema_version'", std::to_string(version)).run().ok());
  }
  static std::vector<std::string> column(Database& database, const std::string& sql) {
    std::vector<std::string> found;
    Query rows(database, sql);
    while (rows.next()) found.push_back(rows.text());
    EXPECT_TRUE(rows.status().ok()) << rows.status().message();
    return found;
  }
  // Table and column of each that is there.
  static std::vector<std::pair<std::string, std::string>> columns(Database& database) {
    std::vector<std::pair<std::string, std::string>> found;
    for (const std::string& table : column(database, "SELECT name FROM sqlite_schema WHERE type = 'table'")) {
      for (const std::string& name : column(database, "SELECT name FROM pragma_table_info('" + table + "')")) {
        found.emplace_back(table, name);
      }
    }
    return found;
  }
  static std::vector<std::string> objects(Database& database) {
    std::vector<std::string> found;
    Query rows(database, "SELECT name || ': ' || coalesce(sql, '') FROM sqlite_schema ORDER BY name");
    while (rows.next()) found.push_back(rows.text());
    return found;
  }
};

TEST_F(SqliteSchema, WhatVersion1HeldIsThereAfterTheMigration) {
  const auto before = open_sqlite_study_store_read_only(config(), clock_);
  EXPECT_EQ(before.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(before.status().message(), HasSubstr("schema version 1"));
  open();
  EXPECT_EQ(store_->node_uid(), uid("2.25.7"));
  EXPECT_THAT(*store_->list_studies({.limit = 10}), SizeIs(4));
  EXPECT_EQ(summary(1).revision, 2);
  EXPECT_EQ(summary(1).finished_at, WallTime(seconds(1013)));
  EXPECT_EQ(summary(1).conflicts, 1);
  EXPECT_EQ(summary(2).deliveries_parked, 1);
  EXPECT_EQ(summary(4).state, StudyState::kNotRouted);
  const auto held = *store_->find_instance(uid("1.2.1.1"));
  ASSERT_TRUE(held);
  EXPECT_EQ(held->version, 2);
  EXPECT_EQ(held->header_digest, "d2");
  EXPECT_FALSE(held->purged);
  const auto found = instances(1);
  ASSERT_THAT(found, SizeIs(3));
  EXPECT_EQ(found[1].predictions.at(0).content, "{\"p\":0.7}");
  EXPECT_EQ(found[1].predictions[0].blob, std::string("\0map", 4));
  EXPECT_EQ(found[2].state, InstanceState::kConflict);
  EXPECT_THAT(*store_->known_files(), SizeIs(8));
  EXPECT_TRUE(*store_->is_own_result(uid("1.2.8.2")));
  const auto parked = *store_->list_deliveries({.state = DeliveryState::kParked, .limit = 10});
  ASSERT_THAT(parked, SizeIs(1));
  EXPECT_EQ(parked[0].peer_status, 0xA700);
  EXPECT_EQ(parked[0].text, "out of resources");
}

TEST_F(SqliteSchema, WorkOfVersion1GoesOn) {
  open();
  const auto claims = claim_instances();
  ASSERT_THAT(claims, SizeIs(1));
  EXPECT_EQ(claims[0].instance.sop_instance_uid, uid("1.2.3.1"));
  EXPECT_THAT(claims[0].instance.route.tasks, ElementsAre("fracture", "anomaly"));
  EXPECT_THAT(claims[0].instance.route.results_to, ElementsAre("pacs", "archive"));
  EXPECT_TRUE(claims[0].instance.route.shadow);
  ASSERT_TRUE(store_->finish_instance(claims[0].token, predictions()).ok());
  const auto ready = claim_study();
  ASSERT_TRUE(ready);
  report(*ready);
  EXPECT_EQ(summary(3).state, StudyState::kFinished);
  EXPECT_THAT(claim_deliveries("archive"), SizeIs(1));
  ASSERT_TRUE(store_->retry_study(uid("1.2.2")).ok());
  EXPECT_EQ(instances(2).at(0).route.priority, 5) << "as its route said";
}

TEST_F(SqliteSchema, WhatVersion1HeldIsPurgedOnlyIfItIsAtRest) {
  open();
  const auto purged = store_->purge({seconds(1000), seconds(3986)}, 100);
  ASSERT_TRUE(purged.ok());
  EXPECT_THAT(purged->originals, SizeIs(3)) << "study 1: both versions and the conflict; study 4 is at rest since 4010";
  EXPECT_THAT(purged->results, SizeIs(1)) << "since its delivery, 1014";
  EXPECT_THAT(store_->purge({seconds(0), seconds(0)}, 100)->originals, SizeIs(1));
}

TEST_F(SqliteSchema, AMigratedDatabaseHasTheTablesOfAFreshOne) {
  open();
  store_.reset();
  const auto migrated = objects(*raw());
  TemporaryDirectory other;
  config::StorageConfig fresh;
  fresh.directory = other.path().string();
  ASSERT_TRUE(open_sqlite_study_store(fresh, clock_).ok());
  auto database = Database::open(other.path() / "studies.sqlite", Database::Mode::kReadOnly).value();
  EXPECT_EQ(objects(*database), migrated);
}

class SqliteSchemaSince : public SqliteSchema, public testing::WithParamInterface<std::size_t> {
 protected:
  void SetUp() override {
    SqliteSchema::SetUp();
    make(GetParam());
  }
};

TEST_P(SqliteSchemaSince, ItsRowsAreKeptInTheTablesOfAFreshOne) {
  std::map<std::pair<std::string, std::string>, std::vector<std::string>> before;
  {
    auto old = raw();
    for (const auto& [table, name] : columns(*old)) {
      // What each start works out anew.
      if (table == "meta" || name == "holds" || name == "open_since" || name.ends_with("due_at")) continue;
      before[{table, name}] = column(*old, "SELECT " + name + " FROM " + table + " ORDER BY 1");
    }
  }
  EXPECT_EQ((before[{"study", "uid"}].size()), 4u);
  open();
  EXPECT_EQ(store_->node_uid(), uid("2.25.7"));
  EXPECT_EQ(instances(3).at(0).route.pending, GetParam() >= 5 ? "pending" : "");
  EXPECT_EQ(summary(3).urgent, GetParam() >= 6 ? "fracture" : "");
  EXPECT_EQ(summary(2).deliveries_given_up, GetParam() >= 10 ? 1 : 0);
  EXPECT_EQ(summary(2).deliveries_parked, GetParam() >= 10 ? 0 : 1);
  EXPECT_THAT(*store_->accepted_losses(), SizeIs(GetParam() >= 13 ? 1 : 0));
  EXPECT_EQ(store_->list_deliveries({.study = uid("1.2.1"), .limit = 1})->at(0).commitment,
            GetParam() >= 7 ? "committed" : "");
  store_.reset();
  auto migrated = raw();
  for (const auto& [of, values] : before) {
    EXPECT_EQ(column(*migrated, "SELECT " + of.second + " FROM " + of.first + " ORDER BY 1"), values)
        << of.first << "." << of.second;
  }
  TemporaryDirectory other;
  config::StorageConfig fresh;
  fresh.directory = other.path().string();
  ASSERT_TRUE(open_sqlite_study_store(fresh, clock_).ok());
  auto database = Database::open(other.path() / "studies.sqlite", Database::Mode::kReadOnly).value();
  EXPECT_EQ(objects(*migrated), objects(*database));
}

INSTANTIATE_TEST_SUITE_P(Version, SqliteSchemaSince, testing::Range<std::size_t>(1, kSchemaSteps.size() + 2));

TEST_F(SqliteSchema, TheNewestVersionIsAmongThoseThatAreTried) {
  open();
  store_.reset();
  EXPECT_EQ(column(*raw(), "SELECT value FROM meta WHERE key = 'schema_version'"),
            std::vector<std::string>{std::to_string(kSchemaSteps.size() + 1)});
}

TEST_F(SqliteSchema, AMigrationThatFailsChangesNothing) {
  ASSERT_TRUE(raw()->execute("CREATE INDEX study_held ON study(uid)").ok());  // In the way of a later one.
  const auto before = objects(*raw());
  const auto failed = open_store();
  ASSERT_FALSE(failed.ok());
  EXPECT_THAT(failed.status().message(), HasSubstr("schema version 3"));
  EXPECT_EQ(objects(*raw()), before);
  ASSERT_TRUE(raw()->execute("DROP INDEX study_held").ok());
  open();
  EXPECT_THAT(*store_->list_studies({.limit = 10}), SizeIs(4));
}

TEST_F(SqliteSchema, ANewerSchemaIsRefusedByBothVersions) {
  open();
  store_.reset();
  const std::int64_t known = [&] {
    auto database = raw();
    Query version(*database, "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'schema_version'");
    return version.next() ? version.integer() : 0;
  }();
  EXPECT_GE(known, 4);
  ASSERT_TRUE(raw()->execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'").ok());
  for (const auto& refused : {open_store().status(), open_sqlite_study_store_read_only(config(), clock_).status()}) {
    EXPECT_EQ(refused.code(), StatusCode::kDataLoss);
    EXPECT_THAT(refused.message(), HasSubstr("schema version 99"));
    EXPECT_THAT(refused.message(), HasSubstr("knows up to " + std::to_string(known)));
  }
}

}  // namespace
}  // namespace node::storage
