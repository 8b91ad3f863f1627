// valid_values: what a header holds against the rules of its value representations does not come into a result.
//
// Guarantee: after make_valid() every text, date, time, number and UID of the data set is one that its VR allows, in
// the
//            VR that the attribute has, one value where there is one; every item of the sequences that results copy has
//            what makes it one. For results alone: pixels are read from the file, leniently.
// Threads:   as the data set.
// Source:    PS3.5 6.2 (value representations), PS3.3 C.7.1.1 (sex, birth date).
#pragma once

#include "config/base/status.h"

class DcmItem;

namespace node::object {

// In memory, of a header that results are made from. What is not valid is emptied, as if the source did not say it;
// items that lack what they must have are left out; the meaning of a code is shortened to what it may have. A character
// set that there is not, or that the bytes contradict, gives way to UTF-8 if they can be that, else to Latin-1. Errors:
// kInvalidArgument where Patient's Name, Patient ID, its issuer or Accession Number is not valid: whose result it
//         is must not be guessed from half of it. The message names the attribute and what is wrong, never the value.
Status make_valid(DcmItem& header);

}  // namespace node::object
