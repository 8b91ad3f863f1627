// codes: every coded concept that a report uses, in one table.
//
// Guarantee: a private code value is at most 16 characters (VR SH), starts with SKX- and is the same on every node for
//            the same names; its scheme, 99SKELEX, is declared in each report.
// Threads:   any.
// Source:    PS3.16: TID 1500, 1501, 300, 4019, CID 42, 240, 244, 4031, Annex L; UCUM.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/task_config.h"

namespace node::report {

using config::Code;

inline constexpr const char* kPrivateScheme = "99SKELEX";

// Document and groups.
extern const Code kLanguageEnglish, kProcedureUnspecified, kImagingMeasurements, kMeasurementGroup;
extern const Code kTrackingIdentifier, kTrackingUniqueIdentifier, kFinding, kFindingSite, kLaterality;
extern const Code kAlgorithmName, kAlgorithmVersion, kAlgorithmParameters, kAlgorithmFamily, kArtificialIntelligence;
extern const Code kSourceOfMeasurement, kImageRegion, kBestIllustration, kComment, kNotANumber;
extern const Code kPresent, kAbsent, kUndetermined;
// Observer of a document without a template of DCMTK's own.
extern const Code kLanguage, kObserverType, kDevice, kDeviceObserverUid, kDeviceObserverName, kDeviceObserverModel,
    kDeviceObserverManufacturer;
// Key objects and plain text.
extern const Code kOfInterest, kKeyObjectDescription, kDiagnosticImagingReport, kFindings, kImpressions, kImpression,
    kProcedureDescription, kProcedureReported;
// Equipment and references of image objects.
extern const Code kProcessingEquipment, kSourceImage, kSegmentation, kAlteredStructure;
// Private.
extern const Code kProbability, kAnomalyScore, kAnomalyPercentile, kCertainty, kCertain, kDoubtful, kQualityNote,
    kNotAnalysed, kNotAsked, kPeakError, kOverallResult, kFindingsPresent, kNothingFound;

// All of the above and the regions below, for the documentation; those of tasks and labels come with the configuration.
std::vector<Code> codes_in_results();

// The anatomic region of a term of Body Part Examined (PS3.16 Annex L); none: a term outside the limbs, or unknown.
std::optional<Code> region_code(std::string_view body_part);
// R, L, B of Image Laterality (0020,0062); none for U or anything else: no laterality rather than a guess.
std::optional<Code> laterality_code(std::string_view laterality);
// Terms of Body Part Examined that have no side: a series of them must not have Laterality (0020,0060), all others must
// (PS3.3 C.7.3.1), if only an empty one.
bool is_unpaired(std::string_view body_part);
// A UCUM unit with its meaning; of an unknown one the unit itself is the meaning.
Code unit_code(std::string_view ucum);

// What the task looks for: TaskConfig::code, else a private code made from the task's name.
Code task_code(const config::TaskConfig& task);
// The name of the task as the file has it: a task of a half says what the task says that it reads the half for.
std::string name_in_file(const config::TaskConfig& task);
// What label `index` says: TaskConfig::label_codes, for a task of one label its own code, else a private code made from
// the names of task and label.
Code label_code(const config::TaskConfig& task, std::size_t index, std::string_view label);

}  // namespace node::report
