// configure_dcmtk: everything in DCMTK that is process-global, set once.
//
// Guarantee: afterwards the data dictionary is loaded, the codecs are registered, DCMTK writes nothing of its own to
//            the terminal (its warnings print element values, names of patients among them), no socket of it waits
//            longer than `socket_timeout` for a byte, every connection is made with TCP_NODELAY, and SIGPIPE is
//            ignored.
// Threads:   from main, before any other thread; later calls do nothing.
#pragma once

#include <chrono>

namespace node::receive {

void configure_dcmtk(std::chrono::seconds socket_timeout = std::chrono::seconds(60));

}  // namespace node::receive
