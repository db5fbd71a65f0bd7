#!/usr/bin/env python3
"""Races koine against `transformers` (eager, SDPA, torch.compile) on one GPU and writes the raw results.

    python3 bench/peers/race_gpu.py --bench build-cuda/bench_step --output race.json [--size large] [--rounds 12] [--lengths mnli=FILE]

All sides read the same weights (random, written by bench_step) and the same batches, bf16 with fp32 master weights, dropout on in training, and take
short turns, with the device probed beside each (bench/peers/turns.py). Batches: 128 x 128 and 32 x 512 tokens, and batches of 32 sequences with the
lengths of MNLI and of SQuAD, which transformers pads to their longest and koine packs. Before any time is taken the losses without dropout are
compared: exit code 1 where they differ. Rates count real tokens. The ratio is koine's rate to that of the way that is fastest by the median.
Lengths are lognormal with the mean and variation of each task in the XLM-R vocabulary (MNLI 45, 0.55, at most 256; SQuAD 198, 0.47, at most 384) but
where --lengths names a file with one length a line. `--device cpu --tiny` tries all of it with a tiny model; that measures nothing.
Needs torch and transformers in the Python that runs it, and no other package.
"""
import argparse
import datetime
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from batches import command_line, commit, lognormal, write_batches, write_result
from turns import TOLERANCE, Side, batches_a_turn, compare, compare_losses, doubtful, median_rate, take_turns, words

HERE = pathlib.Path(__file__).resolve().parent
WAYS = ["eager", "sdpa", "compile"]


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


def race(sides, name, mode, options):
    for _ in range(options.warm_up):
        for side in sides:
            side.ask(mode, name)
    count = batches_a_turn(sides, mode, name, options.seconds)
    turns = take_turns(sides, mode, name, options.rounds, count, options.probe_seconds)
    medians = {side.name: median_rate(turns, side.name) for side in sides if not side.error}
    medians = {name: median for name, median in medians.items() if median}
    entry = {"batches": name, "mode": mode, "batches_a_turn": count, "median": medians, "turns": turns,
             "peak_bytes": {turn["side"]: turn["peak_bytes"] for turn in turns if "peak_bytes" in turn}}
    others = [side for side in medians if side != "koine"]
    if "koine" in medians and others:
        entry["best_other"] = max(others, key=medians.get)
        entry.update(compare(turns, "koine", entry["best_other"]))
        print(f"{mode} {name}: {words(entry)} times {entry['best_other']}", flush=True)
    return entry


def start_sides(options, folder, model, serve):
    common = ["--model", str(model), "--serve", serve, "--precision", options.precision, "--device"]
    sides = [Side("koine", [options.bench, *common, options.koine_device or options.device], folder / "koine.log")]
    for way in options.ways:
        command = [sys.executable, str(HERE / "transformers_step.py"), "--way", way, *common, options.device]
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
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=0.5, help="of a turn of the fastest side")
    parser.add_argument("--probe-seconds", type=float, default=0.05)
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
    result = {"date": datetime.date.today().isoformat(), "commit": commit(), "size": options.size, "device": options.device,
              "precision": options.precision, "seconds": time.time() - started,
              "command": command_line("race_gpu.py"),
              "software": {side.name: side.about for side in sides},
              "sets": {key: {"sequences_a_batch": batch, "sequences": len(lengths), "mean_length": statistics.mean(lengths)}
                       for key, (batch, lengths) in sets.items()},
              "loss_differences": differences, "failed": {side.name: side.error for side in sides if side.error}, "races": races}
    compared = {f"{race['mode']} {race['batches']}": race for race in races if "rounds" in race}
    if options.tiny or options.device == "cpu":
        result["not_a_measurement"] = "a try-out with a tiny model or on the CPU"
    elif doubtful(compared):
        result["not_a_measurement"] = doubtful(compared)
    write_result(options.output, result)
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
