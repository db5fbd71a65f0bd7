#!/usr/bin/env python3
"""Races the same fine-tuning: MNLI pairs, a real encoder, XNLI in several languages; koine against `transformers`, seed by seed.

    python3 bench/peers/race_finetune.py --koine build/koine --model multilingual-e5-small --data FOLDER --output bench/results/cpu/finetune.json
        [--examples 2000] [--epochs 2] [--seeds 3] [--threads 2] [--precision fp32]

FOLDER holds mnli/multinli_1.0/multinli_1.0_train.txt and xnli/XNLI-1.0/xnli.test.tsv. Both sides train on the first --examples pairs with the same batch
size, learning rate, schedule and number of epochs, each with its own order of examples and its own dropout, then answer the first --eval-examples of every
language. A side's time is that of its whole processes, from start to end: loading, tokenizing, training, saving, evaluating. The sides take turns, the
first one of a seed alternating. Reported are each seed's ratio of times (and of processor times, which other programs on the machine disturb less), and
each side's accuracies. Needs `torch` and `transformers` in the Python that runs this.
"""
import argparse
import datetime
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from batches import command_line, commit, write_result
from race_cpu import processor

HERE = pathlib.Path(__file__).resolve().parent


def timed(command):
    """(seconds, processor seconds, standard output) of a command that must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    result = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: exit code {result.returncode}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, result.stdout


def run_koine(options, seed, folder):
    common = ["--data", options.data, "--threads", options.threads, "--precision", options.precision, "--max-seq-length", 128, "--quiet"]
    run = folder / f"koine-{seed}"
    train = timed([options.koine, "train", "--task", "mnli", "--model", options.model, "--output", run, "--max-train-examples", options.examples,
                   "--num-train-epochs", options.epochs, "--per-device-train-batch-size", options.batch, "--gradient-accumulation-steps", 1,
                   "--learning-rate", options.learning_rate, "--lr-scheduler-type", "linear", "--warmup-ratio", 0.1, "--weight-decay", 0.01,
                   "--adam-epsilon", 1e-8, "--max-grad-norm", 1, "--eval-steps", 0, "--eval-examples", 20, "--load-best-model-at-end", "false",
                   "--seed", seed, *common])
    scores = folder / f"koine-{seed}-xnli"
    evaluate = timed([options.koine, "evaluate", "--task", "xnli", "--model", run / "model", "--output", scores, "--languages", options.languages,
                      "--max-eval-examples", options.eval_examples, *common])
    rows = json.loads((scores / "results.json").read_text(encoding="utf-8"))
    rows = rows["rows"] if isinstance(rows, dict) else rows
    accuracy = {row["language"]: row["value"] for row in rows if row["metric"] == "accuracy"}
    return {"seed": seed, "seconds": train[0] + evaluate[0], "processor_seconds": train[1] + evaluate[1], "train_process_seconds": train[0],
            "evaluate_process_seconds": evaluate[0], "accuracy": accuracy}


def run_transformers(options, seed, tokenizer):
    data = pathlib.Path(options.data)
    seconds, processor_seconds, text = timed(
        [sys.executable, HERE / "transformers_finetune.py", "--model", options.model, "--tokenizer", tokenizer,
         "--mnli", data / "mnli/multinli_1.0/multinli_1.0_train.txt", "--xnli", data / "xnli/XNLI-1.0/xnli.test.tsv", "--examples", options.examples,
         "--epochs", options.epochs, "--batch", options.batch, "--learning-rate", options.learning_rate, "--seed", seed, "--threads", options.threads,
         "--languages", options.languages, "--eval-examples", options.eval_examples, "--precision", options.precision])
    return {"seconds": seconds, "processor_seconds": processor_seconds, **json.loads(text.strip().splitlines()[-1])}


def write(options, sides):
    """What is measured so far: seeds that both sides have."""
    ratios = {key: [theirs[key] / ours[key] for ours, theirs in zip(sides["koine"], sides["transformers"])] for key in ("seconds", "processor_seconds")}
    write_result(options.output, {
        "date": datetime.date.today().isoformat(), "commit": commit(), "processor": processor(), "threads": options.threads,
        "command": command_line("race_finetune.py"), "model": pathlib.Path(options.model).name, "examples": options.examples, "epochs": options.epochs,
        "batch": options.batch, "learning_rate": float(options.learning_rate), "precision": options.precision, "eval_examples": options.eval_examples,
        "languages": options.languages.split(","), "ratios": ratios["seconds"], "processor_ratios": ratios["processor_seconds"],
        "ratio_median": statistics.median(ratios["seconds"]), "sides": sides})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--koine", default="build/koine")
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--output", default="bench/results/cpu/finetune.json")
    parser.add_argument("--languages", default="en,de,es,sw,ur")
    for name, default in (("examples", 2000), ("epochs", 2), ("batch", 16), ("seeds", 3), ("threads", 2), ("eval-examples", 500)):
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--learning-rate", default="1e-4")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    options = parser.parse_args()
    sides = {"koine": [], "transformers": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        tokenizer = folder / "koine-1" / "model" / "tokenizer.json"  # which koine writes beside a model: the first seed's first turn is its
        for seed in range(1, options.seeds + 1):
            turns = [("koine", lambda: run_koine(options, seed, folder)),
                     ("transformers", lambda: run_transformers(options, seed, tokenizer))]
            for name, turn in turns if seed % 2 else turns[::-1]:
                sides[name].append(turn())
                print(f"seed {seed}: {name} {sides[name][-1]}", file=sys.stderr, flush=True)
            write(options, sides)


if __name__ == "__main__":
    main()
