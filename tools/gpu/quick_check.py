#!/usr/bin/env python3
"""Tries `tools/gpu/check.sh quick` where there is no GPU: a dry run of every step, and what is left of runs that go wrong.

    python3 tools/gpu/quick_check.py BUILD        BUILD: programs of a KOINE_CUDA=HOST build; exit code 1 with a line where something is not so
"""
import os
import pathlib
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

SCRIPT = pathlib.Path(__file__).resolve().parent / "check.sh"
MOST_FILES = 8


def expect(holds, what, *said):
    if not holds:
        raise SystemExit("\n".join([f"check.sh quick: {what}", *map(str, said)]))


def start(out, build, *arguments):
    environment = dict(os.environ, TMPDIR=str(out.parent))
    return subprocess.Popen(["bash", str(SCRIPT), "quick", str(out), "--build", str(build), "--host", *arguments], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, env=environment)


def left(out, call=1):
    """{step: verdict} and the archive's files with their sizes."""
    files = list(out.iterdir())
    expect(0 < len(files) <= MOST_FILES, "the result is a few files", *files)
    verdicts = dict(line.split("\t")[:2] for line in (out / f"steps-{call}.tsv").read_text().splitlines())
    with tarfile.open(out / f"quick-{call}.tar.gz") as archive:
        members = {member.name.removeprefix(f"quick-{call}/"): member.size for member in archive.getmembers() if member.isfile()}
    expect("steps.tsv" in members, "verdicts are in the archive", *members)
    return verdicts, members


def write_program(path, text):
    path.write_text("#!/usr/bin/env bash\n" + text)
    path.chmod(0o755)


def dry_run(folder, build):
    run = start(folder / "dry", build)
    text, _ = run.communicate(timeout=300)
    verdicts, members = left(folder / "dry")
    expect(run.returncode == 0, f"a dry run gives exit code {run.returncode}", text)
    wanted = {"ceilings", "primitives", "kernels", "operations", "step", "step_vendor", "step_sm90", "step_encode", "models", "sanitize", "lengths"}
    expect(set(verdicts) == wanted, "steps that did not run", sorted(wanted ^ set(verdicts)))
    expect(all(verdict == ("skipped" if step == "sanitize" else "passed") for step, verdict in verdicts.items()), "verdicts", verdicts, text)
    for name in ("machine.json", "ceilings/ceilings.json", "kernels/suites.tsv", "operations/operations.json", "step/output.txt"):
        expect(members.get(name, 0) > 0, f"{name} is not in the archive or empty", *members)
    run = start(folder / "second", build, "--second", "ncu")
    run.communicate(timeout=60)
    expect(left(folder / "second", 2)[0] == {"ncu": "skipped"}, "the second call")


def failures(folder):
    """Programs that fail or never end, in place of the real ones."""
    build = folder / "programs"
    build.mkdir()
    write_program(build / "bench_operations", "echo '{}' > \"${@: -1}\" 2> /dev/null; exit 0\n")
    write_program(build / "bench_step", "case \"$*\" in *encode*) trap '' TERM; sleep 15 ;; *) echo broken; exit 3 ;; esac\n")
    write_program(build / "test_kernels", "exit 0\n")

    run = start(folder / "failed", build, "primitives", "step", "lengths")
    text, _ = run.communicate(timeout=60)
    verdicts, members = left(folder / "failed")
    expect(run.returncode == 1, f"a step failed, and the exit code is {run.returncode}", text)
    expect(verdicts == {"primitives": "passed", "step": "failed (3)", "lengths": "failed (1)"}, "a failed step stops no other", verdicts)
    expect(members.get("step/output.txt", 0) > 0, "what a failed step said is lost", *members)

    run = start(folder / "slow", build, "--seconds", "3", "primitives", "step_encode", "lengths")
    text, _ = run.communicate(timeout=60)
    verdicts, _ = left(folder / "slow")
    expect(verdicts["step_encode"].startswith("ran past") and verdicts["lengths"].startswith("not begun"), "seconds are not kept", verdicts, text)

    run = start(folder / "stopped", build, "primitives", "step_encode")
    while "primitives" not in read(folder / "stopped" / "steps-1.tsv"):
        time.sleep(0.05)
    time.sleep(0.3)
    run.send_signal(signal.SIGTERM)
    run.wait(timeout=30)
    verdicts, members = left(folder / "stopped")
    expect(verdicts == {"primitives": "passed", "step_encode": "stopped with the whole"} and "primitives/output.txt" in members,
           "a stopped run keeps what it had", verdicts, members)

    run = start(folder / "killed", build, "primitives", "step_encode")
    while not (folder / "killed" / "quick-1.tar.gz").exists():
        time.sleep(0.05)
    run.kill()
    run.wait(timeout=30)
    expect(left(folder / "killed")[0]["primitives"] == "passed", "a killed run keeps the steps before")


def read(path):
    return path.read_text() if path.exists() else ""


def main():
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        failures(pathlib.Path(folder))
        dry_run(pathlib.Path(folder), pathlib.Path(sys.argv[1]).resolve())
    print("a dry run of every step; failed, slow, stopped and killed runs leave what they had")


if __name__ == "__main__":
    main()
