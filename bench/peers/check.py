#!/usr/bin/env python3
"""Checks what bench_step --serve answers on a tiny model.

    python3 bench/peers/check.py build/bench_step        exit code 1 with a line where something is not so
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from batches import write_batches
from turns import Side

LENGTHS = [3, 5, 7, 11, 13]  # two a batch: 8, 18 and 13 tokens


def expect(holds, what):
    if not holds:
        raise SystemExit(f"bench_step --serve: {what}")


def check_answers(side):
    expect(side.about.get("ready") and side.about.get("device") == "cpu", f"is not ready: {side.about}")
    expect(len(side.ask("losses", "set")["losses"]) == 3, "a loss a batch")
    for command, batches, tokens in (("train set", 3, 39), ("encode set", 3, 39), ("train set 1 1", 1, 18), ("train set 2 2", 2, 13 + 8), ("encode set 7 4", 4, 18 + 13 + 8 + 18)):
        answer = side.ask(*command.split())
        expect((answer["batches"], answer["tokens"]) == (batches, tokens), f"{command}: {batches} batches of {tokens} tokens, not {answer}")
        expect(answer["seconds"] > 0 and answer["processor_seconds"] > 0 and answer["flops"] > 0, f"{command}: {answer}")
    expect(side.ask("train", "set")["flops"] >= 3 * side.ask("encode", "set")["flops"], "training is three times encoding, and the head besides")
    expect(side.ask("probe", 0)["flops_per_second"] > 1e6, "a product is faster than 10^6 FLOP/s")


def main():
    bench = sys.argv[1]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run([bench, "--save-model", folder / "model", "--size", "tiny"], check=True)
        write_batches(folder / "set.txt", 2, LENGTHS, json.loads((folder / "model" / "config.json").read_text())["vocab_size"])
        command = [bench, "--serve", f"set={folder / 'set.txt'}", "--model", str(folder / "model"), "--threads", "1"]
        side = Side("bench_step", command, folder / "log")
        check_answers(side)
        side.end()
        expect(side.process.returncode == 0, "ends well when it is told to")
        for line, word in (("train other", "other"), ("sing set", "sing"), ("train set 1", "FIRST COUNT"), ("train set 1 0", "FIRST COUNT"),
                           ("train set 1 2 3", "FIRST COUNT"), ("train set one 1", "FIRST COUNT"), ("probe", "seconds"), ("", "unknown command")):
            result = subprocess.run(command, input=line + "\n", capture_output=True, text=True)
            expect(result.returncode == 1 and word in result.stderr, f'"{line}": exit code {result.returncode}, {result.stderr}')
        forced = subprocess.run(command, input="quit\n", capture_output=True, text=True, env={**os.environ, "KOINE_FORCE": "layernrom:cpu"})
        expect(forced.returncode == 1 and "layernrom" in forced.stderr, f"KOINE_FORCE is not read: {forced.stderr}")


if __name__ == "__main__":
    main()
