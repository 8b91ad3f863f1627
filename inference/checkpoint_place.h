// checkpoint_place: of a directory that is no checkpoint, what it is instead and how one is made of it.
//
// Threads:   pure but for the file system; any. Never fails: what cannot be read is not there.
#pragma once

#include <string>

namespace node::inference {

// "has no config.json: the checkpoint lies one level deeper, in /models/knee/checkpoint-500". Executes nothing.
std::string why_no_checkpoint(const std::string& directory);

}  // namespace node::inference
