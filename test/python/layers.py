"""Layers as PyTorch has them: reads JSON cases, runs the code of each on its tensors, prints results and gradients as JSON.

A case has `inputs` and `parameters` by name ({shape, data, dtype} and {shape, data, trainable}), `cotangent` (the weights
that make a scalar of the result) and `code`, which sets `y`; it sees the inputs as variables and the parameters as `p`.
The answer: `y`, `gradients` of all that can have one, and `fixed`, the parameters that are not trained, as the code left
them. Everything is float64 but integer inputs.
"""
import json
import sys

import torch
import torch.nn.functional as F

try:
    from torch.func import functional_call
except ImportError:  # before PyTorch 2
    from torch.nn.utils.stateless import functional_call

torch.set_num_threads(1)


def tensor(spec, gradient):
    whole = spec.get("dtype") in ("i32", "u32")
    value = torch.tensor(spec["data"], dtype=torch.int64 if whole else torch.float64).reshape(spec["shape"])
    return value.requires_grad_(gradient and not whole)


def call(module, weights, *inputs, **options):
    """What a module gives with these tensors as its parameters: {name in the module: tensor}."""
    assert {name for name, _ in module.named_parameters()} == weights.keys()
    return functional_call(module.double(), weights, inputs, options)


def run(case):
    inputs = {name: tensor(spec, True) for name, spec in case["inputs"].items()}
    parameters = {name: tensor(spec, spec["trainable"]) for name, spec in case["parameters"].items()}
    scope = {"torch": torch, "F": F, "call": call, "p": parameters, **inputs}
    exec(case["code"], scope)
    y = scope["y"]
    (y.reshape(-1) * torch.tensor(case["cotangent"], dtype=torch.float64)).sum().backward()
    leaves = {**inputs, **parameters}
    return {
        "y": y.reshape(-1).tolist(),
        "gradients": {name: leaf.grad.reshape(-1).tolist() for name, leaf in leaves.items() if leaf.grad is not None},
        "fixed": {name: leaf.tolist() for name, leaf in parameters.items() if not leaf.requires_grad},
    }


json.dump([run(case) for case in json.load(sys.stdin)], sys.stdout)
