#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "dicom_node/deliver/store_scu.h"
#include "dicom_node/operate/commands/check_peers.h"
#include "dicom_node/receive/presentation_contexts.h"

namespace node::operate {
namespace {

using deliver::ObjectKind;
using deliver::StoreScu;

constexpr std::string_view kImplicit = "1.2.840.10008.1.2", kExplicit = "1.2.840.10008.1.2.1";
constexpr std::string_view kVideo = "1.2.840.10008.1.2.4.10";  // MPEG2 to HEVC: nothing that an X-ray room sends.
constexpr std::pair<std::string_view, std::string_view> kRadiographs[] = {
    {"CR", "1.2.840.10008.5.1.4.1.1.1"}, {"DX", "1.2.840.10008.5.1.4.1.1.1.1"}};  // Modality, SOP class.

template <typename Value>
bool contains(const std::vector<Value>& values, std::string_view value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

// SOP classes that the rules of `forward:` may bring to a peer.
struct Originals {
  std::vector<std::string> meant;  // Those that a rule names, else those of radiographs.
  std::vector<std::string> other;  // What an X-ray room may send beside them.
};

Originals originals_to(const config::NodeConfig& config, const std::string& peer) {
  Originals found;
  bool any = false;  // A rule that does not ask for the class.
  for (const config::ForwardRule& rule : config.router.forward) {
    if (!contains(rule.send_to, peer)) continue;
    std::vector<std::string> meant = rule.match.sop_class;
    for (const auto& [modality, sop_class] : kRadiographs) {
      const bool of_modality = rule.match.modality.empty() || contains(rule.match.modality, modality);
      if (rule.match.sop_class.empty() && of_modality) meant.emplace_back(sop_class);
    }
    for (const std::string& one : meant) {
      if (!contains(found.meant, one)) found.meant.push_back(one);
    }
    any = any || rule.match.sop_class.empty();
  }
  if (!any) return found;
  for (const receive::StorageClass& one : receive::storage_classes()) found.other.emplace_back(one.uid);
  found.other.insert(found.other.end(), config.receive.more_sop_classes.begin(), config.receive.more_sop_classes.end());
  std::erase_if(found.other, [&](const std::string& one) { return contains(found.meant, one); });
  return found;
}

std::string name_of(const std::string& sop_class) {
  for (const receive::StorageClass& one : receive::storage_classes()) {
    if (one.uid == sop_class) return std::string(one.name);
  }
  return sop_class;
}

// What becomes of originals of one class in each transfer syntax in which they may come.
class Meant {
 public:
  Meant(const config::PeerConfig& peer, Findings& findings) : peer_(peer), findings_(findings) {}

  void look(const StoreScu& scu, const std::string& sop_class) {
    if (!scu.takes(sop_class)) {
      return findings_.bad(fmt::format(
          "peer {}: takes no originals of SOP class {} ({}): they would be parked; let it take them, or let "
          "`forward` not match them",
          peer_.name, sop_class, name_of(sop_class)));
    }
    const auto as_stored = [&](std::string_view syntax) {
      return scu.takes_as_stored({sop_class, std::string(syntax)});
    };
    const bool uncompressed = as_stored(kImplicit) || as_stored(kExplicit);
    std::vector<std::string_view> others;
    for (const receive::TransferSyntax& syntax : receive::transfer_syntaxes()) {
      if (!syntax.uid.starts_with(kVideo) && !as_stored(syntax.uid)) others.push_back(syntax.name);
    }
    taken_.push_back(name_of(sop_class));
    if (others.empty()) return;
    (peer_.transcode && uncompressed ? recoded_ : parked_)[fmt::format("{}", fmt::join(others, ", "))].push_back(
        name_of(sop_class));
  }

  void say() const {
    if (!taken_.empty()) {
      findings_.good(fmt::format("peer {}: takes originals of {}", peer_.name, fmt::join(taken_, ", ")));
    }
    for (const auto& [syntaxes, classes] : recoded_) {
      findings_.note(fmt::format("peer {}: gets originals of {} decoded, uncompressed, where they come in {}",
                                 peer_.name, fmt::join(classes, ", "), syntaxes));
    }
    for (const auto& [syntaxes, classes] : parked_) {
      findings_.note(
          fmt::format("peer {}: originals of {} would be parked where they come in {}: it takes none of "
                      "these, and {}",
                      peer_.name, fmt::join(classes, ", "), syntaxes,
                      peer_.transcode ? "nothing uncompressed" : "`transcode` is false for it"));
    }
  }

 private:
  const config::PeerConfig& peer_;
  Findings& findings_;
  std::vector<std::string> taken_;
  std::map<std::string, std::vector<std::string>> recoded_, parked_;  // Syntaxes -> SOP classes.
};

}  // namespace

void check_originals(const config::NodeConfig& config, const config::PeerConfig& peer, Findings& findings) {
  const Originals originals = originals_to(config, peer.name);
  // Calls `look` with an association that proposes `kinds`; false: there is none.
  const auto associate = [&](const std::vector<ObjectKind>& kinds, const auto& look) {
    const auto scu = StoreScu::open(config.delivery, peer, kinds);
    if (scu.ok()) {
      look(**scu);
    } else {
      findings.bad(fmt::format("peer {}: {}", peer.name, scu.status().message()));
    }
    return scu.ok();
  };

  Meant meant(peer, findings);
  for (const std::string& sop_class : originals.meant) {  // So many contexts want an association for each.
    std::vector<ObjectKind> kinds;
    for (const receive::TransferSyntax& syntax : receive::transfer_syntaxes()) {
      kinds.push_back({sop_class, std::string(syntax.uid)});
    }
    if (!associate(kinds, [&](const StoreScu& scu) { meant.look(scu, sop_class); })) return;
  }
  meant.say();

  std::vector<std::string> refused;
  for (std::size_t at = 0; at < originals.other.size(); at += StoreScu::kKindsMax) {
    std::vector<ObjectKind> kinds;
    for (std::size_t i = at; i < std::min(at + StoreScu::kKindsMax, originals.other.size()); ++i) {
      kinds.push_back({originals.other[i], std::string(kExplicit)});
    }
    const auto look = [&](const StoreScu& scu) {
      for (const ObjectKind& kind : kinds) {
        if (!scu.takes(kind.sop_class_uid)) refused.push_back(name_of(kind.sop_class_uid));
      }
    };
    if (!associate(kinds, look)) return;
  }
  if (refused.empty()) return;
  findings.note(
      fmt::format("peer {}: takes none of these, which would be parked if one came and `forward` matched it: {}",
                  peer.name, fmt::join(refused, ", ")));
}

}  // namespace node::operate
