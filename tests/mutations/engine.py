"""What a checkpoint means and how requests share a device: weights, heads, masks, maps, batches."""
from run import Mutation

OPTIONS = ["-DNODE_DICOM=OFF"]
VIT = "inference/vision_transformer.cpp"
HEAD = "inference/task_head.cpp"
MAP = "inference/anomaly_map.cpp"
MASKS = "inference/masks.cpp"
BATCHER = "inference/batcher.cpp"
RUN = "inference/batch_run.cpp"
WORKER = "inference/device_worker.cpp"
ENGINE = "inference/engine.cpp"
REQUEST = "inference/request.cpp"
RESIZE = "inference/resize.cpp"

CORE = ("preprocess_test", "batcher_test", "task_head_test", "masks_test")
NETWORK = ("engine_test", "inference/parity_test.py engine_tool")
NEAREST = {BATCHER: ("batcher_test", "engine_test"), HEAD: ("task_head_test", "engine_test"),
           MASKS: ("masks_test", *NETWORK), RESIZE: ("preprocess_test", "inference/preprocess_parity_test.py preprocess_tool")}


def mutations():
    return [
        Mutation("the query is made of the value's weights", VIT, 'view_tensor(checkpoint, prefix + "query." + part, placement),\n                      view_tensor(checkpoint, prefix + "key." + part, placement)',
                 'view_tensor(checkpoint, prefix + "value." + part, placement),\n                      view_tensor(checkpoint, prefix + "key." + part, placement)'),
        Mutation("no residual around attention", VIT, "block.attention_output.added_to(tokens.slice(1, 0, asked), mixed)",
                 "block.attention_output.added_to(tokens.slice(1, 0, asked) * 0, mixed)"),
        Mutation("layer_norm_eps is ignored", VIT, "          checkpoint.network().layer_norm_eps};", "          1e-3};"),
        Mutation("qkv_bias is ignored", VIT, 'checkpoint.network().qkv_bias ? fused("bias") : at::Tensor()', "at::Tensor()"),
        Mutation("the class token without its position", VIT, " + positions.slice(1, 0, 1);", ";"),
        Mutation("positions are not added", VIT, "vit.patch_projection(patches) + vit.positions", "vit.patch_projection(patches)"),
        Mutation("patches in another order", VIT, ".permute({0, 2, 4, 1, 3, 5})", ".permute({0, 4, 2, 1, 3, 5})"),
        Mutation("the pooled token is the last", VIT, "at::cat({cls, tokens}, 1), 1).select(1, 0)",
                 "at::cat({tokens, cls}, 1), 1).select(1, 0)"),
        Mutation("a slice begins at 0", RUN, "const float* const first = logits + task.head.first;", "const float* const first = logits;"),
        Mutation("the first image's logits for all", RUN, "static_cast<std::int64_t>(i) * logits.size(1)", "0"),
        Mutation("NaN logits are reported", RUN, "if (!std::all_of(prediction.logits.begin()", "if (false && !std::all_of(prediction.logits.begin()"),
        Mutation("labels in any order", HEAD, "NODE_RETURN_IF_ERROR(check_order(head.labels, all, head.first));", ""),
        Mutation("a softmax over all but one", HEAD, "sum += std::exp(logit - greatest);", "sum += std::exp(logit - greatest) * 1.001;"),
        Mutation("scale is ignored", HEAD, "logits[i] * task.scale + task.offset", "logits[i] + task.offset"),
        Mutation("offset is ignored", HEAD, "logits[i] * task.scale + task.offset", "logits[i] * task.scale"),
        Mutation("errors of visible patches count", MAP, "(difference * difference).mean(2) * hidden", "(difference * difference).mean(2)"),
        Mutation("errors are summed, not averaged", MAP, "(sums / hits.clamp_min(1))", "sums"),
        Mutation("errors are not clamped to [0, 1]", MAP, ".clamp(0, 1)", ""),
        Mutation("a map turned about its diagonal", MAP, ".permute({0, 1, 3, 2, 4})", ".permute({0, 2, 4, 1, 3})"),
        Mutation("masks do not depend on the seed", MASKS, "SplitMix64 stream(seed);", "SplitMix64 stream(1);"),
        Mutation("ties of a mask broken at random", MASKS, "0x9E3779B97F4A7C15u", "0x9E3779B97F4A7C17u"),
        Mutation("the delay is not waited for", BATCHER, "waiting.front().since + options_.delay", "waiting.front().since"),
        Mutation("a full batch waits all the same", BATCHER, "stats_.waiting_rows[i] < options_.rows_max && ", ""),
        Mutation("urgency is ignored within a model", BATCHER, "return urgency_of(queue.waiting[a], now) > urgency_of(queue.waiting[b], now);",
                 "return a < b;"),
        Mutation("urgency is ignored between models", BATCHER, "if (best < 0 || urgency > best_urgency ||", "if (best < 0 ||"),
        Mutation("one model starves another", BATCHER, "queues_[i].rows_served < queues_[best].rows_served", "false"),
        Mutation("an idle model brings credit", BATCHER,
                 "if (to.waiting.empty()) to.rows_served = std::max(to.rows_served, rows_served_level());", ""),
        Mutation("a batch of more rows than its limit", BATCHER,
                 "if (!batch.empty() && rows + item->rows > options_.rows_max) continue;", ""),
        Mutation("patience without end", BATCHER, "now - waiting.since >= options_.patience", "false"),
        Mutation("out of memory fails the batch", WORKER,
                 "if (status.code() != StatusCode::kResourceExhausted || rows_max == 1) return status;", "return status;"),
        Mutation("one bad image fails its batch", WORKER, "items.size() > 1 ? run_items(queue, {&item, 1}) : status", "status"),
        Mutation("heads on one backbone pass it twice", ENGINE, "model.backbone_and_devices()", "wanted.name"),
        Mutation("the answer comes with the first part", REQUEST, "ended = running_ == 0;", "ended = true;"),
        Mutation("a task that waits is decided before its gate is done", REQUEST,
                 "return open_items_[position] == 0 ? &predictions_[position] : nullptr", "return &predictions_[position]"),
        Mutation("the last column of an odd width is lost where rows go together", RESIZE,
                 "if (columns % 2 == 0) return;", "return;"),
        Mutation("a filter begins a pixel too early where rows go together", RESIZE,
                 "const int begin = filter.first[i] % 2, end", "const int begin = 0, end"),
        Mutation("half a grey level is not added where rows go together", RESIZE, "low = _mm256_set1_epi32(kHalf)",
                 "low = _mm256_setzero_si256()"),
    ]


def tests(mutation):
    return [list(NEAREST.get(mutation.path, NETWORK))]
