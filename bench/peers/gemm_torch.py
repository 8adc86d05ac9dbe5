"""GFLOP/s of a 512³ product in PyTorch on one thread, as a JSON line: tells which kernels its BLAS has taken."""
import json
import time

import torch

SIZE = 512
ROUNDS = 5
SECONDS = 0.15

torch.set_num_threads(1)
a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
best = 0.0
for _ in range(ROUNDS):
    begin, products = time.process_time(), 0
    while time.process_time() - begin < SECONDS:
        a @ b
        products += 1
    best = max(best, products * 2 * SIZE**3 / (time.process_time() - begin) / 1e9)
print(json.dumps({"gflops": best}))
