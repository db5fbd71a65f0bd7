#!/usr/bin/env python3
"""Checks bench_operations from outside: its help, its errors, its names, and that the table and the JSON say the same.

    python3 bench/operations/check.py build/bench_operations        exit code 1 with a line where something is not so
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

SUMMARISE = pathlib.Path(__file__).resolve().parent.parent.parent / "tools" / "gpu" / "summarise.py"
PROGRAM = pathlib.Path(sys.argv[1]).resolve()
SHAPE = ["--shape", "tokens=16,hidden=64,feed_forward=96,heads=2,length=8,vocabulary=300,elements=4096"]


def expect(holds, what, *said):
    if not holds:
        raise SystemExit("\n".join([f"bench_operations: {what}", *map(str, said)]))


def run(*arguments, code=0):
    result = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True)
    expect(result.returncode == code, f"{' '.join(arguments)}: exit code {result.returncode}, not {code}", result.stdout, result.stderr)
    return result.stdout, result.stderr


def check_help():
    said, _ = run("--help")
    for option in ("--filter", "--list", "--variants", "--shape", "--device", "--repetitions", "--iterations", "--no-ceilings", "--tiny"):
        expect(f"\n  {option}" in said, f"the help does not say {option}")
    expect("benchmark_min_time" not in said, "the help is Google Benchmark's")
    expect("benchmark_min_time" in run("--help-benchmark")[0], "Google Benchmark's help is not there when asked for")


def check_errors():
    for arguments, words in ((["--variants", "packed,pakced"], ["pakced", "packed"]), (["--shape", "width=3"], ["width=3", "hidden"]),
                             (["--shape", "tokens=0"], ["tokens=0"]), (["--shape", "tokens=12x"], ["tokens=12x"]),
                             (["--shape", "hidden=100,heads=7"], ["7 heads", "100"]), (["--shape"], ["--shape", "value"]),
                             (["--iterations", "0"], ["--iterations"]), (["--filtre", "cast"], ["--filtre"])):
        _, errors = run("--tiny", *arguments, code=2)
        for word in words:
            expect(word in errors, f"{' '.join(arguments)}: the error does not say {word}", errors)
    for arguments in (["--filter", "^nothing_has_this_name$"], ["--benchmark_filter=^nothing_has_this_name$"]):
        run("--tiny", *arguments, code=1)


def names_of(*arguments):
    return [line.split("/iterations:")[0].removesuffix("/manual_time") for line in run("--list", *arguments)[0].splitlines()]


def check_names():
    names = names_of(*SHAPE)
    for name in ("layernorm_forward/residual/custom/16/bf16/16x64_residual/cpu", "gemm/feed_forward_1_forward/custom/16/fp32/nt_16x96x64_gelu_bias_kept/packed",
                 "attention_forward/length_8/custom/16/fp32/2_sequences_16_in_lengths_to_8_2_x_32/cpu"):
        expect(name in names, f"there is no {name}", *names)
    for arguments in ([], ["--device", "cuda"]):
        cases = list(dict.fromkeys(name.rsplit("/", 2)[0] for name in names_of(*arguments)))
        with_dropout = [case for case in cases if "dropout_" in case or "_dropout" in case]
        expect(len(with_dropout) > 10, "there are cases with dropout", *cases)
        for case in with_dropout:
            plain = re.sub("dropout_|_dropout", "", case)
            before = cases[cases.index(case) - 1]
            expect(before == plain, f"the case before {case} is {before}, not {plain}")


def rows_of(table):
    """variant -> [microseconds, how many times as fast as the first]"""
    found = re.findall(r"^  (\w+) +([\d.]+) +[\d.]+ to [\d.]+ +([\d.]+) +[\d.]+ +[\d.]+$", table, re.MULTILINE)
    return {variant: [float(taken), float(ratio)] for variant, taken, ratio in found}


def check_table(folder):
    case = "gemm/qkv_forward/custom/16/fp32"
    available = [name.rsplit("/", 1)[1] for name in names_of(*SHAPE, "--filter", f"^{case}/")]
    wanted = ["reference", "packed"]  # not the table's order
    for more in ([], ["--variants", ",".join(wanted)]):
        raw, condensed = folder / "raw.json", folder / "condensed.json"
        table, _ = run(*SHAPE, "--filter", f"^{case}/", "--no-ceilings", "--iterations", "5", *more, f"--benchmark_out={raw}")
        rows = rows_of(table)
        unsuitable = re.findall(r"^  (\w+) +not for this machine", table, re.MULTILINE)
        available = [variant for variant in available if variant not in unsuitable]
        expect(list(rows) == (wanted if more else available), f"the variants of {case} are {available}; asked for {more}", table)
        expect(next(iter(rows.values()))[1] == 1, "the first variant is what the others are compared with", table)
        if more and max(rows.values())[0] > 1.5 * min(rows.values())[0]:  # whichever of them an unoptimized build runs faster
            expect((rows["packed"][1] > 1) == (rows["packed"][0] < rows["reference"][0]), "the ratio says the contrary of the times", table)
        subprocess.run([sys.executable, SUMMARISE, "condense", raw, condensed], check=True, capture_output=True)
        short = json.loads(condensed.read_text())["operations"]
        short = [row for row in short if "us" in row]
        expect([row["name"] for row in short] == [f"{case}/nt_16x192x64_bias/{variant}" for variant in rows], "names in what scripts read", short)
        expect(all(row["shape"] == "nt 16x192x64 bias" and " nt 16x" in row["key"] for row in short), "shapes and keys in what scripts read", short)
        entries = [entry for entry in json.loads(raw.read_text())["benchmarks"] if "us" in entry]
        expect([entry["name"].split("/iterations:")[0].rsplit("/", 1)[1] for entry in entries] == list(rows), "JSON has other variants than the table", table)
        for entry, (taken, ratio) in zip(entries, rows.values()):
            expect(abs(entry["us"] - taken) <= 0.06, f"the table says {taken} us, JSON {entry['us']}")
            expect(entry["iterations"] == 5, "five launches, or turns, were asked for")
            expect(("to_first" in entry) == bool(more), "turns have the ratio within each turn")
            if more:
                expect(abs(entry["to_first"] - ratio) <= 0.006, f"the table says {ratio}, JSON {entry['to_first']}")
    tiny, _ = run("--tiny", "--filter", "/cast/")
    expect("not a measurement" in tiny and "cpu" in tiny, "the table of a run that measures nothing", tiny)
    console, _ = run("--tiny", "--filter", "/cast/", "--benchmark_format=json")
    expect(json.loads(console)["benchmarks"], "Google Benchmark's formats are there when asked for", console)


def main():
    check_help()
    check_errors()
    check_names()
    with tempfile.TemporaryDirectory() as folder:
        check_table(pathlib.Path(folder))


if __name__ == "__main__":
    main()
