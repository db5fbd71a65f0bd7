#!/usr/bin/env python3
"""Whether models that koine saves open with transformers' AutoTokenizer, and the other way round.

    python3 bench/peers/transformers_tokenizer.py --koine build/koine --sentencepiece sentencepiece.bpe.model
        --golden golden_text.jsonl golden_edge.jsonl [--text FILE...] [--output bench/results/cpu/tokenizer.txt]

Needs transformers 5 and tokenizers; neither sentencepiece nor protobuf may be installed, for a saved model must not want them.

koine makes a small XLM-R with the whole vocabulary and saves it. Of that model, of its trimmed vocabulary and of what transformers
saves of it (a directory without a SentencePiece file) it is checked that nothing warns, that ids are koine's and the golden
ones, that pairs are framed as XLM-R's are, and that a long text is cut at model_max_length. Exit code 1 where a check fails.

Golden rows: {"text", "ids": SentencePiece's}. Two kinds of difference are told and are no failure: texts with "<s>" and the like, which
are special tokens for transformers, and segmentations with the same pieces in another order, whose scores are equal.
"""
import argparse
import contextlib
import importlib.util
import io
import json
import logging
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

SPECIAL = ("<s>", "</s>", "<pad>", "<unk>", "<mask>")
EXPERIMENT = """
name = "small"
precision = "fp32"
[model]
hidden_size = 8
num_hidden_layers = 1
num_attention_heads = 1
intermediate_size = 8
max_position_embeddings = 514
[tokenizer]
path = "{sentencepiece}"
[pretraining]
files = ["text/en.txt"]
max_steps = 1
per_device_train_batch_size = 2
max_seq_length = 16
[[target]]
task = "tatoeba"
"""


class Checks:
    def __init__(self, output):
        self.output, self.failed = output, 0

    def say(self, text):
        print(text)
        if self.output:
            self.output.write(text + "\n")

    def check(self, ok, text):
        self.failed += not ok
        self.say(("ok      " if ok else "FAILED  ") + text)


