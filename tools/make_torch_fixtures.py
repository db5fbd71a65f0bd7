#!/usr/bin/env python3
"""Writes tests/fixtures/torch: small files of torch.save in both of its container forms.

Needs PyTorch; run it by hand from the repository's root when a case is added. tests/engine/torch_pickle_test.cpp knows the values.
"""

import pathlib
from collections import OrderedDict

import torch


def state_dictionary():
    grid = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    tied = torch.tensor([0.5, -1.0])
    return OrderedDict(
        [
            ("float", torch.tensor([[0.0, 0.25, 0.5], [0.75, 1.0, -1.5]])),
            ("half", torch.tensor([1.0, -2.5, 65504.0]).half()),
            ("bfloat16", torch.tensor([1.0, -2.5, 3.0]).bfloat16()),
            ("double", torch.tensor([0.1, 1e300], dtype=torch.float64)),
            ("long", torch.tensor([7, -8, 2**40])),
            ("int", torch.tensor([1, -2], dtype=torch.int32)),
            ("bool", torch.tensor([True, False, True])),
            ("scalar", torch.tensor(2.5)),
            ("empty", torch.empty(0, 3)),
            ("transposed", grid.t()),
            ("slice", grid[1:, 1:3]),
            ("row", grid[2]),
            ("tied.first", tied),
            ("tied.second", tied),
            ("parameter", torch.nn.Parameter(torch.tensor([4.0, 5.0]))),
            ("old.LayerNorm.gamma", torch.tensor([1.0])),
            ("old.LayerNorm.beta", torch.tensor([2.0])),
            ("embeddings.position_ids", torch.arange(4).expand((1, -1))),
        ]
    )


def main():
    folder = pathlib.Path("tests/fixtures/torch")
    folder.mkdir(parents=True, exist_ok=True)
    state = state_dictionary()
    # As a module's state_dict() has it: an attribute that the pickle sets by BUILD.
    state._metadata = OrderedDict([("", {"version": 1})])
    torch.save(state, folder / "zip.bin")
    torch.save(state, folder / "legacy.bin", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
