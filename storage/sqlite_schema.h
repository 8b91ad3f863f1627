// The SQLite schema and its versions, for the .cpp files of storage/ only.
#pragma once

#include "config/base/status.h"
#include "storage/sqlite_database.h"
#include "storage/uid.h"

namespace node::storage {

// Brings the database to the schema of this program in one transaction; makes the node's UID at first start.
// Errors: kDataLoss (a newer schema; the message says which), and those of the database.
Status migrate_schema(Database& database);

// Errors: kDataLoss (not the schema of this program; the message says which).
Status check_schema(Database& database);

// "2.25." and a random UUID (version 4, RFC 9562) as one decimal number. Source: PS3.5 B.2.
Result<Uid> make_uid();

Result<Uid> read_node_uid(Database& database);

}  // namespace node::storage
