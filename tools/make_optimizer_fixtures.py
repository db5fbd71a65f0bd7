#!/usr/bin/env python3
"""Writes tests/fixtures/optimizers/<rule>.safetensors: what 20 steps of published optimizers leave, for tests/engine/optimizer_rules_test.cpp.

Needs `torch`, `transformers` and `safetensors`; run it by hand from the repository's root when a case is added.

    adafactor, adafactor_scaled   transformers.optimization.Adafactor, relative_step=False, scale_parameter False and True
    adafactor_t5                  T5's own rule in numpy, from mesh_tensorflow/optimize.py and t5x/adafactor.py: no code of this project
    adamw_rms                     nanoT5's AdamWScale (nanoT5/utils/copied_utils.py): AdamW with its step times max(1e-3, RMS of the tensor)

Everything in double. Weights and gradients are made of integers, so that the test makes the same ones (value() here and there): they differ in size by
row and by column, as those of real matrices do. Of every tensor each stride-th element is kept (STRIDES), and of the state all that is small.
"""
import argparse
import math
import pathlib

import numpy as np
import torch
from safetensors.numpy import save_file
from transformers.optimization import Adafactor

STEPS = 20
RATE = 0.01
DECAY = 0.1  # of matrices
SHAPES = {"small.weight": (6, 10), "small.bias": (10,), "table": (32, 6), "large.weight": (130, 129), "tall.weight": (300, 20), "norm": (33,)}
STRIDES = {name: 7 if math.prod(shape) > 1000 else 1 for name, shape in SHAPES.items()}


def value(shape, tensor, step):
    """Numbers in [-0.5, 0.5) times powers of two by row and column; exact in fp32. Step 0: the weights."""
    count = math.prod(shape)
    index = np.arange(count, dtype=np.uint64)
    mixed = (index * 2654435761 + np.uint64(step * 40503 + tensor * 977 + 12345)) % 2**32
    mixed = (mixed ^ (mixed >> np.uint64(15))) * np.uint64(2246822519) % 2**32
    uniform = (mixed >> np.uint64(16)).astype(np.float64) / 65536 - 0.5
    width = shape[-1]
    exponent = (index // np.uint64(width)).astype(np.int64) % 5 - index.astype(np.int64) % np.int64(width) % 3
    if step == 0:
        exponent[:] = -3
    return (uniform * 2.0 ** exponent).reshape(shape)


def torch_steps(make):
    tensors = {name: torch.nn.Parameter(torch.from_numpy(value(shape, place, 0))) for place, (name, shape) in enumerate(SHAPES.items())}
    matrices = [tensor for tensor in tensors.values() if tensor.ndim > 1]
    vectors = [tensor for tensor in tensors.values() if tensor.ndim == 1]
    optimizer = make([{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}])
    for step in range(1, STEPS + 1):
        for place, (name, shape) in enumerate(SHAPES.items()):
            tensors[name].grad = torch.from_numpy(value(shape, place, step))
        optimizer.step()
    states = {name: optimizer.state[tensor] for name, tensor in tensors.items()}
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}, states


def adafactor(scale_parameter):
    trained, states = torch_steps(lambda groups: Adafactor(groups, lr=RATE, relative_step=False, warmup_init=False,
                                                           scale_parameter=scale_parameter))
    result = kept(trained)
    for name, state in states.items():
        if "exp_avg_sq_row" in state:
            result["row_second_moment." + name] = state["exp_avg_sq_row"].numpy()
            result["column_second_moment." + name] = state["exp_avg_sq_col"].numpy()
        elif STRIDES[name] == 1:
            result["second_moment." + name] = state["exp_avg_sq"].numpy()
    return result


class AdamWScale(torch.optim.Optimizer):
    """The rule of nanoT5's class of this name, in few lines."""

    def __init__(self, groups):
        super().__init__(groups, {"weight_decay": 0.0})

    @torch.no_grad()
    def step(self):
        beta1, beta2, epsilon = 0.9, 0.999, 1e-6
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state["t"] = state.get("t", 0) + 1
                m = state.setdefault("m", torch.zeros_like(p))
                v = state.setdefault("v", torch.zeros_like(p))
                m.mul_(beta1).add_(p.grad, alpha=1 - beta1)
                v.mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
                size = RATE * math.sqrt(1 - beta2 ** state["t"]) / (1 - beta1 ** state["t"])
                size *= max(1e-3, float(p.norm(2)) / math.sqrt(p.numel()))
                p.addcdiv_(m, v.sqrt().add_(epsilon), value=-size)
                if group["weight_decay"] > 0:
                    p.add_(p, alpha=-RATE * group["weight_decay"])


def adamw_rms():
    trained, _ = torch_steps(AdamWScale)
    return kept(trained)


def adafactor_t5():
    """For every tensor: rho_t = 1 - t^-0.8; two dimensions of at least 128 each are factored; the update is divided by max(1, its RMS) and multiplied
    by the rate and max(0.001, the RMS of the weights). Neither momentum nor weight decay."""
    weights = {name: value(shape, place, 0) for place, (name, shape) in enumerate(SHAPES.items())}
    slots = {}
    rms = lambda array: np.sqrt(np.mean(np.square(array)))
    for t in range(1, STEPS + 1):
        rho = 1.0 - t ** -0.8
        for place, (name, shape) in enumerate(SHAPES.items()):
            gradient = value(shape, place, t)
            squared = np.square(gradient) + 1e-30
            if len(shape) == 2 and min(shape) >= 128:
                over_columns, over_rows = slots.get(name, (np.zeros(shape[0]), np.zeros(shape[1])))
                over_columns = rho * over_columns + (1 - rho) * squared.mean(axis=1)
                over_rows = rho * over_rows + (1 - rho) * squared.mean(axis=0)
                slots[name] = (over_columns, over_rows)
                update = gradient * np.power(over_columns / over_columns.mean(), -0.5)[:, None] * np.power(over_rows, -0.5)[None, :]
            else:
                slots[name] = rho * slots.get(name, np.zeros(shape)) + (1 - rho) * squared
                update = gradient * np.power(slots[name], -0.5)
            update = update / max(1.0, rms(update))
            weights[name] = weights[name] - RATE * max(1e-3, rms(weights[name])) * update
    result = kept(weights)
    for name, slot in slots.items():
        if isinstance(slot, tuple):
            result["row_second_moment." + name], result["column_second_moment." + name] = slot
        elif STRIDES[name] == 1:
            result["second_moment." + name] = slot
    return result


def kept(trained):
    return {"trained." + name: array.reshape(-1)[::STRIDES[name]] for name, array in trained.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="tests/fixtures/optimizers")
    folder = pathlib.Path(parser.parse_args().output)
    folder.mkdir(parents=True, exist_ok=True)
    rules = {"adafactor": lambda: adafactor(False), "adafactor_scaled": lambda: adafactor(True), "adafactor_t5": adafactor_t5, "adamw_rms": adamw_rms}
    for name, make in rules.items():
        save_file({key: np.ascontiguousarray(array, dtype=np.float32) for key, array in make().items()}, folder / f"{name}.safetensors")


if __name__ == "__main__":
    main()
