#!/usr/bin/env python3
"""Writes tests/fixtures/{xlm_roberta,xlm_roberta_xl,bert,xlm_roberta_deep}/<head>: what `transformers` computes, for the parity tests.

Needs `torch` and `transformers` (any recent ones); the versions used are in each fixture's metadata. Attention "eager", dropout 0,
everything computed in double precision from fp32 weights and rounded to fp32 at the end.

    python3 tools/make_fixtures.py [--output DIRECTORY] [FAMILY ...]
    python3 tools/make_fixtures.py --output DIRECTORY --layers 6 --hidden 256 --heads 4 --intermediate 1024 --vocabulary 300 --longest 128 xlm_roberta

The options give a family another shape; KOINE_FIXTURES=DIRECTORY lets the parity test run on it, too. One folder per head: config.json and
model.safetensors as save_pretrained writes them, and fixture.safetensors with packed batches (sequence after sequence, no padding):
batch.K.{ids,lengths,labels} for K = 0..19; hidden.I, hidden.last, logits, loss and grad.<name> of batch 0; train.losses and train.grad_norms of 20
AdamW steps on batches 0..19 and trained.<name>, the weights afterwards.

The metadata's `peers.fp32` and `peers.bf16` hold what PyTorch itself, in fp32 and under autocast to bf16, is away from that double precision: of
each kind that the parity test bounds the larger error of its two ways of attention ("eager", "sdpa"), measured as the test measures ours.
"""
import argparse
import contextlib
import json
import math
import pathlib

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

STEPS = 20
VOCABULARY = 50
POSITIONS = 40
LENGTHS = [[1, 7, 13, 2, 30, 5], [11, 3, 38, 16, 4, 9], [2, 2, 17, 25, 6, 1]]
LONGEST = 38  # of these
ZERO_GRADIENT = 1e-10  # of the whole gradient: as tests/parity/parity_test.cpp has it
IGNORED = -100

FAMILIES = {
    "xlm_roberta": ("XLMRoberta", dict(hidden_size=32, num_attention_heads=2, max_position_embeddings=POSITIONS, layer_norm_eps=1e-5,
                                       type_vocab_size=1)),
    "xlm_roberta_xl": ("XLMRobertaXL", dict(hidden_size=36, num_attention_heads=3, max_position_embeddings=POSITIONS, layer_norm_eps=1e-5,
                                            type_vocab_size=1)),
    # Positions from row 0; its classifier is on the pooler's output as it is.
    "bert": ("Bert", dict(hidden_size=32, num_attention_heads=2, max_position_embeddings=POSITIONS - 2, layer_norm_eps=1e-12, type_vocab_size=2)),
    # Three layers, three heads, longer sequences.
    "xlm_roberta_deep": ("XLMRoberta", dict(hidden_size=96, num_attention_heads=3, max_position_embeddings=64, layer_norm_eps=1e-5,
                                            type_vocab_size=1, num_hidden_layers=3, intermediate_size=128)),
}
DEEP = "xlm_roberta_deep"
LONGEST_OF_DEEP = 61
HEADS = {
    "masked_lm": ("ForMaskedLM", 2),
    "sequence": ("ForSequenceClassification", 2),
    "sequence_pooled": ("ForSequenceClassification", 1),
    "token": ("ForTokenClassification", 1),
    "span": ("ForQuestionAnswering", 1),
    "choice": ("ForMultipleChoice", 1),
}
LABELS = {"sequence": 3, "sequence_pooled": 3, "token": 5}


class Pooled(torch.nn.Module):
    """The classifier on the pooler's output, as jiant has it."""

    def __init__(self, classifier):
        super().__init__()
        self.dense = classifier.dense
        self.out_proj = classifier.out_proj

    def forward(self, pooled):
        return self.out_proj(torch.tanh(self.dense(pooled)))


def make_model(family, head, seed, options):
    prefix, shape = FAMILIES[family]
    suffix, layers = HEADS[head]
    shape = dict(num_hidden_layers=layers, intermediate_size=60, vocab_size=options.vocabulary) | shape
    if options.longest > LONGEST:
        shape["max_position_embeddings"] = max(shape["max_position_embeddings"], options.longest + 3)
    given = dict(num_hidden_layers=options.layers, hidden_size=options.hidden, num_attention_heads=options.heads,
                 intermediate_size=options.intermediate)
    shape |= {key: value for key, value in given.items() if value is not None}
    torch.manual_seed(seed)
    config = getattr(transformers, prefix + "Config")(
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, classifier_dropout=0.0,
        bos_token_id=0, pad_token_id=1, eos_token_id=2, num_labels=LABELS.get(head, 1 if head == "choice" else 2), **shape)
    config._attn_implementation = "eager"
    model = getattr(transformers, prefix + suffix)(config)
    if head == "sequence_pooled":
        base = getattr(transformers, prefix + "Model")(config, add_pooling_layer=True)
        model.roberta = base
        model.classifier = Pooled(model.classifier)
    with torch.no_grad():  # Far from the uniform predictions of a fresh model, whose gradients cancel and are mostly rounding.
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        model.base_model.embeddings.word_embeddings.weight[1].zero_()
        if family != "bert":
            model.base_model.embeddings.position_embeddings.weight[1].zero_()
    return model.float()


