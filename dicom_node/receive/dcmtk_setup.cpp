#include "dicom_node/receive/dcmtk_setup.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmnet/assoc.h>
#include <dcmtk/dcmnet/dcmtrans.h>
#include <dcmtk/dcmnet/dul.h>
#include <dcmtk/oflog/oflog.h>

#include <csignal>
#include <cstdlib>
#include <mutex>

#include "dicom_node/object/image_loader.h"

namespace node::receive {
namespace {

constexpr Uint32 kAssociatePduBytesMax = 128 * 1024;  // Of a request or an answer; see AcceptorLimits.

}  // namespace

void configure_dcmtk(std::chrono::seconds socket_timeout) {
  static std::once_flag once;
  std::call_once(once, [socket_timeout] {
    OFLog::configure(OFLogger::OFF_LOG_LEVEL);
    std::signal(SIGPIPE, SIG_IGN);    // A peer that is gone is an error of a call.
    ::setenv("TCP_NODELAY", "1", 1);  // Where DCMTK looks for it, at each connection.
    const auto seconds = static_cast<Sint32>(socket_timeout.count());
    dcmSocketSendTimeout.set(seconds);
    dcmSocketReceiveTimeout.set(seconds);
    dcmAssociatePDUSizeLimit.set(kAssociatePduBytesMax);
    // A reverse lookup of the peer's name would hold up every other association request.
    dcmDisableGethostbyaddr.set(OFTrue);
    dcmDataDict.rdlock();  // Loads it, if it is not built in.
    dcmDataDict.rdunlock();
    object::register_codecs();
  });
}

}  // namespace node::receive
