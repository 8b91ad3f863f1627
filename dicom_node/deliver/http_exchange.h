// http_exchange: the answer to a request that was written over a Connection.
//
// Threads: as Connection.
// Source:  RFC 9112.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "config/base/status.h"
#include "dicom_node/deliver/connection.h"

namespace node::deliver {

// Of the header Host (RFC 9110 7.2): an IPv6 address stands in brackets.
std::string host_header(const std::string& host, std::uint16_t port);

struct HttpResponse {
  int status = 0;
  std::string reason, body;
  bool keep_alive = false;  // Else the connection is of no use any more.
};

// Errors: kUnavailable: it did not come whole in time, is not HTTP, or is longer than 1 MiB.
Result<HttpResponse> read_response(Connection& connection, std::chrono::milliseconds timeout);

}  // namespace node::deliver
