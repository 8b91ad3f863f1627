// What the tests of dicom_node/route share: headers of radiographs, and a router on the table of body parts that ships.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/node_config.h"
#include "dicom_node/route/router.h"

namespace node::route {
using config::Code;
using config::ForProcessing;
using config::ForwardRule;
using config::RouterConfig;
using config::RouteRule;
using object::InstanceHeader;
using testing::ElementsAre;
using testing::IsEmpty;

// A readable DX of 40 x 40 pixels that says nothing of its body part.
inline InstanceHeader radiograph() {
  InstanceHeader header;
  header.sop_class_uid = "1.2.840.10008.5.1.4.1.1.1.1";
  header.modality = "DX";
  header.presentation_intent_type = "FOR PRESENTATION";
  header.rows = header.columns = 40;
  header.samples_per_pixel = 1;
  header.bits_allocated = header.bits_stored = 16;
  header.has_pixel_data = true;
  header.pixel_data_bytes = 3200;
  return header;
}

inline InstanceHeader radiograph_of(const std::string& body_part) {
  InstanceHeader header = radiograph();
  header.body_part_examined = body_part;
  return header;
}

inline RouteRule rule(const std::string& name, const std::vector<std::string>& body_parts,
                      const std::vector<std::string>& tasks = {"anomaly"}) {
  RouteRule rule;
  rule.name = name;
  rule.match.modality = {"CR", "DX"};
  rule.match.body_part = body_parts;
  rule.tasks = tasks;
  rule.send_to = {"pacs"};
  return rule;
}

class RouterTest : public testing::Test {
 protected:
  // The table that ships, so that these tests are also its tests.
  static void SetUpTestSuite() {
    auto demo = config::read_node_config(NODE_SOURCE_DIR "/config/demo.yaml", {}, {});
    ASSERT_TRUE(demo.ok()) << demo.status().message();
    shipped_ = new RouterConfig(demo->router);
  }
  static void TearDownTestSuite() { delete shipped_; }

  RouterTest() {
    config_.body_parts = shipped_->body_parts;
    config_.routes = {rule("knee", {"KNEE"}, {"knee-oa", "anomaly"}), rule("hand", {"HAND", "WRIST"}),
                      rule("limb", {"EXTREMITY"})};
  }
  Router router() const {
    auto router = Router::create(config_, {"anomaly", "knee-oa"});
    EXPECT_TRUE(router.ok()) << router.status().message();
    return *std::move(router);
  }
  RouteDecision route(const InstanceHeader& header, std::string_view from = "") const {
    return router().route(header, from);
  }
  std::string body_part(const std::string& written) const { return route(radiograph_of(written)).body_part; }

  RouterConfig config_;
  static inline RouterConfig* shipped_ = nullptr;
};

}  // namespace node::route
