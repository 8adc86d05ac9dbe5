"""One model of the engine benchmark in PyTorch: prints {"ready": …}, then for every line `STEPS` on stdin trains that many
steps and prints {"seconds": the seconds of each}; between the lines it sleeps, so that systems can take turns.
"""
import argparse
import json
import sys
import time

import torch

from engine_models import BUILDERS

parser = argparse.ArgumentParser()
parser.add_argument("model", choices=BUILDERS)
parser.add_argument("--batch", type=int, required=True)
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
options = parser.parse_args()

torch.set_num_threads(options.threads)
torch.manual_seed(1)
model, loss_of, optimizer = BUILDERS[options.model](options.batch)
model.train()


def step():
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
        loss = loss_of()
    loss.backward()
    optimizer.step()
    return loss.item()


step()
print(json.dumps({"ready": True, "parameters": sum(p.numel() for p in model.parameters())}), flush=True)
for line in sys.stdin:
    seconds = []
    for _ in range(int(line)):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds}), flush=True)
