#!/usr/bin/env python3
"""Weight folders as torch.save and safetensors write them, and some that must be refused.

Run in this folder with torch and safetensors installed; the tests need neither. Element k of
tensor t, counted in the order below, is ((7 k + 3 t) mod 61 - 30) / 8, exact in every type. Every
file but refused/old, whose keys are addresses, comes out the same each time.
"""
import json
import os
import zipfile
from collections import OrderedDict

import safetensors.torch
import torch


def tensor(t, *shape, dtype=torch.float32):
    k = torch.arange(torch.Size(shape).numel())
    return (((7 * k + 3 * t) % 61 - 30) / 8).to(dtype).reshape(shape)


def state():
    weights = OrderedDict()
    weights["a.weight"] = tensor(0, 3, 4)
    weights["b.weight"] = tensor(1, 5, dtype=torch.float16)
    weights["c.weight"] = tensor(2, 2, 3, 2, dtype=torch.bfloat16)
    weights["embed.weight"] = tensor(3, 4, 3)
    weights["head.weight"] = weights["embed.weight"]
    weights["part.weight"] = torch.cat([torch.zeros(2, 3), tensor(5, 2, 3)])[2:]
    weights["position_ids"] = torch.arange(6).reshape(1, 6)
    weights["scale"] = tensor(7)
    weights._metadata = OrderedDict([("", {"version": 1}), ("a", {"version": 2})])
    return weights


def save(weights, folder, name="pytorch_model.bin", **options):
    os.makedirs(folder, exist_ok=True)
    torch.save(weights, f"{folder}/{name}", **options)


def save_index(folder, name, files):
    names = {tensor: file for file, weights in files.items() for tensor in weights}
    with open(f"{folder}/{name}.index.json", "w") as index:
        json.dump({"metadata": {"total_size": 0}, "weight_map": names}, index, indent=2)


class Command:
    def __reduce__(self):
        return os.system, ("echo run > code-was-run",)


def main():
    torch.manual_seed(0)
    weights = state()
    save(weights, "pickle")
    parameters = {
        name: torch.nn.Parameter(value, requires_grad=True) if value.is_floating_point() else value
        for name, value in weights.items()
    }
    save(parameters, "pickle-4", pickle_protocol=4)
    for folder, state_file in ("pickle", "state.pkl"), ("pickle-4", "state-4.pkl"):
        with zipfile.ZipFile(f"{folder}/pytorch_model.bin") as archive:
            with open(state_file, "wb") as out:
                out.write(archive.read("pytorch_model/data.pkl"))

    single = {name: value.clone().contiguous() for name, value in weights.items()}
    os.makedirs("safetensors", exist_ok=True)
    safetensors.torch.save_file(single, "safetensors/model.safetensors", {"format": "pt"})

    halves = [list(single)[:3], list(single)[3:]]
    for folder, name in ("pickle-sharded", "pytorch_model.bin"), (
        "safetensors-sharded",
        "model.safetensors",
    ):
        stem, ending = name.rsplit(".", 1)
        files = {f"{stem}-{i + 1:05}-of-00002.{ending}": half for i, half in enumerate(halves)}
        os.makedirs(folder, exist_ok=True)
        for file, names in files.items():
            if ending == "bin":
                torch.save({n: weights[n] for n in names}, f"{folder}/{file}")
            else:
                safetensors.torch.save_file({n: single[n] for n in names}, f"{folder}/{file}")
        save_index(folder, name, files)

    save({"a.weight": Command()}, "refused/command")
    save(weights, "refused/old", _use_new_zipfile_serialization=False)
    save({"a.weight": tensor(0, 3, 4).t()}, "refused/transposed")
    save({"model": weights, "epoch": 1}, "refused/nested")
    save({"a.weight": torch.ones(3, dtype=torch.uint16)}, "refused/uint16")
    save(torch.nn.Linear(2, 2), "refused/module")


if __name__ == "__main__":
    main()
