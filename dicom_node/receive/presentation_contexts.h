// negotiate: which presentation contexts of an association request are accepted, and with which transfer syntax.
//
// Guarantee: only classes that this node stores or answers, each with a transfer syntax that the DCMTK in use can
//            receive. HTJ2K is among them from DCMTK 3.6.8 on: 3.6.7 would accept the context, and abort the
//            association when the data set arrives.
// Threads:   reentrant.
// Source:    PS3.8 9.3.3.2 (results), PS3.4 B.3 (extended negotiation), B.5 (storage SOP classes), PS3.5 10 and PS3.6 A
//            (transfer syntaxes).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "config/base/status.h"
#include "config/peer_config.h"

struct T_ASC_Parameters;  // DCMTK.

namespace node::receive {

struct StorageClass {
  std::string_view uid, name;
  bool routed;  // The router looks at it; else it is stored and forwarded, never analysed.
};

struct TransferSyntax {
  std::string_view uid, name;
};

std::span<const StorageClass> storage_classes();      // Those that every node accepts.
std::span<const TransferSyntax> transfer_syntaxes();  // All that can be received.

// Of every storage class: Level 2 (Full), Digital Signatures level 3 (kept bit for bit), no coercion. PS3.4 B.3.1.2.
inline constexpr std::array<std::uint8_t, 6> kStorageExtendedNegotiation = {2, 0, 3, 0, 0, 0};

// With ReceiveConfig::more_sop_classes.
bool is_storage_class(std::string_view sop_class_uid, const config::ReceiveConfig& config);

// Errors: kInvalidArgument: node.transfer_syntaxes prefers one that can never be received, so it would have no effect.
Status check_preferred_syntaxes(const config::ReceiveConfig& config);

// Answers every proposed context, and every extended negotiation of an accepted storage class. Returns how many
// contexts were accepted. In each the first of ReceiveConfig::transfer_syntaxes that is proposed wins, else the
// sender's first.
int negotiate(T_ASC_Parameters& parameters, const config::ReceiveConfig& config);

}  // namespace node::receive
