"""Which parts of an image are looked at, what becomes of their scores, and what a film of both sides is: detectors, crops,
chains of tasks, halves, and their groups and pictures in the results."""
from run import Mutation

OPTIONS = []
REGIONS = "inference/regions.cpp"
HEAD = "inference/region_head.cpp"
PREDICTOR = "inference/region_predictor.cpp"
YOLOS = "inference/yolos.cpp"
SCRIPT = "inference/torchscript_detector.cpp"
INPUT = "inference/detector_input.cpp"
REQUEST = "inference/request.cpp"
ROUTER = "dicom_node/route/router.cpp"
TASKS = "config/task_section.cpp"
HALVES = "config/router_section.cpp"
GROUPS = "dicom_node/report/region_groups.cpp"
MEASURED = "dicom_node/report/measurement_groups.cpp"
SUMMARY = "dicom_node/report/finding_summary.cpp"
PICTURE = "dicom_node/report/region_picture.cpp"
NOTES = "dicom_node/report/finding_notes.cpp"
HL7 = "dicom_node/report/hl7_oru.cpp"
MARKS = "dicom_node/report/presentation_state.cpp"
TEXT = "dicom_node/report/text_report.cpp"
MESSAGES = "dicom_node/report/messages.cpp"
OVERLAY = "dicom_node/report/overlay_picture.cpp"

PARITY = "inference/region_parity_test.py engine_tool"
DETECTORS = "inference/torchscript_detector_test.py engine_tool"
STUDY = "integration/skelex_study_test.py skelex-node"
NEAREST = {REGIONS: ("regions_test", PARITY), HEAD: ("regions_test", PARITY), PREDICTOR: ("regions_test", PARITY),
           YOLOS: (PARITY,), SCRIPT: (DETECTORS,), INPUT: (DETECTORS, PARITY), REQUEST: (PARITY,),
           ROUTER: ("router_test",), TASKS: ("node_config_test",), HALVES: ("node_config_test",),
           GROUPS: ("report_objects_test", STUDY), MEASURED: ("report_objects_test",), SUMMARY: ("report_objects_test",),
           PICTURE: ("report_picture_test",), OVERLAY: ("report_picture_test",),
           **dict.fromkeys((NOTES, HL7, MARKS, TEXT, MESSAGES), ("report_objects_test",))}


