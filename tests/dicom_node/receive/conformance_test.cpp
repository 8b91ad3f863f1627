// The tables of dicom_node/CONFORMANCE.md against the code: each stands behind a line "<!-- table: NAME -->". A test
// that fails prints the table as it has to be.
#include <dcmtk/config/osconfig.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "config/peer_config.h"
#include "dicom_node/object/part10.h"
#include "dicom_node/receive/association_acceptor.h"
#include "dicom_node/receive/intake.h"
#include "dicom_node/receive/presentation_contexts.h"
#include "dicom_node/receive/rejection.h"
#include "dicom_node/receive/store_scp.h"
#include "tests/dicom_node/conformance_tables.h"

namespace node::receive {
namespace {

using conformance::statement;
using conformance::table_of;

constexpr std::string_view kHtj2k = "1.2.840.10008.1.2.4.20";  // And 1, 2 or 3.

TEST(Conformance, ListsTheStorageClasses) {
  std::string rows;
  for (const StorageClass& row : storage_classes()) {
    rows += fmt::format("| {} | {} | SCP | {} |\n", row.name, row.uid,
                        row.routed ? "stored, forwarded, routed" : "stored, forwarded");
  }
  EXPECT_EQ(table_of("storage classes"), rows);
}

TEST(Conformance, ListsTheTransferSyntaxes) {
  std::string rows;
  for (const TransferSyntax& row : transfer_syntaxes()) {
    if (!row.uid.starts_with(kHtj2k)) rows += fmt::format("| {} | {} |\n", row.name, row.uid);
  }
  EXPECT_EQ(table_of("transfer syntaxes"), rows);
}

TEST(Conformance, Htj2kIsReceivedFromDcmtk368On) {
  const auto syntaxes = transfer_syntaxes();
  const auto count = std::count_if(syntaxes.begin(), syntaxes.end(),
                                   [](const TransferSyntax& row) { return row.uid.starts_with(kHtj2k); });
  EXPECT_EQ(count, PACKAGE_VERSION_NUMBER >= 368 ? 3 : 0);
}

TEST(Conformance, ListsTheStatusCodes) {
  std::string rows;
  for (const StoreStatus& row : kStoreStatuses) rows += fmt::format("| {:04X} | {} |\n", row.status, row.meaning);
  EXPECT_EQ(table_of("status codes"), rows);
}

TEST(Conformance, ListsTheRejections) {
  std::string rows;
  for (const Rejection& row : kRejections) {
    rows +=
        fmt::format("| {} - {} | {} | {} | {} |\n", row.result,
                    row.result == 1 ? "rejected-permanent" : "rejected-transient", row.source, row.reason, row.meaning);
  }
  EXPECT_EQ(table_of("rejections"), rows);
}

TEST(Conformance, NamesTheImplementation) {
  EXPECT_EQ(table_of("implementation"),
            fmt::format("| Implementation Class UID | {} |\n| Implementation Version Name | {} |\n"
                        "| Maximum PDU length announced | {} bytes |\n",
                        object::kImplementationClassUid, object::kImplementationVersionName, kPduBytesMax));
}

TEST(Conformance, NamesTheLimitsAndTheirDefaults) {
  const config::ReceiveConfig receive;
  const config::DeliveryConfig delivery;
  const AcceptorLimits acceptor;
  std::string rows;
  const auto row = [&rows](std::string_view key, const auto& value, std::string_view unit) {
    rows += fmt::format("| `{}` | {} {} |\n", key, value, unit);
  };
  row("node.port", receive.port, "(TCP)");
  row("node.associations_max", receive.associations_max, "associations at once");
  row("node.associations_per_host_max", receive.associations_per_host_max, "of one address");
  row("node.acse_timeout", receive.acse_timeout.count(), "s from the connection to the whole request");
  row("node.dimse_timeout", receive.dimse_timeout.count(), "s of silence, in a message or between two");
  row("node.message_timeout", receive.message_timeout.count(), "s for one message and its answer");
  row("node.object_bytes_max", receive.object_bytes_max >> 20, "MiB");
  row("delivery.connect_timeout", delivery.connect_timeout.count(), "s");
  row("delivery.dimse_timeout", delivery.dimse_timeout.count(), "s");
  row("delivery.objects_per_association_max", delivery.objects_per_association_max, "objects");
  EXPECT_EQ(table_of("limits"), rows);
  EXPECT_NE(statement().find(fmt::format("no larger than {} KiB", acceptor.request_bytes_max >> 10)),
            std::string::npos);
}

}  // namespace
}  // namespace node::receive
