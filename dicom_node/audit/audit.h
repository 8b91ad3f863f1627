// audit: who did what with which study, as messages of the DICOM audit trail; one function an event.
//
// Guarantee: no message names a patient: studies and objects are named by UID alone. (The standard asks for the
// patient's
//            ID too; the study UID leads to it in the PACS, for those who may know it.) Without a sink nothing is made.
// Threads:   any; set_sink() before the first event.
// Source:    PS3.15 A.5 (audit trail message format profile), A.5.2 (schema), A.5.3 (messages); RFC 3881.
#pragma once

#include <functional>
#include <map>
#include <string>

namespace node::audit {

// Takes one <AuditMessage>, a line without end; must not wait. `source`: the node's AE title.
void set_sink(const std::string& source, std::function<void(std::string)> sink);

struct Party {
  std::string name;  // Of a peer in the configuration, else its AE title; of a person, or "http" where nobody is named.
  std::string host;  // Its address.
  std::string for_user{};  // The person for whom it acts, so it claims.
};
using Studies = std::map<std::string, int>;  // Study Instance UID -> number of objects.

void application(bool starts);                                  // 110100.
void received(const Party& from, const Studies& studies);       // 110104, Create.
void sending(const Party& to, const Studies& studies);          // 110102, Execute.
void sent(const Party& to, const Studies& studies, bool good);  // 110104, Read.
void looked(const Party& who, const std::string& study_uid);    // 110103, Read.
void changed(const Party& who, const std::string& target);      // 110103, Update: the address that was posted to.
void asked(const Party& who, const std::string& target);        // 110112: a listing, with what was searched for.
void refused(const Party& who, const std::string& why);         // 110113, Node Authentication.
void refused_login(const Party& who);                           // 110114, Login: a wrong token.
void logged_in(const Party& who);                               // 110114, Login.
void logged_out(const Party& who);                              // 110114, Logout.
void configured(bool taken);  // 110113, Software Configuration: read again at a signal, taken or refused.

}  // namespace node::audit
