"""DeepFM of the CTR benchmark in PyTorch: `speed` answers timed windows on request, `quality` trains an epoch.

speed: prints {"ready": …}, then for every line `SECONDS` on stdin trains that long and prints {"samplesPerSecond": …};
between the windows all its processes sleep, so that it can be interleaved with another system. The workers are Hogwild
processes over one model and one optimizer state in shared memory. quality: a JSON line for each seed.
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
    parser.add_argument("--vocabulary", type=int, required=True)
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--hidden", type=int, nargs="+", default=[400, 400, 400])
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    return parser.parse_args()


def build(options, data, seed):
    torch.manual_seed(seed)
    # The row after the vocabulary stands for ids that no training row holds: it stays 0.
    model = ClickModel(options.vocabulary + 1, data.fields, data.numbers, options.dim, options.hidden)
    with torch.no_grad():
        model.embedding.weight[options.vocabulary].zero_()
    # Measured: one rule over all parameters is 5 % faster than foreach kernels for the dense ones.
    optimizers = [torch.optim.Adagrad(model.parameters(), lr=options.lr)]
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


def speed(options, data):
    model, optimizers = build(options, data, options.seeds[0])
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


def quality(options, data):
    test = Data(options.test)
    known = torch.zeros(options.vocabulary, dtype=torch.bool)
    known[data.ids.flatten()] = True
    test.ids[~known[test.ids]] = options.vocabulary
    for seed in options.seeds:
        model, optimizers = build(options, data, seed)
        processes = [
            mp.Process(target=quality_worker, args=(worker, options, data, model, optimizers))
            for worker in range(options.workers)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        say({"seed": seed, "workers": options.workers, **scores(model, test)})


def say(message):
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    arguments = parse()
    training_data = Data(arguments.train)
    (speed if arguments.mode == "speed" else quality)(arguments, training_data)
