#!/usr/bin/env python3
"""Races koine against `transformers` on this machine's CPU, XLM-R base shape, random weights, and writes the raw results.

    python3 bench/peers/race_cpu.py --bench build/bench_step --output bench/results/cpu/race.json
        [--mnli PATH/multinli_1.0_train.jsonl --tokenizer PATH/sentencepiece.bpe.model] [--rounds 3] [--threads 2]

Needs `torch` and `transformers` (and `sentencepiece` for --mnli) in the Python that runs it. Four races: a dense batch of 16 x 128 and MNLI's length
distribution (koine packed, transformers padded to the longest of each batch of 32), encoding and training. Each side runs in fp32 and in bf16 and
counts with its faster one. The two sides take turns, round after round; the ratio is that of each round's medians.
Without --mnli the MNLI lengths are drawn from a lognormal of mean 45 and coefficient of variation 0.55.
"""
import argparse
import datetime
import json
import pathlib
import platform
import random
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def mnli_lengths(options):
    if not options.mnli:
        generator = random.Random(1)
        sigma = 0.514
        return [min(256, max(8, round(45 * generator.lognormvariate(-sigma * sigma / 2, sigma)))) for _ in range(options.sequences)], "lognormal"
    import sentencepiece
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=options.tokenizer)
    lengths = []
    with open(options.mnli, encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            lengths.append(min(256, len(tokenizer.encode(row["sentence1"])) + len(tokenizer.encode(row["sentence2"])) + 4))
    return lengths[:options.sequences], pathlib.Path(options.mnli).name


def run(command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{result.stderr}")
    return json.loads(result.stdout.strip().splitlines()[-1])


def processor():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def race(options, mode, lengths, batch):
    sides = {"koine": {}, "transformers": {}}
    rounds = []
    for _ in range(options.rounds):
        best = {}
        for precision in options.precisions:
            common = ["--mode", mode, "--precision", precision, "--lengths", lengths, "--batch", str(batch), "--threads", str(options.threads),
                      "--repeats", str(options.repeats)]
            ours = run([options.bench] + common)
            theirs = run([sys.executable, str(HERE / "transformers_step.py")] + common)
            for name, result in (("koine", ours), ("transformers", theirs)):
                sides[name].setdefault(precision, []).append(result)
                best[name] = max(best.get(name, 0), statistics.median(result["tokens_per_second"]))
        rounds.append(best["koine"] / best["transformers"])
        print(f"  {mode} {pathlib.Path(lengths).name}: ratio {rounds[-1]:.2f}", flush=True)
    return {"mode": mode, "lengths": lengths if "/" not in lengths else "mnli", "batch": batch, "ratios": rounds,
            "ratio_median": statistics.median(rounds), "runs": sides}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bench", default="build/bench_step")
    parser.add_argument("--output", default="bench/results/cpu/race.json")
    parser.add_argument("--mnli")
    parser.add_argument("--tokenizer")
    parser.add_argument("--sequences", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precisions", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    options = parser.parse_args()
    lengths, source = mnli_lengths(options)
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "mnli.txt"
        file.write_text("\n".join(map(str, lengths)) + "\n")
        races = [race(options, mode, shape, batch) for shape, batch in (("16x128", 16), (str(file), 32)) for mode in ("encode", "train")]
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=HERE).stdout.strip()
    output = pathlib.Path(options.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"date": datetime.date.today().isoformat(), "commit": commit, "processor": processor(),
                                  "threads": options.threads, "command": " ".join(["python3", "bench/peers/race_cpu.py"] + [
                                      a if not a.startswith("/") else pathlib.Path(a).name for a in sys.argv[1:]]),
                                  "mnli_lengths": {"source": source, "sequences": len(lengths), "mean": statistics.mean(lengths)},
                                  "races": races}, indent=1) + "\n")


if __name__ == "__main__":
    main()