def make_batch(head, step, generator, vocabulary, longest):
    lengths = [math.ceil(n * longest / LONGEST) for n in LENGTHS[step % len(LENGTHS)]]
    ids = [[0] + generator.integers(3, vocabulary, size=n - 1).tolist() for n in lengths]
    if head in ("sequence", "sequence_pooled"):
        labels = generator.integers(0, 3, size=len(lengths))
    elif head == "token":
        labels = generator.integers(0, 5, size=sum(lengths))
        labels[generator.random(len(labels)) < 0.3] = IGNORED
    elif head == "masked_lm":
        labels = generator.integers(0, vocabulary, size=sum(lengths))
        labels[generator.random(len(labels)) < 0.7] = IGNORED
    elif head == "span":
        labels = np.stack([[generator.integers(0, n) for n in lengths], [generator.integers(0, n) for n in lengths]])
    else:
        labels = generator.integers(0, 2, size=len(lengths) // 2)
    return ids, lengths, np.asarray(labels, dtype=np.int32)


def forward(model, head, ids, lengths, labels):
    """(loss, packed logits, packed hidden states): padded for transformers, packed again."""
    width = max(lengths)
    padded = torch.tensor([row + [1] * (width - len(row)) for row in ids])
    mask = torch.tensor([[1] * n + [0] * (width - n) for n in lengths])
    labels = torch.as_tensor(labels, dtype=torch.long)
    output = model.base_model(padded, attention_mask=mask, output_hidden_states=True)
    packed = lambda values: torch.cat([values[i, :n] for i, n in enumerate(lengths)])
    sequence = output.last_hidden_state
    cross_entropy = torch.nn.functional.cross_entropy
    if head == "masked_lm":
        logits = (model.cls if hasattr(model, "cls") else model.lm_head)(packed(sequence))
        loss = cross_entropy(logits, labels, ignore_index=IGNORED)
    elif head == "sequence":
        logits = model.classifier(output.pooler_output if model.config.model_type == "bert" else sequence)
        loss = cross_entropy(logits, labels)
    elif head == "sequence_pooled":
        logits = model.classifier(output.pooler_output)
        loss = cross_entropy(logits, labels)
    elif head == "token":
        logits = model.classifier(packed(sequence))
        loss = cross_entropy(logits, labels, ignore_index=IGNORED)
    elif head == "span":
        logits = model.qa_outputs(packed(sequence))
        parts = torch.split(logits, lengths)
        starts = torch.stack([cross_entropy(p[None, :, 0], labels[0, i][None]) for i, p in enumerate(parts)]).mean()
        ends = torch.stack([cross_entropy(p[None, :, 1], labels[1, i][None]) for i, p in enumerate(parts)]).mean()
        loss = (starts + ends) / 2
    else:
        logits = model.classifier(output.pooler_output).view(-1, 2)
        loss = cross_entropy(logits, labels)
    return loss, logits, [packed(h) for h in output.hidden_states] + [packed(sequence)]


# The masked-language head's decoder is the word embeddings; a checkpoint has it once, under the first name.
TIED = {"lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight", "lm_head.decoder.bias": "lm_head.bias",
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias"}


def named_parameters(model):
    return [(TIED.get(name, name), p) for name, p in model.named_parameters() if p.requires_grad]


def train(model, head, batches, context=contextlib.nullcontext):
    decay = [p for _, p in named_parameters(model) if p.dim() == 2]
    others = [p for _, p in named_parameters(model) if p.dim() != 2]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}],
                                  lr=1e-3, betas=(0.9, 0.999), eps=1e-6)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, 4, STEPS)
    losses, norms = [], []
    for ids, lengths, labels in batches:
        with context():
            loss, _, _ = forward(model, head, ids, lengths, labels)
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_([p for _, p in named_parameters(model)], 1.0)))
        optimizer.step()
        schedule.step()
        losses.append(float(loss))
    return losses, norms


def relative(value, reference):
    return float((value.double() - reference.double()).norm() / reference.double().norm())


def of_loss(loss, reference):
    return abs(float(loss) - reference) / max(1.0, reference)


