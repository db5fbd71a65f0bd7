#!/usr/bin/env python3
"""Writes the tables of measurements in README.md, docs/scaling.md, docs/ranks.md and docs/text-tasks.md from the raw results committed under bench/results/.

    python3 tools/make_tables.py            rewrites what stands between <!-- table:NAME --> and <!-- end -->
    python3 tools/make_tables.py --check    writes nothing; exit code 1 where README.md is not what would be written

Only Python's standard library. Speeds on CPUs are ratios of two programs taken in turns on one machine, or shares of what the machine's own
matrix product reached in the same run; absolute times of one machine say little about another. A file that is not there gives "not measured".
The tables gpu-... are from what tools/gpu/check.sh left, committed under bench/results/h200/.
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
DEVICE = ROOT / "bench" / "results" / "h200"  # what tools/gpu/check.sh left
ESTIMATED = ROOT / "bench" / "results" / "estimated"  # what koine estimate --ways-of-state wrote
STUDIES = ROOT / "bench" / "results" / "studies"
SIMULATED = ROOT / "bench" / "results" / "simulated"  # what koine scale --simulate wrote

# The metric that leads in a task's table, as in the task's own source in tasks/; accuracy where none is named.
HEADLINES = {"udpos": "f1", "xquad": "f1", "squad": "f1", "mlm": "negative_loss"}
SOURCE_LANGUAGE = "en"
MEASURED_NOT = "not measured\n"


def headline(target):
    return HEADLINES.get(target, "accuracy")


def markdown(rows):
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines) + "\n"


def load(name, folder=RESULTS):
    path = folder / name
    result = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    if isinstance(result, dict) and "not_a_measurement" in {**result, **result.get("context", {})}:
        raise SystemExit(f"{path.relative_to(ROOT)} is not a measurement: it is not to be committed")
    return result


def quartiles(values):
    return statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else list(values) * 3


def as_turns(entry):
    """A race of before turns were probed: each round two runs of half a minute and a ratio, every round kept."""
    if "runs" not in entry:
        return entry

    def rate(side, precision):
        return statistics.median(statistics.median(run["tokens_per_second"]) for run in entry["runs"][side][precision])

    both = entry["runs"]["koine"].keys() & entry["runs"]["transformers"].keys()
    return {**entry, "rounds": len(entry["ratios"]), "rounds_thrown_away": 0,
            "by_precision": {precision: {"ratio_median": rate("koine", precision) / rate("transformers", precision)} for precision in both}}


def rounds_kept(entry):
    return f"{entry['rounds'] - entry['rounds_thrown_away']} of {entry['rounds']}"


def race_table():
    race = load("race.json")
    if race is None:
        return MEASURED_NOT
    rows = [["koine : transformers, tokens per second", "median", "quartiles", "in fp32", "in bf16", "rounds kept"]]

    def batches(entry):
        dense = re.fullmatch(r"(\d+)x(\d+)", entry["lengths"])
        return f"{dense.group(1)} sequences of {dense.group(2)} tokens" if dense else f"batches of {entry['batch']} with MNLI's lengths"

    modes = {"encode": "encoding", "train": "training"}
    for entry in map(as_turns, race["races"]):
        lower, median, upper = quartiles(entry["ratios"])
        cells = [f"{modes[entry['mode']]}, {batches(entry)}", f"{median:.2f}", f"{lower:.2f} to {upper:.2f}"]
        for precision in ("fp32", "bf16"):
            median = entry["by_precision"].get(precision, {}).get("ratio_median")
            cells.append(f"{median:.2f}" if median else "")
        rows.append(cells + [rounds_kept(entry)])
    how = "long turns, unprobed" if "runs" in race["races"][0] else "short turns with the machine probed beside each"
    return markdown(rows) + (f"\nXLM-R base, random weights, {race['processor']}, {race['threads']} threads, {race['date']}; {how}, each side at its "
                             f"faster precision (`{race['command']}`).\n")


def step_results(folder=RESULTS, pattern="step-*.json"):
    for path in sorted(folder.glob(pattern)):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip():
                step = json.loads(line)
                if "not_a_measurement" in step:
                    raise SystemExit(f"{path.relative_to(ROOT)} is not a measurement: it is not to be committed")
                yield step


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


def figures_of(results):
    """(target, arm) -> seed -> language -> value of the target's headline; arms and targets in the order of the rows."""
    figures = collections.defaultdict(lambda: collections.defaultdict(dict))
    rows = [row for row in results if row["metric"] == headline(row["target"])]
    for row in rows:
        figures[row["target"], row["intermediate"]][row["seed"]][row["language"]] = row["value"]
    arms, targets = (list(dict.fromkeys(row[key] for row in rows)) for key in ("intermediate", "target"))
    return figures, arms, targets


