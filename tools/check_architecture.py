#!/usr/bin/env python3
"""Holds docs/architecture.md true: what includes what, what an operation's folder has, what documents and comments name.

    python3 tools/check_architecture.py        exit code 1 with a line for each thing that is not so

* Rooms: an include points only down ROOMS. Inside of a room folders, and the files that are in none, do not include each other in a circle; FLOORS
  says who is below whom, and no folder includes a ROOF.
* Operations: a header of kernels/ that runs arguments through the registry (run(context, arguments)) has its <op>.cpp, <op>_reference.cpp, a variant
  for the CPU <op>_*.cpp and one for CUDA <op>*.cu, its cases <op>_cases.h, a test of them in tests/kernels/<op>_test.cpp, and a file in
  bench/operations/ that measures them.
* Tasks: every row of tasks/tasks.cpp is named by a test in tests/tasks/ or tests/tools/; the row docs/adding-a-task.md shows is the table's.
* Rooms again: docs/architecture.md names every folder of engine/, models/ and tasks/.
* Names: a path that a document or a comment names is there.
"""
import collections
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROOMS = ["tools", "tasks", "models", "engine", "kernels"]  # each may include what stands behind it
MEASURES = {"bench": ROOMS[1:], "tests": [*ROOMS, "bench"]}  # what looks at the rooms from outside: nobody includes it
FLOORS = {"models": ["layers", "heads"], "kernels": ["common", "random", "cuda"]}  # the lowest first; other folders stand above
ROOFS = {"kernels/operations.h"}  # the list of all operations
SOURCES = {".h", ".cpp", ".cu"}
OPERATION_FILES = [".cpp", "_reference.cpp", "_cases.h"]
# What a run leaves; a file of another project; what a reader of docs/adding-an-operation.md makes.
NOT_HERE = re.compile(r"bench/results/|tests/kat_vectors|summary\.md|(?:kernels|tests/kernels|bench/operations)/scale\b|tests/kernels/scale_test")
PATH = re.compile(r"(?<![\w./<{*-])((?:kernels|engine|models|tasks|tools|bench|tests|docs|examples)/[\w./-]*[\w/])(?![\w<{*])")
DOCUMENT = re.compile(r"(?<![\w/.-])([\w-]+\.md)\b")

complaints = []


def complain(place, what):
    complaints.append(f"{place}: {what}")


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def sources():
    for room in [*ROOMS, *MEASURES]:
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix in SOURCES:
                yield path.relative_to(ROOT)


def includes(path):
    for line, text in enumerate(read(path).splitlines(), 1):
        found = re.match(r'#\s*include "([^"]+)"', text)
        if found:
            yield line, pathlib.PurePosixPath(found.group(1))


def folder_of(path):
    """The second part of a path: the folder, or a file that is in none."""
    return path.parts[1]


def check_includes():
    folders = collections.defaultdict(dict)  # (room, folder) -> folder -> where
    for path in sources():
        room = path.parts[0]
        for line, target in includes(path):
            place = f"{path}:{line}"
            if not (ROOT / target).is_file():
                continue  # generated, or Highway's
            other = target.parts[0]
            if other != room:
                below = MEASURES[room] if room in MEASURES else ROOMS[ROOMS.index(room) + 1:]
                if other not in below:
                    complain(place, f"{room}/ includes {target}, which is not below it")
            elif str(target) in ROOFS and len(path.parts) > 2:
                complain(place, f"includes {target}, which stands above every folder of {room}/")
            elif folder_of(path) != folder_of(target):
                folders[room, folder_of(path)].setdefault(folder_of(target), f"{place} includes {target}")
                floors = FLOORS.get(room, [])
                if folder_of(path) in floors and len(target.parts) > 2 and folder_of(target) not in floors[:floors.index(folder_of(path))]:
                    complain(place, f"{room}/{folder_of(path)} includes {target}, which is not below it ({' < '.join(floors)} < others)")
    for room in ROOMS:
        for circle in circles({folder: list(others) for (where, folder), others in folders.items() if where == room}):
            steps = [folders[room, a][b] for a, b in zip(circle, circle[1:])]
            complain(room, f"folders include each other in a circle, {' -> '.join(circle)}: {'; '.join(steps)}")


