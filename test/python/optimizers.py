"""What PyTorch's optimizers do with given gradients: reads JSON cases, prints the weights after each step as JSON."""
import json
import sys

import torch


def run(case):
    weight = torch.nn.Parameter(torch.tensor(case["start"], dtype=torch.float64))
    optimizer = getattr(torch.optim, case["optimizer"])([weight], **case["options"])
    result = []
    for gradient in case["gradients"]:
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        result.append(weight.detach().tolist())
    return result


json.dump([run(case) for case in json.load(sys.stdin)], sys.stdout)
