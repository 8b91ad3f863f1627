#include "dicom_node/report/codes.h"

#include <fmt/format.h>

#include <map>
#include <set>

#include "dicom_node/object/sha256.h"
#include "dicom_node/report/result_object.h"

namespace node::report {
namespace {

constexpr std::size_t kCodeValueMax = 16;    // VR SH
constexpr std::size_t kCodeMeaningMax = 64;  // VR LO: characters.

// "SKX-" and the name in capitals, digits and dashes; one too long is cut and told apart by a digest.
Code private_code(std::string_view name, std::string_view meaning) {
  std::string value = "SKX-";
  for (const char c : name) {
    const bool lower = c >= 'a' && c <= 'z', kept = (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (lower)
      value += static_cast<char>(c - 'a' + 'A');
    else if (kept)
      value += c;
    else if (value.back() != '-')
      value += '-';
  }
  while (value.size() > 4 && value.back() == '-') value.pop_back();
  bool ascii = true;
  for (const char c : name) ascii = ascii && static_cast<unsigned char>(c) < 0x80;
  if (value.size() > kCodeValueMax || value.size() == 4 || !ascii) {
    object::Sha256 digest;
    digest.update(name);
    const std::string bytes = digest.finish();
    value = fmt::format("{}-{:02X}{:02X}", value.substr(0, kCodeValueMax - 5), static_cast<unsigned char>(bytes[0]),
                        static_cast<unsigned char>(bytes[1]));
  }
  return {value, kPrivateScheme, shorten(std::string(meaning), kCodeMeaningMax)};
}

// Table L-1 of PS3.16, the limbs and what joins them.
const std::map<std::string_view, Code, std::less<>>& regions() {
  static const std::map<std::string_view, Code, std::less<>> table{
      {"ACJOINT", {"85856004", "SCT", "Acromioclavicular joint"}},
      {"ANKLE", {"70258002", "SCT", "Ankle joint"}},
      {"CALCANEUS", {"80144004", "SCT", "Calcaneus"}},
      {"CLAVICLE", {"51299004", "SCT", "Clavicle"}},
      {"ELBOW", {"16953009", "SCT", "Elbow joint"}},
      {"EXTREMITY", {"66019005", "SCT", "Extremity"}},
      {"FEMUR", {"71341001", "SCT", "Femur"}},
      {"FIBULA", {"87342007", "SCT", "Fibula"}},
      {"FINGER", {"7569003", "SCT", "Finger"}},
      {"FOOT", {"56459004", "SCT", "Foot"}},
      {"FOREARM", {"14975008", "SCT", "Forearm"}},
      {"HAND", {"85562004", "SCT", "Hand"}},
      {"HIP", {"24136001", "SCT", "Hip joint"}},
      {"HUMERUS", {"85050009", "SCT", "Humerus"}},
      {"JOINT", {"39352004", "SCT", "Joint"}},
      {"KNEE", {"72696002", "SCT", "Knee"}},
      {"LOWERLEG", {"30021000", "SCT", "Lower leg"}},
      {"PATELLA", {"64234005", "SCT", "Patella"}},
      {"PELVIS", {"816092008", "SCT", "Pelvis"}},
      {"RADIUS", {"62413002", "SCT", "Radius"}},
      {"RADIUSULNA", {"110535000", "SCT", "Radius and ulna"}},
      {"SCAPULA", {"79601000", "SCT", "Scapula"}},
      {"SCJOINT", {"7844006", "SCT", "Sternoclavicular joint"}},
      {"SESAMOID", {"58742003", "SCT", "Sesamoid bones of foot"}},
      {"SHOULDER", {"16982005", "SCT", "Shoulder"}},
      {"THIGH", {"68367000", "SCT", "Thigh"}},
      {"THUMB", {"76505004", "SCT", "Thumb"}},
      {"TIBIA", {"12611008", "SCT", "Tibia"}},
      {"TIBIAFIBULA", {"110536004", "SCT", "Tibia and fibula"}},
      {"TOE", {"29707007", "SCT", "Toe"}},
      {"ULNA", {"23416004", "SCT", "Ulna"}},
      {"UPPERARM", {"40983000", "SCT", "Upper arm"}},
      {"WRIST", {"74670003", "SCT", "Wrist joint"}},
  };
  return table;
}

}  // namespace

const Code kLanguageEnglish{"en-US", "RFC5646", "English (United States)"};
const Code kProcedureUnspecified{"43468-8", "LN", "XR unspecified body region"};
const Code kImagingMeasurements{"126010", "DCM", "Imaging Measurements"};
const Code kMeasurementGroup{"125007", "DCM", "Measurement Group"};
const Code kTrackingIdentifier{"112039", "DCM", "Tracking Identifier"};
const Code kTrackingUniqueIdentifier{"112040", "DCM", "Tracking Unique Identifier"};
const Code kFinding{"121071", "DCM", "Finding"};
const Code kFindingSite{"363698007", "SCT", "Finding Site"};
const Code kLaterality{"272741003", "SCT", "Laterality"};
const Code kAlgorithmName{"111001", "DCM", "Algorithm Name"};
const Code kAlgorithmVersion{"111003", "DCM", "Algorithm Version"};
const Code kAlgorithmParameters{"111002", "DCM", "Algorithm Parameters"};
const Code kAlgorithmFamily{"111000", "DCM", "Algorithm Family"};
const Code kArtificialIntelligence{"123110", "DCM", "Artificial Intelligence"};
const Code kSourceOfMeasurement{"121112", "DCM", "Source of Measurement"};
const Code kBestIllustration{"121080", "DCM", "Best illustration of finding"};
const Code kImageRegion{"111030", "DCM", "Image Region"};
const Code kComment{"121106", "DCM", "Comment"};
const Code kNotANumber{"114000", "DCM", "Not a number"};
const Code kLanguage{"121049", "DCM", "Language of Content Item and Descendants"};
const Code kObserverType{"121005", "DCM", "Observer Type"};
const Code kDevice{"121007", "DCM", "Device"};
const Code kDeviceObserverUid{"121012", "DCM", "Device Observer UID"};
const Code kDeviceObserverName{"121013", "DCM", "Device Observer Name"};
const Code kDeviceObserverManufacturer{"121014", "DCM", "Device Observer Manufacturer"};
const Code kDeviceObserverModel{"121015", "DCM", "Device Observer Model Name"};
const Code kOfInterest{"113000", "DCM", "Of Interest"};
const Code kKeyObjectDescription{"113012", "DCM", "Key Object Description"};
const Code kDiagnosticImagingReport{"18748-4", "LN", "Diagnostic Imaging Report"};
const Code kProcedureDescription{"121064", "DCM", "Current Procedure Descriptions"};
const Code kProcedureReported{"121058", "DCM", "Procedure reported"};
const Code kFindings{"121070", "DCM", "Findings"};
const Code kImpressions{"121072", "DCM", "Impressions"};
const Code kImpression{"121073", "DCM", "Impression"};
const Code kPresent{"52101004", "SCT", "Present"};
const Code kAbsent{"272519000", "SCT", "Absent"};
const Code kUndetermined{"373068000", "SCT", "Undetermined"};
const Code kProcessingEquipment{"109102", "DCM", "Processing Equipment"};
const Code kSourceImage{"121322", "DCM", "Source image for image processing operation"};
const Code kSegmentation{"113076", "DCM", "Segmentation"};
const Code kAlteredStructure{"49755003", "SCT", "Morphologically Altered Structure"};
const Code kProbability{"SKX-PROB", kPrivateScheme, "Probability"};
const Code kAnomalyScore{"SKX-ANOM", kPrivateScheme, "Anomaly score"};
const Code kAnomalyPercentile{"SKX-ANOM-PCT", kPrivateScheme, "Anomaly score percentile"};
const Code kCertainty{"SKX-LEVEL", kPrivateScheme, "Level of certainty"};
const Code kCertain{"SKX-CERTAIN", kPrivateScheme, "Certain"};
const Code kDoubtful{"SKX-DOUBTFUL", kPrivateScheme, "Doubtful"};
const Code kQualityNote{"SKX-NOTE", kPrivateScheme, "Quality note"};
const Code kNotAnalysed{"SKX-SKIPPED", kPrivateScheme, "Image not analysed"};
const Code kNotAsked{"SKX-NOTASKED", kPrivateScheme, "Task not asked"};
const Code kPeakError{"SKX-ANOM-PEAK", kPrivateScheme, "Highest patch error"};
const Code kOverallResult{"SKX-OVERALL", kPrivateScheme, "Overall result"};
const Code kFindingsPresent{"SKX-FOUND", kPrivateScheme, "Findings present"};
const Code kNothingFound{"SKX-NOTHING", kPrivateScheme, "Nothing found"};

std::vector<Code> codes_in_results() {
  std::vector<Code> codes{kLanguageEnglish,
                          kProcedureUnspecified,
                          kImagingMeasurements,
                          kMeasurementGroup,
                          kTrackingIdentifier,
                          kTrackingUniqueIdentifier,
                          kFinding,
                          kFindingSite,
                          kLaterality,
                          kAlgorithmName,
                          kAlgorithmVersion,
                          kAlgorithmParameters,
                          kAlgorithmFamily,
                          kArtificialIntelligence,
                          kSourceOfMeasurement,
                          kBestIllustration,
                          kImageRegion,
                          kComment,
                          kNotANumber,
                          kPresent,
                          kAbsent,
                          kUndetermined,
                          kLanguage,
                          kObserverType,
                          kDevice,
                          kDeviceObserverUid,
                          kDeviceObserverName,
                          kDeviceObserverModel,
                          kDeviceObserverManufacturer,
                          kOfInterest,
                          kKeyObjectDescription,
                          kDiagnosticImagingReport,
                          kFindings,
                          kImpressions,
                          kImpression,
                          kProcedureDescription,
                          kProcedureReported,
                          kProcessingEquipment,
                          kSourceImage,
                          kSegmentation,
                          kAlteredStructure,
                          kProbability,
                          kAnomalyScore,
                          kAnomalyPercentile,
                          kCertainty,
                          kCertain,
                          kDoubtful,
                          kQualityNote,
                          kNotAnalysed,
                          kNotAsked,
                          kPeakError,
                          kOverallResult,
                          kFindingsPresent,
                          kNothingFound};
  for (const auto& [term, code] : regions()) codes.push_back(code);
  return codes;
}

std::optional<Code> region_code(std::string_view body_part) {
  const auto found = regions().find(body_part);
  if (found == regions().end()) return std::nullopt;
  return found->second;
}

std::optional<Code> laterality_code(std::string_view laterality) {
  if (laterality == "R") return Code{"24028007", "SCT", "Right"};
  if (laterality == "L") return Code{"7771000", "SCT", "Left"};
  if (laterality == "B") return Code{"51440002", "SCT", "Bilateral"};
  return std::nullopt;
}

bool is_unpaired(std::string_view body_part) {
  static const std::set<std::string_view> terms{
      "ABDOMEN", "ABDOMENPELVIS", "CHEST",   "CHESTABDOMEN", "COCCYX",  "CSPINE",   "CTSPINE", "FACE",
      "HEAD",    "JAW",           "LSPINE",  "LSSPINE",      "MAXILLA", "NECK",     "PELVIS",  "SKULL",
      "SPINE",   "SSPINE",        "STERNUM", "TLSPINE",      "TSPINE",  "WHOLEBODY"};
  return terms.contains(body_part);
}

Code unit_code(std::string_view ucum) {
  static const std::map<std::string_view, const char*> meanings{
      {"1", "no units"}, {"%", "Percent"},     {"mo", "month"},      {"a", "year"},
      {"d", "day"},      {"mm", "millimeter"}, {"cm", "centimeter"}, {"deg", "degree"},
  };
  const auto found = meanings.find(ucum);
  return {std::string(ucum), "UCUM", found == meanings.end() ? std::string(ucum) : found->second};
}

std::string name_in_file(const config::TaskConfig& task) {
  if (task.half == config::Half::kNone) return task.name;
  return task.name.substr(0, task.name.size() - config::half_name("", task.half).size());
}

Code task_code(const config::TaskConfig& task) {
  return task.code.value.empty() ? private_code(name_in_file(task), name_in_file(task)) : task.code;
}

Code label_code(const config::TaskConfig& task, std::size_t index, std::string_view label) {
  if (index < task.label_codes.size()) return task.label_codes[index];
  if (task.output == config::OutputKind::kSigmoid && task.labels.size() == 1 && !task.code.value.empty())
    return task.code;
  return private_code(fmt::format("{}-{}", name_in_file(task), label), label);
}

}  // namespace node::report
