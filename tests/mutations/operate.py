"""Who may look, call and change: HTTP, TLS, allow-lists, the audit trail, what a reload takes, what `check` finds."""
from run import Mutation

OPTIONS = ["-DCMAKE_CXX_FLAGS="]
API, SERVER, CONFIG = "dicom_node/operate/http_api.cpp", "dicom_node/operate/http_server.cpp", "config/node_config.cpp"
CONNECTION, REFUSALS = "dicom_node/operate/http_connection.cpp", "dicom_node/operate/http_refusal_log.cpp"
ACCESS, HOST, CHANGES = "dicom_node/operate/http_access.cpp", "dicom_node/operate/http_host.cpp", "dicom_node/operate/commands/changes.cpp"
SESSION, ACCEPTOR, TLS = "dicom_node/receive/association_session.cpp", "dicom_node/receive/association_acceptor.cpp", "dicom_node/tls/tls_context.cpp"
NODE, DESTINATIONS, SERVE = "dicom_node/node.cpp", "dicom_node/destinations.cpp", "dicom_node/operate/commands/serve.cpp"
CHECK, CHECK_PEERS, QUERY = "dicom_node/operate/commands/check.cpp", "dicom_node/operate/commands/check_peers.cpp", "dicom_node/operate/http_query.cpp"


def pytest(name, only=""):
    return f"integration/{name}_test.py{only and '::test_' + only} skelex-node skelex-modality"


LOGIN = pytest("login")
TOKEN = pytest("hostile", "a_guessed_token_opens_nothing_and_the_right_one_still_does")
SLOW = pytest("hostile", "clients_that_send_a_byte_now_and_then_are_closed_and_others_served")
MALFORMED = pytest("hostile", "ten_thousand_malformed_requests_change_nothing_while_a_good_peer_is_served")
PATHS = pytest("hostile", "no_address_leads_out_of_the_pages_or_into_the_store")
ELSEWHERE = pytest("https", "elsewhere_than_on_loopback_it_takes_token_and_tls")
RENEWED = pytest("https", "certificates_are_renewed_without_a_stop_or_stay_as_they_are")
CERTIFICATES = pytest("https", "check_names_what_is_wrong_with_a_certificate_and_the_way_out")
HELD = pytest("tls", "a_peer_is_held_to_its_title_its_host_and_its_certificate_together")
BESIDE = pytest("tls", "a_plain_port_beside_it_is_for_peers_without_tls")
STRANGER = pytest("tls", "who_is_not_of_the_hospital_is_refused_and_the_log_says_why")
VERSIONS = pytest("tls", "old_versions_and_weak_suites_are_refused")
SESSIONS = pytest("tls", "no_session_is_taken_up_again")
TO_WHOM = pytest("tls", "to_whom_is_not_the_pacs_nothing_is_sent_and_it_is_said_why")
STALLED = pytest("tls", "handshakes_that_stall_cost_nobody_else_anything")
AUDIT = pytest("audit", "a_day_in_a_file")
MANY = pytest("audit", "an_association_of_many_studies_is_several_messages")
PERSONS = pytest("audit", "persons_are_named_and_one_look_is_one_message")
FLOOD = pytest("audit", "who_shows_nothing_or_guesses_does_not_fill_trail_and_log")
REFUSED = pytest("service", "what_cannot_be_reloaded_is_refused_and_all_that_was_in_force_stays")
PEERS = pytest("service", "a_new_peer_may_call_after_a_reload_and_one_that_is_gone_may_not")
PLACES = pytest("service", "destinations_come_move_and_go_with_a_reload")
NO_TRY = pytest("try", "there_is_none_unless_it_is_asked_for")
MISTAKES = pytest("command", "check_tells_the_usual_mistakes_with_a_peer_apart")
DISK = pytest("command", "check_names_a_full_disk_a_task_and_a_destination_without_use_and_an_open_token")
CLOCK = pytest("command", "check_finds_a_clock_that_was_set_back")