def results_table(name):
    results = load(name)
    if results is None:
        return MEASURED_NOT
    figures, arms, targets = figures_of(results)
    rows = [["target", "languages"] + arms]
    for target in targets:
        # Means over the languages every seed of every arm has, so that arms stay comparable.
        sets = [set(values) for arm in arms for values in figures[target, arm].values()]
        common = set.intersection(*sets)
        groups = [(SOURCE_LANGUAGE, common & {SOURCE_LANGUAGE}), (f"mean of {len(common - {SOURCE_LANGUAGE})} others", common - {SOURCE_LANGUAGE})]
        for label, languages in groups:
            if not languages:
                continue
            cells = [f"{target}, {headline(target)}", label]
            for arm in arms:
                by_seed = [statistics.mean(values[language] for language in languages) for _, values in sorted(figures[target, arm].items())]
                cells.append(spread(by_seed) if by_seed else "")
            rows.append(cells)
    seeds = len({row["seed"] for row in results})
    return markdown(rows) + (f"\nPercent, mean and standard deviation over {seeds} seeds.\n" if seeds > 1 else "\nPercent, one seed.\n")


def miniature_table():
    """As table 2 of arXiv 2005.13013: an intermediate task a row, targets in columns; the first row's figures, and what the others change them by."""
    results = load("paper-miniature/results.json", STUDIES)
    if results is None:
        return MEASURED_NOT
    by_seed, arms, targets = figures_of(results)
    if any(len(seeds) != 1 for seeds in by_seed.values()):
        raise SystemExit("paper-miniature: the table is of one seed")
    figures = {(arm, target): next(iter(seeds.values())) for (target, arm), seeds in by_seed.items()}
    examples = {target: max(row["examples"] for row in results if row["target"] == target) for target in targets}
    columns = []  # the target, its languages, what stands above
    for target in targets:
        languages = set(figures[arms[0], target])
        others = languages - {SOURCE_LANGUAGE}
        columns += [(target, {SOURCE_LANGUAGE}, SOURCE_LANGUAGE)] if SOURCE_LANGUAGE in languages else []
        columns += [(target, others, f"{len(others)} others")] if others else []
    rows = [["intermediate", *(f"{target}, {label}" for target, _, label in columns), "mean change of others"]]
    for arm in arms:
        cells, changes = [], []
        for target, languages, _ in columns:
            if not languages <= set(figures.get((arm, target), {})):
                cells.append("not run")
                continue
            value, before = (statistics.mean(of[language] for language in languages) for of in (figures[arm, target], figures[arms[0], target]))
            cells.append(f"{value:.1f}" if arm == arms[0] else f"{value - before:+.1f}")
            changes += [value - before] if languages != {SOURCE_LANGUAGE} else []
        rows.append([arm, *cells, "" if arm == arms[0] or "not run" in cells else f"{statistics.mean(changes):+.1f}"])
    measures = ", ".join(f"{target} {headline(target)} of {examples[target]}" for target in targets)
    return markdown(rows) + f"\nPercent in the first row, below it the change; one seed. Metrics, and the most examples a language has: {measures}.\n"


