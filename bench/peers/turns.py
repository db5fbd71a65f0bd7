#!/usr/bin/env python3
"""Programs raced in turns on a machine whose speed changes under them: how turns are taken, and what may be said of them.

    python3 bench/peers/turns.py --self-test        checks the statistics on planted turns; needs only Python

A machine that others use, or whose clock moves, runs the same step at half its speed for seconds or minutes at a time. So every side is a process that
stays and does a turn of seconds when asked, the sides take turns at least LEAST_ROUNDS times (forwards, then backwards, so that a steady drift favours
nobody), and before the first turn and behind every turn the machine is probed. The probe is one thing for all sides: a product of fixed size in fp32,
always by the same variant, done by the first side's bench_step ("probe SECONDS") while the others wait. It takes the same threads and the same units of
the processor as the steps do, and nothing of it depends on what is raced.

A turn is kept where the probes before and behind it differ by at most 10 %. A round's ratio is kept where both turns are and the means of their
probes differ by at most 10 % too. What is thrown away is counted. Reported are the median and the quartiles of what is kept, never one best turn.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

STEADY = 1.10  # the most by which probes beside kept turns may differ
LEAST_ROUNDS = 10
# The same weights in bf16: each product rounds its inputs and outputs to 8 bits in an order of its own. Over the parity fixtures that moves a loss by
# up to 0.0064 (README, "mixed largest loss"); deeper models add up more of it. In fp32 only the order of sums differs.
TOLERANCE = {"bf16": 0.05, "fp32": 1e-3}


# --- statistics ---------------------------------------------------------------------------------------------------------------------------------


def steady(*probes):
    return max(probes) <= STEADY * min(probes)


def is_kept(turn):
    return steady(turn["before"], turn["after"])


def quartiles(values):
    """Lower quartile, median, upper quartile, by linear interpolation; three None where there is no value."""
    if len(values) < 2:
        return list(values) * 3 if values else [None] * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def rate(turn):
    return turn["tokens"] / turn["seconds"]


def median_rate(turns, side):
    """Tokens per second of the turns kept; None where there is none."""
    return quartiles([rate(turn) for turn in turns if turn["side"] == side and is_kept(turn)])[1]


def per_product(turns, side):
    """Median of the tokens for each 10^12 FLOP that the probe did in the same time: turns that were not taken side by side can be told apart by it."""
    return quartiles([rate(turn) / (turn["before"] + turn["after"]) * 2e12 for turn in turns if turn["side"] == side and is_kept(turn)])[1]


def compare(turns, ours, theirs):
    """The ratio of the rates of two sides, round by round; `ratio_median` is None where no round is kept."""
    of_round = {(turn["round"], turn["side"]): turn for turn in turns}
    rounds = sorted({turn["round"] for turn in turns})
    ratios = []
    for number in rounds:
        pair = [of_round.get((number, side)) for side in (ours, theirs)]
        if all(pair) and all(map(is_kept, pair)) and steady(*(turn["before"] + turn["after"] for turn in pair)):
            ratios.append(rate(pair[0]) / rate(pair[1]))
    lower, median, upper = quartiles(ratios)
    return {"ratios": ratios, "ratio_median": median, "ratio_quartiles": [lower, upper], "rounds": len(rounds), "rounds_thrown_away": len(rounds) - len(ratios),
            "turns_taken": len(turns), "turns_thrown_away": sum(not is_kept(turn) for turn in turns)}


def is_believable(comparison):
    return comparison["rounds"] >= LEAST_ROUNDS and 2 * comparison["rounds_thrown_away"] <= comparison["rounds"]


def doubtful(races):
    """Why a result is not a measurement, None where it is one. `races`: {what was raced: comparison, or None where a side failed}."""
    names = [name for name, comparison in races.items() if comparison and not is_believable(comparison)]
    return f"fewer than {LEAST_ROUNDS} rounds, or fewer than half of them kept: {', '.join(names)}" if names else None


def words(comparison):
    if comparison["ratio_median"] is None:
        return f"nothing can be said: the machine's speed changed in all of {comparison['rounds']} rounds"
    lower, upper = comparison["ratio_quartiles"]
    return (f"{comparison['ratio_median']:.2f} (quartiles {lower:.2f} to {upper:.2f}; {comparison['rounds_thrown_away']} of {comparison['rounds']} rounds "
            f"thrown away)")


# --- processes ----------------------------------------------------------------------------------------------------------------------------------


class Side:
    """A process that answers each line with a line of JSON. Once it failed it says why in `error`, and answers None."""

    def __init__(self, name, command, log):
        self.name, self.error, self.log = name, None, log
        with open(log, "w") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, bufsize=1)
        self.about = self.answer() or {}

    def answer(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        self.process.wait()
        self.error = f"exit code {self.process.returncode}: {pathlib.Path(self.log).read_text()[-2000:]}"
        print(f"{self.name} failed: {self.error}", file=sys.stderr, flush=True)
        return None

    def ask(self, *command):
        if self.error:
            return None
        try:
            self.process.stdin.write(" ".join(map(str, command)) + "\n")
        except BrokenPipeError:
            pass
        return self.answer()

    def end(self):
        if self.process.poll() is None:
            try:
                self.process.stdin.write("quit\n")
            except BrokenPipeError:
                pass
            self.process.wait()


def compare_losses(sides, name, tolerance):
    """Largest difference of each side's losses from the first's; a side that differs by more than `tolerance` has failed."""
    losses = {side.name: side.ask("losses", name) for side in sides}
    ours = losses[sides[0].name]
    result = {}
    for side in sides[1:]:
        theirs = losses[side.name]
        if ours and theirs:
            result[side.name] = max(abs(a - b) for a, b in zip(ours["losses"], theirs["losses"], strict=True))
            if not result[side.name] <= tolerance:
                side.error = f"losses of {name} differ by {result[side.name]}, more than {tolerance}"
                print(f"{side.name}: {side.error}", file=sys.stderr)
    return result


def batches_a_turn(sides, mode, name, seconds):
    """So many that the fastest side's turn takes `seconds`: every side does the same work in a round."""
    alone = [answer["seconds"] / answer["batches"] for answer in (side.ask(mode, name) for side in sides) if answer]
    return min(1000, max(1, round(seconds / min(alone)))) if alone else 1


