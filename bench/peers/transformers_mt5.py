#!/usr/bin/env python3
"""Whether an mT5 that koine saved opens in transformers as the same model: the same states of the encoder, answers and log-probabilities.

    python3 bench/peers/transformers_mt5.py --koine build/koine --model runs/demo-mt5/pretraining/model --text runs/demo-mt5/data/mlm/en.dev.txt

Needs torch, transformers and sentencepiece. Of each line of the text (the first --lines): the mean of the encoder's last hidden state
(`koine encode`), the greedy answer (`koine generate`) and the sum of its tokens' log-probabilities, which are formed anew from the logits of
transformers' model when it reads the answer as a whole. Both in fp32. Exit code 1 where a key is missing or left over, more than one answer in a
hundred differs, or a figure differs by more than 1e-5: of a state relative to the largest number of its line, of a sum by token. (Where two tokens are as
likely but for the last bits, either may be written.)
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import sentencepiece
import torch
import transformers

TOLERANCE = 1e-5  # "Greedy and beam outputs equal, scores within 1e-5": fp32 in another order of sums
START, END = 0, 1


def run_koine(koine, *arguments):
    run = subprocess.run([koine, *map(str, arguments), "--precision", "fp32", "--threads", "1", "--quiet"], capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"koine {arguments[0]}: {run.stderr}")
    return run.stdout


def log_probability(model, ids, answer):
    """Of all of an answer's tokens together, from the logits of one pass."""
    decoder = torch.tensor([[START, *answer[:-1]]])
    logits = model(input_ids=torch.tensor([ids]), decoder_input_ids=decoder).logits[0].double()
    return torch.log_softmax(logits, -1)[torch.arange(len(answer)), answer].sum().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--koine", default="build/koine")
    parser.add_argument("--model", required=True, type=pathlib.Path)
    parser.add_argument("--text", required=True, type=pathlib.Path)
    parser.add_argument("--lines", type=int, default=200)
    parser.add_argument("--max-length", type=int, default=24)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, loaded = transformers.AutoModelForSeq2SeqLM.from_pretrained(options.model, dtype=torch.float32, output_loading_info=True)
    model.eval()
    left = {kind: sorted(keys) for kind, keys in loaded.items() if keys}
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(options.model / "spiece.model"))
    texts = options.text.read_text(encoding="utf-8").splitlines()[:options.lines]
    with tempfile.TemporaryDirectory() as folder:
        lines, vectors = pathlib.Path(folder) / "lines.jsonl", pathlib.Path(folder) / "vectors.npy"
        plain = pathlib.Path(folder) / "lines.txt"
        lines.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        plain.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
        written = run_koine(options.koine, "generate", "--model", options.model, "--input", lines, "--max-length", options.max_length, "--length-penalty", 0)
        run_koine(options.koine, "encode", "--model", options.model, "--input", plain, "--output", vectors)
        answers, states = [json.loads(line) for line in written.splitlines()], np.load(vectors)

    same, worst_state, worst_sum, tokens = 0, 0.0, 0.0, 0
    with torch.no_grad():
        for text, answer, state in zip(texts, answers, states, strict=True):
            ids = pieces.encode(text) + [END]
            expected = model.get_encoder()(input_ids=torch.tensor([ids])).last_hidden_state[0].mean(0).numpy()
            worst_state = max(worst_state, np.abs(state - expected).max() / np.abs(expected).max())
            made = model.generate(torch.tensor([ids]), max_new_tokens=options.max_length, do_sample=False, num_beams=1)[0].tolist()[1:]
            if pieces.decode([id for id in made if id != END]) != answer["answer"]:
                continue
            same, tokens = same + 1, tokens + len(made)
            worst_sum = max(worst_sum, abs(log_probability(model, ids, made) - answer["score"]) / len(made))
    print(f"transformers {transformers.__version__}, torch {torch.__version__}: {type(model).__name__}, "
          f"{'all keys' if not left else left}; {same} of {len(texts)} greedy answers equal ({tokens} tokens); largest difference of a mean state of the encoder "
          f"{worst_state:.1e} of the largest number, of a log-probability {worst_sum:.1e} a token")
    return 1 if left or same < 0.99 * len(texts) or max(worst_state, worst_sum) > TOLERANCE else 0


if __name__ == "__main__":
    sys.exit(main())
