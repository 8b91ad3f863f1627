#include "dicom_node/deliver/requestor.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmnet/assoc.h>
#include <dcmtk/dcmnet/dul.h>
#include <dcmtk/ofstd/ofstd.h>
#include <fmt/format.h>

namespace node::deliver {
namespace {

constexpr long kPduBytesMax = ASC_MAXIMUMPDUSIZE;

std::string rejection_words(T_ASC_Association* association) {
  T_ASC_RejectParameters reject{};
  if (association == nullptr || association->params == nullptr) return "rejected";
  if (ASC_getRejectParameters(association->params, &reject).bad()) return "rejected";
  OFString text;
  ASC_printRejectParameters(text, &reject);
  std::string line;
  for (char c : text) line += c == '\n' ? ' ' : c;
  return line;
}

}  // namespace

std::string words(const OFCondition& condition) {
  std::string text = condition.text();
  return text.substr(0, text.find('\n'));
}

Requestor::~Requestor() {
  if (association != nullptr) {
    if (broken) {
      ASC_abortAssociation(association);
    } else {
      ASC_releaseAssociation(association);
    }
    ASC_destroyAssociation(&association);
  }
  if (network != nullptr) ASC_dropNetwork(&network);
}

Status Requestor::associate(const config::DeliveryConfig& config, const config::PeerConfig& peer,
                            const std::function<void(T_ASC_Parameters*)>& propose) {
  dimse_timeout_s = static_cast<int>(config.dimse_timeout.count());
  const int connect_timeout_s = static_cast<int>(config.connect_timeout.count());
  const std::string address = fmt::format("{}:{}", peer.host, peer.port);
  const std::string where = fmt::format("associate with {} at {}", peer.ae_title, address);

  dcmConnectionTimeout.set(static_cast<Sint32>(connect_timeout_s));
  OFCondition condition = ASC_initializeNetwork(NET_REQUESTOR, 0, connect_timeout_s, &network);
  if (condition.bad()) return internal_error(where + ": " + words(condition));

  T_ASC_Parameters* parameters = nullptr;
  condition = ASC_createAssociationParameters(&parameters, kPduBytesMax);
  if (condition.bad()) return internal_error(where + ": " + words(condition));
  ASC_setAPTitles(parameters, config.ae_title.c_str(), peer.ae_title.c_str(), nullptr);
  ASC_setPresentationAddresses(parameters, OFStandard::getHostName().c_str(), address.c_str());
  propose(parameters);

  // Blocking, which is the default, it would wait for the answer for ever.
  condition =
      ASC_requestAssociation(network, parameters, &association, nullptr, nullptr, DUL_NOBLOCK, connect_timeout_s);
  if (condition.good()) return ok_status();
  const std::string why =
      condition == DUL_ASSOCIATIONREJECTED ? "rejected: " + rejection_words(association) : words(condition);
  if (association != nullptr) {
    ASC_destroyAssociation(&association);
  } else {
    ASC_destroyAssociationParameters(&parameters);
  }
  return unavailable(where + ": " + why);
}

}  // namespace node::deliver
