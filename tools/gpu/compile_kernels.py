#!/usr/bin/env python3
"""Compiles every kernel with nvcc for each architecture and keeps the table of what it takes of a multiprocessor.

    python3 tools/gpu/compile_kernels.py                  compiles, writes kernels/cuda/resources.json and docs/cuda-resources.md
    python3 tools/gpu/compile_kernels.py --check          compiles, writes nothing; exit code 1 with the differences where the table is another
    python3 tools/gpu/compile_kernels.py --documents      compiles nothing: docs/cuda-resources.md from the table, as --check looks at it too
    ... --counts DIR   also the dynamic shared memory of each launch, from what test_kernels of a HOST build wrote there
                       (KOINE_KERNEL_COUNTS=DIR test_kernels; one file a process)
    ... --only REGEX   kernel files whose path matches; others keep their rows
    --self-test        compiles a kernel without wgmma and tensor copies that uses local memory: it has to be refused
    --check --share S  of the files whose sources (and nvcc) are those the table was made from, compiles only this share, drawn anew for each
                       commit: whether the table is true is seen in time, what changed is always compiled

Spills and local memory are errors, but for EXCEPTIONS. Of files for 9.0a alone the instructions are looked at, too: a kernel without wgmma or
without tensor copies (WITHOUT names those that may be), or with accesses to local memory, is an error. They are read from the cubin itself; where
nvdisasm is in the PATH or beside nvcc, its count has to be the same. The options are kernels/CMakeLists.txt's. What a file gave is kept under its sources' hash
in --cache, so that a second run compiles only what changed. ptxas decides registers: a table made by another release of nvcc is checked for
spills and kernels, not for numbers. Needs nvcc, c++filt, and Python's standard library.
"""
import argparse
import collections
import concurrent.futures
import hashlib
import json
import math
import os
import pathlib
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TABLE = ROOT / "kernels" / "cuda" / "resources.json"
DOCUMENT = ROOT / "docs" / "cuda-resources.md"
ARCHITECTURES = {"sm_80": "compute_80", "sm_90a": "compute_90a"}
ONLY_HOPPER = "_sm90.cu"  # files of kernels that need sm_90a

# Kernels (regular expression over file and name, as in the table) that may spill or use local memory, and why.
EXCEPTIONS = {}

# What ptxas says, as mere information, of kernels whose wgmmas wait for each other or whose registers are not given away: setmaxnreg
# ignored (7508), wgmma serialised (7510, 7514 to 7516), a fence or wait put in by the compiler (7517 to 7519).
REFUSED_MESSAGES = r"\(C75(?:08|10|1[4-9])\)"

# The lower twelve bits of an instruction for 9.0, by what nvdisasm calls it; of wgmma with A from shared memory and from registers.
HOPPER_INSTRUCTIONS = {"HGMMA": (0x9f0, 0xdf0), "UTMALDG": (0x5b4,), "LDL": (0x983,), "STL": (0x387,)}
NO_OPERATION = 0x918
# What each kernel of a file for 9.0a alone has to have, but for those that WITHOUT names (a regular expression over file and name: what it lacks).
REQUIRED = ("HGMMA", "UTMALDG")
WITHOUT = {}

CACHE_FORMAT = "2"  # of what is kept; another where read_ptxas() changes
CACHE_FORMAT_OF_HOPPER = "3"  # the same of files for 9.0a alone, where read_instructions() changes

REGISTERS_OF_A_MULTIPROCESSOR = 65536  # of 8.0 and 9.0; given to warps by 256
WARPS_OF_A_MULTIPROCESSOR = 64


def fail(message):
    raise SystemExit(f"compile_kernels: {message}")


def kernel_options():
    """The options CMake compiles kernels with, without what ptxas is asked to warn of."""
    text = (ROOT / "kernels" / "CMakeLists.txt").read_text(encoding="utf-8")
    found = re.search(r"set\(KERNEL_CUDA_OPTIONS ([^)]*)\)", text)
    if found is None:
        fail("kernels/CMakeLists.txt sets no KERNEL_CUDA_OPTIONS")
    return [option for option in found.group(1).split() if not option.startswith("-Xptxas")]


def nvcc_release(nvcc):
    try:
        text = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        fail(f"{nvcc} --version: {error}")
    return re.search(r"V([\d.]+)", text).group(1)


def sources_of(path, seen=None):
    """A file of the project and all it includes, in the order of first use."""
    seen = {} if seen is None else seen
    if path in seen or not path.exists():
        return seen
    seen[path] = path.read_bytes()
    for name in re.findall(rb'^\s*#include "([^"]+)"', seen[path], flags=re.MULTILINE):
        sources_of(ROOT / name.decode(), seen)
    return seen


