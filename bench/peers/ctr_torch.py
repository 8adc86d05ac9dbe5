"""DeepFM of the CTR benchmark in PyTorch: `speed` answers timed windows on request, `quality` trains one epoch.

speed: prints {"ready": …}, then for every line `SECONDS` on stdin trains that long and prints {"samplesPerSecond": …};
between the windows all its processes sleep, so that it can be interleaved with another system. Two or more workers are
Hogwild processes over one model in shared memory.
"""
import argparse
import json
import os
import sys
import time

import torch
import torch.multiprocessing as mp

from common import ClickModel, Data, scores, train_step


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["speed", "quality"])
    parser.add_argument("train")
    parser.add_argument("test", nargs="?")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--hidden", type=int, nargs="+", default=[400, 400, 400])
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def build(options, data):
    torch.manual_seed(options.seed)
    model = ClickModel(options.rows, data.fields, data.numbers, options.dim, options.hidden)
    # Measured: one rule over all parameters is 5 % faster than foreach kernels for the dense ones.
    optimizers = [torch.optim.Adagrad(model.parameters(), lr=options.lr)]
    if options.workers > 1:
        model.share_memory()
        for optimizer in optimizers:
            optimizer.share_memory()
    return model, optimizers


def endless(data, options, worker):
    while True:
        for batch in data.batches(options.batch, worker, options.workers):
            if len(batch[2]) == options.batch:
                yield batch


def speed_worker(worker, options, data, model, optimizers, pipe, start):
    torch.set_num_threads(1)
    batches = endless(data, options, worker)
    for _ in range(10):
        train_step(model, optimizers, next(batches))
    pipe.send("ready")
    while (seconds := pipe.recv()) is not None:
        start.wait()
        begin, cpu, steps = time.perf_counter(), time.process_time(), 0
        while (elapsed := time.perf_counter() - begin) < seconds:
            train_step(model, optimizers, next(batches))
            steps += 1
        pipe.send((steps * options.batch / elapsed, (time.process_time() - cpu) / elapsed))


def speed(options, data, model, optimizers):
    start = mp.Barrier(options.workers)
    pipes, processes = [], []
    for worker in range(options.workers):
        ours, theirs = mp.Pipe()
        process = mp.Process(
            target=speed_worker, args=(worker, options, data, model, optimizers, theirs, start), daemon=True
        )
        process.start()
        pipes.append(ours)
        processes.append(process)
    for pipe in pipes:
        pipe.recv()
    say({"ready": True, "workers": options.workers, "coretype": os.environ.get("OPENBLAS_CORETYPE", "")})
    for line in sys.stdin:
        for pipe in pipes:
            pipe.send(float(line))
        rates = [pipe.recv() for pipe in pipes]
        say({"samplesPerSecond": sum(rate for rate, _ in rates), "cpu": sum(cpu for _, cpu in rates)})
    for pipe in pipes:
        pipe.send(None)
    for process in processes:
        process.join()


def quality_worker(worker, options, data, model, optimizers):
    torch.set_num_threads(1)
    for batch in data.batches(options.batch, worker, options.workers):
        train_step(model, optimizers, batch)


def quality(options, data, model, optimizers):
    if options.workers == 1:
        quality_worker(0, options, data, model, optimizers)
    else:
        processes = [
            mp.Process(target=quality_worker, args=(worker, options, data, model, optimizers))
            for worker in range(options.workers)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    say({"seed": options.seed, "workers": options.workers, **scores(model, Data(options.test))})


def say(message):
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    arguments = parse()
    training_data = Data(arguments.train)
    run = speed if arguments.mode == "speed" else quality
    run(arguments, training_data, *build(arguments, training_data))
