#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include "dicom_node/object/map_percentiles.h"
#include "dicom_node/report/codes.h"
#include "dicom_node/report/finding_notes.h"
#include "dicom_node/report/messages.h"

namespace node::report {
namespace {

const config::Code kStudy{"113014", "DCM", "DICOM Study"};
const config::Code kImpression{"19005-8", "LN", "Radiology Imaging study [Impression]"};
const config::Code kPriority{"SKX-PRIO", kPrivateScheme, "Suggested reading priority"};
const config::Code kUrgentBecause{"SKX-URGENT", kPrivateScheme, "Urgent because"};

// What a value may not hold as it is; a line ends with .br. Source: HL7 v2.5.1 2.7.
std::string escaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    switch (const char c = text[i]) {
      case '|': out += "\\F\\"; break;
      case '^': out += "\\S\\"; break;
      case '~': out += "\\R\\"; break;
      case '\\': out += "\\E\\"; break;
      case '&': out += "\\T\\"; break;
      case '\n': out += "\\.br\\"; break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7F) out += c;
    }
  }
  return out;
}

std::string code_field(const config::Code& code) {
  return escaped(code.value) + "^" + escaped(code.meaning) + "^" + escaped(code.scheme);
}

// No exponent, no locale.
std::string number(double value, int digits) {
  std::string text = fmt::format("{:.{}f}", value, digits);
  if (text.find('.') != std::string::npos) text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

std::string utc(WallTime time) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
  const std::time_t at = static_cast<std::time_t>(seconds);
  std::tm parts{};
  ::gmtime_r(&at, &parts);
  return fmt::format("{:04}{:02}{:02}{:02}{:02}{:02}+0000", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                     parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string digits_only(const std::string& text, std::size_t most) {
  std::string digits;
  for (char c : text) {
    if (c < '0' || c > '9' || digits.size() == most) break;
    digits += c;
  }
  return digits;
}

// One segment: its fields from 1, each of components from 1; what stands in them is escaped already.
class Segment {
 public:
  explicit Segment(std::string name) : name_(std::move(name)) {}

  void set(int field, std::string value) {
    if (std::ssize(fields_) < field) fields_.resize(static_cast<std::size_t>(field));
    fields_[static_cast<std::size_t>(field) - 1] = std::move(value);
  }
  void set(int field, int component, const std::string& value) {
    const std::string before = std::ssize(fields_) < field ? "" : fields_[static_cast<std::size_t>(field) - 1];
    std::vector<std::string> parts(1);
    for (char c : before) c == '^' ? parts.emplace_back() : parts.back() += c;
    if (std::ssize(parts) < component) parts.resize(static_cast<std::size_t>(component));
    parts[static_cast<std::size_t>(component) - 1] = value;
    while (parts.size() > 1 && parts.back().empty()) parts.pop_back();
    set(field, fmt::format("{}", fmt::join(parts, "^")));
  }
  // MSH-1 is the separator itself, so that its second field is the first written.
  std::string text() const {
    std::size_t used = fields_.size();
    while (used > 0 && fields_[used - 1].empty()) --used;
    std::string text = name_;
    for (std::size_t i = name_ == "MSH" ? 1 : 0; i < used; ++i) text += "|" + fields_[i];
    return text + "\r";
  }

 private:
  std::string name_;
  std::vector<std::string> fields_;
};

// DICOM has the prefix before the suffix, XPN behind it; a second and third group are ideographic and phonetic.
std::string patient_name(const object::OrderFacts& order) {
  static constexpr const char* kRepresentations[] = {"A", "I", "P"};
  std::string text;
  for (std::size_t i = 0; i < std::min<std::size_t>(order.patient_name.size(), 3); ++i) {
    const auto& [family, given, middle, prefix, suffix] = order.patient_name[i];
    std::string name = fmt::format("{}^{}^{}^{}^{}", escaped(family), escaped(given), escaped(middle), escaped(suffix),
                                   escaped(prefix));
    name.erase(name.find_last_not_of('^') + 1);
    if (name.empty()) continue;
    if (order.patient_name.size() > 1) {
      const auto carets = static_cast<std::size_t>(std::count(name.begin(), name.end(), '^'));
      name += std::string(7 - carets, '^') + kRepresentations[i];
    }
    text += (text.empty() ? "" : "~") + name;
  }
  return text;
}

using Values = std::map<std::string, std::string, std::less<>>;  // Of config::kHl7Sources, escaped.

Values values_of(const MessageStudy& message, const ResultContext& context) {
  const object::OrderFacts& order = *message.order;
  Values values;
  values["ae_title"] = escaped(context.config.ae_title);
  values["patient_id"] = escaped(order.patient_id);
  values["patient_id_issuer"] = escaped(order.patient_id_issuer);
  values["patient_name"] = patient_name(order);
  values["birth_date"] = digits_only(order.birth_date, 8);
  values["sex"] = escaped(order.sex);
  values["accession_number"] = escaped(order.accession_number);
  values["placer_order_number"] = escaped(order.placer_order_number);
  values["filler_order_number"] = escaped(order.filler_order_number);
  values["requested_procedure_id"] = escaped(order.requested_procedure_id);
  values["study_id"] = escaped(order.study_id);
  values["study_instance_uid"] = message.study->study_instance_uid.str();
  values["procedure"] = code_field(order.procedure.empty() ? kProcedureUnspecified : order.procedure.front());
  values["study_time"] = digits_only(order.study_date, 8) + digits_only(order.study_time, 6);
  values["report_time"] = utc(context.time);
  values["control_id"] = message.control_id;
  values["referring_physician"] = escaped(order.referring_physician);
  if (message.priority) {
    static constexpr const char* kCodes[] = {"S", "A", "R"};  // Table 0485: stat, as soon as possible, routine.
    values["priority_code"] = kCodes[static_cast<int>(*message.priority) - 1];
    values["priority_number"] = std::to_string(static_cast<int>(*message.priority));
  }
  return values;
}

// 'TEXT', or names with '|' between, of which the first counts that is not empty.
std::string filled(const std::string& source, const Values& values) {
  if (source.size() >= 2 && source.front() == '\'') return escaped(source.substr(1, source.size() - 2));
  for (std::size_t at = 0; at <= source.size();) {
    const std::size_t end = std::min(source.find('|', at), source.size());
    std::string name = source.substr(at, end - at);
    name.erase(0, name.find_first_not_of(' '));
    name.erase(name.find_last_not_of(' ') + 1);
    const auto value = values.find(name);
    if (value != values.end() && !value->second.empty()) return value->second;
    at = end + 1;
  }
  return "";
}

// Where nothing of it is in the site's own mapping.
const std::map<std::string, std::string> kDefaultFields = {
    {"MSH-3", "ae_title"},
    {"MSH-7", "report_time"},
    {"MSH-11", "'P'"},
    {"MSH-15", "'AL'"},
    {"MSH-16", "'NE'"},
    {"PID-1", "'1'"},
    {"PID-3.1", "patient_id"},
    {"PID-3.4", "patient_id_issuer"},
    {"PID-3.5", "'MR'"},
    {"PID-5", "patient_name"},
    {"PID-7", "birth_date"},
    {"PID-8", "sex"},
    {"PV1-1", "'1'"},
    {"PV1-2", "'U'"},
    {"ORC-1", "'RE'"},
    {"ORC-2", "placer_order_number | accession_number"},
    {"ORC-3", "filler_order_number | accession_number"},
    {"OBR-1", "'1'"},
    {"OBR-2", "placer_order_number | accession_number"},
    {"OBR-3", "filler_order_number | accession_number"},
    {"OBR-4", "procedure"},
    {"OBR-7", "study_time"},
    {"OBR-18", "accession_number"},
    {"OBR-22", "report_time"},
    {"OBR-24", "'RAD'"},
    {"OBR-25", "'P'"},  // Preliminary: the radiologist's report is the final one.
};

class Observations {
 public:
  // `group` joins what belongs together: "2.1" is the first finding of the second image.
  void add(const char* type, const config::Code& code, const std::string& group, const std::string& value,
           const std::string& unit = "", const char* flag = "", const std::string& at = "", const std::string& by = "",
           const char* status = "P") {
    Segment obx("OBX");
    obx.set(1, std::to_string(++count_));
    obx.set(2, type);
    obx.set(3, code_field(code));
    obx.set(4, group);
    obx.set(5, value);
    if (!unit.empty()) obx.set(6, code_field({unit, "UCUM", unit_code(unit).meaning}));
    obx.set(8, flag);
    obx.set(11, status);
    obx.set(14, at);
    obx.set(18, by);
    text_ += obx.text();
  }
  const std::string& text() const { return text_; }

 private:
  int count_ = 0;
  std::string text_;
};

const char* flag_of(Level level) { return level == Level::kNegative ? "N" : "A"; }

void add_finding(Observations& observations, const std::string& group, const ReportedImage& image,
                 const inference::Prediction& prediction, const ResultContext& context) {
  const config::TaskConfig task = find_task(context.config.tasks, prediction);
  const std::string at = image.record.predicted_at ? utc(*image.record.predicted_at) : "";
  const std::string by = escaped(prediction.model_version);
  const auto probability = [&](std::size_t i, const char* flag) {
    const inference::Score& score = prediction.scores[i];
    config::Code code = kProbability;
    code.meaning += " of " + label_code(task, i, score.label).meaning;
    const double value = std::clamp(score.value, 0.0, 1.0);
    observations.add("NM", code, group, number(value, score_digits(task, value, 4)), "1", flag, at, by);
    if (const std::string region = region_name(prediction, score.region); !region.empty())
      observations.add("ST", kImageRegion, group, escaped(score.label + ": " + region), "", "", at, by);
  };
  if (const std::optional<config::Code> side = laterality_code(prediction.part.side))
    observations.add("CWE", kLaterality, group, code_field(*side), "", "", at, by);
  switch (task.output) {
    case config::OutputKind::kSigmoid:
      for (std::size_t i = 0; i < prediction.scores.size(); ++i) {
        const Level level = level_of(task, prediction.scores[i].value);
        const config::Code& said = level == Level::kCertain    ? kPresent
                                   : level == Level::kDoubtful ? kUndetermined
                                                               : kAbsent;
        observations.add("CWE", label_code(task, i, prediction.scores[i].label), group, code_field(said), "",
                         flag_of(level), at, by);
        probability(i, flag_of(level));
      }
      break;
    case config::OutputKind::kSoftmax: {
      const int leading = leading_label(prediction);
      if (leading < 0) break;
      const auto i = static_cast<std::size_t>(leading);
      const bool named = level_of(task, prediction) != Level::kNegative;
      observations.add("CWE", task_code(task), group,
                       code_field(named ? label_code(task, i, prediction.scores[i].label) : kUndetermined), "", "", at,
                       by);
      probability(i, "");
      break;
    }
    case config::OutputKind::kRegression:
      for (const inference::Score& score : prediction.scores)
        observations.add("NM", task_code(task), group, number(score.value, 4), score.unit, "", at, by);
      break;
    case config::OutputKind::kAnomalyMap:
      observations.add("NM", kAnomalyScore, group, number(prediction.map.score, 6), "1", "", at, by);
      if (object::is_calibrated(prediction.map)) {
        observations.add("NM", kAnomalyPercentile, group, number(object::score_percentile(prediction.map), 1), "%", "",
                         at, by);
      }
      break;
  }
}

std::string observations(const MessageStudy& message, const config::MessageConfig& config,
                         const ResultContext& context) {
  Observations obx;
  obx.add(config.study_uid_as_text ? "ST" : "HD", kStudy, "", message.study->study_instance_uid.str(), "", "", "", "",
          "F");
  std::size_t number_of_image = 0;
  for (const ReportedImage& image : message.study->images) {
    const std::string group = std::to_string(++number_of_image);
    obx.add(config.study_uid_as_text ? "ST" : "HD", kSourceOfMeasurement, group, image.record.sop_instance_uid.str(),
            "", "", "", "", "F");
    if (image.findings.empty()) obx.add("ST", kNotAnalysed, group, escaped(why_not_analysed(image)));
    for (const std::string& note : image_notes(image, context.config))
      obx.add("TX", kQualityNote, group, escaped(note));
    std::size_t number_of_finding = 0;
    for (const object::FindingRecord& finding : image.findings) {
      const std::string subgroup = group + "." + std::to_string(++number_of_finding);
      if (finding.prediction.not_asked.empty()) {
        add_finding(obx, subgroup, image, finding.prediction, context);
      } else {
        obx.add("ST", kNotAsked, subgroup, escaped(finding.prediction.task + ": " + finding.prediction.not_asked));
      }
    }
  }
  std::size_t line = 0;
  for (const std::string& text : message.impression) obx.add("TX", kImpression, std::to_string(++line), escaped(text));
  if (message.priority) obx.add("NM", kPriority, "", std::to_string(static_cast<int>(*message.priority)), "1");
  if (!message.urgent.empty()) obx.add("ST", kUrgentBecause, "", escaped(message.urgent), "", "A");
  return obx.text();
}

// UTF-8 to what the site reads; '?' for what it lacks.
std::string in_characters(const std::string& utf8, config::Hl7Characters characters) {
  if (characters == config::Hl7Characters::kUtf8) return utf8;
  std::string out;
  for (std::size_t i = 0; i < utf8.size(); ++i) {
    const auto c = static_cast<unsigned char>(utf8[i]);
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c >= 0xC0) {
      const bool latin =
          characters == config::Hl7Characters::kLatin1 && (c == 0xC2 || c == 0xC3) && i + 1 < utf8.size();
      out += latin ? static_cast<char>((c & 0x03) << 6 | (static_cast<unsigned char>(utf8[i + 1]) & 0x3F)) : '?';
    }
  }
  return out;
}

}  // namespace

