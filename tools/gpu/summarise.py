#!/usr/bin/env python3
"""Turns what tools/gpu/check.sh measured into what is committed and read.

    summarise.py machine FILE --build DIR [--host]   what this machine is
    summarise.py condense RAW FILE                   Google Benchmark's file as one line an operation: medians over the repetitions, and their spread
    summarise.py step FILE                           prints a line of bench_step in words
    summarise.py summary OUTDIR                      OUTDIR/summary.md from what is there
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

QUERY = ["name", "driver_version", "memory.total", "power.limit", "clocks.max.sm", "clocks.max.mem", "clocks.sm", "clocks.mem"]


def said(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def write_machine(path, build, host):
    commit = pathlib.Path(build, "commit")
    machine = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
               "commit": commit.read_text().strip() if commit.exists() else said(["git", "describe", "--always", "--dirty"]),
               "processors": os.cpu_count(), "kernel": platform.release(), "command": "tools/gpu/check.sh"}
    if host:
        machine["not_a_measurement"] = "the kernels ran on the CPU"
    values = said(["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader"])
    if values and not host:
        machine.update(zip(QUERY, (value.strip() for value in values.splitlines()[0].split(","))))
    pathlib.Path(path).write_text(json.dumps(machine, indent=1) + "\n", encoding="utf-8")


def condense(raw, path):
    data = json.loads(pathlib.Path(raw).read_text(encoding="utf-8"))
    runs = {}
    for entry in data["benchmarks"]:
        if entry.get("run_type") == "iteration":
            name = entry["name"].split("/iterations:")[0].split("/repeats:")[0].removesuffix("/manual_time")
            runs.setdefault(name, []).append(entry)
    lines = []
    for name, entries in runs.items():
        row = {"name": name}
        if any(entry.get("error_occurred") for entry in entries):
            row["error"] = entries[0].get("error_message", "")
        elif all("us" in entry for entry in entries):
            times = [entry["us"] for entry in entries]
            middle = entries[times.index(statistics.median_low(times))]
            row.update({key: float(f"{middle[key]:.5g}") for key in ("us", "TFLOP/s", "GB/s", "of_product", "of_copy") if key in middle})
            row["shape"], _, key = entries[0].get("label", "").partition(" | key ")
            if key:
                row["key"] = key
            row["spread"] = float(f"{(max(times) - min(times)) / row['us']:.3g}")
            row["us_least"], row["us_most"] = (float(f"{value:.5g}") for value in (
                min(entry["us_least"] for entry in entries), max(entry["us_most"] for entry in entries)))
        lines.append(json.dumps(row))
    head = json.dumps({key: value for key, value in data["context"].items() if key not in ("caches", "load_avg", "executable", "host_name")})
    pathlib.Path(path).write_text(f'{{"context": {head},\n"operations": [\n' + ",\n".join(lines) + "\n]}\n", encoding="utf-8")
    errors = [name for name, entries in runs.items() if any(entry.get("error_occurred") for entry in entries)]
    print(f"{len(runs)} operations and variants; {len(errors)} do not suit this machine or their arguments: {', '.join(errors) or 'none'}")


def steps_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()] if path.exists() else []


def step_words(step):
    words = f"{step['mode']} {step['size']} {step['precision']} {pathlib.PurePath(step['lengths']).stem}: "
    if "not_a_measurement" in step:
        words += "ran (not a measurement)"
    else:
        words += (f"{statistics.median(step['tokens_per_second']):,.0f} tokens/s, "
                  f"{100 * statistics.median(step['share_of_ceiling']):.1f} % of the product's rate")
    if "used_to_estimated" in step.get("memory", {}):
        words += f", memory {step['memory']['used_bytes'] / 1e9:.2f} GB = {step['memory']['used_to_estimated']:.3f} of the estimate"
    if "trace" in step:
        words += f", {step['trace']['allocations']} allocations and {step['trace']['synchronizations']} waits in {step['trace']['steps']} steps"
    return words


def operation_lines(folder):
    path = folder / "operations.json"
    if not path.exists():
        return []
    data = json.loads(path.read_text(encoding="utf-8"))
    rows = [row for row in data["operations"] if "us" in row and "/large/16384/bf16/" in row["name"]]
    if not rows:
        return [f"Operations: {len(data['operations'])} ran; no times.", ""]
    lines = ["## Operations, XLM-R large, 16,384 tokens, bf16", "",
             "| operation/case/variant | us | TFLOP/s | GB/s | of product | of copy | spread |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        lines.append(f"| {row['name'].replace('/large/16384/bf16', '')} | {row['us']:.1f} | {row['TFLOP/s']:.0f} | {row['GB/s']:.0f} | "
                     f"{row['of_product']:.2f} | {row['of_copy']:.2f} | {100 * row['spread']:.0f} % |")
    return lines + [""]


def write_summary(folder):
    folder = pathlib.Path(folder)
    machine = json.loads((folder / "machine.json").read_text(encoding="utf-8"))
    lines = ["# CUDA backend: checks and measurements", "", f"{machine.get('name', 'no GPU')}, {machine['date']}, commit {machine['commit']}", ""]
    if "not_a_measurement" in machine:
        lines += [f"**Not a measurement: {machine['not_a_measurement']}.**", ""]
    lines += ["| part | verdict | seconds | last words |", "|---|---|---|---|"]
    for path in sorted(folder.glob("part-*.tsv"), key=lambda path: path.stat().st_mtime):
        part, verdict, seconds = path.read_text().rstrip("\n").split("\t")
        log = folder / f"{part}.log"
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] if log.exists() else []
        lines.append(f"| {part} | {verdict} | {seconds} | {' '.join(last)[:160].replace('|', '/')} |")
    lines.append("")
    for title, pattern in (("Steps", "step-*.json"), ("Inside a step", "trace.json"), ("Memory", "models.json")):
        steps = [step for path in sorted(folder.glob(pattern)) for step in steps_of(path)]
        lines += [f"## {title}", "", *(f"* {step_words(step)}" for step in steps), ""] if steps else []
    race = folder / "race.json"
    if race.exists():
        result = json.loads(race.read_text(encoding="utf-8"))
        lines += ["## Race against transformers", ""] + ["Not a measurement.", ""] * ("not_a_measurement" in result)
        lines += [f"* {one['mode']} {one['batches']}: {one['ratio_median']:.2f} times {one['best_other']} "
                  f"(quartiles {one['ratio_quartiles'][0]:.2f} to {one['ratio_quartiles'][1]:.2f}; {one['rounds_thrown_away']} of {one['rounds']} rounds "
                  "thrown away)" for one in result["races"] if one.get("ratios")]
        lines += [f"* failed: {name}: {error.splitlines()[0]}" for name, error in result["failed"].items()] + [""]
    lines += operation_lines(folder)
    text = "\n".join(lines)
    (folder / "summary.md").write_text(text, encoding="utf-8")
    print(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["machine", "condense", "step", "summary"])
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--build", default=".")
    parser.add_argument("--host", action="store_true")
    options = parser.parse_args()
    if options.command == "machine":
        write_machine(options.paths[0], options.build, options.host)
    elif options.command == "condense":
        condense(*options.paths)
    elif options.command == "step":
        for step in steps_of(pathlib.Path(options.paths[0])):
            print(step_words(step), flush=True)
    else:
        write_summary(options.paths[0])


if __name__ == "__main__":
    sys.exit(main())
