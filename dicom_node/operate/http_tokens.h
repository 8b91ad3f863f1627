// The tokens that open the HTTP API: that of http.token_file, and one of each person in http.tokens_file.
#pragma once

#include <string>
#include <vector>

#include "config/base/status.h"
#include "config/operate_config.h"

namespace node::operate {

// In the audit trail, so nobody's name in http.tokens_file.
inline constexpr const char* kSharedTokenName = "http";  // Whoever shows the token of http.token_file.
inline constexpr const char* kNobodyName = "anonymous";  // Whoever shows none, or a wrong one.

struct NamedToken {
  std::string name;  // Whose it is, for the audit trail.
  std::string token;
  bool operator==(const NamedToken&) const = default;
};

// The first line of http.token_file; empty where none is configured. Errors: kInvalidArgument.
Result<std::string> read_token(const config::HttpConfig& config);

// That one and those of http.tokens_file, a line each: "anna: 3f9c..."; "#" begins a remark. Errors: kInvalidArgument,
// naming file and line, never a token: no such line, a token of fewer than 16 characters (of http.token_file only where
// http.bind is no loopback address) or with spaces, a name with quotes, a name or a token that stands there twice.
Result<std::vector<NamedToken>> read_tokens(const config::HttpConfig& config);

}  // namespace node::operate