# Nearest tests, mutation.
BROKEN = [
    (["http_access_test", TOKEN], Mutation("any token opens", ACCESS, "if (same(token, one.token)) found = &one;", "found = &one;")),
    (["http_access_test", TOKEN], Mutation("a token without its end opens", ACCESS, "if (same(token, one.token)) found = &one;",
        "if (one.token.starts_with(token)) found = &one;")),
    (["http_server_test"], Mutation("changes need no token", API, "if (!who) return access_->refusal(request);\n  if", "if")),
    (["http_server_test"], Mutation("without a token file everybody changes", API, "if (!access_->has_tokens()) return refusal(403,", "if (false) return refusal(403,")),
    (["http_server_test", ELSEWHERE], Mutation("elsewhere than on loopback whoever looks needs no token", API,
        "if (access_->needed_by_all() && !who) {", "if (false) {")),
    (["http_access_test"], Mutation("whoever shows a token says for whom", ACCESS, "token->name == kSharedTokenName ? std::string", "true ? std::string")),
    ([pytest("audit", "a_command_says_who_gives_it_and_nobody_else_may")], Mutation("another machine says who gives a command", CONNECTION,
        "host_ == came_to_ ? view_of", "true ? view_of")),
    (["http_access_test", LOGIN], Mutation("a session without end", ACCESS, "now < session.ends) found", "true) found")),
    (["http_access_test", LOGIN], Mutation("guesses without limit", ACCESS, "std::ssize(found->second) >= kWrongTokensMax", "false")),
    (["http_access_test"], Mutation("each address of a network may guess", ACCESS, "network_of(std::string(host));", "std::string(host);")),
    (["http_access_test", LOGIN], Mutation("another site may change by a session", ACCESS,
        'return request.sec_fetch_site == "same-origin";', "return true;")),
    (["http_server_test"], Mutation("another site may change by a proxy's token", ACCESS,
        "return !(request.sec_fetch_site.empty() && request.origin.empty()) && !is_same_origin(request);", "return false;")),
    (["http_access_test"], Mutation("a token has sessions without end", ACCESS, ">= kSessionsOfOneMax", ">= 1000")),
    (["http_server_test"], Mutation("a Host with anything behind its brackets", HOST, "if (!port.empty() && (", "if (false && (")),
    (["http_access_test"], Mutation("guesses of all the world are remembered", ACCESS, "if (wrong_.size() >= kAddressesMax) return too_many();", "")),
    (["http_server_test"], Mutation("a stream goes on after its session", CONNECTION, "if (all_.api.may_follow(request())) return;",
        "return;")),
    (["http_server_test"], Mutation("who calls it otherwise is not told what to set", HOST, "if (!is_name) return", "if (true) return")),
    (["http_server_test"], Mutation("any address is this node's", HOST, "(asked.is_loopback() || asked", "(true || asked")),
    (["http_server_test"], Mutation("a second Host", CONNECTION, "if (hosts > 1 || (", "if (hosts > 9 || (")),
    (["http_server_test"], Mutation("who is closed for another is not counted", CONNECTION, "refuse_quietly(&HttpRefusals::no_room, \"it", "refuse_quietly(&HttpRefusals::busy, \"it")),
    (["http_server_test"], Mutation("another address than loopback without token and TLS, as it opens", SERVER,
        "if (!address.is_loopback() && (tokens.empty()", "if (false && (tokens.empty()")),
    (["node_config_test"], Mutation("another address than loopback without token and TLS, as it is read", CONFIG,
        "if (!is_loopback(config.bind) &&\n      (", "if (!is_loopback(config.bind) && false &&\n      (")),
    (["uid_test", PATHS], Mutation("a UID may be a path", "storage/uid.cpp", "text[i] < '0' || text[i] > '9'", "text[i] < '.' || text[i] > 'z'")),
    (["http_server_test", PATHS], Mutation("%00 in a search", QUERY, "if (!both || value == 0)", "if (!both)")),
    (["http_server_test"], Mutation("a page of any length", QUERY, "value >= 1 && value <= max", "value >= 1")),
    (["http_server_test"], Mutation("a header of any length", CONNECTION, "parser_->header_limit(kHeaderBytesMax);", "parser_->header_limit(1 << 30);")),
    (["http_server_test"], Mutation("a body of any announced length", CONNECTION,
        "if (parser_->content_length().value_or(0) > kBodyBytesMax) return refuse(http::error::body_limit);", "")),
    (["http_server_test"], Mutation("a body of any length in pieces", CONNECTION, "parser_->body_limit(kBodyBytesMax);", "")),
    (["http_server_test"], Mutation("an address of any length", API, "if (request.target.size() > kTargetBytesMax)", "if (false)")),
    (["http_server_test", SLOW], Mutation("a request may take for ever", CONNECTION, "stream_.expires_after(kRequestTimeout);\n    await();", "stream_.expires_never();\n    await();")),
    (["http_server_test", SLOW], Mutation("no room is made for a new connection", CONNECTION, "if (all.open >= kConnectionsMax && !all.waiting.empty())", "if (false)")),
    (["http_server_test"], Mutation("who never reads keeps its place", CONNECTION, "stream_.expires_after(kRequestTimeout);\n    await();\n    http::async_write",
        "stream_.expires_after(kRequestTimeout);\n    http::async_write")),
    ([FLOOD], Mutation("who shows nothing fills the trail", CONNECTION, "answer.status == 401 && answer.wrong_token", "answer.status == 401")),
    ([FLOOD], Mutation("each refusal is a line", REFUSALS, "if (now < flood.quiet_until) return false;", "")),
    (["http_server_test"], Mutation("the pages may load anything", CONNECTION, 'response_.set("Content-Security-Policy", kPolicy);', "")),
    (["http_server_test", TOKEN, MALFORMED], Mutation("who is refused in floods is not counted", REFUSALS,
        "  MutexLock lock(mutex_);\n  ++(counts_.*counter);\n", "  MutexLock lock(mutex_);\n")),
    (["http_server_test", TOKEN], Mutation("who guesses is not counted", REFUSALS,
        "    MutexLock lock(mutex_);\n    ++(counts_.*counter);\n", "    MutexLock lock(mutex_);\n")),
    ([NO_TRY], Mutation("the try page though it is not wanted", API, "if (tries && !view_.try_image)", "if (tries && !view_.try_image && false)")),
    (["store_scp_test", HELD], Mutation("a peer from any host", SESSION, "if (rules->check_hosts && ", "if (false && ")),
    (["store_scp_test", HELD], Mutation("any calling AE title", SESSION, "if (peer == nullptr && (!rules->accept_unknown || takes_a_name)) {", "if (false) {")),
    ([HELD], Mutation("the pin of who calls is ignored", SESSION, "if (peer != nullptr && !peer->certificates.empty() &&", "if (false &&")),
    ([BESIDE], Mutation("a peer with TLS may call without", SESSION, "if (peer != nullptr && peer->tls.on && !caller_.tls) {", "if (false) {")),
    ([TO_WHOM], Mutation("the pin of who is called is ignored", TLS, "if (shown && shown->is_any(pinned)) return ok_status();", "return ok_status();")),
    ([TO_WHOM], Mutation("the name of who is called is ignored", TLS, "if (!pinned.empty()) {  // Whatever name it bears.", "if (!pinned.empty() || true) {")),
    ([STRANGER], Mutation("a certificate that has expired", TLS, "SSL_CTX_set_dh_auto(raw, 1);",
        "SSL_CTX_set_dh_auto(raw, 1);\n  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(raw), X509_V_FLAG_NO_CHECK_TIME);")),
    ([STRANGER], Mutation("a certificate of anybody", TLS, "SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr)",
        "SSL_VERIFY_FAIL_IF_NO_PEER_CERT, [](int, X509_STORE_CTX*) { return 1; })")),
    ([STRANGER], Mutation("no certificate at all", TLS, "SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT", "SSL_VERIFY_PEER")),
    ([VERSIONS], Mutation("TLS 1.0", TLS, "TLS1_2_VERSION", "TLS1_VERSION")),
    ([VERSIONS], Mutation("weak cipher suites", TLS, "SSL_CTX_set_cipher_list(raw, suites.c_str())", 'SSL_CTX_set_cipher_list(raw, "ALL:@SECLEVEL=0")')),
    ([SESSIONS], Mutation("sessions are taken up again", TLS,
        "    SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);\n    SSL_CTX_set_options(raw, SSL_OP_NO_TICKET);\n    SSL_CTX_set_num_tickets(raw, 0);\n",
        '    SSL_CTX_set_session_id_context(raw, reinterpret_cast<const unsigned char*>("x"), 1);\n')),
    ([STALLED], Mutation("a handshake or a request may take for ever", ACCEPTOR,
        "connection->deadline.expires_after(limits.request_timeout);", "connection->deadline.expires_after(std::chrono::hours(9));")),
    ([AUDIT], Mutation("the trail does not tell who was refused", SESSION, "audit::refused({calling_, caller_.host}, std::string(why.meaning));", "")),
    ([AUDIT], Mutation("the trail does not tell who sent", SESSION, "if (!studies_.empty()) audit::received({sender_.name, caller_.host}, studies_);", "")),
    ([MANY], Mutation("an endless association says nothing and forgets nothing", SESSION, "if (studies_.size() >= kStudiesOfAMessage)", "if (false)")),
    ([AUDIT], Mutation("the trail does not tell who looked at a study", API, "if (is_new(study_uid)) audit", "if (is_new(study_uid) && false) audit")),
    ([PERSONS], Mutation("a page that is open fills the trail", API, "if (is_new(std::string(request.target))) audit::asked", "audit::asked")),
    ([PERSONS], Mutation("the trail does not name a person", API, "return {who ? who->name : kNobodyName,", "return {kNobodyName,")),
    ([PERSONS], Mutation("the trail does not tell what a command changed", CHANGES, "if (done.ok() && method == Method::kPost) audit::changed(", "if (false) audit::changed(")),
    ([PERSONS], Mutation("a reload leaves the tokens", NODE, "http->set_tokens(tokens);", "")),
    ([AUDIT], Mutation("the trail does not tell who guessed a token", CONNECTION, "audit::refused_login({kNobodyName, host_});", "")),
    ([AUDIT], Mutation("the trail does not tell who released or repeated", API, "if (answer.status == 202) audit::changed(", "if (false) audit::changed(")),
    ([PEERS], Mutation("a reload leaves the peers", NODE, "scp->set_callers(fresh.receive);", "")),
    ([REFUSED], Mutation("a reload keeps half of a bad file", NODE, "  const std::vector<std::string> fixed =",
        "  scp->set_callers(fresh.receive);\n  const std::vector<std::string> fixed =")),
    (["reloadable_test", REFUSED], Mutation("a reload says nothing of what needs a restart", NODE, "if (!fixed.empty()) {", "if (false) {")),
    ([REFUSED], Mutation("a reload does not look at certificates first", NODE, "NODE_RETURN_IF_ERROR(operate::check_tls(fresh));", "")),
    ([RENEWED], Mutation("a reload leaves the certificate of the page", NODE, "if (fresh.http.tls.on) ", "if (false) ")),
    ([RENEWED], Mutation("a reload leaves the certificate of the node", NODE, "if (fresh.receive.tls.on) ", "if (false) ")),
    ([PLACES], Mutation("a destination that moved is sent to where it was", DESTINATIONS, "same->second != here->second.place", "false")),
    ([PLACES], Mutation("the store is not told of destinations that come and go", DESTINATIONS, "Status told = tell_store(config);", "Status told = ok_status();")),
    ([PLACES], Mutation("a reload leaves the forms of results", NODE, "reports->set_config(fresh.report);", "")),
    ([pytest("service", "what_is_urgent_changes_with_a_reload")], Mutation("a reload leaves what is urgent", NODE, "analysis->set_urgent_when(urgent_when(fresh));", "")),
    ([pytest("service", "it_says_when_it_is_ready_alive_and_stopping")], Mutation("the watchdog is not told", SERVE, '"WATCHDOG=1\\nSTATUS="', '"STATUS="')),
    ([CERTIFICATES], Mutation("check: an expired certificate is well", CHECK, "if (left < 0) {", "if (false) {")),
    ([CERTIFICATES], Mutation("check: a key that everybody reads is well", CHECK, "if (!use.config.key_file.empty() && !error &&", "if (false &&")),
    ([DISK], Mutation("check: a full disk is well", CHECK, "if (free < storage.free_bytes_min) {", "if (false) {")),
    ([DISK], Mutation("check: a task without a route is well", CHECK, " && !used.contains(task.name))", " && false)")),
    ([CLOCK], Mutation("check: a clock that was set back is well", CHECK, "> now + kTolerance", "> now + kTolerance * 1000")),
]


def mutations():
    return [mutation for _, mutation in BROKEN]


def tests(of):
    return [next(list(nearest) for nearest, mutation in BROKEN if mutation.name == of.name)]
