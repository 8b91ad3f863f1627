"""What a model and a viewer are shown: decoding, LUTs, windows, photometric interpretation."""
from run import Mutation

OPTIONS = ["-DNODE_INFERENCE=OFF"]
TABLE = "dicom_node/object/grey_table.cpp"
STORED = "dicom_node/object/stored_pixels.cpp"
FRAGMENTS, JPEG = "dicom_node/object/fragments.cpp", "dicom_node/object/jpeg_stream.cpp"
LOADER = "dicom_node/object/image_loader.cpp"
STRUCTURE = "dicom_node/object/structure.cpp"


def mutations():
    return [
        Mutation("MONOCHROME1 is not inverted", TABLE, 'if (photometric == "MONOCHROME1") {', "if (false) {"),
        Mutation("rescale is not applied", TABLE, "value = value * *slope + *intercept;", ""),
        Mutation("the Modality LUT is not applied", TABLE, "for (double& value : modality_) value = (*lut)(value);", ""),
        Mutation("the VOI LUT is not applied", TABLE, "for (double& value : shown.values) value = (*lut)(value);", ""),
        Mutation("a linear window without its half", TABLE, "if (x <= center - 0.5 - (width - 1) / 2) return 0;",
                 "if (x <= center - (width - 1) / 2) return 0;"),
        Mutation("linear exact taken for linear", TABLE, 'if (function == "LINEAR_EXACT") window.function = Function::kLinearExact;', ""),
        Mutation("sigmoid taken for linear", TABLE, 'if (function == "SIGMOID") window.function = Function::kSigmoid;', ""),
        Mutation("a window that misses the data is used", TABLE, "if (!shows_something(shown)) continue;\n      static",
                 "static"),
        Mutation("padding counts as image", TABLE, "padding_[i] != 0 ? darkest : shown[i]", "shown[i]"),
        Mutation("a padding range is taken for its first value", STORED, "number(limit.value_or(*value))", "number(*value)"),
        Mutation("signed values read as unsigned", TABLE, "if (!pixels_.is_signed) return static_cast<int>(i);",
                 "return static_cast<int>(i);"),
        Mutation("a LUT that begins at a signed value read as unsigned", TABLE,
                 "lut.first = first_mapped(descriptor[1], count, input);", "lut.first = descriptor[1];"),
        Mutation("a LUT begins below zero though it then misses the image", TABLE, "return !meets(rule) && meets(other) ? other : rule;",
                 "return !meets(rule) && meets(other) && false ? other : rule;"),
        Mutation("a small object's window is taken for one that misses", TABLE, "return static_cast<double>(between) >= kObjectShareMin",
                 "return false && static_cast<double>(between) >= kObjectShareMin"),
        Mutation("some damaged pixels are taken for an object", TABLE, "static_cast<double>(between) >= kObjectShareMin * static_cast<double>(all) &&", ""),
        Mutation("a label is taken for an object", TABLE, "if (at_most(dark) && at_most(bright)) return true;", "return true;"),
        Mutation("a JPEG stream's own colours are ignored", STORED, "follow_colours(first);", "static_cast<void>(first);"),
        Mutation("High Bit is ignored", STORED, "how.shift = high_bit + 1 - how.bits_stored;", ""),
        Mutation("Bits Stored is believed though it lies", STORED, "if (bits > 0) {", "if (false) {"),
        Mutation("planar colour read as interleaved", STORED, "if (planar && ", "if (false && "),
        Mutation("a JPEG of another size than the header says", JPEG,
                 "if (height != rows || width != columns)", "if (false)"),
        Mutation("every frame is the first", FRAGMENTS, "return Range{number + 1, number + 2};", "return Range{1, 2};"),
        Mutation("native frames: every one is the first", STORED, "native_at + size * static_cast<std::size_t>(frame)",
                 "native_at"),
        Mutation("FOR PROCESSING is taken for displayable", LOADER,
                 "if (reader->header().is_for_processing() && !options.render_for_processing)", "if (false)"),
        Mutation("red and blue exchanged", LOADER, "0.299 * pixels.at(i * 3) + 0.587 * pixels.at(i * 3 + 1) + 0.114 * pixels.at(i * 3 + 2)",
                 "0.114 * pixels.at(i * 3) + 0.587 * pixels.at(i * 3 + 1) + 0.299 * pixels.at(i * 3 + 2)"),
        Mutation("oblong pixels drawn square", LOADER, "const double aspect = *values[0] / *values[1];",
                 "const double aspect = 1;"),
        Mutation("what was done is not recorded", LOADER,
                 "image.rendering.insert(image.rendering.end(), table.rendering.begin(), table.rendering.end());", ""),
        Mutation("pixels left out are taken for shown", TABLE,
                 "sure_ &= at_most(dark + uncounted_) && at_most(bright + uncounted_);", ""),
        Mutation("a LUT's peak is missed among pixels left out", TABLE, "    sure_ &= is_monotonic(shown.values);\n", ""),
        Mutation("padding is missed among pixels left out", TABLE,
                 "sure_ &= high < pixels_.least || low > pixels_.greatest;", ""),
        Mutation("percentiles of some rows", TABLE, "Brightness automatic() {\n    sure_ = false;", "Brightness automatic() {"),
        Mutation("frames that cannot be told apart are guessed", FRAGMENTS,
                 'if (first.size() != frames) return invalid_argument("fragments that cannot be told apart by frame");',
                 "first.resize(frames, 1);"),
        Mutation("padding is cut down to Bits Stored", STORED, "value <= padding_greatest && !holds(value)", "false"),
        Mutation("a padding cell is not shifted", STORED, "if (how.shift == 0 || how.holds(all)) return all;", "return all;"),
        Mutation("elements may stand in any order", STRUCTURE, "if (out_of_order_ <= limits_.out_of_order_max)",
                 "if (true)"),
        Mutation("what is deflated may inflate to any ratio", STRUCTURE,
                 "limits.inflated_bytes_free + packed * limits.inflated_ratio_max", "limits.inflated_bytes_max"),
        Mutation("what is deflated may inflate beyond node.object_bytes_max", STRUCTURE, "limits.inflated_bytes_max, inflated_bytes_max(),",
                 "limits.inflated_bytes_max,"),
        Mutation("deflated objects may lie in memory all at once", "dicom_node/object/inflation.cpp", "return all.held == 0 || all.held + bytes <= all.most;",
                 "return true;"),
        Mutation("a group of the command or the file is let pass", STRUCTURE, "if (levels_.size() == 1 && group < 8)", "if (false)"),
    ]


def tests(_):
    return [["image_loader_test", "instance_header_test", "dicom_node/object/loader_against_pydicom_test.py loader_tool"]]
