#!/usr/bin/env python3
"""What bench_step measures, done by `transformers` on PyTorch's CPU: the same lengths, random weights, random ids.

    python3 bench/peers/transformers_step.py --mode encode|train --lengths 16x128|FILE --batch 32 --precision fp32|bf16 --threads N --repeats N

--precision bf16 is torch.autocast. Batches are padded to their longest sequence (dynamic padding), sequences in file order; --sorted pads
batches of like length instead. One JSON object on standard output, real tokens (no padding) per second of every repeat.
"""
import argparse
import contextlib
import json
import time

import torch
import transformers


def read_lengths(text):
    if "x" in text and "/" not in text and "." not in text:
        count, length = text.split("x")
        return [int(length)] * int(count)
    with open(text) as file:
        return [int(line) for line in file if line.strip()]


def batches_of(lengths, batch, by_length, generator):
    order = sorted(range(len(lengths)), key=lambda i: lengths[i]) if by_length else range(len(lengths))
    order = list(order)
    result = []
    for begin in range(0, len(order), batch):
        chosen = [lengths[i] for i in order[begin:begin + batch]]
        width = max(chosen)
        ids = torch.randint(4, 250000, (len(chosen), width), generator=generator)
        mask = torch.zeros(len(chosen), width, dtype=torch.long)
        for row, length in enumerate(chosen):
            mask[row, :length] = 1
        ids[mask == 0] = 1
        labels = torch.arange(len(chosen)) % 3
        result.append((ids, None if bool(mask.all()) else mask, labels))
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=["encode", "train"], default="encode")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--lengths", default="16x128")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--attention", default="sdpa", choices=["sdpa", "eager"])
    parser.add_argument("--sorted", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    config = transformers.XLMRobertaConfig(vocab_size=250002, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5,
                                           pad_token_id=1, bos_token_id=0, eos_token_id=2, num_hidden_layers=options.layers,
                                           num_labels=3, attn_implementation=options.attention)
    lengths = read_lengths(options.lengths)
    batches = batches_of(lengths, options.batch, options.sorted, torch.Generator().manual_seed(2))
    autocast = (lambda: torch.autocast("cpu", dtype=torch.bfloat16)) if options.precision == "bf16" else contextlib.nullcontext
    if options.mode == "train":
        model = transformers.XLMRobertaForSequenceClassification(config).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01, foreach=True)
    else:
        model = transformers.XLMRobertaModel(config, add_pooling_layer=False).eval()

    def run():
        for ids, mask, labels in batches:
            if options.mode == "train":
                with autocast():
                    loss = model(ids, attention_mask=mask, labels=labels).loss
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
            else:
                with torch.inference_mode(), autocast():
                    hidden = model(ids, attention_mask=mask).last_hidden_state
                    weights = torch.ones(ids.shape) if mask is None else mask.float()
                    (hidden.float() * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)

    run()
    rates = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        run()
        rates.append(sum(lengths) / (time.perf_counter() - start))
    print(json.dumps({"program": "transformers", "mode": options.mode, "precision": options.precision, "attention": options.attention,
                      "threads": options.threads, "lengths": options.lengths, "tokens": sum(lengths), "tokens_per_second": rates,
                      "sorted": options.sorted, "torch": torch.__version__, "transformers": transformers.__version__}))


if __name__ == "__main__":
    main()
