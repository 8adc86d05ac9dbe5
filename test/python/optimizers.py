"""What PyTorch's optimizers do with given gradients: reads JSON cases, prints the weights after each step as JSON."""
import json
import sys

import torch

CLIPS = {
    "value": torch.nn.utils.clip_grad_value_,
    "globalNorm": torch.nn.utils.clip_grad_norm_,
}


def run(case):
    weights = [torch.nn.Parameter(torch.tensor(start, dtype=torch.float64)) for start in case["start"]]
    optimizer = getattr(torch.optim, case["optimizer"])(weights, **case["options"])
    result = []
    for gradients in case["gradients"]:
        for weight, gradient in zip(weights, gradients):
            weight.grad = torch.tensor(gradient, dtype=torch.float64)
        for kind, limit in case.get("clip", {}).items():
            CLIPS[kind](weights, limit)
        optimizer.step()
        result.append([weight.tolist() for weight in weights])
    return result


json.dump([run(case) for case in json.load(sys.stdin)], sys.stdout)
