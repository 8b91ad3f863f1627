// http_query: what stands behind the "?" of an address.
//
// Threads: reentrant.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/status.h"
#include "storage/study_store.h"

namespace node::operate {

std::vector<std::string_view> split(std::string_view text, char separator);

// "a%20b" is "a b". Errors: kInvalidArgument: a % without two hexadecimal digits, or a NUL.
Result<std::string> decode_percent(std::string_view text);

// "state=open&search=A123&before=4711&limit=50". Errors: kInvalidArgument, naming what is taken.
Result<storage::StudyFilter> parse_study_query(std::string_view query);
// "state=parked&study=1.2.3&before=4711&limit=50". Errors: as above.
Result<storage::DeliveryFilter> parse_delivery_query(std::string_view query);

// "frame=2", from 1, which it is where none is named; "v", which tells versions of a picture apart, means nothing here.
// Errors: as above.
Result<int> parse_frame_query(std::string_view query);

// "revision=3"; nothing where none is named. Errors: as above.
Result<std::optional<int>> parse_revision_query(std::string_view query);

// "body_part=KNEE"; empty where none is named. Errors: as above: up to 16 letters, digits, "_" and " ".
Result<std::string> parse_body_part_query(std::string_view query);

// The address of the next page: what was asked for, from `last` on.
std::string next_page(std::string_view path, std::string_view query, std::int64_t last, int limit);

}  // namespace node::operate
