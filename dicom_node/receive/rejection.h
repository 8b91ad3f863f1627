// Rejection: what an A-ASSOCIATE-RJ of ours says.
//
// Source: PS3.8 9.3.4, Table 9-21.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace node::receive {

struct Rejection {
  std::uint8_t result, source, reason;
  std::string_view meaning;  // Also for the log.
};

inline constexpr Rejection kNothingAcceptable{1, 1, 1, "no presentation context is acceptable"};
inline constexpr Rejection kWrongApplicationContext{1, 1, 2, "application context is not supported"};
inline constexpr Rejection kUnknownCallingAeTitle{1, 1, 3, "calling AE title is no peer's"};
inline constexpr Rejection kNoCallingAeTitle{1, 1, 3, "calling AE title is blank"};
inline constexpr Rejection kWrongHost{1, 1, 3, "calling AE title is of a peer with another host"};
inline constexpr Rejection kWithoutTls{1, 1, 3, "calling AE title is of a peer that calls with TLS only"};
inline constexpr Rejection kWrongCertificate{1, 1, 3, "calling AE title is of a peer with another certificate"};
inline constexpr Rejection kWrongCalledAeTitle{1, 1, 7, "called AE title is not ours"};
inline constexpr Rejection kWrongProtocolVersion{1, 2, 2, "protocol version is not 1"};  // Sent by DCMTK itself.
inline constexpr Rejection kTooManyAssociations{2, 3, 2, "too many associations: of all, of the host or of the peer"};

inline constexpr std::array kRejections = {
    kNothingAcceptable, kWrongApplicationContext, kUnknownCallingAeTitle, kNoCallingAeTitle,     kWrongHost,
    kWithoutTls,        kWrongCertificate,        kWrongCalledAeTitle,    kWrongProtocolVersion, kTooManyAssociations};

}  // namespace node::receive
