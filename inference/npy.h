// NumPy's file format, as far as skelex-bench exchanges arrays with Python: images in, outputs out.
//
// Shapes:    images uint8 [N, rows, columns], outputs float32; both row-major ("C order").
// Source:    numpy.lib.format, version 1.0.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "inference/preprocess.h"

namespace node::inference {

// Errors: kNotFound (cannot be read), kUnsupported (another dtype, order or number of dimensions), kDataLoss
// (truncated).
Result<std::vector<GreyImage>> read_npy_images(const std::string& path);

// Errors: kResourceExhausted.
Status write_npy_floats(const std::string& path, const std::vector<std::int64_t>& shape,
                        const std::vector<float>& values);

}  // namespace node::inference
