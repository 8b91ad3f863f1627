// AuditSink: where the messages of the audit trail go: to a file, a line each, or to syslog over TCP or TLS.
//
// Guarantee: nobody waits for it. What cannot be written yet is kept, up to 10,000 messages, and tried again; what is
//            lost then is counted in the log (event=audit_lost).
// Threads:   one of its own; the destructor gives it a few seconds to write what it has.
// Source:    PS3.15 A.6 (transmission), RFC 5424 (syslog), RFC 5425 and 6587 3.4.1 (framing by octet count).
#pragma once

#include <memory>
#include <string>

#include "config/base/status.h"
#include "config/operate_config.h"

namespace node::operate {

class AuditSink {
 public:
  // Puts itself behind audit::set_sink(), and where it is the node's says that it starts; the destructor that it stops.
  // Null where nothing is configured. Errors: kUnavailable: the file cannot be opened.
  static Result<std::unique_ptr<AuditSink>> open(const config::AuditConfig& config, const std::string& ae_title,
                                                 bool of_node = true);
  ~AuditSink();

 private:
  struct Impl;
  explicit AuditSink(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace node::operate