def mutations():
    return [
        Mutation("corners are rounded, not cut", REGIONS, "std::clamp(at, 0.0F,", "std::clamp(at + 0.5F, 0.0F,"),
        Mutation("boxes of all labels suppress each other", REGIONS, "surer.label == box.label && overlap", "overlap"),
        Mutation("a side marker is a region", REGIONS,
                 "if (std::find(kNoRegions.begin(), kNoRegions.end(), region.label) != kNoRegions.end()) {",
                 "if (false) {"),
        Mutation("NaN boxes are believed", REGIONS, "if (!std::isfinite(number))", "if (false && !std::isfinite(number))"),
        Mutation("a label that the detector does not have is believed", REGIONS,
                 "box.label < static_cast<float>(labels.size()) && ", ""),
        Mutation("classes of one label do not suppress each other", REGIONS,
                 "std::find(labels.begin(), labels.end(), label) - labels.begin()", "&label - labels.data()"),
        Mutation("a crop is one column off", REGIONS, "row + box.left, row + box.right",
                 "row + box.left - (box.left > 0 ? 1 : 0), row + box.right - (box.left > 0 ? 1 : 0)"),
        Mutation("the image's score is the last region's", HEAD, "if (score.value <= greatest[i].value) continue;", ""),
        Mutation("tumour is malignant alone", HEAD, "p[1] + p[2] + p[3]", "p[1]"),
        Mutation("the whole image is not among the regions' scores", HEAD,
                 "for (std::size_t r = 0; r < regions.size(); ++r) {", "for (std::size_t r = regions.size() > 1 ? 1 : 0; r < regions.size(); ++r) {"),
        Mutation("a region's failure is passed over", PREDICTOR, "if (!failure.ok()) return job->done(failure);", ""),
        Mutation("the left half is the right one", PREDICTOR, 'which == config::Half::kRight ? "R" : "L"', 'which == config::Half::kRight ? "L" : "R"'),
        Mutation("both halves are the left of the image", REGIONS, "Box{columns / 2, 0, columns, rows}", "Box{0, 0, columns / 2, rows}"),
        Mutation("YOLOS takes none for a class", YOLOS, "probabilities.size(2) - 1;  // The last is none.", "probabilities.size(2);"),
        Mutation("NaN of a YOLOS is passed on as boxes", YOLOS, "if (!numbers[i]) found[i]", "if (!numbers[i] && false) found[i]"),
        Mutation("NaN of one image is that of all", YOLOS, "if (!numbers[i]) found[i]", "if (!finite.all().item<bool>()) found[i]"),
        Mutation("YOLOS without its mid positions", YOLOS, "if (network.mid_positions &&", "if (false &&"),
        Mutation("positions aligned at the corners", YOLOS, "/*align_corners=*/false", "/*align_corners=*/true"),
        Mutation("objectness is ignored", SCRIPT, "row[4] * row[5 + label]", "row[5 + label]"),
        Mutation("the hash is not looked at", SCRIPT, "if (found != sha256) {", "if (false) {"),
        Mutation("what the file says of itself is not looked at", SCRIPT,
                 'NODE_RETURN_IF_ERROR(check_against_file(file.manifest, extra["config.txt"], file.path));', ""),
        Mutation("a detector is tried on black alone", SCRIPT, "for (const bool black : {true, false}) {", "for (const bool black : {true}) {"),
        Mutation("several images to a file that takes one", SCRIPT, "several_at_once_ = attempt(2, true).ok() && attempt(2, false).ok();", "several_at_once_ = true;"),
        Mutation("a letterbox at the top left", INPUT, "if (input.fit == Fit::kLetterbox) {", "if (false) {"),
        Mutation("a chain goes on below the value", REQUEST,
                 "return score_of(*gate, *when).value >= when->at_least ? Wanted::kYes : Wanted::kNo;", "return Wanted::kYes;"),
        Mutation("a circle of tasks is taken", TASKS, "!cycle.empty()", "false"),
        Mutation("a route may ask for what waits without what it waits for", HALVES,
                 "if (gate == names.waits_for.end() ||", "if (true || gate == names.waits_for.end() ||"),
        Mutation("a split task may be waited for", TASKS, "if (other->split) {", "if (false) {"),
        Mutation("what is urgent of a film is not of its halves", HALVES,
                 "if (condition.task == task.name) urgent.push_back", "if (false) urgent.push_back"),
        Mutation("a film is split from whatever side it is seen", ROUTER, 'if (facts.orientation != "L\\\\F")', "if (false)"),
        Mutation("a film upside down or oblique is split", ROUTER, 'if (facts.orientation != "L\\\\F")', 'if (!facts.orientation.starts_with("L"))'),
        Mutation("a film is split whatever its shape", ROUTER,
                 "if (5 * static_cast<std::int64_t>(facts.columns) < 6 * static_cast<std::int64_t>(facts.rows))", "if (false)"),
        Mutation("a lateral film is split", ROUTER, 'if (facts.view != "AP" && facts.view != "PA")', "if (false)"),
        Mutation("limits of age do not hold for halves", ROUTER, "if (otherwise.empty() && no_halves.empty()) {", "if (no_halves.empty()) {"),
        Mutation("a half has the side of the film", MEASURED,
                 "source.side() : prediction.part.side;", "source.side() : source.side();"),
        Mutation("an outline has its corners crossed", GROUPS, "{right, top}, {right, bottom}", "{right, bottom}, {right, top}"),
        Mutation("a region has no site", GROUPS, "site_of(region, context.config)) {", "std::optional<Code>()) {"),
        Mutation("a box of a film of both sides is bilateral", GROUPS, '!whole && film == "B" ? "" : film', "film"),
        Mutation("every score is the whole image's", MEASURED, "prediction, score.region, record, finding.frame", "prediction, 0, record, finding.frame"),
        Mutation("the whole image has no group of its own", GROUPS, "for (std::size_t r = 0; r <", "for (std::size_t r = 1; r <"),
        Mutation("the notes of regions are kept back", NOTES, "for (const std::string& note : region_notes(finding.prediction)) add(where + note);", ""),
        Mutation("what was out of scope is kept back", NOTES, "add(image.record.route.reason);", ""),
        Mutation("HL7 says no notes", HL7, 'obx.add("TX", kQualityNote, group, escaped(note));', "static_cast<void>(note);"),
        Mutation("a presentation state says no notes", MARKS, "lines.push_back(note);", "static_cast<void>(note);"),
        Mutation("the text report says no notes", TEXT, "lines.push_back(note);", "static_cast<void>(note);"),
        Mutation("a webhook says no notes", MESSAGES, '{"notes", image_notes(image, context.config)}', '{"notes", Json::array()}'),
        Mutation("a map's picture says no notes", OVERLAY, "if (!text.notes.empty()) canvas.text(", "if (false) canvas.text("),
        Mutation("detector and header may disagree unsaid", SUMMARY, "if (!head.contradict(term->second, route.body_part)) continue;", "continue;"),
        Mutation("a region is not highlighted", PICTURE, "deciding ? kDecidingColour : kRegionColour);\n    }", "kRegionColour);\n    }"),
    ]


def tests(mutation):
    return [list(NEAREST[mutation.path])]
