#!/usr/bin/env python3
"""Races koine on this machine's CPU against `transformers`, or against another bench_step, and writes the raw results.

    python3 bench/peers/race_cpu.py --bench build/bench_step --output bench/results/cpu/race.json [--rounds 12] [--threads 2] [--precisions bf16]
        [--mnli PATH/multinli_1.0_train.jsonl --tokenizer PATH/sentencepiece.bpe.model]
    python3 bench/peers/race_cpu.py --bench build/bench_step --against 'KOINE_FORCE=layernorm:reference build/bench_step' --output race.json

XLM-R base with random weights, written once and read by both sides. Batches: 16 x 128 tokens, and batches of 32 sequences with the lengths of MNLI
(--batch), which transformers pads to their longest and koine packs; encoding, and training with dropout. Before any time is taken the losses without
dropout are compared. Both sides stay, do the same batches in short turns, and the machine is probed beside every turn (bench/peers/turns.py). Where
others compute on the same machine, one thread and longer probes keep more rounds (--threads 1 --probe-seconds 1). Each side is raced in every precision
and counts with its faster one; where these are not the same for both sides, the two are raced once more. Rates count real tokens.

--against races any command that is a bench_step: of another build, or with environment variables before it. It needs only Python; against
transformers the Python that runs this needs `torch` and `transformers` (and `sentencepiece` for --mnli). Without --mnli the MNLI lengths are drawn from
a lognormal of mean 45 and coefficient of variation 0.55. `--size tiny` tries all of it; that measures nothing. Exit code 1 where a side failed, or where
fewer than half the rounds of a race are kept: such a result says not_a_measurement.
"""
import argparse
import csv
import datetime
import itertools
import json
import pathlib
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile

from batches import command_line, commit, lognormal, write_batches, write_result
from turns import TOLERANCE, Side, batches_a_turn, compare, compare_losses, doubtful, median_rate, per_product, take_turns, words

HERE = pathlib.Path(__file__).resolve().parent
MODES = ["encode", "train"]


def mnli_pairs(path):
    """MultiNLI as it is distributed: JSON lines, or columns named in the first line."""
    with open(path, encoding="utf-8") as file:
        rows = map(json.loads, file) if path.endswith(".jsonl") else csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        for number, row in enumerate(rows, 1):
            if not row.get("sentence1") or not row.get("sentence2"):
                sys.exit(f"{path}: pair {number} has no sentence1 or no sentence2")
            yield row["sentence1"], row["sentence2"]


def mnli_lengths(options):
    if not options.mnli:
        return lognormal(options.sequences, 45, 0.55, 256), "lognormal"
    import sentencepiece
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=options.tokenizer)
    lengths = []
    for premise, hypothesis in itertools.islice(mnli_pairs(options.mnli), options.sequences):
        lengths.append(min(256, len(tokenizer.encode(premise)) + len(tokenizer.encode(hypothesis)) + 4))
    if not lengths:
        sys.exit(f"{options.mnli}: no pair of sentences")
    return lengths, pathlib.Path(options.mnli).name


def processor():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def with_environment(command):
    """NAME=VALUE words before the program are its environment, as in a shell."""
    return ["env", *shlex.split(command)]


