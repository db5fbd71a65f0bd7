#!/usr/bin/env python3
"""What tools/gpu/check.sh gives the programs to read, and the comparison of two runs of its demo.

    inputs.py demo FILE [--tiny]            an experiment on generated languages, small enough for minutes
    inputs.py lengths FILE COUNT            lengths of MNLI's pairs: lognormal, mean 45, variation 0.55, at most 256
    inputs.py compare RESULTS RESULTS       exit code 1 where figures of two runs of the demo are too far apart
"""
import argparse
import json
import math
import pathlib
import random
import statistics
import sys

DEMO = """name = "check"
seeds = [1]
precision = "fp32"
[generated_data]
text_passages = {passages}
text_dev_passages = 10
nli_train = {train}
nli_dev = {test}
xnli_dev = {test}
xnli_test = {test}
squad_train = {train}
squad_dev = {test}
xquad_test = {test}
pos_train = {train}
pos_dev = {test}
pos_test = {test}
tatoeba = {test}
[model]
hidden_size = 128
num_hidden_layers = {layers}
num_attention_heads = 2
intermediate_size = 256
max_position_embeddings = 162
[tokenizer]
pieces = {pieces}
character_coverage = 1.0
[pretraining]
max_seq_length = 80
learning_rate = 1e-3
per_device_train_batch_size = 16
max_steps = {steps}
mlm_probability = 0.2
[[intermediate]]
name = "none"
[[intermediate]]
name = "mnli+squad"
tasks = ["mnli", "squad"]
learning_rate = 5e-4
per_device_train_batch_size = 32
gradient_accumulation_steps = 1
max_steps = {steps}
max_seq_length = 160
"""
TARGET = """[[target]]
task = "{task}"
learning_rate = 5e-4
per_device_train_batch_size = 16
gradient_accumulation_steps = 1
max_steps = {steps}
max_seq_length = {length}
languages = {languages}
"""
RETRIEVAL = """[[target]]
task = "tatoeba"
max_seq_length = 64
layer = {layers}
"""

# The same seeds drop the same elements and see the same examples, but sums in fp32 go in another order, and training amplifies that. An example
# that stands on the border may fall on the other side: with 300 examples a figure each such one is a third of a point. Ten of them are granted to a
# single figure; the mean over all figures, where they cancel, gets one point.
MOST_OF_ONE = 3.4
MOST_OF_MEAN = 1.0


def write_demo(path, tiny):
    size = {"passages": 40, "train": 30, "test": 6, "layers": 1, "steps": 2, "pieces": 300} if tiny else {
        "passages": 2000, "train": 3000, "test": 300, "layers": 3, "steps": 300, "pieces": 700}
    text = DEMO.format(**size)
    for task, length in (("xnli", 80),) if tiny else (("xnli", 80), ("xquad", 160), ("udpos", 80)):
        target = TARGET.format(task=task, length=length, languages='["en"]', **size)
        text += target if tiny else "".join(line + "\n" for line in target.splitlines() if not line.startswith("languages"))
    pathlib.Path(path).write_text(text + ("" if tiny else RETRIEVAL.format(**size)), encoding="utf-8")


def write_lengths(path, count):
    generator = random.Random(1)
    sigma = math.sqrt(math.log(1 + 0.55 * 0.55))
    lengths = [min(256, max(8, round(45 * generator.lognormvariate(-sigma * sigma / 2, sigma)))) for _ in range(count)]
    pathlib.Path(path).write_text("".join(f"{length}\n" for length in lengths), encoding="utf-8")


def compare(first, second):
    def figures(path):
        return {tuple(row[key] for key in ("intermediate", "target", "language", "metric", "seed")): row["value"]
                for row in json.loads(pathlib.Path(path).read_text(encoding="utf-8"))}

    left, right = figures(first), figures(second)
    if left.keys() != right.keys() or not left:
        print(f"the runs have different figures: {sorted(left.keys() ^ right.keys())}")
        return 1
    apart = {key: abs(left[key] - right[key]) for key in left}
    worst = max(apart, key=apart.get)
    mean = abs(statistics.mean(right.values()) - statistics.mean(left.values()))
    print(f"{len(apart)} figures; the mean differs by {mean:.2f} points, at most {apart[worst]:.2f} ({', '.join(map(str, worst))})")
    return 0 if apart[worst] <= MOST_OF_ONE and mean <= MOST_OF_MEAN else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo")
    demo.add_argument("file")
    demo.add_argument("--tiny", action="store_true")
    lengths = commands.add_parser("lengths")
    lengths.add_argument("file")
    lengths.add_argument("count", type=int)
    both = commands.add_parser("compare")
    both.add_argument("first")
    both.add_argument("second")
    options = parser.parse_args()
    if options.command == "demo":
        return write_demo(options.file, options.tiny)
    if options.command == "lengths":
        return write_lengths(options.file, options.count)
    return compare(options.first, options.second)


if __name__ == "__main__":
    sys.exit(main())