def circles(graph):
    """One circle for each folder from which a walk comes back to it, the shortest, each set of folders once."""
    found = {}
    for start in sorted(graph):
        paths = collections.deque([[start]])
        seen = set()
        while paths:
            path = paths.popleft()
            for other in sorted(graph.get(path[-1], [])):
                if other == start:
                    found.setdefault(frozenset(path), [*path, start])
                    paths.clear()
                    break
                if other not in seen:
                    seen.add(other)
                    paths.append([*path, other])
    return found.values()


def check_operations():
    measured = {str(target) for path in (ROOT / "bench" / "operations").glob("*.cpp") for _, target in includes(path.relative_to(ROOT))}
    for header in sorted((ROOT / "kernels").rglob("*.h")):
        path = header.relative_to(ROOT)
        if "run(context, arguments)" not in read(path) or path.name == "registry.h":
            continue
        name = path.stem
        for ending in OPERATION_FILES:
            if not (header.parent / (name + ending)).is_file():
                complain(path, f"there is no {path.parent / (name + ending)}")
        if not list(header.parent.glob(f"{name}*.cu")):
            complain(path, f"there is no variant for CUDA, {path.parent}/{name}*.cu")
        if len(list(header.parent.glob(f"{name}_*.cpp"))) < 2:
            complain(path, f"there is no variant for the CPU, {path.parent}/{name}_*.cpp")
        cases = f"{path.parent}/{name}_cases.h"
        test = pathlib.Path("tests", "kernels", f"{name}_test.cpp")
        if not (ROOT / test).is_file():
            complain(path, f"there is no {test}")
        elif cases not in {str(target) for _, target in includes(test)}:
            complain(test, f"does not include {cases}")
        if cases not in measured:
            complain(path, f"no file of bench/operations/ includes {cases}")


def check_tasks():
    names = re.findall(r'^ *\.name = "([^"]+)"', read("tasks/tasks.cpp"), re.MULTILINE)
    if not names:
        complain("tasks/tasks.cpp", "no rows were found")
    tests = "".join(path.read_text(encoding="utf-8") for room in ("tasks", "tools") for path in sorted((ROOT / "tests" / room).glob("*.cpp")))
    for name in names:
        if f'"{name}"' not in tests:
            complain("tasks/tasks.cpp", f"no test in tests/tasks/ or tests/tools/ names the task {name}")
    shown = re.search(r"^ +\{\n +\.name = .*?\n +\},\n", read("docs/adding-a-task.md"), re.MULTILINE | re.DOTALL)
    if not shown or " ".join(shown.group().split()) not in " ".join(read("tasks/tasks.cpp").split()):
        complain("docs/adding-a-task.md", "the row it shows is not one of tasks/tasks.cpp")


def check_page():
    page = read("docs/architecture.md")
    for room in ("engine", "models", "tasks"):
        for folder in sorted(path for path in (ROOT / room).iterdir() if path.is_dir()):
            if f"`{room}/{folder.name}/`" not in page:
                complain("docs/architecture.md", f"does not say what {room}/{folder.name}/ is")


def comments(text):
    for line, words in enumerate(text.splitlines(), 1):
        for found in re.finditer(r"(?:^|\s)(?://|#(?!\s*(?:include|define|if|endif|else|elif|pragma|error|undef))|\*)(.*)", words):
            yield line, found.group(1)


def check_names():
    documents = {path.name for path in ROOT.glob("*.md")} | {path.name for path in (ROOT / "docs").glob("*.md")}
    texts = [(path, enumerate(read(path).splitlines(), 1)) for path in
             [pathlib.Path("README.md"), *(path.relative_to(ROOT) for path in sorted((ROOT / "docs").glob("*.md")))]]
    texts += [(path, comments(read(path))) for path in sources()]
    for path, lines in texts:
        for line, words in lines:
            for name in PATH.findall(words):
                there = ROOT / name.rstrip("/.")
                # a path, or one without its ending, or a folder a document lists from within its own room
                if not NOT_HERE.match(name) and not there.exists() and not list(there.parent.glob(there.name + ".*")):
                    complain(f"{path}:{line}", f"there is no {name}")
            for name in DOCUMENT.findall(words):
                if not NOT_HERE.match(name) and name not in documents:
                    complain(f"{path}:{line}", f"there is no document {name}")


def main():
    check_includes()
    check_operations()
    check_tasks()
    check_page()
    check_names()
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
