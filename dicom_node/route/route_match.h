// Match: the criteria of one route, and whether an image meets them.
//
// Guarantee: a pure function of facts and criteria.
// Threads:   immutable after create().
#pragma once

#include <regex>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "config/router_config.h"
#include "dicom_node/route/body_parts.h"

namespace node::route {

struct Facts {  // Of one image: what routes are matched against.
  std::string modality, sop_class, laterality, view, sex, from, ae_title;
  std::string station, institution;  // Folded.
  int age_years = -1;                // -1: unknown.
  int rows = 0, columns = 0;
  std::string orientation;  // Patient Orientation: "L\\F".
  Words procedure_codes;    // As code_key() writes them.
  std::vector<Description> descriptions;
  BodyPart part;
};

// What a model may read. Secondary captures, fluoroscopy, angiography and mammography are images of all sorts: they
// need a route that names their modality.
enum class ImageKind { kRadiograph, kOnlyIfNamed, kOther };
ImageKind image_kind(const std::string& sop_class, const std::string& modality);

class Match {
 public:
  // Errors: kInvalidArgument: a description pattern is no regular expression.
  static Result<Match> create(config::RouteMatch config, const BodyParts& body_parts);

  // Every criterion that fails, in words: "body part is HAND, not KNEE; view is unknown, not AP or PA". Empty: it
  // matches.
  std::string why_not(const Facts& facts) const;

  const config::RouteMatch& config() const { return config_; }  // Its values as Facts have them.

 private:
  config::RouteMatch config_;
  std::vector<Pattern> descriptions_;
};

}  // namespace node::route
