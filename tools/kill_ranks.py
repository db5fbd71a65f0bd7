#!/usr/bin/env python3
"""Kills ranks of a small training at random moments, and looks at what the others do and whether anything is lost.

    python3 tools/kill_ranks.py [--build build] [--ranks 8] [--kills 100] [--minutes 4] [--seed 1]

Starts that many processes of build/rank_probe (tests/engine/probe/), which train a small model on the CPU and write a checkpoint every few steps, ends one of
them with SIGKILL at a random moment, waits for the others, and starts all again, which go on from the last checkpoint. When the training is done, the last
checkpoint has to be that of one that nobody killed, byte for byte; then the next training begins, until there were enough kills or no time is left. An error is:
a rank that lives 30 seconds longer, ends otherwise than with exit code 1, or does not name the one that was killed; a training that goes backwards or leaves
another checkpoint. Prints a line, and exits with 1 where anything was wrong. Not part of the tests: it takes minutes.
"""
import argparse
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

STEPS = 240
DEADLINE = 30  # seconds in which the others end


def start(probe, ranks, folder, number, zero):
    port = str(20000 + (2 * number + os.getpid()) % 10000)
    processes = []
    for rank in range(ranks):
        environment = {**os.environ, "RANK": str(rank), "WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "KOINE_RANKS_ADDRESS": "127.0.0.1",
                       "KOINE_RANKS_MEETING": "5", "KOINE_RANKS_TIMEOUT": "20"}
        processes.append(subprocess.Popen([probe, "train", f"output={folder}", "parts=8", f"steps={STEPS}", "save=10", f"zero={zero}"], env=environment,
                                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
    return processes


def end(processes):
    """Waits; what still runs at the deadline is killed and counts as hanging. Returns exit codes, errors, and the seconds it took."""
    begin = time.monotonic()
    codes, errors = [], []
    for process in processes:
        try:
            errors.append(process.communicate(timeout=max(0.1, begin + DEADLINE - time.monotonic()))[1])
            codes.append(process.returncode)
        except subprocess.TimeoutExpired:
            process.kill()
            errors.append(process.communicate()[1])
            codes.append(None)
    return codes, errors, time.monotonic() - begin


def checkpoints(folder):
    return sorted((path for path in (folder / "checkpoints").glob("step-*") if path.name[5:].isdigit()), key=lambda path: int(path.name[5:]))


def last_step(folder):
    found = checkpoints(folder)
    return int(found[-1].name[5:]) if found else 0


def contents(folder):
    """Of the last checkpoint, but for the seconds it took."""
    files = {}
    for path in sorted(checkpoints(folder)[-1].iterdir()):
        if path.suffix == ".safetensors":
            files[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        if path.name == "state.json":
            state = json.loads(path.read_text(encoding="utf-8"))
            state.pop("seconds", None)
            files[path.name] = state
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    probe = pathlib.Path(arguments.build) / "rank_probe"
    draw = random.Random(arguments.seed)
    work = pathlib.Path(tempfile.mkdtemp(prefix="koine-kills-"))
    stop_at = time.monotonic() + 60 * arguments.minutes
    wrong, waits, kills, trainings, starts = [], [], 0, 0, 0
    try:
        whole = work / "whole"
        whole.mkdir()
        begin = time.monotonic()
        codes, errors, _ = end(start(probe, arguments.ranks, whole, 0, 0))
        undisturbed = time.monotonic() - begin
        if any(codes):
            raise SystemExit(f"a training that nobody killed ended with {codes}: {errors}")
        wanted = contents(whole)
        while kills < arguments.kills and time.monotonic() < stop_at:
            folder = work / f"training-{trainings}"
            folder.mkdir()
            while last_step(folder) < STEPS and time.monotonic() < stop_at:
                before = last_step(folder)
                processes = start(probe, arguments.ranks, folder, starts + 1, draw.choice((0, 1, 2)))
                starts += 1
                time.sleep(draw.uniform(0, undisturbed))
                culprit = draw.randrange(arguments.ranks)
                killed = kills < arguments.kills and processes[culprit].poll() is None
                if killed:
                    processes[culprit].send_signal(signal.SIGKILL)
                codes, errors, seconds = end(processes)
                killed = killed and codes[culprit] == -signal.SIGKILL
                others = [rank for rank in range(arguments.ranks) if rank != culprit]
                if killed:
                    kills += 1
                    waits.append(seconds)
                    # Whoever has said goodbye already may have ended well.
                    over = last_step(folder) == STEPS
                    for rank in others:
                        named = f"rank {culprit} " in errors[rank]
                        if not (codes[rank] == 1 and named) and not (over and codes[rank] == 0):
                            wrong.append(f"kill {kills} of rank {culprit}: rank {rank} ended with {codes[rank]}: {errors[rank].strip()}")
                elif any(codes):
                    wrong.append(f"a training that was not killed ended with {codes}: {errors}")
                    break
                if last_step(folder) < before:
                    wrong.append(f"kill {kills}: behind step {before} the last checkpoint is of step {last_step(folder)}")
            if last_step(folder) == STEPS:
                trainings += 1
                if contents(folder) != wanted:
                    wrong.append(f"training {trainings} left another checkpoint than one that was not killed")
            else:
                break
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for line in wrong:
        print(line)
    print(f"{kills} kills of {arguments.ranks} ranks in {starts} starts; the others ended within {max(waits, default=0):.1f} s (median "
          f"{statistics.median(waits or [0]):.1f} s); {trainings} trainings were completed, byte for byte those that nobody killed; {len(wrong)} errors")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