class Race:
    """Both sides over the same model and batches; processes for one pair of precisions at a time, because two models of each would not fit everywhere."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        subprocess.run([options.bench, "--save-model", str(folder / "model"), "--size", options.size], check=True)
        vocabulary = json.loads((folder / "model" / "config.json").read_text())["vocab_size"]
        self.mnli, self.mnli_source = mnli_lengths(options)
        batch = options.batch
        self.sets = {f"{batch}x128": (batch, [128] * batch), "mnli": (2 * batch, self.mnli)}
        if options.size == "tiny":
            self.sets = {"4x16": (4, [16] * 8), "mnli": (8, [min(32, length) for length in self.mnli[:24]])}
        self.sets = {name: batches for name, batches in self.sets.items() if not options.sets or name in options.sets}
        for name, (batch, lengths) in self.sets.items():
            write_batches(folder / f"{name}.txt", batch, lengths, vocabulary)
        self.other = "other" if options.against else "transformers"
        self.loss_differences, self.failed, self.about = {}, {}, {}

    def start(self, ours, theirs):
        """The two sides in these precisions."""
        def arguments(precision):
            serve = ",".join(f"{name}={self.folder / name}.txt" for name in self.sets)
            return ["--model", str(self.folder / "model"), "--serve", serve, "--precision", precision, "--device", "cpu",
                    "--threads", str(self.options.threads)]

        peer = [sys.executable, str(HERE / "transformers_step.py"), "--way", "sdpa"]
        if self.options.against:
            peer = with_environment(self.options.against)
        sides = [Side("koine", [self.options.bench, *arguments(ours)], self.folder / "koine.log"),
                 Side(self.other, [*peer, *arguments(theirs)], self.folder / "other.log")]
        self.about = {side.name: side.about for side in sides}
        tolerance = max(TOLERANCE[ours], TOLERANCE[theirs])
        self.loss_differences[f"{ours}, {theirs}"] = {name: compare_losses(sides, name, tolerance).get(self.other) for name in self.sets}
        return sides

    def end(self, sides):
        self.failed.update({side.name: side.error for side in sides if side.error})
        for side in sides:
            side.end()

    def run(self, sides, mode, name):
        if any(side.error for side in sides):
            return None
        for side in sides:
            side.ask(mode, name)  # primitives are made, pages touched
        count = batches_a_turn(sides, mode, name, self.options.seconds)
        turns = take_turns(sides, mode, name, self.options.rounds, count, self.options.probe_seconds)
        result = {"batches_a_turn": count, "median": {side.name: median_rate(turns, side.name) for side in sides},
                  "per_product": {side.name: per_product(turns, side.name) for side in sides},
                  **compare(turns, "koine", self.other), "turns": turns}
        return result

    def all(self):
        races = {(name, mode): {} for name in self.sets for mode in self.options.modes}
        for precision in self.options.precisions:
            sides = self.start(precision, precision)
            for (name, mode), by_precision in races.items():
                result = self.run(sides, mode, name)
                if result:
                    by_precision[precision] = result
                    print(f"{mode} {name}, {precision}: {words(result)}", flush=True)
            self.end(sides)
        return [self.faster_ones(name, mode, by_precision) for (name, mode), by_precision in races.items() if by_precision]

    def faster_ones(self, name, mode, by_precision):
        """Of each side the precision in which it is faster; what the probe did in the same time makes turns of different minutes comparable."""
        def faster(side):
            return max(by_precision, key=lambda precision: by_precision[precision]["per_product"][side] or 0)

        ours, theirs = faster("koine"), faster(self.other)
        if ours == theirs:
            result = {key: value for key, value in by_precision[ours].items() if key != "turns"}
        else:
            sides = self.start(ours, theirs)
            result = self.run(sides, mode, name)
            self.end(sides)
            if result is None:
                return {"mode": mode, "lengths": name, "by_precision": by_precision}
            print(f"{mode} {name}, {ours} against {theirs}: {words(result)}", flush=True)
        return {"mode": mode, "lengths": name, "batch": self.sets[name][0], "precision": {"koine": ours, self.other: theirs}, **result,
                "by_precision": by_precision}


def not_a_measurement(options, races):
    if options.size == "tiny":
        return "a tiny model, to see that everything runs"
    return doubtful({f"{race['mode']} {race['lengths']}": race for race in races if "rounds" in race})


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", default="build/bench_step")
    parser.add_argument("--against", metavar="COMMAND", help="another bench_step, with its environment: instead of transformers")
    parser.add_argument("--output", default="bench/results/cpu/race.json")
    parser.add_argument("--size", default="base")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--sets", nargs="+", help="of the batches: 16x128, mnli")
    parser.add_argument("--batch", type=int, default=16, help="of 128 tokens, and twice as many of MNLI's lengths: fewer where a turn takes too long")
    parser.add_argument("--mnli", metavar="FILE", help="multinli_1.0_train.jsonl or .txt; lognormal lengths without it")
    parser.add_argument("--tokenizer")
    parser.add_argument("--sequences", type=int, default=256, help="of MNLI's lengths")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=2, help="of a turn of the faster side")
    parser.add_argument("--probe-seconds", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precisions", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    return parser.parse_args()


def main():
    options = parse()
    with tempfile.TemporaryDirectory() as name:
        race = Race(options, pathlib.Path(name))
        races = race.all()
    result = {"date": datetime.date.today().isoformat(), "commit": commit(), "processor": processor(), "size": options.size, "threads": options.threads,
              "command": command_line("race_cpu.py"), "software": race.about,
              "mnli_lengths": {"source": race.mnli_source, "sequences": len(race.mnli), "mean": statistics.mean(race.mnli)},
              "loss_differences": race.loss_differences, "failed": race.failed, "races": races}
    reason = not_a_measurement(options, races)
    if reason:
        result["not_a_measurement"] = reason
        print(f"race_cpu.py: not a measurement: {reason}", file=sys.stderr)
    write_result(options.output, result)
    return 1 if race.failed or (reason and options.size != "tiny") else 0


if __name__ == "__main__":
    sys.exit(main())
