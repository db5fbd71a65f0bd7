#!/usr/bin/env python3
"""Writes README.md's tables of measurements from the raw results committed under bench/results/.

    python3 tools/make_tables.py            rewrites what stands between <!-- table:NAME --> and <!-- end -->
    python3 tools/make_tables.py --check    writes nothing; exit code 1 where README.md is not what would be written

Only Python's standard library. Speeds on CPUs are ratios of two programs taken in turns on one machine, or shares of what the machine's own
matrix product reached in the same run; absolute times of one machine say little about another. A file that is not there gives "not measured".
"""
import argparse
import collections
import json
import pathlib
import re
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results" / "cpu"

# The metric that leads in a task's table, as in the task's own source in tasks/; accuracy where none is named.
HEADLINES = {"udpos": "f1", "xquad": "f1", "squad": "f1", "mlm": "negative_loss"}
SOURCE_LANGUAGE = "en"
MEASURED_NOT = "not measured\n"


def markdown(rows):
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines) + "\n"


def load(name):
    path = RESULTS / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def tokens_per_second(results):
    return statistics.median(statistics.median(result["tokens_per_second"]) for result in results)


def race_table():
    race = load("race.json")
    if race is None:
        return MEASURED_NOT
    rows = [["koine : transformers, tokens per second", "median", "least to most", "in fp32", "in bf16"]]
    batches = {"16x128": "16 sequences of 128 tokens", "mnli": "batches of MNLI's lengths"}
    modes = {"encode": "encoding", "train": "training"}
    for entry in race["races"]:
        cells = [f"{modes[entry['mode']]}, {batches.get(entry['lengths'], entry['lengths'])}", f"{entry['ratio_median']:.2f}",
                 f"{min(entry['ratios']):.2f} to {max(entry['ratios']):.2f}"]
        for precision in ("fp32", "bf16"):
            sides = [entry["runs"][side].get(precision) for side in ("koine", "transformers")]
            cells.append(f"{tokens_per_second(sides[0]) / tokens_per_second(sides[1]):.2f}" if all(sides) else "")
        rows.append(cells)
    return markdown(rows) + (f"\nXLM-R base, random weights, {race['processor']}, {race['threads']} threads, {race['date']}; {len(race['races'][0]['ratios'])} "
                             f"rounds in turns, each side at its faster precision (`{race['command']}`).\n")


def step_results():
    for path in sorted(RESULTS.glob("step-*.json")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip():
                yield json.loads(line)


def step_table():
    rows = [["step", "precision", "share of the product's rate", "where the time goes"]]
    for step in step_results():
        spent = {name: operation["seconds"] for name, operation in step["operations"].items()}
        total = sum(spent.values())
        largest = sorted(spent, key=lambda name: (-spent[name], name))[:4]
        rows.append([f"{step['mode']}, XLM-R {step['size']}, {pathlib.PurePath(step['lengths']).stem}", step["precision"],
                     f"{100 * statistics.median(step['share_of_ceiling']):.0f} %",
                     ", ".join(f"{name} {100 * spent[name] / total:.0f} %" for name in largest)])
    return markdown(rows) if len(rows) > 1 else MEASURED_NOT


def spread(values):
    text = f"{statistics.mean(values):.1f}"
    return text + (f" ±{statistics.stdev(values):.1f}" if len(values) > 1 else "")


def results_table(name):
    results = load(name)
    if results is None:
        return MEASURED_NOT
    figures = collections.defaultdict(lambda: collections.defaultdict(dict))  # (target, arm) -> seed -> language -> value
    arms, targets = [], []
    for row in results:
        if row["metric"] != HEADLINES.get(row["target"], "accuracy"):
            continue
        if row["intermediate"] not in arms:
            arms.append(row["intermediate"])
        if row["target"] not in targets:
            targets.append(row["target"])
        figures[row["target"], row["intermediate"]][row["seed"]][row["language"]] = row["value"]
    rows = [["target", "languages"] + arms]
    for target in targets:
        # Means over the languages every seed of every arm has, so that arms stay comparable.
        sets = [set(values) for arm in arms for values in figures[target, arm].values()]
        common = set.intersection(*sets)
        groups = [(SOURCE_LANGUAGE, common & {SOURCE_LANGUAGE}), (f"mean of {len(common - {SOURCE_LANGUAGE})} others", common - {SOURCE_LANGUAGE})]
        for label, languages in groups:
            if not languages:
                continue
            cells = [f"{target}, {HEADLINES.get(target, 'accuracy')}", label]
            for arm in arms:
                by_seed = [statistics.mean(values[language] for language in languages) for _, values in sorted(figures[target, arm].items())]
                cells.append(spread(by_seed) if by_seed else "")
            rows.append(cells)
    seeds = len({row["seed"] for row in results})
    return markdown(rows) + (f"\nPercent, mean and standard deviation over {seeds} seeds.\n" if seeds > 1 else "\nPercent, one seed.\n")


def parity_table():
    path = RESULTS / "parity.txt"
    if not path.exists():
        return MEASURED_NOT
    return "".join(f"    {line}\n" for line in path.read_text(encoding="utf-8").rstrip().splitlines())


TABLES = {"race": race_table, "step": step_table, "demo": lambda: results_table("demo-results.json"),
          "real-sample": lambda: results_table("real-sample-results.json"), "parity": parity_table}


def rewritten(text):
    def table(match):
        name = match.group(1)
        if name not in TABLES:
            raise SystemExit(f"README.md: unknown table \"{name}\"; known are {', '.join(TABLES)}")
        return f"<!-- table:{name} -->\n\n{TABLES[name]()}\n<!-- end -->"

    if text.count("<!-- table:") != text.count("<!-- end -->"):
        raise SystemExit("README.md: each <!-- table:NAME --> needs one <!-- end -->")
    return re.sub(r"<!-- table:([\w-]+) -->.*?<!-- end -->", table, text, flags=re.DOTALL)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the tables are not up to date")
    check = parser.parse_args().check
    readme = ROOT / "README.md"
    before = readme.read_text(encoding="utf-8")
    after = rewritten(before)
    if before == after:
        return 0
    if check:
        print("README.md: the tables are not those of bench/results/; run python3 tools/make_tables.py", file=sys.stderr)
        return 1
    readme.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
