#include "dicom_node/report/content_tree.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmsr/dsrdoc.h>

#include <array>
#include <charconv>
#include <cmath>

namespace node::report {
namespace {

using Types = DSRTypes;

constexpr std::size_t kDecimalStringMax = 16;  // VR DS

const Code kNoName{"", "", "image reference"};  // For messages.

Types::E_RelationshipType relationship(Relation relation) {
  switch (relation) {
    case Relation::kIsRoot: return Types::RT_isRoot;
    case Relation::kContains: return Types::RT_contains;
    case Relation::kHasConceptMod: return Types::RT_hasConceptMod;
    case Relation::kHasObsContext: return Types::RT_hasObsContext;
    case Relation::kInferredFrom: return Types::RT_inferredFrom;
    case Relation::kSelectedFrom: return Types::RT_selectedFrom;
  }
  return Types::RT_invalid;
}

DSRCodedEntryValue coded(const Code& code, const OwnText& text) {
  return {code.value.c_str(), code.scheme.c_str(), text(code.meaning).c_str()};
}

// Fixed point, at most 16 characters, "." whatever the locale.
std::string decimal(double value, int digits) {
  std::array<char, 400> buffer{};
  for (; digits >= 0; --digits) {
    const auto end =
        std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed, digits);
    const std::string text(buffer.data(), end.ptr);
    if (end.ec == std::errc() && text.size() <= kDecimalStringMax) return text;
  }
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific, 8);
  return {buffer.data(), end.ptr};
}

}  // namespace

template <class Condition>
void ContentTree::check(const Condition& condition, const Code& concept_name) {
  if (condition.bad() && status_.ok())
    status_ = internal_error("set content item " + concept_name.meaning + ": " + condition.text());
}

bool ContentTree::add(Relation relation, int value_type, const Code* concept_name) {
  if (!status_.ok()) return false;
  const Code& name = concept_name != nullptr ? *concept_name : kNoName;
  const auto type = static_cast<Types::E_ValueType>(value_type);
  if (tree_.addContentItem(relationship(relation), type, Types::AM_belowCurrent) == 0) {
    status_ = internal_error("add content item " + name.meaning + ": not allowed here");
    return false;
  }
  if (concept_name != nullptr) check(tree_.getCurrentContentItem().setConceptName(coded(name, text_)), name);
  return status_.ok();
}

void ContentTree::root(const Code& concept_name, const char* template_id) {
  container(Relation::kIsRoot, concept_name, template_id);
}

bool ContentTree::go_to(const Code& concept_name) { return tree_.gotoNamedNode(coded(concept_name, text_)) != 0; }

void ContentTree::close() {
  if (status_.ok()) tree_.goUp();
}

void ContentTree::container(Relation relation, const Code& concept_name, const char* template_id) {
  if (!add(relation, Types::VT_Container, &concept_name) || template_id == nullptr) return;
  check(tree_.getCurrentContentItem().setTemplateIdentification(template_id, "DCMR"), concept_name);
}

void ContentTree::open_code(Relation relation, const Code& concept_name, const Code& value) {
  if (!add(relation, Types::VT_Code, &concept_name)) return;
  check(tree_.getCurrentContentItem().setCodeValue(coded(value, text_)), concept_name);
}

void ContentTree::open_number(Relation relation, const Code& concept_name, double value, int digits, const Code& unit) {
  if (!add(relation, Types::VT_Num, &concept_name)) return;
  const DSRNumericMeasurementValue number =
      std::isfinite(value) ? DSRNumericMeasurementValue(decimal(value, digits).c_str(), coded(unit, text_))
                           : DSRNumericMeasurementValue(coded(kNotANumber, text_));
  check(tree_.getCurrentContentItem().setNumericValue(number), concept_name);
}

void ContentTree::open_region(Relation relation, const Code& concept_name, const std::vector<Point>& closed_polyline) {
  if (!add(relation, Types::VT_SCoord, &concept_name)) return;
  DSRSpatialCoordinatesValue region(Types::GT_Polyline);
  for (const auto& [x, y] : closed_polyline)
    region.getGraphicDataList().addItem(static_cast<Float32>(x), static_cast<Float32>(y));
  check(tree_.getCurrentContentItem().setSpatialCoordinates(region), concept_name);
}

void ContentTree::text(Relation relation, const Code& concept_name, const std::string& utf8) {
  if (utf8.empty() || !add(relation, Types::VT_Text, &concept_name)) return;
  check(tree_.getCurrentContentItem().setStringValue(text_(utf8).c_str(), OFFalse), concept_name);
  close();
}

void ContentTree::uid(Relation relation, const Code& concept_name, const storage::Uid& uid) {
  if (!add(relation, Types::VT_UIDRef, &concept_name)) return;
  check(tree_.getCurrentContentItem().setStringValue(uid.str().c_str()), concept_name);
  close();
}

void ContentTree::code(Relation relation, const Code& concept_name, const Code& value) {
  open_code(relation, concept_name, value);
  close();
}

void ContentTree::image(Relation relation, const Code* concept_name, const std::string& sop_class_uid,
                        const storage::Uid& sop_instance_uid, int frame) {
  if (!add(relation, Types::VT_Image, concept_name)) return;
  // Not checked by DCMTK, which would refuse a UID with a leading zero.
  DSRImageReferenceValue reference(sop_class_uid.c_str(), sop_instance_uid.str().c_str(), OFFalse);
  if (frame > 0) reference.getFrameList().addItem(frame);
  check(tree_.getCurrentContentItem().setImageReference(reference, OFFalse),
        concept_name != nullptr ? *concept_name : kNoName);
  close();
}

}  // namespace node::report
