"""One peer of the engine as a process of its own: loads, then times what each line of standard input asks for.

    python peers.py NAME PRECISION CHECKPOINT IMAGES.npy THREADS

A question is a JSON line {"batch": B, "seconds": S, "images": N, "outputs": FILE or null}: batches of the first N
images in turn, for S seconds, after one batch that is not timed. The answer is a JSON line {"seconds": [...]}, one
for each batch. IMAGES.npy is uint8 [8, S, S]; an image goes in normalised to [-1, 1] on three channels. The outputs
of a classifier are logits [B, labels], of a masked autoencoder anomaly maps [B, S, S] of ten passes whose masks are
drawn from seed i for image i, as inference/masks.h says.
"""
import json
import os
import pathlib
import sys
import time

import numpy

PASSES = 10


class Eager:
    """transformers' own model, as from_pretrained() gives it."""

    def __init__(self, checkpoint, precision, threads):
        import torch
        import transformers
        torch.set_num_threads(threads)
        self.torch, self.type = torch, getattr(torch, precision)
        model = transformers.ViTForImageClassification.from_pretrained(checkpoint, dtype=self.type).eval()
        self.run = lambda pixels: model(pixel_values=pixels).logits

    def __call__(self, pixels):
        with self.torch.no_grad():
            return self.run(self.torch.from_numpy(pixels).to(self.type)).float().numpy()


class Compiled(Eager):
    """The same through torch.compile with its weights frozen, one graph for each batch size."""

    def __init__(self, checkpoint, precision, threads):
        super().__init__(checkpoint, precision, threads)
        import torch._inductor.config as inductor
        inductor.freezing = True
        self.torch._dynamo.config.recompile_limit = 32
        self.run = self.torch.compile(self.run, dynamic=False)


class OnnxRuntime:
    def __init__(self, checkpoint, precision, threads):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(f"{checkpoint}/model.onnx", options,
                                                    providers=["CPUExecutionProvider"])

    def __call__(self, pixels):
        return self.session.run(None, {"pixels": pixels})[0]


class OpenVino:
    """Compiled anew for each batch size, so that its shapes are static."""

    def __init__(self, checkpoint, precision, threads):
        import openvino
        self.core, self.source = openvino.Core(), f"{checkpoint}/model.onnx"
        self.settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY",
                         "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision]}
        self.compiled = {}

    def __call__(self, pixels):
        if pixels.shape not in self.compiled:
            model = self.core.read_model(self.source)
            model.reshape(list(pixels.shape))
            self.compiled[pixels.shape] = self.core.compile_model(model, "CPU", self.settings)
        return self.compiled[pixels.shape](pixels)[0]


class Maps:
    """transformers' masked autoencoder drawing anomaly maps; passes of one image one by one or as one batch."""

    def __init__(self, checkpoint, precision, threads, as_batch):
        import torch
        import transformers
        torch.set_num_threads(threads)
        self.torch, self.type, self.as_batch = torch, getattr(torch, precision), as_batch
        self.model = transformers.ViTMAEForPreTraining.from_pretrained(checkpoint, dtype=self.type).eval()

    def noise(self, seed):
        """transformers keeps the patches of least noise: ranks in the order in which the masks are drawn."""
        patches, keys, state, all_ones = self.model.vit.embeddings.patch_embeddings.num_patches, [], seed, 2**64 - 1
        for _ in range(PASSES * patches):
            state = (state + 0x9E3779B97F4A7C15) & all_ones
            z = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & all_ones
            z = ((z ^ z >> 27) * 0x94D049BB133111EB) & all_ones
            keys.append(z ^ z >> 31)
        noise = self.torch.empty(PASSES, patches)
        for i in range(PASSES):
            of_pass = keys[i * patches:(i + 1) * patches]
            order = sorted(range(patches), key=lambda patch: (of_pass[patch], patch))
            noise[i, order] = self.torch.arange(patches) / (2.0 * patches)
        return noise

    def map(self, image, seed):
        torch, model, noise = self.torch, self.model, self.noise(seed)
        pixels = torch.from_numpy(image)[None]
        rows = [slice(0, PASSES)] if self.as_batch else [slice(i, i + 1) for i in range(PASSES)]
        errors = hits = 0
        for part in rows:
            batch = pixels.to(self.type).expand(noise[part].shape[0], -1, -1, -1)
            output = model(batch, noise=noise[part])
            imagined = (model.unpatchify(output.logits).float() / 2 + 0.5).clamp(0, 1)
            side, patch = model.config.image_size // model.config.patch_size, model.config.patch_size
            hidden = output.mask.float().view(-1, side, side).repeat_interleave(patch, 1).repeat_interleave(patch, 2)
            errors = errors + (((imagined - (pixels / 2 + 0.5)) ** 2).mean(1) * hidden).sum(0)
            hits = hits + hidden.sum(0)
        return torch.where(hits > 0, errors / hits.clamp(min=1), torch.zeros(())).numpy()

    def __call__(self, pixels):
        with self.torch.no_grad():
            return numpy.stack([self.map(image, seed) for seed, image in enumerate(pixels)])


PEERS = {"eager": Eager, "compile": Compiled, "onnxruntime": OnnxRuntime, "openvino": OpenVino,
         "maps-single": lambda *rest: Maps(*rest, as_batch=False),
         "maps-batch": lambda *rest: Maps(*rest, as_batch=True)}


def main():
    name, precision, checkpoint, images, threads = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What libraries print is no answer.
    images = numpy.load(pathlib.Path(images)).astype(numpy.float32) / 127.5 - 1
    pixels = numpy.repeat(images[:, None], 3, axis=1)
    run = PEERS[name](checkpoint, precision, int(threads))
    for line in sys.stdin:
        question = json.loads(line)
        batch = numpy.ascontiguousarray(pixels[[i % question["images"] for i in range(question["batch"])]])
        outputs, seconds = run(batch), []
        while question["seconds"] > 0 and sum(seconds) < question["seconds"]:
            begun = time.perf_counter()
            outputs = run(batch)
            seconds.append(time.perf_counter() - begun)
        if question.get("outputs"):
            numpy.save(question["outputs"], outputs)
        print(json.dumps({"seconds": seconds}), file=answers, flush=True)


if __name__ == "__main__":
    main()