def run_note(name):
    """What a run of the demo took; none of its seeds is one that settings were chosen with (examples/demo.toml, demo-mt5.toml)."""
    run = load(name)
    if run is None:
        return ""
    return (f"\n{run['processor']} ({run['vector_units']}), {run['threads']} threads, nothing beside them: {run['wall_seconds'] / 60:.1f} minutes, of which "
            f"pretraining {run['pretraining_seconds']:.0f} s; {run['date']} (`{run['command']}`).\n")


def demo_table():
    return results_table("demo-results.json") + run_note("demo-run.json")


def answers_table(name):
    """Of a model that answers with texts: what became of the answers that are no figure of the table above."""
    rows = [row for row in load(name) or [] if "unreadable" in row and row["metric"] == headline(row["target"])]
    if not rows:
        return ""
    arms, targets = (list(dict.fromkeys(row[key] for row in rows)) for key in ("intermediate", "target"))
    table = [["answers in all languages", "", *arms]]
    for target in targets:
        of_arm = [[row for row in rows if row["target"] == target and row["intermediate"] == arm] for arm in arms]

        def shares(key):
            return [f"{100 * sum(row[key] for row in some) / sum(row['examples'] for row in some):.1f}" for some in of_arm]

        table.append([target, "unreadable, %", *shares("unreadable")])
        if any("other_script" in row for some in of_arm for row in some):
            table.append([target, "in another script, %", *shares("other_script")])
        else:  # labels: they can all be the same one
            table.append([target, "evaluations collapsed", *(f"{sum('collapsed' in row for row in some)} of {len(some)}" for some in of_arm)])
    return "\n" + markdown(table)


def demo_mt5_table():
    return results_table("demo-mt5-results.json") + answers_table("demo-mt5-results.json") + run_note("demo-mt5-run.json")


def finetune_table():
    race = load("finetune.json")
    if race is None:
        return MEASURED_NOT
    rows = [["XNLI accuracy", *race["languages"]]]
    for side, runs in race["sides"].items():
        rows.append([side, *(spread([run["accuracy"][language] for run in runs]) for language in race["languages"])])
    ratios, processor = race["ratios"], race["processor_ratios"]
    return markdown(rows) + (
        f"\nPercent, mean and standard deviation over {len(ratios)} seeds, {race['eval_examples']} pairs a language; {race['model']}, the first "
        f"{race['examples']} pairs of MNLI, {race['epochs']} epochs, {race['precision']}, {race['threads']} threads. koine is "
        f"**{statistics.median(ratios):.1f} times** as fast from start to end ({min(ratios):.1f} to {max(ratios):.1f}; by processor time "
        f"{statistics.median(processor):.1f}). {race['processor']}, {race['date']}, commit {race['commit']} (`{race['command']}`)\n")


def printed_table(name):
    """What a program printed, as it is."""
    path = RESULTS / name
    if not path.exists():
        return MEASURED_NOT
    return "".join(f"    {line}\n" for line in path.read_text(encoding="utf-8").rstrip().splitlines())


def device_name():
    machine = load("machine.json", DEVICE)
    return f"{machine['name']}, driver {machine['driver_version']}, {machine['date'][:10]}, commit {machine['commit']} (`{machine['command']}`)"


def device_race_table():
    race = load("race.json", DEVICE)
    if race is None:
        return MEASURED_NOT
    rows = [["XLM-R " + race["size"] + ", tokens per second", "koine", "eager", "SDPA", "torch.compile", "koine : best of three", "quartiles", "rounds kept"]]
    for entry in race["races"]:
        cells = [f"{entry['mode']}, {entry['batches']}"]
        for side in ("koine", "eager", "sdpa", "compile"):
            without = "failed" if side in race["failed"] else "not run"
            cells.append(f"{entry['median'][side]:,.0f}" if side in entry["median"] else without)
        if entry.get("ratios"):
            lower, median, upper = quartiles(entry["ratios"])
            cells += [f"{median:.2f}", f"{lower:.2f} to {upper:.2f}", rounds_kept(entry)]
        rows.append(cells + [""] * (len(rows[0]) - len(cells)))
    return markdown(rows) + f"\n{race['precision']}, {device_name()}.\n"


