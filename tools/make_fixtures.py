#!/usr/bin/env python3
"""Writes tests/fixtures/{xlm_roberta,xlm_roberta_xl,bert,xlm_roberta_deep,mt5,mt5_tied,t5,umt5}/<head>: what `transformers` computes, for the parity tests.

Needs `torch` and `transformers` (any recent ones); the versions used are in each fixture's metadata. Attention "eager", dropout 0,
everything computed in double precision from fp32 weights and rounded to fp32 at the end.

    python3 tools/make_fixtures.py [--output DIRECTORY] [FAMILY ...]
    python3 tools/make_fixtures.py --output DIRECTORY --layers 6 --hidden 256 --heads 4 --intermediate 1024 --vocabulary 300 --longest 128 xlm_roberta

The options give a family another shape; KOINE_FIXTURES=DIRECTORY lets the parity test run on it, too. One folder per head: config.json and
model.safetensors as save_pretrained writes them, and fixture.safetensors with packed batches (sequence after sequence, no padding):
batch.K.{ids,lengths,labels} for K = 0..19; hidden.I, hidden.last, logits, loss and grad.<name> of batch 0; train.losses and train.grad_norms of 20
AdamW steps on batches 0..19 and trained.<name>, the weights afterwards.

Of the encoder-decoders (head text_to_text) batch.K has target_lengths besides, labels are the targets, hidden.I is the encoder's and
decoder_hidden.I the decoder's; generated.N.{ids,lengths,scores} are what `generate` makes of the sources of batches 0 and 1 with the settings in the
metadata's `generated`.

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
# Encoder-decoders: an inner width of the heads that is not the hidden size, a head of their own or tied; few buckets, so that far ones are reached.
# The decoder of one has another number of blocks. (`transformers` ties all of them; a head of its own is put in.)
TEXT_FAMILIES = {
    "mt5": ("MT5", dict(d_model=32, d_kv=8, num_heads=3, num_decoder_layers=3), False),
    "mt5_tied": ("MT5", dict(d_model=32, d_kv=8, num_heads=3, relative_attention_num_buckets=8, relative_attention_max_distance=20), True),
    "t5": ("T5", dict(d_model=24, d_kv=12, num_heads=2, feed_forward_proj="gated-gelu", tie_word_embeddings=False), False),
    "umt5": ("UMT5", dict(d_model=24, d_kv=8, num_heads=2, relative_attention_num_buckets=8, relative_attention_max_distance=20,
                          tie_word_embeddings=False), False),
}
TEXT_HEAD = "text_to_text"
TARGET_LENGTHS = [[3, 1, 6, 2, 9, 14], [1, 5, 2, 12, 4, 7], [8, 2, 3, 1, 10, 2]]
GENERATIONS = [dict(num_beams=1), dict(num_beams=3, length_penalty=1.0, early_stopping=False),
               dict(num_beams=4, length_penalty=0.5, early_stopping=True), dict(num_beams=2, length_penalty=2.0, early_stopping="never")]
MAX_NEW_TOKENS = 12
ALL_FAMILIES = [*FAMILIES, *TEXT_FAMILIES]
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


def make_text_model(family, seed, options):
    prefix, shape, tied = TEXT_FAMILIES[family]
    given = dict(num_layers=options.layers, d_model=options.hidden, num_heads=options.heads, d_ff=options.intermediate)
    shape = dict(num_layers=2, d_ff=40, vocab_size=options.vocabulary, dropout_rate=0.0, use_cache=False,
                 decoder_start_token_id=0) | shape
    shape |= {key: value for key, value in given.items() if value is not None}
    torch.manual_seed(seed)
    config = getattr(transformers, prefix + "Config")(**shape)
    config._attn_implementation = "eager"
    model = getattr(transformers, prefix + "ForConditionalGeneration")(config)
    if not tied:
        model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) * shape["d_model"] ** -0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        if tied:  # Else the logits are of the size of the embedding, and the softmax of one piece.
            model.shared.weight.mul_(0.3)
    return model.float()


def make_text_batch(step, generator, vocabulary, longest):
    lengths = [math.ceil(n * longest / LONGEST) for n in LENGTHS[step % len(LENGTHS)]]
    ids = [generator.integers(3, vocabulary, size=n - 1).tolist() + [1] for n in lengths]
    target_lengths = TARGET_LENGTHS[step % len(TARGET_LENGTHS)]
    labels = [generator.integers(3, vocabulary, size=n - 1).tolist() + [1] for n in target_lengths]
    labels[3][0] = labels[4][2] = IGNORED
    return ids, lengths, (labels, target_lengths)


def text_forward(model, ids, lengths, targets):
    """(loss, packed logits, packed hidden states of the encoder, of the decoder)"""
    labels, target_lengths = targets
    pad = lambda rows, value: torch.tensor([row + [value] * (max(map(len, rows)) - len(row)) for row in rows])
    mask = torch.tensor([[1] * n + [0] * (max(lengths) - n) for n in lengths])
    output = model(input_ids=pad(ids, 0), attention_mask=mask, labels=pad(labels, IGNORED), output_hidden_states=True)
    packed = lambda values, sizes: torch.cat([values[i, :n] for i, n in enumerate(sizes)])
    return (output.loss, packed(output.logits, target_lengths), [packed(h, lengths) for h in output.encoder_hidden_states],
            [packed(h, target_lengths) for h in output.decoder_hidden_states])


def any_forward(model, head, ids, lengths, labels):
    """(loss, logits, hidden states, hidden states of a decoder)"""
    if head == TEXT_HEAD:
        return text_forward(model, ids, lengths, labels)
    return *forward(model, head, ids, lengths, labels), []


def generate(model, batches, tensors):
    """Greedy and beam outputs for the sources of `batches`, with the score that beams are compared by."""
    sources = sum((batch[0] for batch in batches), [])
    width = max(map(len, sources))
    padded = torch.tensor([row + [0] * (width - len(row)) for row in sources])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in sources])
    run = lambda **settings: model.generate(padded, attention_mask=mask, max_new_tokens=MAX_NEW_TOKENS, do_sample=False, use_cache=False,
                                            return_dict_in_generate=True, output_logits=True, output_scores=True, **settings)
    until = lambda row, end: row[: row.index(end) + 1] if end in row else row
    # Of an untrained model the end would come nowhere: it is the piece by which greedy outputs end at the most different places.
    endless = [row[1:].tolist() for row in run(num_beams=1, eos_token_id=model.config.vocab_size).sequences]
    end = max(range(2, model.config.vocab_size), key=lambda piece: len({len(until(row, piece)) for row in endless}))
    for n, settings in enumerate(GENERATIONS):
        output = run(**settings, eos_token_id=end)
        ids = [until(row[1:].tolist(), end) for row in output.sequences]
        if settings["num_beams"] == 1:
            steps = [torch.log_softmax(step, dim=-1) for step in output.logits]
            scores = [sum(float(steps[t][i, token]) for t, token in enumerate(row)) / len(row) for i, row in enumerate(ids)]
        else:
            scores = output.sequences_scores.tolist()
        tensors[f"generated.{n}.ids"] = np.asarray(sum(ids, []), dtype=np.int32)
        tensors[f"generated.{n}.lengths"] = np.asarray([len(row) for row in ids], dtype=np.int32)
        tensors[f"generated.{n}.scores"] = np.asarray(scores, dtype=np.float32)
    return end


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
            loss = any_forward(model, head, ids, lengths, labels)[0]
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
    for module in model.modules():
        if hasattr(module, "config"):
            module.config._attn_implementation = attention
    reference = {name: torch.from_numpy(value) for name, value in tensors.items()}
    context = lambda: torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast)
    with context():
        loss, logits, hidden, decoder_hidden = any_forward(model, head, *batches[0])
    loss.backward()
    errors = {"hidden": max(relative(value, reference[f"hidden.{i}"]) for i, value in enumerate(hidden if head == TEXT_HEAD else hidden[:-1])),
              "logits": relative(logits, reference["logits"]), "loss": of_loss(loss, float(reference["loss"][0]))}
    errors["hidden"] = max([errors["hidden"]] + [relative(value, reference[f"decoder_hidden.{i}"]) for i, value in enumerate(decoder_hidden)])
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
    text = head == TEXT_HEAD
    build = lambda: make_text_model(family, seed, options) if text else make_model(family, head, seed, options)
    model = build()
    model.save_pretrained(folder)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    model = model.double().eval()
    generator = np.random.default_rng(seed)
    longest = LONGEST_OF_DEEP if family == DEEP and options.longest == LONGEST else options.longest
    make = make_text_batch if text else lambda *arguments: make_batch(head, *arguments)
    batches = [make(step, generator, options.vocabulary, longest) for step in range(STEPS)]
    tensors = {}
    for k, (ids, lengths, labels) in enumerate(batches):
        tensors[f"batch.{k}.ids"] = np.asarray(sum(ids, []), dtype=np.int32)
        tensors[f"batch.{k}.lengths"] = np.asarray(lengths, dtype=np.int32)
        if text:
            tensors[f"batch.{k}.target_lengths"] = np.asarray(labels[1], dtype=np.int32)
            labels = np.asarray(sum(labels[0], []), dtype=np.int32)
        tensors[f"batch.{k}.labels"] = labels
    if text:
        end = generate(model, batches[:2], tensors)
    loss, logits, hidden, decoder_hidden = any_forward(model, head, *batches[0])
    loss.backward()
    to_float = lambda value: value.detach().numpy().astype(np.float32)
    for i, values in enumerate(hidden if text else hidden[:-1]):
        tensors[f"hidden.{i}"] = to_float(values)
    for i, values in enumerate(decoder_hidden):
        tensors[f"decoder_hidden.{i}"] = to_float(values)
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
    metadata = {"family": "pre" if text or family == "xlm_roberta_xl" else "post", "head": head, "torch": torch.__version__,
                "transformers": transformers.__version__}
    if text:
        metadata["generated"] = json.dumps([dict(settings, max_new_tokens=MAX_NEW_TOKENS, eos_token_id=end) for settings in GENERATIONS])
    for precision in ("fp32", "bf16"):
        ways = [peer_errors(state, build, head, batches, tensors, attention, precision == "bf16") for attention in ("eager", "sdpa")]
        metadata["peers." + precision] = json.dumps({kind: max(way[kind] for way in ways) for kind in ways[0]})
    save_file(tensors, folder / "fixture.safetensors", metadata=metadata)
    print(folder, "loss", loss.item(), metadata["peers.fp32"], metadata["peers.bf16"])


def parse():
    here = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", metavar="FAMILY", nargs="*", help=f"of {', '.join(ALL_FAMILIES)}; default: all")
    parser.add_argument("--output", type=pathlib.Path, default=here / "tests" / "fixtures")
    parser.add_argument("--heads-of-tasks", nargs="+", choices=HEADS, default=list(HEADS), metavar="HEAD", help="default: all")
    for name in ("layers", "hidden", "heads", "intermediate"):
        parser.add_argument("--" + name, type=int, help="default: the family's")
    parser.add_argument("--vocabulary", type=int, default=VOCABULARY, help=f"default: {VOCABULARY}")
    parser.add_argument("--longest", type=int, default=LONGEST, help=f"tokens of the longest sequence; default: {LONGEST}")
    options = parser.parse_args()
    unknown = [family for family in options.families if family not in ALL_FAMILIES]
    if unknown:
        parser.error(f"unknown family {unknown[0]}; there are {', '.join(ALL_FAMILIES)}")
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
    for f, family in enumerate(TEXT_FAMILIES):
        if not options.families or family in options.families:
            write_fixture(options.output, family, TEXT_HEAD, 1000 + f, options)


if __name__ == "__main__":
    main()