def command_of(architecture, options, nvcc):
    return [nvcc, "-std=c++20", "-O3", "-DNDEBUG", *options, "-Xptxas=-v,--warn-on-spills,--warn-on-local-memory-usage",
            f"-gencode=arch={ARCHITECTURES[architecture]},code={architecture}", f"-I{ROOT}", "-cubin"]


def digest_of(source, architecture, options, release):
    """A hash of all that can change what ptxas says of a file: its sources, the options, nvcc."""
    digest = hashlib.sha256(" ".join([release, *command_of(architecture, options, "nvcc")[1:]]).replace(str(ROOT), "").encode())
    digest.update((CACHE_FORMAT_OF_HOPPER if source.name.endswith(ONLY_HOPPER) else CACHE_FORMAT).encode())
    for content in sources_of(source).values():
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:24]


def compile_one(source, architecture, options, nvcc, release, cache):
    """What ptxas says of the kernels of one file: {mangled name: numbers}. Kept under the hash of all that can change it."""
    command = command_of(architecture, options, nvcc)
    kept = cache / f"{source.stem}-{architecture}-{digest_of(source, architecture, options, release)}.json"
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        command += [str(source), "-o", f"{folder}/{source.stem}.cubin", "--keep", "--keep-dir", folder]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            fail(f"{source.relative_to(ROOT)} for {architecture}:\n{result.stdout}{result.stderr}")
        ptx = pathlib.Path(folder, f"{source.stem}.ptx").read_text(encoding="utf-8")
        instructions = {}
        if source.name.endswith(ONLY_HOPPER):
            cubin = pathlib.Path(folder, f"{source.stem}.cubin")
            instructions = read_instructions(cubin.read_bytes())
            compare_with_disassembler(cubin, instructions, nvcc)
    refused = [line for line in (result.stdout + result.stderr).splitlines() if re.search(REFUSED_MESSAGES, line)]
    if refused:
        fail(f"{source.relative_to(ROOT)} for {architecture}:\n" + "\n".join(refused))
    kernels = read_ptxas(result.stdout + result.stderr)
    for name, threads in re.findall(r"\.entry (\w+)\([^)]*\)\s*\.maxntid (\d+)", ptx):
        kernels[name]["threads"] = int(threads)
    for name, counts in instructions.items():
        kernels[name]["instructions"] = counts
    temporary = kept.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(kernels), encoding="utf-8")
    temporary.replace(kept)
    return kernels


def read_ptxas(text):
    kernels = {}
    current = None
    for line in text.splitlines():
        entry = re.search(r"Compiling entry function '(\w+)'", line)
        properties = re.search(r"Function properties for (\w+)", line)
        stack = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line)
        used = re.search(r"Used (\d+) registers", line)
        if entry:
            current = kernels.setdefault(entry.group(1), {"threads": 0, "registers": 0, "shared": 0, "stack": 0, "spills": 0})
        elif properties:  # of a function the kernel calls: its stack counts as the kernel's
            current = kernels.get(properties.group(1), current)
        elif stack and current is not None:
            current["stack"] = max(current["stack"], int(stack.group(1)))
            current["spills"] += int(stack.group(2)) + int(stack.group(3))
        elif used and current is not None:
            current["registers"] = int(used.group(1))
            shared = re.search(r"(\d+) bytes smem", line)
            current["shared"] = int(shared.group(1)) if shared else 0
    return kernels


def read_instructions(cubin):
    """Of each kernel of a cubin for 9.0 how many instructions it has ("all", but those that do nothing), and how many of HOPPER_INSTRUCTIONS.
    A cubin is an ELF file of 64 bits with a section .text.NAME a kernel, of instructions of 16 bytes."""
    table, entry_bytes, entries, names_at = (*struct.unpack_from("<Q", cubin, 0x28), *struct.unpack_from("<HHH", cubin, 0x3a))
    sections = [struct.unpack_from("<IIQQQQ", cubin, table + i * entry_bytes) for i in range(entries)]
    names = sections[names_at][4]
    counts = {}
    for name, _, _, _, begin, size in sections:
        name = cubin[names + name:cubin.index(b"\0", names + name)].decode()
        if not name.startswith(".text."):
            continue
        opcodes = collections.Counter(word & 0xfff for word, _ in struct.iter_unpack("<QQ", cubin[begin:begin + size]))
        one = {"all": opcodes.total() - opcodes[NO_OPERATION]}
        one |= {instruction: sum(opcodes[opcode] for opcode in own) for instruction, own in HOPPER_INSTRUCTIONS.items()}
        counts[name.removeprefix(".text.")] = one
    return counts


