#include "dicom_node/receive/dcmtk_association.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmnet/assoc.h>
#include <dcmtk/dcmnet/dul.h>
#include <unistd.h>

#include "config/base/mutex.h"

namespace node::receive {
namespace {

// Which descriptor DCMTK takes as an accepted connection is one global of the process, read while it reads the request:
// one association at a time, and only with a whole request in the socket, so that nobody waits here for a peer.
Mutex external_socket_mutex;

}  // namespace

DcmtkAssociation::~DcmtkAssociation() {
  if (association != nullptr) {
    ASC_dropAssociation(association);
    ASC_destroyAssociation(&association);
  }
  if (network != nullptr) ASC_dropNetwork(&network);
}

OFCondition DcmtkAssociation::receive_request(int descriptor, std::uint32_t pdu_bytes_max,
                                              std::chrono::seconds timeout) {
  const int timeout_s = static_cast<int>(timeout.count());
  MutexLock lock(external_socket_mutex);
  dcmExternalSocketHandle.set(descriptor);
  OFCondition condition = ASC_initializeNetwork(NET_ACCEPTOR, 0, timeout_s, &network);
  if (condition.good()) {
    condition = ASC_receiveAssociation(network, &association, static_cast<long>(pdu_bytes_max), nullptr, nullptr,
                                       OFFalse, DUL_NOBLOCK, timeout_s);
  }
  dcmExternalSocketHandle.set(-1);
  // Failed before there was a connection object that closes it.
  if (association == nullptr || association->DULassociation == nullptr) ::close(descriptor);
  return condition;
}

}  // namespace node::receive
