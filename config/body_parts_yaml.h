// kBodyPartsYaml: config/body_parts.yaml as it was at the build, so that the binary works alone.
#pragma once

namespace node::config {

extern const char* const kBodyPartsYaml;

}  // namespace node::config