def compare_with_disassembler(cubin, counts, nvcc):
    """That nvdisasm counts the same, where there is one: the numbers of instructions are written down nowhere."""
    nvcc = shutil.which(nvcc)
    program = shutil.which("nvdisasm") or (nvcc and shutil.which("nvdisasm", path=str(pathlib.Path(nvcc).resolve().parent)))
    if program is None:
        return
    text = subprocess.run([program, "-c", str(cubin)], capture_output=True, text=True, check=True).stdout
    for part in re.split(r"\n\s*\.section\s+\.text\.", text)[1:]:
        name = part.split(",")[0]
        found = {instruction: len(re.findall(rf"^\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?{instruction}\b", part, flags=re.MULTILINE))
                 for instruction in HOPPER_INSTRUCTIONS}
        ours = {instruction: counts[name][instruction] for instruction in HOPPER_INSTRUCTIONS}
        if found != ours:
            fail(f"{name}: nvdisasm counts {found}, not {ours}; see HOPPER_INSTRUCTIONS")


def lacking(rows):
    """Sentences about kernels for 9.0a alone without the instructions they are made for, or with accesses to local memory."""
    found = []
    for name, row in rows.items():
        counts = row.get("sm_90a", {}).get("instructions")
        if counts is None:
            continue
        excused = [instruction for pattern, instruction in WITHOUT.items() if re.search(pattern, name)]
        found += [f"{name}: no {instruction}" for instruction in REQUIRED if counts[instruction] == 0 and instruction not in excused]
        found += [f"{name}: {counts[instruction]} {instruction}" for instruction in ("LDL", "STL") if counts[instruction]]
    return found


def readable(mangled):
    """cast_kernel<float, BFloat16, 8> for each mangled name."""
    if not mangled:
        return []
    try:
        text = subprocess.run(["c++filt", "--no-params"], input="\n".join(mangled), capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        fail(f"c++filt: {error}")
    names = []
    for name in text.splitlines():
        name = re.sub(r"\(anonymous namespace\)::|\bkoine::|\bcuda::|\b_GLOBAL__N__\w+::", "", name)
        name = re.sub(r"\((?:int|bool|unsigned int|long)\)", "", name)
        names.append(re.sub(r"^void ", "", name))
    return names


def architectures_of(source):
    return ["sm_90a"] if source.name.endswith(ONLY_HOPPER) else list(ARCHITECTURES)


def key_of(source, release):
    """What a file's rows were made from, over all architectures."""
    return "-".join(digest_of(source, architecture, kernel_options(), release)[:12] for architecture in architectures_of(source))


def to_compile(files, table, release, share):
    """The files that changed since the table was made, and a share of the others."""
    changed = [path for path in files if table.get("sources", {}).get(str(path.relative_to(ROOT / "kernels"))) != key_of(path, release)]
    same = [path for path in files if path not in changed]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip()
    drawn = random.Random(commit).sample(same, math.ceil(share * len(same)))
    return sorted(changed + drawn)


def compile_all(files, options, release):
    cache = pathlib.Path(options.cache)
    cache.mkdir(parents=True, exist_ok=True)
    work = [(source, architecture) for source in files for architecture in architectures_of(source)]
    rows = {}
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        compiled = list(pool.map(lambda one: compile_one(*one, kernel_options(), options.nvcc, release, cache), work))
    for (source, architecture), kernels in zip(work, compiled):
        for name, numbers in zip(readable(list(kernels)), kernels.values()):
            row = rows.setdefault(f"{source.relative_to(ROOT / 'kernels')}: {name}", {"threads": numbers["threads"]})
            if architecture in row:
                fail(f"{source.relative_to(ROOT)} has two kernels that read {name}; give them different names")
            row[architecture] = {key: numbers[key] for key in ("registers", "shared", "stack", "spills", "instructions") if key in numbers}
    return dict(sorted(rows.items()))


def spilling(rows):
    """Sentences about kernels that spill or use local memory and may not."""
    found = []
    for name, row in rows.items():
        for architecture in ARCHITECTURES:
            numbers = row.get(architecture, {"spills": 0, "stack": 0})
            if (numbers["spills"] or numbers["stack"]) and not any(re.search(pattern, name) for pattern in EXCEPTIONS):
                found.append(f"{name}, {architecture}: {numbers['spills']} bytes spilled, {numbers['stack']} bytes of local memory")
    return found


def read_counts(folder):
    """What the host runs of the kernels counted, added up over the processes: {launch name: ...}."""
    sources = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("kernels/*/*.cu"))
    total = {}
    files = sorted(pathlib.Path(folder).glob("*.json"))
    if not files:
        fail(f"{folder} holds no counts; run test_kernels of a HOST build with KOINE_KERNEL_COUNTS={folder}")
    for path in files:
        for one in json.loads(path.read_text(encoding="utf-8")):
            if f'"{one["kernel"]}"' not in sources:  # a kernel of a test
                continue
            kernel = total.setdefault(one["kernel"], {"launches": 0, "threads": 0, "largest_block": 0, "shared": 0})
            kernel["launches"] += one["launches"]
            kernel["threads"] += one["threads"]
            kernel["largest_block"] = max(kernel["largest_block"], one["largest_block"])
            kernel["shared"] = max(kernel["shared"], one["largest_shared_bytes"])
    return total


