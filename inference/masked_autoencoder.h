// MaskedAutoencoder: ViTMAEForPreTraining, as plain functions over weights: from visible patches to a whole image.
//
// Threads:   weights are immutable after loading; the functions are called on the device's thread, in inference mode.
// Shapes:    patches [N, L, 3 * P * P] as of patchify(); visible [N, V] int64, indices of patches.
// Errors:    c10::Error, from LibTorch alone: the caller catches.
// Source:    He et al., "Masked autoencoders are scalable vision learners", arXiv 2111.06377.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "inference/checkpoint.h"
#include "inference/vision_transformer.h"

namespace node::inference {

struct MaskedAutoencoder {
  std::shared_ptr<const VisionTransformer> encoder;  // Of a backbone that classifiers may share.
  Linear decoder_embed, decoder_pred;                // decoder_pred gives patches in the order of patchify().
  at::Tensor mask_token;                             // [1, 1, D]
  at::Tensor cls_position, positions;                // [1, 1, D], [1, L, D]
  Transformer decoder;
  bool norm_pix_loss = false;
};

MaskedAutoencoder load_masked_autoencoder(const Checkpoint& checkpoint, const Placement& placement,
                                          std::shared_ptr<const VisionTransformer> encoder);

// All patches as the network imagines them from the visible ones of `patches`, [N, L, 3 * P * P] float32 in the same
// units. With norm_pix_loss the network gives z-scores of each patch: its deviation and mean are put back.
at::Tensor reconstruct(const MaskedAutoencoder& mae, const at::Tensor& patches, const at::Tensor& visible);

}  // namespace node::inference