def peer_errors(state, build, head, batches, tensors, attention, autocast):
    """What `transformers` in fp32, or under autocast to bf16, is away from the fixture, by kind."""
    model = build().float().eval()
    model.load_state_dict(state)
    model.config._attn_implementation = attention
    reference = {name: torch.from_numpy(value) for name, value in tensors.items()}
    context = lambda: torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast)
    with context():
        loss, logits, hidden = forward(model, head, *batches[0])
    loss.backward()
    errors = {"hidden": max(relative(value, reference[f"hidden.{i}"]) for i, value in enumerate(hidden[:-1])),
              "logits": relative(logits, reference["logits"]), "loss": of_loss(loss, float(reference["loss"][0]))}
    gradients = {name: reference["grad." + name] for name, p in named_parameters(model) if p.grad is not None}
    whole = math.sqrt(sum(float(value.double().norm()) ** 2 for value in gradients.values()))
    counts = lambda name: float(gradients[name].double().norm()) > ZERO_GRADIENT * whole
    errors["gradient"] = max(relative(p.grad, gradients[name]) if counts(name) else float((p.grad - gradients[name]).norm()) / whole
                             for name, p in named_parameters(model) if name in gradients)
    initial = {name: p.detach().clone() for name, p in named_parameters(model)}
    losses, norms = train(model, head, batches, context)
    errors["losses"] = max(of_loss(loss, float(expected)) for loss, expected in zip(losses, reference["train.losses"]))
    errors["norms"] = max(abs(norm / float(expected) - 1) for norm, expected in zip(norms, reference["train.grad_norms"]))
    trained = [(p.detach(), reference["trained." + name], initial[name]) for name, p in named_parameters(model)
               if "trained." + name in reference and name in gradients and counts(name)]
    if trained:
        errors["trained"] = max(float((now - then).norm() / (then - start).norm()) for now, then, start in trained)
    return errors


def write_fixture(root, family, head, seed, options):
    folder = root / family / head
    folder.mkdir(parents=True, exist_ok=True)
    build = lambda: make_model(family, head, seed, options)
    model = build()
    model.save_pretrained(folder)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    model = model.double().eval()
    generator = np.random.default_rng(seed)
    longest = LONGEST_OF_DEEP if family == DEEP and options.longest == LONGEST else options.longest
    batches = [make_batch(head, step, generator, options.vocabulary, longest) for step in range(STEPS)]
    tensors = {}
    for k, (ids, lengths, labels) in enumerate(batches):
        tensors[f"batch.{k}.ids"] = np.asarray(sum(ids, []), dtype=np.int32)
        tensors[f"batch.{k}.lengths"] = np.asarray(lengths, dtype=np.int32)
        tensors[f"batch.{k}.labels"] = labels
    loss, logits, hidden = forward(model, head, *batches[0])
    loss.backward()
    to_float = lambda value: value.detach().numpy().astype(np.float32)
    for i, values in enumerate(hidden[:-1]):
        tensors[f"hidden.{i}"] = to_float(values)
    tensors["hidden.last"] = to_float(hidden[-1])
    tensors["logits"] = to_float(logits)
    tensors["loss"] = np.asarray([loss.item()], dtype=np.float32)
    for name, parameter in named_parameters(model):
        if parameter.grad is not None:
            tensors["grad." + name] = to_float(parameter.grad)
    losses, norms = train(model, head, batches)
    tensors["train.losses"] = np.asarray(losses, dtype=np.float32)
    tensors["train.grad_norms"] = np.asarray(norms, dtype=np.float32)
    if model.config.num_hidden_layers > 1:
        for name, parameter in named_parameters(model):
            tensors["trained." + name] = to_float(parameter)
    metadata = {"family": "pre" if family == "xlm_roberta_xl" else "post", "head": head, "torch": torch.__version__,
                "transformers": transformers.__version__}
    for precision in ("fp32", "bf16"):
        ways = [peer_errors(state, build, head, batches, tensors, attention, precision == "bf16") for attention in ("eager", "sdpa")]
        metadata["peers." + precision] = json.dumps({kind: max(way[kind] for way in ways) for kind in ways[0]})
    save_file(tensors, folder / "fixture.safetensors", metadata=metadata)
    print(folder, "loss", loss.item(), metadata["peers.fp32"], metadata["peers.bf16"])


def parse():
    here = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", metavar="FAMILY", nargs="*", help=f"of {', '.join(FAMILIES)}; default: all")
    parser.add_argument("--output", type=pathlib.Path, default=here / "tests" / "fixtures")
    parser.add_argument("--heads-of-tasks", nargs="+", choices=HEADS, default=list(HEADS), metavar="HEAD", help="default: all")
    for name in ("layers", "hidden", "heads", "intermediate"):
        parser.add_argument("--" + name, type=int, help="default: the family's")
    parser.add_argument("--vocabulary", type=int, default=VOCABULARY, help=f"default: {VOCABULARY}")
    parser.add_argument("--longest", type=int, default=LONGEST, help=f"tokens of the longest sequence; default: {LONGEST}")
    options = parser.parse_args()
    unknown = [family for family in options.families if family not in FAMILIES]
    if unknown:
        parser.error(f"unknown family {unknown[0]}; there are {', '.join(FAMILIES)}")
    return options


def main():
    options = parse()
    torch.use_deterministic_algorithms(True)
    for f, family in enumerate(FAMILIES):
        if options.families and family not in options.families:
            continue
        for h, head in enumerate(HEADS):
            # BERT's classifier is on the pooler already; of the deep family one head will do.
            if head not in options.heads_of_tasks or (family, head) == ("bert", "sequence_pooled") or (family == DEEP and head != "sequence"):
                continue
            write_fixture(options.output, family, head, 100 * f + h, options)


if __name__ == "__main__":
    main()
