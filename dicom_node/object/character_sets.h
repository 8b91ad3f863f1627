// character_sets: texts of a data set in UTF-8, and ours in a data set's own set.
//
// What DCMTK cannot convert, the sets of Japan, goes through iconv here: it has no name for a set that escape sequences
// switch to.
//
// Threads:   reentrant; a data set belongs to one thread.
// Source:    PS3.3 C.12.1.1.2, PS3.5 6.1.2.3 to 6.1.2.5 (code extensions), annexes H (Japanese), I (Korean), K
// (Chinese).
#pragma once

#include <optional>
#include <string>
#include <string_view>

class DcmItem;

namespace node::object {

// No letter beyond ASCII and no escape sequence, so that it is the same in every set.
bool is_plain(std::string_view text);
bool is_plain(DcmItem& data_set);  // All of its texts.

// Specific Character Set (0008,0005) as it stands there: "ISO_IR 100", "\ISO 2022 IR 87"; empty without one.
std::string character_set_of(DcmItem& data_set);

// `text`: one value, or several with backslashes, of a data set of that `set`. Nothing if it is not in it, or if the
// set is not known.
std::optional<std::string> to_utf8(const std::string& text, const std::string& set);
// Nothing if the set lacks a character. Of sets with escape sequences: those of Japan (IR 87), Korea (IR 149) and China
// (IR 58), and of others the letters of the first set.
std::optional<std::string> from_utf8(const std::string& utf8, const std::string& set);

// Whether all texts of the data set can be of that set; true of a set that cannot be converted here.
bool is_written_in(DcmItem& data_set, const std::string& set);

// All texts of the data set, sequences included, from `set` to UTF-8, and its Specific Character Set. False, and nothing
// is changed, if one cannot be converted.
bool make_unicode(DcmItem& data_set, const std::string& set);

// No terms of DICOM's: what some write who declare ISO_IR 13, and who declare ISO_IR 100 or nothing.
inline constexpr const char* kShiftJis = "Shift JIS";
inline constexpr const char* kWindows1252 = "Windows-1252";

}  // namespace node::object
