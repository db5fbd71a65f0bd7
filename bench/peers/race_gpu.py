#!/usr/bin/env python3
"""Races koine against `transformers` (eager, SDPA, torch.compile) on one GPU and writes the raw results.

    python3 bench/peers/race_gpu.py --bench build-cuda/bench_step --output race.json [--size large] [--rounds 5] [--lengths mnli=FILE]

All sides read the same weights (random, written by bench_step) and the same batches, bf16 with fp32 master weights, dropout on in training, and take
turns in one run, each in a process that stays. Batches: 128 x 128 and 32 x 512 tokens, and batches of 32 sequences with the lengths of MNLI and of
SQuAD, which transformers pads to their longest and koine packs. Before any time is taken the losses without dropout are compared: exit code 1
where they differ. Rates count real tokens. The ratio of a round is koine's rate to that of the way that is fastest by the median.
Lengths are lognormal with the mean and variation of each task in the XLM-R vocabulary (MNLI 45, 0.55, at most 256; SQuAD 198, 0.47, at most 384) but
where --lengths names a file with one length a line. `--device cpu --tiny` tries all of it with a tiny model; that measures nothing.
Needs torch and transformers in the Python that runs it, and no other package.
"""
import argparse
import datetime
import json
import math
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
WAYS = ["eager", "sdpa", "compile"]
# The same weights in bf16: each product rounds its inputs and outputs to 8 bits in an order of its own. Over the parity fixtures that moves a loss by
# up to 0.0064 (README, "mixed largest loss"); deeper models add up more of it. In fp32 only the order of sums differs.
TOLERANCE = {"bf16": 0.05, "fp32": 1e-3}


def lognormal(count, mean, variation, most):
    generator = random.Random(1)
    sigma = math.sqrt(math.log(1 + variation * variation))
    return [min(most, max(8, round(mean * generator.lognormvariate(-sigma * sigma / 2, sigma)))) for _ in range(count)]


def lengths_by_set(options):
    """{name: (sequences a batch, lengths)}"""
    if options.tiny:
        return {"dense": (8, [16] * 16), "mnli": (8, lognormal(24, 12, 0.55, 32))}
    given = dict(entry.split("=", 1) for entry in options.lengths)

    def read(name, count, *shape):
        if name not in given:
            return lognormal(count, *shape)
        return [int(line) for line in pathlib.Path(given[name]).read_text().split()][:count]

    return {"dense-128": (128, [128] * 512), "dense-512": (32, [512] * 128), "mnli": (32, read("mnli", 1024, 45, 0.55, 256)),
            "squad": (32, read("squad", 512, 198, 0.47, 384))}


def write_batches(path, batch, lengths, vocabulary):
    generator = random.Random(2)
    with open(path, "w", encoding="utf-8") as file:
        for place, length in enumerate(lengths):
            ids = " ".join(str(generator.randrange(4, vocabulary)) for _ in range(length))
            file.write(f"{place % 3} {ids}\n" + ("\n" if (place + 1) % batch == 0 else ""))