def run_koine(koine, *arguments, text=None):
    run = subprocess.run([koine, *map(str, arguments)], input=text, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit("koine %s: %s" % (arguments[0], run.stderr))
    return run.stdout


def koine_ids(koine, model, texts):
    """Framed ids; texts with line ends or other separators of lines are koine's business one by one."""
    out = run_koine(koine, "tokenize", "--model", model, "--special-tokens", "--input", "-", text="\n".join(texts) + "\n")
    return [[int(id) for id in line.split()] for line in out.split("\n")[:-1]]


def open_tokenizer(folder):
    """The tokenizer and all that transformers, Python's warnings and the streams said."""
    from transformers import AutoTokenizer
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    library = logging.getLogger("transformers")
    library.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            warnings.simplefilter("always")
            tokenizer = AutoTokenizer.from_pretrained(folder)
    finally:
        library.removeHandler(handler)
    return tokenizer, said.getvalue() + "".join(str(warning.message) for warning in caught)


def compare(checks, what, texts, expected, given):
    marked = [i for i, text in enumerate(texts) if any(name in text for name in SPECIAL)]
    differing = [i for i in range(len(texts)) if expected[i] != given[i] and i not in set(marked)]
    tied = [i for i in differing if sorted(expected[i]) == sorted(given[i])]
    others = [i for i in differing if i not in set(tied)]
    checks.check(len(others) * 10000 <= len(texts),
                 "%s: %d texts, %d with other ids (%d more with the same score in another order; %d have special tokens in "
                 "their text)" % (what, len(texts), len(others), len(tied), len(marked)))
    for i in others:
        checks.say("            " + ascii(texts[i][:70]))


def check_folder(checks, arguments, what, folder, texts, long_tokens=None):
    tokenizer, said = open_tokenizer(folder)
    checks.check(said.strip() == "", "%s: opens without a word (%s)" % (what, type(tokenizer).__name__))
    if said.strip():
        checks.say("            " + said.strip()[:300])
    checks.check(tokenizer.model_max_length == 512, "%s: model_max_length is %d" % (what, tokenizer.model_max_length))
    long = "a b " * 350
    cut = tokenizer(long, truncation=True)["input_ids"]
    whole = len(koine_ids(arguments.koine, folder, [long])[0])
    checks.check(len(cut) == 512 and whole > 512 and whole == (long_tokens or whole), "%s: %d tokens are cut to %d" % (what, whole, len(cut)))
    one, other = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("Hello World!", "a b"))
    checks.check(tokenizer("Hello World!", "a b")["input_ids"] == [0, *one, 2, 2, *other, 2], what + ": <s> a </s></s> b </s>")
    checks.check(tokenizer.mask_token_id == len(tokenizer) - 1 and tokenizer.pad_token_id == 1, what + ": <mask> is last, <pad> 1")
    compare(checks, what + ": koine's ids", texts, koine_ids(arguments.koine, folder, texts),
            [tokenizer(text)["input_ids"] for text in texts])
    return tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--koine", default="build/koine")
    parser.add_argument("--sentencepiece", required=True, help="XLM-R's sentencepiece.bpe.model")
    parser.add_argument("--golden", nargs="+", required=True)
    parser.add_argument("--text", nargs="*", default=[], help="more text, a line each")
    parser.add_argument("--output")
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    import tokenizers
    import transformers
    checks = Checks(open(arguments.output, "w", encoding="utf-8") if arguments.output else None)
    checks.say("transformers %s, tokenizers %s" % (transformers.__version__, tokenizers.__version__))
    for name in ("sentencepiece", "google.protobuf"):
        try:
            absent = importlib.util.find_spec(name) is None
        except ModuleNotFoundError:
            absent = True
        checks.check(absent, name + " is not installed")

    rows = [json.loads(line) for path in arguments.golden for line in open(path, encoding="utf-8")]
    rows = [row for row in rows if not any(end in row["text"] for end in "\n\r")]
    golden = [row["text"] for row in rows]
    expected = [[0, *(3 if id == 0 else id + 1 for id in row["ids"]), 2] for row in rows]
    texts = golden + [line for path in arguments.text for line in open(path, encoding="utf-8").read().split("\n") if line]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for path, text in (("data/text/en.txt", "a river\n" * 40), ("data/tatoeba/v1/tatoeba.deu-eng.deu", "ein Fluss\n"),
                           ("data/tatoeba/v1/tatoeba.deu-eng.eng", "a river\n")):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        (folder / "small.toml").write_text(EXPERIMENT.format(sentencepiece=pathlib.Path(arguments.sentencepiece).resolve()))
        run_koine(arguments.koine, "run", folder / "small.toml", "--data", folder / "data", "--output", folder / "run", "--quiet")
        saved = next((folder / "run").glob("**/model/config.json")).parent
        tokenizer = check_folder(checks, arguments, "saved by koine", saved, texts, long_tokens=702)
        compare(checks, "saved by koine: the golden ids", golden, expected, [tokenizer(text)["input_ids"] for text in golden])

        again = folder / "again"
        tokenizer.save_pretrained(again)
        (again / "config.json").write_text((saved / "config.json").read_text())
        checks.check(not (again / "sentencepiece.bpe.model").exists(), "saved by transformers: no SentencePiece file")
        compare(checks, "saved by transformers, read by koine: the golden ids", golden, expected,
                koine_ids(arguments.koine, again, golden))

        (folder / "few.txt").write_text("\n".join(golden[:100]))
        run_koine(arguments.koine, "trim-vocabulary", "--model", saved, "--text", folder / "few.txt", "--output", folder / "trimmed")
        check_folder(checks, arguments, "trimmed by koine", folder / "trimmed", golden[:100])
    checks.say("failed: %d" % checks.failed)
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