def blocks_by_registers(registers, threads):
    """Blocks of a multiprocessor that registers and threads allow."""
    warps = -(-threads // 32)
    by_registers = REGISTERS_OF_A_MULTIPROCESSOR // (-(-max(registers, 1) * 32 // 256) * 256)
    return min(by_registers, WARPS_OF_A_MULTIPROCESSOR) // warps


def document(table):
    lines = ["# What each CUDA kernel takes of a multiprocessor", "",
             f"Written by `python3 tools/gpu/compile_kernels.py` (nvcc {table['nvcc']}); `--check` compares it with what the kernels compile to.",
             "Threads of a block as the kernel declares them, registers of a thread, and the blocks of a multiprocessor that registers and threads",
             "alone would allow. No kernel has static shared memory, spills or local memory but where a row says so.", "",
             "| kernel | threads | registers 8.0 | registers 9.0a | blocks 8.0 | blocks 9.0a | remarks |", "|---|---|---|---|---|---|---|"]
    for name, row in table["kernels"].items():
        cells = [f"`{name}`", str(row["threads"] or "")]
        numbers = [row.get(architecture) for architecture in ARCHITECTURES]
        cells += [str(one["registers"]) if one else "" for one in numbers]
        cells += [str(blocks_by_registers(one["registers"], row["threads"])) if one and row["threads"] else "" for one in numbers]
        remarks = [f"{word} {one[key]} bytes ({architecture})" for architecture, one in zip(ARCHITECTURES, numbers) if one
                   for key, word in (("shared", "static shared memory"), ("stack", "local memory"), ("spills", "spills")) if one[key]]
        remarks += [reason for pattern, reason in EXCEPTIONS.items() if re.search(pattern, name)]
        lines.append("| " + " | ".join(cells + ["; ".join(remarks)]) + " |")
    hopper = {name: row["sm_90a"]["instructions"] for name, row in table["kernels"].items() if "instructions" in row.get("sm_90a", {})}
    if hopper:
        lines += ["", "Instructions of the kernels for 9.0a alone: all, those of wgmma and of tensor copies. None reaches local memory.", "",
                  "| kernel | instructions | HGMMA | UTMALDG |", "|---|---|---|---|"]
        lines += [f"| `{name}` | {counts['all']} | {counts['HGMMA']} | {counts['UTMALDG']} |" for name, counts in hopper.items()]
    if table.get("launches"):
        lines += ["", "Largest block and dynamic shared memory of each launch over the operation suite, run by the host implementation:", "",
                  "| launch | threads | bytes of shared memory |", "|---|---|---|"]
        lines += [f"| `{name}` | {one['largest_block']} | {one['shared']} |" for name, one in table["launches"].items()]
    return "\n".join(lines) + "\n"


def one_row_a_line(table):
    def rows(part):
        return ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in table.get(part, {}).items())

    return f'{{\n "nvcc": {json.dumps(table["nvcc"])},\n "sources": {{\n{rows("sources")}\n }},\n "kernels": {{\n{rows("kernels")}\n }},\n "launches": {{\n{rows("launches")}\n }}\n}}\n'


def differences(committed, found, same_release):
    told = []
    for name in sorted(committed.keys() | found.keys()):
        before, after = committed.get(name), found.get(name)
        if before is None or after is None:
            told.append(f"{'new' if before is None else 'gone'}: {name}")
        elif before != after and same_release:
            told.append(f"changed: {name}\n    table: {json.dumps(before)}\n    now:   {json.dumps(after)}")
    return told


