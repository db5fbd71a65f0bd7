#!/usr/bin/env python3
"""Whole steps of an XLM-R by `transformers`, on demand: what `bench_step --serve` is, done by PyTorch. race_cpu.py and race_gpu.py run both.

    python3 bench/peers/transformers_step.py --way eager|sdpa|compile --model DIR --serve NAME=FILE,... [--device cuda] [--precision bf16] [--threads N]

DIR is a model directory (bench_step --save-model); a file holds batches, a line a sequence, "label id id ...", an empty line behind each batch.
Batches are padded to their longest sequence. bf16 is torch.autocast over fp32 weights; training is forward with dropout, backward, clipping, fused
AdamW. "compile" is torch.compile over SDPA. Reads the commands of bench_step's --serve from standard input, but for "probe", and answers each with a
line of JSON. Needs only torch and transformers.
"""
import argparse
import contextlib
import json
import os
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch  # noqa: E402
import transformers  # noqa: E402


def read_batches(path, device):
    batches = []
    with open(path, encoding="utf-8") as file:
        for block in file.read().strip().split("\n\n"):
            rows = [[int(word) for word in line.split()] for line in block.splitlines()]
            width = max(len(row) for row in rows) - 1
            ids = torch.ones(len(rows), width, dtype=torch.long)
            mask = torch.zeros(len(rows), width, dtype=torch.long)
            for place, row in enumerate(rows):
                ids[place, :len(row) - 1] = torch.tensor(row[1:])
                mask[place, :len(row) - 1] = 1
            labels = torch.tensor([row[0] for row in rows])
            one = (ids, None if bool(mask.all()) else mask, labels)
            if device == "cuda":
                one = tuple(None if tensor is None else tensor.pin_memory() for tensor in one)
            batches.append(one)
    return batches


class Stepper:
    def __init__(self, options):
        self.device = options.device
        self.model = transformers.XLMRobertaForSequenceClassification.from_pretrained(
            options.model, num_labels=3, attn_implementation="eager" if options.way == "eager" else "sdpa").float().to(self.device)
        self.whole, self.encoder = self.model, self.model.base_model
        if options.way == "compile":
            self.whole, self.encoder = torch.compile(self.model), torch.compile(self.model.base_model)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-5, weight_decay=0.01, fused=True)
        self.autocast = contextlib.nullcontext
        if options.precision == "bf16":
            self.autocast = lambda: torch.autocast(self.device, dtype=torch.bfloat16)

    def moved(self, batches):
        for batch in batches:
            yield tuple(None if tensor is None else tensor.to(self.device, non_blocking=True) for tensor in batch)

    def wait(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def losses(self, batches):
        self.model.eval()
        with torch.no_grad(), self.autocast():
            return [self.model(ids, attention_mask=mask, labels=labels).loss.item() for ids, mask, labels in self.moved(batches)]

    def train(self, batches):
        self.model.train()
        for ids, mask, labels in self.moved(batches):
            with self.autocast():
                loss = self.whole(ids, attention_mask=mask, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def encode(self, batches):
        self.model.eval()
        for ids, mask, _ in self.moved(batches):
            with torch.inference_mode(), self.autocast():
                hidden = self.encoder(ids, attention_mask=mask).last_hidden_state
                weights = torch.ones(ids.shape, device=self.device) if mask is None else mask.float()
                ((hidden.float() * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)).cpu()

    def timed(self, what, batches):
        """Seconds, and processor seconds of all threads."""
        self.wait()
        start, processor = time.perf_counter(), time.process_time()
        what(batches)
        self.wait()
        return time.perf_counter() - start, time.process_time() - processor


def turn_of(batches, words):
    """Batches from number FIRST on, COUNT of them, around and around; all where no numbers are said."""
    if not words:
        return batches
    first, count = map(int, words)
    return [batches[(first + place) % len(batches)] for place in range(count)]


def tokens_of(batches):
    return sum(ids.numel() if mask is None else int(mask.sum()) for ids, mask, _ in batches)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--way", choices=["eager", "sdpa", "compile"], required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--serve", required=True)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    sets = {name: read_batches(path, options.device) for name, path in (entry.split("=", 1) for entry in options.serve.split(","))}
    stepper = Stepper(options)
    answer = {"ready": True, "torch": torch.__version__, "transformers": transformers.__version__, "cuda": torch.version.cuda}
    while True:
        print(json.dumps(answer), flush=True)
        words = sys.stdin.readline().split()
        if not words or words[0] == "quit":
            return
        batches = sets[words[1]]
        if words[0] == "losses":
            answer = {"losses": stepper.losses(batches)}
        else:
            turn = turn_of(batches, words[2:])
            seconds, processor = stepper.timed({"train": stepper.train, "encode": stepper.encode}[words[0]], turn)
            answer = {"batches": len(turn), "tokens": tokens_of(turn), "seconds": seconds, "processor_seconds": processor}
            if options.device == "cuda":
                answer["peak_bytes"] = torch.cuda.max_memory_allocated()


if __name__ == "__main__":
    main()
