// negotiate: which presentation contexts of an association request are accepted.
//
// Guarantee: only classes that this node stores or answers, each with the sender's first transfer syntax that DCMTK
//            3.6.7 can receive. HTJ2K is not among them: it aborts the association when the data set arrives.
// Source:    PS3.8 9.3.3.2 (results), PS3.4 B.5 (storage SOP classes), PS3.5 10 and PS3.6 A (transfer syntaxes).
#pragma once

#include <string_view>

struct T_ASC_Parameters;  // DCMTK.

namespace node::receive {

// Answers every proposed context. Returns how many were accepted.
int negotiate(T_ASC_Parameters& parameters);

bool is_storage_class(std::string_view sop_class_uid);

}  // namespace node::receive