PLANTED = """extern "C" __global__ void planted(float* to, const int* places) {
  float local[64];
  for (int i = 0; i < 64; ++i) local[places[i] & 63] = to[i];
  for (int i = 0; i < 64; ++i) to[i] = local[places[i + 64] & 63];
}
"""


def self_test(options):
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, f"planted{ONLY_HOPPER}")
        source.write_text(PLANTED, encoding="utf-8")
        kernels = compile_one(source, "sm_90a", kernel_options(), options.nvcc, nvcc_release(options.nvcc), pathlib.Path(folder))
        rows = {f"planted: {name}": {"sm_90a": numbers} for name, numbers in kernels.items()}
        found = lacking(rows)
        wanted = ["no HGMMA", "no UTMALDG", " LDL", " STL"]
        missed = [words for words in wanted if not any(sentence.endswith(words) for sentence in found)]
        if missed or not spilling(rows):
            fail(f"a planted kernel is not refused for {missed}: {found}")
    print("a kernel without what kernels for 9.0a are for is refused: " + "; ".join(found))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--documents", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--counts", metavar="DIR")
    parser.add_argument("--only", default="")
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--cache", default=str(ROOT / "build-resources"))
    return parser.parse_args()


def main():
    options = parse()
    if options.self_test:
        self_test(options)
        return 0
    table = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {"nvcc": "", "kernels": {}, "launches": {}}
    new = dict(table)
    told = []
    if not options.documents:
        files = [path for path in sorted(ROOT.glob("kernels/*/*.cu")) if re.search(options.only, str(path.relative_to(ROOT)))]
        release = nvcc_release(options.nvcc)
        present = {str(path.relative_to(ROOT / "kernels")) for path in ROOT.glob("kernels/*/*.cu")}
        as_before = len(files)
        if options.check and options.share < 1:
            files = to_compile(files, table, release, options.share)
        as_before -= len(files)
        chosen = {str(path.relative_to(ROOT / "kernels")) for path in files}
        rows = compile_all(files, options, release)
        probes = [path for path in sorted(ROOT.glob(f"tests/kernels/*{ONLY_HOPPER}")) if re.search(options.only, str(path.relative_to(ROOT)))]
        for probe in probes:  # no rows: they are not shipped
            compile_one(probe, "sm_90a", kernel_options(), options.nvcc, release, pathlib.Path(options.cache))
        bad = spilling(rows)
        if bad:
            fail("spills or local memory, and not among the EXCEPTIONS:\n  " + "\n  ".join(bad))
        bad = lacking(rows)
        if bad:
            fail("kernels for 9.0a without what they are for, and not among WITHOUT:\n  " + "\n  ".join(bad))
        kept = {name: row for name, row in table["kernels"].items()
                if name.split(":")[0] not in chosen and ((options.only or as_before) and name.split(":")[0] in present)}
        new["nvcc"] = release
        new["sources"] = {name: key for name, key in table.get("sources", {}).items() if name in present}
        new["sources"] |= {str(path.relative_to(ROOT / "kernels")): key_of(path, release) for path in files}
        new["sources"] = dict(sorted(new["sources"].items()))
        new["kernels"] = dict(sorted({**kept, **rows}.items()))
        told += differences(table["kernels"], new["kernels"], table["nvcc"] == release)
        print(f"{len(files)} files, {len(rows)} kernels compiled by nvcc {release}: no spills"
              + (f"; the sources of {as_before} others are those of the table" if as_before else ""))
    if options.counts:
        counts = read_counts(options.counts)
        new["launches"] = {name: {"largest_block": one["largest_block"], "shared": one["shared"]} for name, one in sorted(counts.items())}
        told += differences(table.get("launches", {}), new["launches"], True)
        print(f"host run: {len(counts)} kernels, {sum(one['launches'] for one in counts.values())} launches, "
              f"{sum(one['threads'] for one in counts.values())} threads")
    if options.check:
        if not DOCUMENT.exists() or DOCUMENT.read_text(encoding="utf-8") != document(table):
            told.append("docs/cuda-resources.md is not what the table gives")
        if told:
            print("\n".join(told), file=sys.stderr)
            print("the table of resources is not up to date: python3 tools/gpu/compile_kernels.py, and look at the differences", file=sys.stderr)
        return 1 if told else 0
    TABLE.write_text(one_row_a_line(new), encoding="utf-8")
    DOCUMENT.write_text(document(new), encoding="utf-8")
    print(f"{len(told)} differences written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