def device_step_table():
    rows = [["step", "precision", "tokens per second", "share of the product's rate", "memory", "of the estimate", "where the time goes"]]
    for step in step_results(DEVICE):
        spent = {name: operation["seconds"] for name, operation in step["operations"].items()}
        total = sum(spent.values())
        largest = sorted(spent, key=lambda name: (-spent[name], name))[:4]
        memory = step.get("memory", {})
        rows.append([f"{step['mode']}, XLM-R {step['size']}, {pathlib.PurePath(step['lengths']).stem}", step["precision"],
                     f"{statistics.median(step['tokens_per_second']):,.0f}", f"{100 * statistics.median(step['share_of_ceiling']):.0f} %",
                     f"{memory['used_bytes'] / 1e9:.1f} GB" if "used_bytes" in memory else "",
                     f"{100 * memory['used_to_estimated']:.1f} %" if "used_to_estimated" in memory else "",
                     ", ".join(f"{name} {100 * spent[name] / total:.0f} %" for name in largest)])
    return markdown(rows) + f"\n{device_name()}.\n" if len(rows) > 1 else MEASURED_NOT


def device_operation_table():
    """The shapes of XLM-R large at 16,384 tokens in bf16, and the optimizer; the file has all."""
    data = load("operations.json", DEVICE)
    if data is None:
        return MEASURED_NOT
    rows = [["operation, variant", "microseconds", "TFLOP/s", "GB/s", "of the product's rate", "of the copy's rate"]]
    for one in data["operations"]:
        if "us" not in one or not ("/large/16384/bf16/" in one["name"] or "/any/" in one["name"]):
            continue
        name = one["name"].replace("/large/16384/bf16/", ", ")
        rows.append([name, f"{one['us']:.1f}", f"{one['TFLOP/s']:.0f}", f"{one['GB/s']:.0f}", f"{100 * one['of_product']:.0f} %",
                     f"{100 * one['of_copy']:.0f} %"])
    context = data["context"]
    return markdown(rows) + (f"\nProduct {float(context['product_bf16_TFLOP/s']):.0f} TFLOP/s in bf16 ({context['product_bf16_variant']}), copy "
                             f"{float(context['copy_GB/s']):.0f} GB/s, in the same run; {device_name()}.\n")


def simulated_table(name):
    study = load(name, SIMULATED)
    if study is None:
        return MEASURED_NOT
    rows = [["scaling", "devices", "tokens each", "step, ms", "efficiency", "communication, ms", "exposed, ms", "MB sent", "MB between nodes"]]
    for scaling in ("weak", "strong"):
        for row in study[scaling]:
            rows.append([scaling, f"{row['devices']:,}", f"{row['tokens_per_device']:,}", f"{1e3 * row['seconds']:.1f}", f"{100 * row['efficiency']:.1f} %",
                         f"{1e3 * row['communication_seconds']:.1f}", f"{1e3 * row['exposed_seconds']:.1f}", f"{row['bytes_sent'] / 1e6:,.0f}",
                         f"{row['network_bytes_sent'] / 1e6:,.0f}"])
    return markdown(rows) + (f"\nSimulated, not measured: {study['model']} on {study['machine']['name']}, {study['flops_per_second'] * 1e-12:.0f} TFLOP/s of a device, "
                             f"sequences of {study['length']} tokens.\n")