def take_turns(sides, mode, name, rounds, count, probe_seconds):
    """`rounds` times `count` batches of the set by every side; the first side probes. Sides that failed are left out."""
    def probe():
        answer = sides[0].ask("probe", probe_seconds)
        if answer is None:
            raise SystemExit(f"{sides[0].name} is what probes the machine, and it failed")
        return answer["flops_per_second"]

    turns = []
    before = probe()
    for number in range(rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            answer = side.ask(mode, name, number * count, count)
            after = probe()
            if answer:
                answer.pop("flops", None)
                turns.append({"round": number, "side": side.name, "before": before, "after": after, **answer})
            before = after
    return turns


# --- self-test ----------------------------------------------------------------------------------------------------------------------------------


def planted(rates, slow=(), drifted=()):
    """Turns of two sides. `slow`: (round, side) taken while the machine halved its speed; `drifted`: rounds whose second turn met another speed."""
    turns = []
    for number, (ours, theirs) in enumerate(rates):
        for side, tokens in (("ours", ours), ("theirs", theirs)):
            speed = 0.8 if number in drifted and side == "theirs" else 1.0
            is_slow = (number, side) in slow
            turns.append({"round": number, "side": side, "before": 100.0 * speed, "after": (52.0 if is_slow else 103.0) * speed,
                          "tokens": tokens * speed * (0.6 if is_slow else 1), "seconds": 1.0})
    return turns


class Recorded:
    """A side that writes down what it is asked."""

    def __init__(self, name, asked):
        self.name, self.asked = name, asked

    def ask(self, *command):
        self.asked.append((self.name, *command))
        return {"flops_per_second": float(len(self.asked))} if command[0] == "probe" else {"tokens": 1, "seconds": 1.0, "batches": 1}


def expect(holds, what):
    if not holds:
        raise SystemExit(f"turns.py --self-test: {what}")


def self_test():
    rates = [(200 + 2 * i, 100) for i in range(11)]  # ratios 2.00, 2.02 ... 2.20
    clean = compare(planted(rates), "ours", "theirs")
    expect(clean["rounds_thrown_away"] == 0 and clean["turns_thrown_away"] == 0 and is_believable(clean), f"steady turns are thrown away: {clean}")
    expect(abs(clean["ratio_median"] - 2.10) < 1e-12, f"the median of 2.00, 2.02 ... 2.20 is 2.10, not {clean['ratio_median']}")
    expect([round(value, 6) for value in clean["ratio_quartiles"]] == [2.05, 2.15], f"its quartiles are 2.05 and 2.15, not {clean['ratio_quartiles']}")
    expect(clean["turns_taken"] == 22 and "turns" not in clean, "a result's turns are the turns, beside what is said of them")
    # Our turns of the last four rounds and one of theirs met a machine of half the speed.
    slow = {(number, "ours") for number in (7, 8, 9, 10)} | {(0, "theirs")}
    mixed = compare(planted(rates, slow), "ours", "theirs")
    expect((mixed["turns_thrown_away"], mixed["rounds_thrown_away"]) == (5, 5), f"five slow turns were planted: {mixed}")
    expect(abs(mixed["ratio_median"] - 2.07) < 1e-12, f"the median of the rounds 1 to 6 is 2.07, not {mixed['ratio_median']}")
    expect(is_believable(mixed), "six of eleven rounds kept are enough")
    turns = planted(rates, slow)
    expect((median_rate(turns, "ours"), median_rate(turns, "theirs")) == (206, 100), "rates count kept turns alone")
    # Each turn is steady in itself, and yet the second met a machine slower by a fifth: no ratio of the two.
    drifted = compare(planted(rates, drifted=(2, 3, 4, 5, 6, 7)), "ours", "theirs")
    expect((drifted["turns_thrown_away"], drifted["rounds_thrown_away"]) == (0, 6), f"six rounds whose turns met two speeds were planted: {drifted}")
    expect(not is_believable(drifted), "five of eleven rounds kept are too few")
    expect(abs(per_product(planted(rates, drifted=range(11)), "theirs") - 1e12 * 100 / 101.5) < 1e-3, "what the probe did in the same time cancels the speed")
    # A probe that differs by exactly 10 % is steady; by more it is not, in either direction.
    expect(steady(100, 110) and not steady(100, 110.1) and not steady(110.1, 100), "the border is 10 %")
    nothing = compare(planted(rates, {(number, "ours") for number in range(11)}), "ours", "theirs")
    expect(nothing["ratio_median"] is None and not is_believable(nothing) and "nothing can be said" in words(nothing), "no kept round, no ratio")
    expect(quartiles([3.0]) == [3.0] * 3 and not is_believable(compare(planted(rates[:3]), "ours", "theirs")), "three rounds are too few to believe")
    expect("train" in doubtful({"encode": clean, "train": drifted, "failed": None}) and doubtful({"encode": clean, "train": mixed}) is None, "what is doubtful")
    asked = []
    turns = take_turns([Recorded("ours", asked), Recorded("theirs", asked)], "train", "set", 2, 3, 0.1)
    probe = ("ours", "probe", 0.1)
    expect(asked == [probe, ("ours", "train", "set", 0, 3), probe, ("theirs", "train", "set", 0, 3), probe, ("theirs", "train", "set", 3, 3), probe,
                     ("ours", "train", "set", 3, 3), probe], f"sides alternate, forwards and backwards, one side probes beside every turn: {asked}")
    beside = [(turn["round"], turn["side"], turn["before"], turn["after"]) for turn in turns]  # a probe says how much was asked until then
    expect(beside == [(0, "ours", 1, 3), (0, "theirs", 3, 5), (1, "theirs", 5, 7), (1, "ours", 7, 9)], f"turns and the probes beside them: {beside}")
    print("turns.py: the statistics are right on planted turns")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--self-test", action="store_true", required=True)
    parser.parse_args()
    self_test()
