#!/usr/bin/env python3
"""Writes kernels/common/tuning_table.cpp from committed measurements of bench_operations.

    python3 tools/gpu/tune.py [--check]        reads bench/results/*/operations.json (tools/gpu/check.sh OUTDIR bench)

A row for each shape whose fastest variant is not the first that fits, and faster than that by more than both spread over their repetitions (two
percent at least): what is not in the table runs the first variant. Where several cases have one shape, their times add up. --check writes nothing;
exit code 1 where the table is another.
"""
import argparse
import collections
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TABLE = ROOT / "kernels" / "common" / "tuning_table.cpp"
LEAST_GAIN = 0.02


def measured(path):
    """(operation, architecture, key) -> variant -> [microseconds, spread], variants in order of preference."""
    data = json.loads(path.read_text(encoding="utf-8"))
    shapes = collections.defaultdict(dict)
    if "not_a_measurement" in data["context"] or "architecture" not in data["context"]:
        return shapes
    for row in data["operations"]:
        if "us" in row and "key" in row:
            parts = row["name"].split("/")
            times = shapes[parts[0], int(data["context"]["architecture"]), row["key"]].setdefault(parts[-1], [0, 0])
            times[0] += row["us"]
            times[1] = max(times[1], row["spread"])
    return shapes


def rows_of(shapes):
    rows = []
    for (operation, architecture, key), variants in sorted(shapes.items()):
        first = next(iter(variants))
        fastest = min(variants, key=lambda name: variants[name][0])
        gain = 1 - variants[fastest][0] / variants[first][0]
        if gain > max(LEAST_GAIN, variants[first][1], variants[fastest][1]):
            number, text = key.split(" ", 1)  # as bench_operations labels a shape: Operation::tuning_key and tuning_text
            rows.append(f'    {{"{operation}", {architecture}, {int(number)}, "{fastest}"}},  // {text}')
    return rows


def written(rows, sources):
    head = '// Written by tools/gpu/tune.py.\n\n#include "kernels/common/tuning_table.h"\n\n'
    remark = f"// From {', '.join(sources)}." if sources else "// No device has been measured yet."
    function = "std::span<const TunedVariant> tuning_table() { return "
    if not rows:
        return f"{head}namespace koine {{\n\n{remark}\n{function}{{}}; }}\n\n}}  // namespace koine\n"
    table = "\n".join(["// clang-format off", "constexpr TunedVariant kTable[] = {", *rows, "};", "// clang-format on"])
    return (f"{head}namespace koine {{\nnamespace {{\n\n{remark}\n{table}\n\n}}  // namespace\n\n{function}kTable; }}\n\n"
            "}  // namespace koine\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    rows, sources, seen = [], [], set()
    for path in sorted(ROOT.glob("bench/results/*/operations.json")):
        shapes = measured(path)
        architectures = {architecture for _, architecture, _ in shapes}
        if architectures & seen:
            raise SystemExit(f"tune.py: two results are of architecture {architectures & seen}; which one the table should follow is not said")
        seen |= architectures
        if shapes:
            sources.append(str(path.relative_to(ROOT)))
        rows += rows_of(shapes)
    text = written(rows, sources)
    if text == TABLE.read_text(encoding="utf-8"):
        return 0
    if check:
        print("kernels/common/tuning_table.cpp is not what the results give: python3 tools/gpu/tune.py", file=sys.stderr)
        return 1
    TABLE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