def scaling_table():
    study = load("scaling.json")
    if study is None:
        return MEASURED_NOT
    fits = [["ranks", "latency of a ring's step, us", "rate, GB/s", "median error of the fit"]]
    for one in study["measurements"]:
        if "fit" in one:
            fit = one["fit"]
            fits.append([str(one["ranks"]), f"{1e6 * fit['step_seconds']:.1f}", f"{fit['bytes_per_second'] / 1e9:.2f}", f"{100 * fit['median_error']:.0f} %"])
    rows = [["scaling", "ranks", "tokens each", "step, ms", "predicted, ms", "error", "exposed, ms", "predicted, ms", "efficiency", "predicted"]]
    for step in study["steps"]:
        predicted = step["predicted"]
        rows.append([step["scaling"], str(step["ranks"]), str(step["tokens_per_rank"]), f"{1e3 * step['seconds']:.1f}", f"{1e3 * predicted['seconds']:.1f}",
                     f"{100 * step['error']:+.0f} %", f"{1e3 * max(0, step['seconds'] - step['compute_seconds']):.1f}",
                     f"{1e3 * predicted['exposed_seconds']:.1f}", f"{100 * step['efficiency']:.0f} %", f"{100 * step['predicted_efficiency']:.0f} %"])
    return markdown(fits) + "\n" + markdown(rows) + (
        f"\n{study['processor']}, {study['processors']} processors, {study['threads_per_rank']} of each rank, medians of {study['repetitions']} "
        f"(`{study['command']}`).\n")


def memory_table():
    """Four ways of state of every model that has a file; what does not fit is in brackets."""
    ways = [("adamw", "fp32"), ("adamw", "remainder"), ("adamw_8bit", "remainder"), ("adamw_8bit", "none")]
    rows, notes = [], ""
    for name in ("base", "large", "xl", "xxl", "mt5-xxl"):
        plan = load(f"state-{name}.json", ESTIMATED)
        if plan is None:
            continue
        rows = rows or [["model", "optimizer, master", *(f"{count} device{'s' if count > 1 else ''}" for count in plan["devices"])]]
        for way in plan["ways"]:
            if (way["optimizer"], way["master"]) in ways:
                cells = [f"{size / 1e9:.1f} GB" if size <= plan["room"]["bytes"] else f"({size / 1e9:.1f} GB)" for size in way["bytes"]]
                rows.append([name, f"{way['optimizer']}, {way['master']}", *cells])
        notes = (f"\nOf one device, {plan['precision']}, {plan['tokens']:,} tokens at a time, {'with' if plan['recompute'] else 'without'} recomputation, zero = "
                 f"{plan['zero']} and gradient_parts = the number of devices; in brackets what {plan['room']['name']} has no room for. Planned, not measured.\n")
    return markdown(rows) + notes if rows else MEASURED_NOT


TABLES = {"race": race_table, "step": step_table, "demo": demo_table, "demo-mt5": demo_mt5_table,
          "miniature": miniature_table, "real-sample": lambda: results_table("real-sample-results.json"), "parity": lambda: printed_table("parity.txt"), "transformers-mt5": lambda: printed_table("transformers-mt5.txt"), "finetune": finetune_table,
          "gpu-race": device_race_table, "gpu-step": device_step_table, "gpu-operations": device_operation_table,
          "scaling-measured": scaling_table, "memory": memory_table, "scaling-large": lambda: simulated_table("large-h200.json"), "scaling-large-zero": lambda: simulated_table("large-h200-zero.json")}
DOCUMENTS = ["README.md", "docs/scaling.md", "docs/ranks.md", "docs/text-tasks.md"]


def rewritten(document, text):
    def table(match):
        name = match.group(1)
        if name not in TABLES:
            raise SystemExit(f"{document}: unknown table \"{name}\"; known are {', '.join(TABLES)}")
        return f"<!-- table:{name} -->\n\n{TABLES[name]()}\n<!-- end -->"

    if text.count("<!-- table:") != text.count("<!-- end -->"):
        raise SystemExit(f"{document}: each <!-- table:NAME --> needs one <!-- end -->")
    return re.sub(r"<!-- table:([\w-]+) -->.*?<!-- end -->", table, text, flags=re.DOTALL)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the tables are not up to date")
    check = parser.parse_args().check
    stale = 0
    for document in DOCUMENTS:
        path = ROOT / document
        before = path.read_text(encoding="utf-8")
        after = rewritten(document, before)
        if before == after:
            continue
        if check:
            print(f"{document}: the tables are not those of bench/results/; run python3 tools/make_tables.py", file=sys.stderr)
            stale = 1
        else:
            path.write_text(after, encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main())
