#!/usr/bin/env python3
"""Does what the worked example of docs/adding-an-operation.md says, in a copy of the tree, and fails where that does not work.

    python3 tools/follow_guide.py --build build [--keep]

Each `path`: followed by a block of code is a file. They are compiled with the flags of the build directory's own kernels, tests and benchmarks, without
optimization, and linked with its objects in place of the whole build that the example's first command is; the other commands then run as they stand,
on these programs. Needs a build of test_kernels and bench_operations whose CUDA kernels run on the CPU.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
GUIDE = "docs/adding-an-operation.md"
COPIED = ["kernels", "engine", "models", "tasks", "tools", "tests", "bench", "docs", "examples", "README.md"]  # what tools/check_architecture.py reads
LIST = "kernels/operations.cpp"
PROGRAMS = {"test_kernels": "tests/", "bench_operations": "bench/"}  # and where its part of the example is
FILE = re.compile(r"^`([\w/.]+)`: [^\n]*\n\n```cpp\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def fail(what):
    raise SystemExit(f"{GUIDE}: {what}")


def run(command, **more):
    result = subprocess.run(command, capture_output=True, text=True, **more)
    if result.returncode != 0:
        words = command if isinstance(command, str) else shlex.join(command)
        fail(f"exit code {result.returncode} of {words}\n{result.stdout[-3000:]}{result.stderr[-3000:]}")
    return result.stdout


def write_example(guide, tree):
    """The files of the example, and its lines in the list of operations."""
    files = dict(FILE.findall(guide))
    if not files:
        fail("the worked example has no files")
    for path, text in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        if (tree / path).exists():
            fail(f"{path} is there already")
        (tree / path).write_text(text, encoding="utf-8")
    lines = re.search(r"^In `" + LIST + r"` the header, `(#include [^`]+)`, and `(\w+)` in the list", guide, re.MULTILINE)
    if not lines:
        fail(f"does not say what goes into {LIST}")
    text = (tree / LIST).read_text(encoding="utf-8")
    changed = text.replace('#include "kernels/softmax', f'{lines.group(1)}\n#include "kernels/softmax', 1).replace("SumArguments,", f"SumArguments, {lines.group(2)},", 1)
    if changed.count(lines.group(1)) != 1 or changed.count(lines.group(2)) != 1:
        fail(f"{LIST} is not what tools/follow_guide.py expects")
    (tree / LIST).write_text(changed, encoding="utf-8")
    return [*(path for path in files if not path.endswith(".h")), LIST]


def flags_beside(path, commands):
    """The words of the compiler's command for another file of the same folder's kind, or for the one it is united in."""
    kind, target = ("kernels/cast/cast.cu", "koine_kernels") if path.endswith(".cu") else (
        ("bench/operations/cast.cpp", "bench_operations") if path.startswith("bench/") else
        ("tests/kernels/cast_test.cpp", "test_kernels_plain") if path.startswith("tests/") else ("kernels/cast/cast.cpp", "koine_kernels"))
    command = commands.get(str(ROOT / kind)) or next((one for file, one in commands.items() if f"/{target}.dir/Unity/" in file), None)
    if command is None:
        fail(f"{kind} is compiled by no command")
    words = shlex.split(command)
    return [word for word in words[:words.index("-o")] if not re.fullmatch(r"-O[0-3]|-I" + re.escape(str(ROOT)), word)]


def link(program, objects, build, tree):
    """The build's own link command with the example's objects before its own, to a program in the copy's build/."""
    command = run(["ninja", "-C", str(build), "-t", "commands", "-s", program], cwd=build).strip().splitlines()[-1]
    target = str(tree / "build" / program)
    own = " ".join(map(shlex.quote, objects))
    changed = re.sub(rf" -o {program} ", lambda _: f" {own} -o {shlex.quote(target)} ", command)
    if changed == command:
        fail(f"how {program} is linked is not what tools/follow_guide.py expects: {command[:300]}")
    run(changed, shell=True, cwd=build)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--keep", action="store_true", help="leave the copy, BUILD/guide, where it is")
    options = parser.parse_args()
    build = options.build.resolve()
    guide = (ROOT / GUIDE).read_text(encoding="utf-8")
    tree = build / "guide"
    shutil.rmtree(tree, ignore_errors=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=lambda _, names: [name for name in names if name.endswith((".safetensors", ".npy"))])
        else:
            shutil.copy(ROOT / name, tree / name)
    (tree / "build").mkdir()
    sources = write_example(guide, tree)
    commands = {entry["file"]: entry["command"] for entry in json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
                if "-DKOINE_CUDA_RACES" not in entry["command"]}  # which are the same files once more

    cache = [name for name in ["ccache"] if shutil.which(name)]

    def compiled(path):
        made = tree / "build" / (path.replace("/", "_") + ".o")
        run([*cache, *flags_beside(path, commands), f"-I{tree}", "-O0", "-o", str(made), "-c", path], cwd=tree)
        return made

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = dict(zip(sources, map(str, pool.map(compiled, sources))))
    blocks = COMMANDS.findall(guide)
    lines = [line for block in blocks for line in block.splitlines() if line]
    for line in lines:
        words = shlex.split(line)
        if words[:2] == ["cmake", "--build"]:
            for program in words[words.index("--target") + 1:]:
                if program not in PROGRAMS:
                    fail(f"{line}: {program} is not known to tools/follow_guide.py")
                link(program, [made for path, made in objects.items() if path.startswith(("kernels/", PROGRAMS[program]))], build, tree)
        else:
            said = run(words, cwd=tree)
            if words[0].startswith("build/") and "cale" not in said:
                fail(f"{line}: says nothing of the example:\n{said}")
            if "0 tests" in said:
                fail(f"{line}: ran no test")
            print(f"$ {line}\n{said}", end="")
    if not any(line.startswith("build/test_kernels") for line in lines) or not any(line.startswith("build/bench_operations") for line in lines):
        fail("the worked example has no command that tests, or none that measures")
    if not options.keep:
        shutil.rmtree(tree)


if __name__ == "__main__":
    sys.exit(main())
