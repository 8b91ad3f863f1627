// ContentTree: writes the content items of a structured report from top to bottom, as one reads them.
//
// container(), open_code(), open_number() and open_region() make the new item the current one, below which all else is
// added, until close().
// Guarantee: after the first error nothing more is added; status() says which item DCMTK refused and why, so that a
//            tree is written without a check at every line.
// Threads:   one.
// Source:    PS3.3 C.17.3 (SR Document Content); PS3.16 TID 300, 320 (measurement inferred from a region).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "config/base/status.h"
#include "dicom_node/report/codes.h"
#include "dicom_node/report/result_object.h"

class DSRDocumentTree;

namespace node::report {

// Of an item with its parent.
enum class Relation { kIsRoot, kContains, kHasConceptMod, kHasObsContext, kInferredFrom, kSelectedFrom };

// A point of an image: x counts columns, y rows; (0, 0) is the outer corner of the first pixel (PS3.3 C.18.6.1.1).
using Point = std::pair<double, double>;

class ContentTree {
 public:
  // Both must live as long as this.
  ContentTree(DSRDocumentTree& tree, const OwnText& text) : tree_(tree), text_(text) {}

  // The root of an empty tree; stays open.
  void root(const Code& concept_name, const char* template_id);
  // Makes the item of that name current. False: there is none.
  bool go_to(const Code& concept_name);
  void close();

  void container(Relation relation, const Code& concept_name, const char* template_id = nullptr);  // Of DCMR.
  void open_code(Relation relation, const Code& concept_name, const Code& value);
  // A value that is no number is said to be so. `digits` after the point; at most 16 characters in all.
  void open_number(Relation relation, const Code& concept_name, double value, int digits, const Code& unit);
  void open_region(Relation relation, const Code& concept_name, const std::vector<Point>& closed_polyline);

  void text(Relation relation, const Code& concept_name, const std::string& utf8);  // Empty: no item.
  void uid(Relation relation, const Code& concept_name, const storage::Uid& uid);
  void code(Relation relation, const Code& concept_name, const Code& value);
  // `concept_name` may be null: some templates forbid one. `frame` from 1; 0: the whole object.
  void image(Relation relation, const Code* concept_name, const std::string& sop_class_uid,
             const storage::Uid& sop_instance_uid, int frame = 0);

  const Status& status() const { return status_; }

 private:
  bool add(Relation relation, int value_type, const Code* concept_name);
  template <class Condition>
  void check(const Condition& condition, const Code& concept_name);

  DSRDocumentTree& tree_;
  const OwnText& text_;
  Status status_;
};

}  // namespace node::report
