#!/usr/bin/env python3
"""Fine-tunes an XLM-R-shaped encoder on MNLI with `transformers` and evaluates it on XNLI: the other side of race_finetune.py.

    python3 bench/peers/transformers_finetune.py --model DIR --tokenizer tokenizer.json --mnli multinli_1.0_train.txt --xnli xnli.test.tsv
        --examples 2000 --epochs 2 --batch 16 --learning-rate 1e-4 --seed 1 --languages en,de --eval-examples 500

The usual loop: AdamW (multi-tensor), linear schedule with a tenth of warm-up, gradients clipped at norm 1, dropout as the model's configuration says,
attention "sdpa", batches padded to their longest pair; evaluation in batches of 64 by length. One JSON object on standard output.
"""
import argparse
import contextlib
import csv
import json
import random
import time

import torch
import transformers

LABELS = {"entailment": 0, "neutral": 1, "contradiction": 2}


def read_mnli(path, count):
    rows = []
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["gold_label"] in LABELS:
                rows.append((row["sentence1"], row["sentence2"], LABELS[row["gold_label"]]))
            if len(rows) == count:
                break
    return rows


def read_xnli(path, languages, count):
    rows = {language: [] for language in languages}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            of_language = rows.get(row["language"])
            if of_language is not None and len(of_language) < count:
                of_language.append((row["sentence1"], row["sentence2"], LABELS[row["gold_label"]]))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "tokenizer", "mnli", "xnli", "languages"):
        parser.add_argument("--" + name, required=True)
    for name, default in (("examples", 2000), ("epochs", 2), ("batch", 16), ("seed", 1), ("eval-examples", 500), ("threads", 2), ("max-length", 128)):
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16 is torch.autocast")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=options.tokenizer, pad_token="<pad>", cls_token="<s>", sep_token="</s>",
                                                     unk_token="<unk>", mask_token="<mask>", model_max_length=512)
    model = transformers.XLMRobertaForSequenceClassification.from_pretrained(options.model, num_labels=3, attn_implementation="sdpa")
    autocast = lambda: torch.autocast("cpu", dtype=torch.bfloat16) if options.precision == "bf16" else contextlib.nullcontext()

    def encode(rows):
        pairs = [tokenizer(a, b, truncation="longest_first", max_length=options.max_length)["input_ids"] for a, b, _ in rows]
        return list(zip(pairs, [label for _, _, label in rows]))

    def batch_of(examples):
        width = max(len(ids) for ids, _ in examples)
        ids = torch.tensor([ids + [1] * (width - len(ids)) for ids, _ in examples])
        return {"input_ids": ids, "attention_mask": (ids != 1).long(), "labels": torch.tensor([label for _, label in examples])}

    examples = encode(read_mnli(options.mnli, options.examples))
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}], lr=options.learning_rate,
                                  betas=(0.9, 0.999), eps=1e-8, foreach=True)
    steps = options.epochs * -(-len(examples) // options.batch)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, -(-steps // 10), steps)
    order = random.Random(options.seed)
    model.train()
    begin = time.perf_counter()
    losses = []
    for _ in range(options.epochs):
        shuffled = order.sample(examples, len(examples))
        for first in range(0, len(shuffled), options.batch):
            with autocast():
                loss = model(**batch_of(shuffled[first:first + options.batch])).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    trained = time.perf_counter()
    model.eval()
    accuracy = {}
    for language, rows in read_xnli(options.xnli, options.languages.split(","), options.eval_examples).items():
        test = sorted(encode(rows), key=lambda example: len(example[0]))
        right = 0
        for first in range(0, len(test), 64):
            with torch.inference_mode(), autocast():
                batch = batch_of(test[first:first + 64])
                right += int((model(**batch).logits.argmax(-1) == batch["labels"]).sum())
        accuracy[language] = 100 * right / len(test)
    print(json.dumps({"seed": options.seed, "steps": steps, "train_seconds": trained - begin, "evaluate_seconds": time.perf_counter() - trained,
                      "last_losses": sum(losses[-20:]) / len(losses[-20:]), "accuracy": accuracy, "torch": torch.__version__,
                      "transformers": transformers.__version__}))


if __name__ == "__main__":
    main()
