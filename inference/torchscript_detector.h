// torchscript_detector: a detector in a TorchScript file with a manifest, hash pinned, tried once when it is loaded.
//
// Guarantee: what is returned has answered a black image and a picture of its size on its device, one and two at once,
//            in the layout that its manifest declares; a file that takes one at a time is given one at a time.
// Trust:     a TorchScript file is a program that runs as this one (PyTorch's SECURITY.md): only the file whose SHA-256
//            stands in the configuration is opened, and the administrator answers for it.
// Errors:    kNotFound, kInvalidArgument (manifest, another hash, contradictions between file and manifest, an answer
// of
//            another shape), kInternal (the file does not run on the device, with what to do). All name the file.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "inference/detector.h"
#include "inference/detector_manifest.h"
#include "inference/mapped_file.h"
#include "inference/vision_transformer.h"

namespace node::inference {

struct TorchScriptFile {
  std::string path;
  std::shared_ptr<const MappedFile> bytes;  // That were hashed, and are loaded.
  DetectorManifest manifest;
  std::string digest;  // "sha256:" and 64 hex digits over the lines "manifest.json <sha256>" and "<file> <sha256>".
};

// Whether the folder holds a manifest, and so is no HuggingFace checkpoint.
bool is_torchscript(const std::string& directory);

// Reads the manifest and the file's hash; executes nothing. `sha256`: 64 hex digits of the file.
Result<TorchScriptFile> read_torchscript(const std::string& directory, const std::string& sha256);

Result<std::shared_ptr<const Detector>> load_torchscript(const TorchScriptFile& file, const Placement& placement);

}  // namespace node::inference