class Side:
    """A process that runs batches on demand."""

    def __init__(self, name, command, log):
        self.name, self.error, self.log = name, None, log
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(log, "w"), text=True, bufsize=1)
        self.about = self.answer() or {}

    def answer(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        self.process.wait()
        self.error = f"exit code {self.process.returncode}: {pathlib.Path(self.log).read_text()[-2000:]}"
        print(f"{self.name} failed: {self.error}", file=sys.stderr, flush=True)
        return None

    def ask(self, *words):
        if self.error:
            return None
        try:
            self.process.stdin.write(" ".join(words) + "\n")
        except BrokenPipeError:
            pass
        return self.answer()

    def end(self):
        if self.process.poll() is None:
            self.process.stdin.write("quit\n")
            self.process.wait()


def compare_losses(sides, name, tolerance):
    """Largest difference of each side's losses from koine's; None where a side failed."""
    losses = {side.name: side.ask("losses", name) for side in sides}
    ours = losses["koine"]
    result = {}
    for side in sides[1:]:
        theirs = losses[side.name]
        if ours and theirs:
            result[side.name] = max(abs(a - b) for a, b in zip(ours["losses"], theirs["losses"], strict=True))
            if not result[side.name] <= tolerance:
                side.error = f"losses of {name} differ by {result[side.name]}, more than {tolerance}"
                print(f"{side.name}: {side.error}", file=sys.stderr)
    return result


def race(sides, name, mode, options):
    for _ in range(options.warm_up):
        for side in sides:
            side.ask(mode, name)
    rates = {side.name: [] for side in sides}
    peaks = {}
    for _ in range(options.rounds):
        for side in sides:
            answer = side.ask(mode, name)
            if answer:
                rates[side.name].append(answer["tokens"] / answer["seconds"])
                peaks[side.name] = answer.get("peak_bytes")
    medians = {side: statistics.median(values) for side, values in rates.items() if len(values) == options.rounds}
    entry = {"batches": name, "mode": mode, "tokens_per_second": rates, "median": medians, "peak_bytes": peaks}
    others = [side for side in medians if side != "koine"]
    if "koine" in medians and others:
        entry["best_other"] = max(others, key=medians.get)
        entry["ratios"] = [ours / theirs for ours, theirs in zip(rates["koine"], rates[entry["best_other"]])]
        entry["ratio_median"] = statistics.median(entry["ratios"])
        print(f"{mode} {name}: {entry['ratio_median']:.2f} times {entry['best_other']} ({min(entry['ratios']):.2f} to {max(entry['ratios']):.2f})", flush=True)
    return entry


def start_sides(options, folder, model, serve):
    common = ["--model", str(model), "--serve", serve, "--precision", options.precision, "--device"]
    sides = [Side("koine", [options.bench, *common, options.koine_device or options.device], folder / "koine.log")]
    for way in options.ways:
        command = [sys.executable, str(HERE / "transformers_gpu_step.py"), "--way", way, *common, options.device]
        sides.append(Side(way, command, folder / f"{way}.log"))
    return sides


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--size", default="large")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--koine-device", choices=["cuda", "cpu"], help="where it is another: to try CUDA kernels that run on the CPU")
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--modes", nargs="+", choices=["train", "encode"], default=["train", "encode"])
    parser.add_argument("--sets", nargs="+", help="of the batches named above")
    parser.add_argument("--lengths", nargs="+", default=[], metavar="NAME=FILE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--tiny", action="store_true")
    return parser.parse_args()


def main():
    options = parse()
    if options.tiny:
        options.size = "tiny"
    started = time.time()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run([options.bench, "--save-model", str(folder / "model"), "--size", options.size], check=True)
        vocabulary = json.loads((folder / "model" / "config.json").read_text())["vocab_size"]
        sets = {key: value for key, value in lengths_by_set(options).items() if not options.sets or key in options.sets}
        for key, (batch, lengths) in sets.items():
            write_batches(folder / f"{key}.txt", batch, lengths, vocabulary)
        sides = start_sides(options, folder, folder / "model", ",".join(f"{key}={folder / key}.txt" for key in sets))
        differences = {key: compare_losses(sides, key, TOLERANCE[options.precision]) for key in sets}
        print("largest difference of losses:", json.dumps(differences), flush=True)
        agreed = all(side.error is None for side in sides)
        races = [race(sides, key, mode, options) for key in sets for mode in options.modes] if agreed else []
        for side in sides:
            side.end()
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=HERE).stdout.strip()
    result = {"date": datetime.date.today().isoformat(), "commit": commit, "size": options.size, "device": options.device,
              "precision": options.precision, "seconds": time.time() - started,
              "command": " ".join(["python3 bench/peers/race_gpu.py"] + [pathlib.Path(a).name if a.startswith("/") else a for a in sys.argv[1:]]),
              "software": {side.name: side.about for side in sides},
              "sets": {key: {"sequences_a_batch": batch, "sequences": len(lengths), "mean_length": statistics.mean(lengths)}
                       for key, (batch, lengths) in sets.items()},
              "loss_differences": differences, "failed": {side.name: side.error for side in sides if side.error}, "races": races}
    if options.tiny or options.device == "cpu":
        result["not_a_measurement"] = "a try-out with a tiny model or on the CPU"
    output = pathlib.Path(options.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
