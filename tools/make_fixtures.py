#!/usr/bin/env python3
"""Writes tests/fixtures/{xlm_roberta,xlm_roberta_xl}/<head>: what `transformers` computes, for the parity tests.

Needs `torch` and `transformers` (any recent ones); the versions used are in each fixture's metadata. Attention "eager", dropout 0,
everything computed in double precision from fp32 weights and rounded to fp32 at the end.

    python3 tools/make_fixtures.py [OUTPUT_DIRECTORY [FAMILY ...]]

One folder per head: config.json and model.safetensors as save_pretrained writes them, and fixture.safetensors with packed batches
(sequence after sequence, no padding): batch.K.{ids,lengths,labels} for K = 0..19; hidden.I, hidden.last, logits, loss and grad.<name> of batch 0;
train.losses and train.grad_norms of 20 AdamW steps on batches 0..19 and trained.<name>, the weights afterwards.
"""
import pathlib
import sys

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

STEPS = 20
VOCABULARY = 50
POSITIONS = 40
LENGTHS = [[1, 7, 13, 2, 30, 5], [11, 3, 38, 16, 4, 9], [2, 2, 17, 25, 6, 1]]
IGNORED = -100

FAMILIES = {
    "xlm_roberta": ("XLMRoberta", dict(hidden_size=32, num_attention_heads=2, max_position_embeddings=POSITIONS, layer_norm_eps=1e-5,
                                       type_vocab_size=1)),
    "xlm_roberta_xl": ("XLMRobertaXL", dict(hidden_size=36, num_attention_heads=3, max_position_embeddings=POSITIONS, layer_norm_eps=1e-5,
                                            type_vocab_size=1)),
    # Positions from row 0; its classifier is on the pooler's output as it is.
    "bert": ("Bert", dict(hidden_size=32, num_attention_heads=2, max_position_embeddings=POSITIONS - 2, layer_norm_eps=1e-12, type_vocab_size=2)),
}
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


def make_model(family, head, seed):
    prefix, shape = FAMILIES[family]
    suffix, layers = HEADS[head]
    torch.manual_seed(seed)
    config = getattr(transformers, prefix + "Config")(
        vocab_size=VOCABULARY, num_hidden_layers=layers, intermediate_size=60,
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


def make_batch(head, step, generator):
    lengths = LENGTHS[step % len(LENGTHS)]
    ids = [[0] + generator.integers(3, VOCABULARY, size=n - 1).tolist() for n in lengths]
    if head in ("sequence", "sequence_pooled"):
        labels = generator.integers(0, 3, size=len(lengths))
    elif head == "token":
        labels = generator.integers(0, 5, size=sum(lengths))
        labels[generator.random(len(labels)) < 0.3] = IGNORED
    elif head == "masked_lm":
        labels = generator.integers(0, VOCABULARY, size=sum(lengths))
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


def train(model, head, batches):
    decay = [p for _, p in named_parameters(model) if p.dim() == 2]
    others = [p for _, p in named_parameters(model) if p.dim() != 2]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}],
                                  lr=1e-3, betas=(0.9, 0.999), eps=1e-6)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, 4, STEPS)
    losses, norms = [], []
    for ids, lengths, labels in batches:
        loss, _, _ = forward(model, head, ids, lengths, labels)
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_([p for _, p in named_parameters(model)], 1.0)))
        optimizer.step()
        schedule.step()
        losses.append(float(loss))
    return losses, norms


def write_fixture(root, family, head, seed):
    folder = root / family / head
    folder.mkdir(parents=True, exist_ok=True)
    model = make_model(family, head, seed)
    model.save_pretrained(folder)
    model = model.double().eval()
    generator = np.random.default_rng(seed)
    batches = [make_batch(head, step, generator) for step in range(STEPS)]
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
    tensors["loss"] = np.asarray([float(loss)], dtype=np.float32)
    for name, parameter in named_parameters(model):
        if parameter.grad is not None:
            tensors["grad." + name] = to_float(parameter.grad)
    losses, norms = train(model, head, batches)
    tensors["train.losses"] = np.asarray(losses, dtype=np.float32)
    tensors["train.grad_norms"] = np.asarray(norms, dtype=np.float32)
    if HEADS[head][1] > 1:
        for name, parameter in named_parameters(model):
            tensors["trained." + name] = to_float(parameter)
    metadata = {"family": "pre" if family == "xlm_roberta_xl" else "post", "head": head, "torch": torch.__version__,
                "transformers": transformers.__version__}
    save_file(tensors, folder / "fixture.safetensors", metadata=metadata)
    print(folder, "loss", float(loss))


def main():
    here = pathlib.Path(__file__).resolve().parent.parent
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here / "tests" / "fixtures"
    torch.use_deterministic_algorithms(True)
    for f, family in enumerate(FAMILIES):
        if len(sys.argv) > 2 and family not in sys.argv[2:]:
            continue
        for h, head in enumerate(HEADS):
            if family == "bert" and head == "sequence_pooled":
                continue
            write_fixture(root, family, head, 100 * f + h)


if __name__ == "__main__":
    main()