std::string encode_oru(const MessageStudy& message, const config::MessageConfig& config, const ResultContext& context) {
  std::vector<std::pair<std::string, Segment>> head;
  for (const char* name : {"MSH", "PID", "PV1", "ORC", "OBR"}) head.emplace_back(name, Segment(name));
  const Values values = values_of(message, context);
  const auto put = [&](const std::string& field, const std::string& source) {  // "PID-3.4"
    const std::size_t dot = field.find('.');
    const int number = std::stoi(field.substr(4, dot - 4));
    for (auto& [name, segment] : head) {
      if (field.compare(0, 3, name) != 0) continue;
      if (dot == std::string::npos) {
        segment.set(number, filled(source, values));
      } else {
        segment.set(number, std::stoi(field.substr(dot + 1)), filled(source, values));
      }
    }
  };
  for (const auto& [field, source] : kDefaultFields) put(field, source);
  for (const auto& [field, source] : config.fields) put(field, source);
  Segment& msh = head.front().second;
  msh.set(2, "^~\\&");
  msh.set(9, "ORU^R01^ORU_R01");
  msh.set(10, message.control_id);
  msh.set(12, "2.5.1");
  msh.set(18, config.characters == config::Hl7Characters::kUtf8     ? "UNICODE UTF-8"
              : config.characters == config::Hl7Characters::kLatin1 ? "8859/1"
                                                                    : "ASCII");
  std::string text;
  for (const auto& [name, segment] : head) text += segment.text();
  text += "NTE|1||" + escaped(context.config.disclaimer) + "\r";
  return in_characters(text + observations(message, config, context), config.characters);
}

}  // namespace node::report
