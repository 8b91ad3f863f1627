#include "dicom_node/route/reachability.h"

#include "tests/dicom_node/route/router_fixture.h"

namespace node::route {
namespace {

class RouterReach : public RouterTest {
 protected:
  std::string why_never(std::size_t index) const {
    for (const UnreachableRoute& route : router().unreachable()) {
      if (route.rule == config_.routes[index].name) return route.why;
    }
    return "";
  }
};

TEST_F(RouterReach, RoutesOfTheirOwnBodyPartsAreAllReached) {
  EXPECT_THAT(router().unreachable(), IsEmpty());
  config_ = *shipped_;
  EXPECT_THAT(Router::create(config_, {"anomaly", "fracture", "implant", "region"})->unreachable(), IsEmpty());
}

TEST_F(RouterReach, ARouteAfterOneThatTakesAllItsImagesIsNot) {
  config_.routes.insert(config_.routes.begin(), rule("all", {}));
  config_.routes[1].origin = "node.yaml:7: routes[1]";
  EXPECT_EQ(why_never(1), "all its images are taken before by all");
  EXPECT_EQ(router().unreachable()[0].origin, "node.yaml:7: routes[1]");
  config_.routes[0].match.view = {"AP"};
  EXPECT_EQ(why_never(1), "") << "a lateral image comes to it";
  config_.routes[0].match.view = {};
  config_.routes[0].match.age_years_max = 18;
  EXPECT_EQ(why_never(1), "") << "an adult comes to it";
  config_.routes[1].match.age_years_max = 10;
  EXPECT_EQ(why_never(1), "all its images are taken before by all");
}

TEST_F(RouterReach, RoutesThatTogetherTakeAllItsImagesCountToo) {
  config_.routes.push_back(rule("both", {"HAND", "Knie"}));
  EXPECT_EQ(why_never(3), "all its images are taken before by knee, hand");
  config_.routes[3].match.body_part.push_back("FOOT");
  EXPECT_EQ(why_never(3), "");
}

TEST_F(RouterReach, SecondaryCapturesPassByARouteThatNamesNoModality) {
  RouteRule all;
  all.name = "all";
  all.tasks = {"anomaly"};
  config_.routes.insert(config_.routes.begin(), all);
  EXPECT_EQ(why_never(1), "") << "a Secondary Capture of modality CR or DX comes to it";
  config_.routes[1].match.sop_class = {"1.2.840.10008.5.1.4.1.1.1.1"};
  EXPECT_EQ(why_never(1), "all its images are taken before by all");
}

TEST_F(RouterReach, SopClassesAndModalitiesWithoutRadiographsAreNot) {
  config_.routes[0].match.sop_class = {"1.2.840.10008.5.1.4.1.1.2"};
  EXPECT_THAT(why_never(0), testing::StartsWith("none of its SOP classes"));
  config_.routes[1].match.modality = {"SR", "PR"};
  EXPECT_THAT(why_never(1), testing::StartsWith("none of its SOP classes"));
  config_.routes[2].match.sop_class = {"1.2.840.10008.5.1.4.1.1.7"};
  EXPECT_EQ(why_never(2), "");
  config_.routes[2].match.modality = {};
  EXPECT_THAT(why_never(2), testing::StartsWith("none of its SOP classes"));
}

}  // namespace
}  // namespace node::route
