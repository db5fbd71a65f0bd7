"""What the races of race_cpu.py and race_gpu.py have in common beside their turns: batches written for all sides, and the head of a result."""
import json
import math
import pathlib
import random
import re
import subprocess
import sys


def lognormal(count, mean, variation, most):
    """Lengths of at least 8 and at most `most` tokens."""
    generator = random.Random(1)
    sigma = math.sqrt(math.log(1 + variation * variation))
    return [min(most, max(8, round(mean * generator.lognormvariate(-sigma * sigma / 2, sigma)))) for _ in range(count)]


def write_batches(path, batch, lengths, vocabulary):
    """Random ids: a line a sequence, "label id id ...", an empty line behind each batch, as bench_step --serve reads them."""
    generator = random.Random(2)
    with open(path, "w", encoding="utf-8") as file:
        for place, length in enumerate(lengths):
            ids = " ".join(str(generator.randrange(4, vocabulary)) for _ in range(length))
            file.write(f"{place % 3} {ids}\n" + ("\n" if (place + 1) % batch == 0 else ""))


def commit():
    here = pathlib.Path(__file__).resolve().parent
    return subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=here).stdout.strip()


def command_line(script):
    return " ".join([f"python3 bench/peers/{script}"] + [pathlib.Path(a).name if a.startswith("/") else a for a in sys.argv[1:]])


def write_result(path, result):
    """Indented, but what holds no other list or object (a turn, a race's ratios) on a line of its own."""
    text = re.sub(r"[\[{][^][{}]*[]}]", lambda innermost: " ".join(innermost.group().split()), json.dumps(result, indent=1))
    output = pathlib.Path(path)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text + "\n", encoding="utf-8")
