"""What leaves the node: report, overlays and the other forms of results."""
from run import Mutation

OPTIONS = ["-DNODE_INFERENCE=OFF"]
REPORT = "dicom_node/report/"
GROUPS, OBJECT, IMAGE = REPORT + "measurement_groups.cpp", REPORT + "result_object.cpp", REPORT + "image_object.cpp"
SR, DOCUMENT, SC = REPORT + "structured_report.cpp", REPORT + "sr_document.cpp", REPORT + "secondary_capture.cpp"
SEGMENT, FRAMES = REPORT + "segmentation.cpp", REPORT + "multiframe_capture.cpp"
IDENTITY, VALID = "dicom_node/object/result_identity.cpp", "dicom_node/object/valid_values.cpp"


def mutations():
    return [
        Mutation("Laterality is lost in the series", IMAGE, "result.putAndInsertString(DCM_Laterality, side", "if (false) result.putAndInsertString(DCM_Laterality, side"),
        Mutation("a picture of both sides has the first one's", IMAGE, "return same ? first : \"\";", "return first;"),
        Mutation("the finding site has no laterality", GROUPS, "tree.code(Relation::kHasConceptMod, kLaterality, *side);", ";"),
        Mutation("the finding is acquisition context", GROUPS, "tree.code(Relation::kContains, kFinding, task_code(task));", "tree.code(Relation::kHasObsContext, kFinding, task_code(task));"),
        Mutation("no Device Observer UID", SR, "addDeviceObserver(context.node_uid.c_str(), text", "addDeviceObserver(\"2.25.1\", text"),
        Mutation("the predecessor is lost", DOCUMENT, "if (!is_before(before, kind)) continue;", "continue;"),
        Mutation("what is withdrawn once its original is deleted names nobody", REPORT + "study_sources.cpp",
                 "borrow_identity(study.earlier_objects, sources", "borrow_identity({}, sources"),
        Mutation("the overlay is not in the evidence", DOCUMENT, "for (const ResultReference& overlay : study.illustrations)\n", "if (false) for (const ResultReference& overlay : study.illustrations)\n"),
        Mutation("content date from the clock", OBJECT, "object::to_dicom_time(time, source);", "object::to_dicom_time(std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now()), source);"),
        Mutation("an image object bears the time of the report", OBJECT, "image.record.predicted_at.value_or(context.time)", "context.time"),
        Mutation("thresholds exchanged", REPORT + "finding_summary.cpp", "probability >= task.threshold_certain", "probability >= task.threshold_doubtful"),
        Mutation("probability in percent", GROUPS, "score_digits(task, value, 4), unit_code(\"1\")", "score_digits(task, value, 4), unit_code(\"%\")"),
        Mutation("the peak's region is a patch too far right", REPORT + "map_peak.cpp", "column = index % across;", "column = index % across + 1;"),
        Mutation("the peak's region in rows of the map", REPORT + "map_peak.cpp", "height = static_cast<double>(source_rows) / across", "height = 16.0"),
        Mutation("Source Image Sequence is lost", SC, "put_source_image(result, image, reference.frame, unscaled);", ""),
        Mutation("burned-in annotation NO", IMAGE, "DCM_BurnedInAnnotation, \"YES\"", "DCM_BurnedInAnnotation, \"NO\""),
        Mutation("the series number changes with the image", IMAGE, "result.putAndInsertString(DCM_SeriesNumber, text.number);", "result.putAndInsertString(DCM_SeriesNumber, std::to_string(9000 + reference.source_uid.size()).c_str());"),
        Mutation("the character set is dropped", OBJECT, "if (!text.character_set().empty())", "result.findAndDeleteElement(DCM_SpecificCharacterSet); if (false)"),
        Mutation("own words in UTF-8 whatever the set", "dicom_node/object/character_sets.cpp", "if (is_plain(utf8) || set == kUnicode) return utf8;", "return utf8;"),
        Mutation("a set that lies is believed", VALID, "if (set_is_true(header, sets, bytes)) return;", "return;"),
        Mutation("a Patient ID that cannot stand is left out", VALID, "if (names_the_patient(key) && !nested) {", "if (false) {"),
        Mutation("Accession Number is not copied", IDENTITY, "DCM_StudyTime, DCM_StudyID, DCM_AccessionNumber,", "DCM_StudyTime, DCM_StudyID,"),
        Mutation("the timezone is not copied", IDENTITY, "DCM_SpecificCharacterSet, DCM_TimezoneOffsetFromUTC,", "DCM_SpecificCharacterSet,"),
        Mutation("the request is lost", IDENTITY, ": copy(source, result, DCM_RequestAttributesSequence, IfAbsent::kLeaveOut));", ": ok_status());"),
        Mutation("the Device UID is the same for every model", OBJECT, "context.node_uid, \"\", model.model_version, \"\");", "context.node_uid, \"\", \"\", \"\");"),
        Mutation("a retrained model keeps the overlay's UID", SC, "return map.model_version + \"+\"", "return \"+\""),
        Mutation("Content Qualification PRODUCT", OBJECT, "\"RESEARCH\"", "\"PRODUCT\""),
        Mutation("the report calls itself final", DOCUMENT, "DSRTypes::PF_Preliminary", "DSRTypes::PF_Final"),
        Mutation("nothing says why an image was not analysed", SR, "if (!source.image->findings.empty()) continue;", "continue;"),
        Mutation("a lossy source's overlay calls itself lossless", IMAGE, "DCM_LossyImageCompression, lossy ? \"01\" : \"00\"", "DCM_LossyImageCompression, \"00\""),
        Mutation("the tracking UID changes with the model", GROUPS, "finding.frame == 0 ? task : object::finding_key(finding), \"\", \"\")", "finding.frame == 0 ? task : object::finding_key(finding), finding.prediction.model_version, \"\")"),
        Mutation("MONOCHROME1 shown as negative by the presentation state", REPORT + "presented_image.cpp", "inverse ? \"INVERSE\" : \"IDENTITY\"", "\"IDENTITY\""),
        Mutation("fractions of a tenth of the scale", SEGMENT, "share * kFractionMax + 0.5F", "share * 25 + 0.5F"),
        Mutation("the segmentation's source is not named", SEGMENT, "put_source_image(derivation, image, reference.frame, /*unscaled=*/true);", ""),
        Mutation("every frame is the first overlay", FRAMES, "bytes += frame;", ""),
        Mutation("the report of one who gets no overlay refers to it", REPORT + "recipients.cpp", "picture == usual ? left :", "true ? left :"),
        Mutation("a positive study has no key images", REPORT + "key_objects.cpp", "== Outcome::kFound;", "== Outcome::kNothingFound;"),
    ]


def tests(_):
    return [["report_objects_test", "report_worker_test", "report_picture_test", "result_identity_test", "valid_values_test",
             "dicom_node/report/uid_recipe_test.py report_tool", "dicom_node/report/side_by_side_test.py report_tool",
             "dicom_node/report/bad_sources_test.py report_tool"]]
