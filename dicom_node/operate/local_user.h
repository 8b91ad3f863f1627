// Who gives a command on this machine, for the audit trail.
#pragma once

#include <string>

namespace node::operate {

// The header in which a command line says it to the running node.
inline constexpr const char* kLocalUserHeader = "Skelex-User";

// The user who has logged in, also behind sudo, else the process's; its number where it has no name.
std::string local_user();

}  // namespace node::operate
