"""What a peer may do and may not: negotiation, limits, time-outs, the PDU reader, the answers of C-STORE."""
from run import Mutation

OPTIONS = ["-DNODE_INFERENCE=OFF"]
SCP, SESSION = "dicom_node/receive/store_scp.cpp", "dicom_node/receive/association_session.cpp"
ACCEPTOR = "dicom_node/receive/association_acceptor.cpp"
MESSAGES = "dicom_node/receive/message_io.cpp"
READER = "dicom_node/receive/pdu_reader.cpp"
CONTEXTS = "dicom_node/receive/presentation_contexts.cpp"
PEER = "dicom_node/receive/calling_peer.cpp"


def mutations():
    return [
        Mutation("any called AE title", SESSION, "if (called_ != config.ae_title)", "if (false)"),
        Mutation("any calling AE title", SESSION, "if (peer == nullptr && (!rules->accept_unknown || takes_a_name)) {", "if (false) {"),
        Mutation("a stranger takes a peer's name", SESSION, "return known.name == calling_; });", "return known.name.empty(); });"),
        Mutation("a blank calling AE title is left without an answer", SESSION, "if (calling_.empty()) return", "if (false) return"),
        Mutation("a request that names no instance is left without an answer", SESSION,
                 "if (!command.sop_instance_uid.empty()) response.opts", "response.opts"),
        Mutation("a group of the command or the file is let pass", "dicom_node/receive/intake.cpp", "if (header->low_group) {", "if (false) {"),
        Mutation("a peer from any host", SESSION, "if (rules->check_hosts && ", "if (false && "),
        Mutation("any application context", SESSION, "if (context_text != std::string_view(UID_StandardApplicationContext)) {",
                 "if (false) {"),
        Mutation("associations without limit", SCP, "std::ssize(associations) >= config.associations_max || ", ""),
        Mutation("associations of one host without limit", SCP, " || of_host >= config.associations_per_host_max", ""),
        Mutation("an object of any size", SESSION, "} else if (writer.too_large()) {", "} else if (false) {"),
        Mutation("a class of another context", SESSION,
                 "if (command.sop_class_uid != context.abstractSyntax || !is_storage_class(command.sop_class_uid, reception_.config)) {",
                 "if (false) {"),
        Mutation("a failed write is success", SESSION, "} else if (!writer.written().ok()) {", "} else if (false) {"),
        Mutation("a command within a data set", MESSAGES,
                 'if (value.is_command) return reader.fail("a command within a data set");', ""),
        Mutation("data in two contexts", MESSAGES,
                 'if (value.context != context) return reader.fail("data in two contexts");', ""),
        Mutation("a data set without end", MESSAGES, "if (into.endless())", "if (false)"),
        Mutation("a release is not answered", SESSION, "::send(socket_, kReleaseRp.data(), kReleaseRp.size(), MSG_NOSIGNAL);", ""),
        Mutation("a whole study though the association broke", SESSION,
                 "whole_study_ && ending == Ending::kReleased", "whole_study_"),
        Mutation("a message may last for ever", READER, "if (deadline_) until = std::min(until, *deadline_);", ""),
        Mutation("a message may last for ever, byte by byte", READER,
                 "if (deadline_ && steady_clock::now() >= *deadline_) return end(Ending::kTimeout);", ""),
        Mutation("silence may last for ever", READER, "if (ready == 0) return end(Ending::kTimeout);", "if (ready == 0) return true;"),
        Mutation("a PDU of any length", READER, "if (length > limits_.pdu_bytes_max)", "if (false)"),
        Mutation("a value longer than its PDU", READER, "if (length < 2 || length > pdu_left_ - 4)", "if (length < 2)"),
        Mutation("a fragment of odd length", READER, "if (length % 2 != 0)", "if (false)"),
        Mutation("a stop waits for whoever is silent", READER, "deadline_ ? 1 : 2", "1"),
        Mutation("an association request of any length", ACCEPTOR, "|| wanted > limits.request_bytes_max", ""),
        Mutation("a silent connection waits for ever", ACCEPTOR, "    if (!cancelled)\n      drop(connection, &expired,", "    if (false)\n      drop(connection, &expired,"),
        Mutation("silent connections of one host without limit", ACCEPTOR,
                 "limits.waiting_per_host_max) {", "limits.waiting_per_host_max * 1000) {"),
        Mutation("silent connections without limit", ACCEPTOR,
                 "if (waiting.size() >= limits.waiting_max) {", "if (false) {"),
        Mutation("over the limit: closed without a rejection", ACCEPTOR,
                 "if (!error) asio::write(connection->socket, asio::buffer(kLocalLimitExceeded), error);", ""),
        Mutation("every transfer syntax", CONTEXTS,
                 "if (lists(kTransferSyntaxes, context.proposedTransferSyntaxes[i])) {", "if (true) {"),
        Mutation("the preference is ignored", CONTEXTS, "if (found != possible.end()) return *found;", ""),
        Mutation("every SOP class", CONTEXTS, "if (!storage && !commitment && context", "if (false && context"),
        Mutation("extended negotiation unanswered", CONTEXTS,
                 "answer_extended_negotiation(parameters, std::move(accepted_classes));", ""),
        Mutation("of two peers with one title the first", PEER, "if (found.size() == 1) return found.front();",
                 "return found.front();"),
    ]


def tests(_):
    return [["store_scp_test", "intake_test", "conformance_test"]]
