#include "inference/masked_autoencoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/var_mean.h>

#include <tuple>
#include <utility>

namespace node::inference {

MaskedAutoencoder load_masked_autoencoder(const Checkpoint& checkpoint, const Placement& placement,
                                          std::shared_ptr<const VisionTransformer> encoder) {
  const NetworkConfig& network = checkpoint.network();
  const std::int64_t p = network.patch_size;
  MaskedAutoencoder mae;
  mae.encoder = std::move(encoder);
  mae.norm_pix_loss = network.norm_pix_loss;
  mae.mask_token = load_tensor(checkpoint, "decoder.mask_token", placement);
  const at::Tensor positions = load_tensor(checkpoint, "decoder.decoder_pos_embed", placement);
  mae.cls_position = positions.slice(1, 0, 1).contiguous();
  mae.positions = positions.slice(1, 1).contiguous();
  mae.decoder_embed = load_linear(checkpoint, "decoder.decoder_embed", placement);
  mae.decoder =
      load_transformer(checkpoint, "decoder.decoder_layers.", "decoder.decoder_norm", network.decoder, placement);
  // The file's rows are (row, column, channel) of a patch; ours (channel, row, column), as the encoder's convolution.
  const at::Tensor weight = load_tensor(checkpoint, "decoder.decoder_pred.weight", placement);
  const at::Tensor bias = load_tensor(checkpoint, "decoder.decoder_pred.bias", placement);
  mae.decoder_pred = Linear(weight.view({p, p, 3, -1}).permute({2, 0, 1, 3}).reshape({3 * p * p, -1}).contiguous(),
                            bias.view({p, p, 3}).permute({2, 0, 1}).reshape({-1}).contiguous());
  return mae;
}

at::Tensor reconstruct(const MaskedAutoencoder& mae, const at::Tensor& patches, const at::Tensor& visible) {
  const VisionTransformer& vit = *mae.encoder;
  const std::int64_t rows = patches.size(0), count = patches.size(1);
  const auto along = [&visible](std::int64_t width) { return visible.unsqueeze(-1).expand({-1, -1, width}); };

  // The encoder sees the visible patches only: a quarter of the work.
  const at::Tensor seen = patches.gather(1, along(patches.size(2))).to(vit.positions.scalar_type());
  const std::int64_t hidden = vit.positions.size(2);
  at::Tensor tokens = vit.patch_projection(seen) + vit.positions.expand({rows, -1, -1}).gather(1, along(hidden));
  tokens = at::cat({vit.cls_token.expand({rows, -1, -1}), tokens}, 1);
  const at::Tensor embedded = mae.decoder_embed(run_transformer(vit.transformer, tokens, tokens.size(1)));

  const std::int64_t narrow = embedded.size(2);
  const at::Tensor all = mae.mask_token.expand({rows, count, narrow}).contiguous();
  const at::Tensor filled = all.scatter(1, along(narrow), embedded.slice(1, 1)) + mae.positions;
  const at::Tensor cls = embedded.slice(1, 0, 1) + mae.cls_position;
  const at::Tensor decoded = run_transformer(mae.decoder, at::cat({cls, filled}, 1), count + 1);
  at::Tensor predicted = mae.decoder_pred(decoded.slice(1, 1)).to(at::kFloat);
  if (mae.norm_pix_loss) {
    const auto [variance, mean] = at::var_mean(patches, /*dim=*/{-1}, /*correction=*/1, /*keepdim=*/true);
    predicted = predicted * (variance + 1e-6).sqrt() + mean;
  }
  return predicted;
}

}  // namespace node::inference
