"""Trains a network as PyTorch does, from given start values, over given rows in their order, and says what it reaches.

Reads a JSON object: `network`, the folder of the `start` values (a checkpoint's safetensors files), `train` and `test`
(columns {file, dtype, shape}), `batch`, `epochs`, `optimizer` ({name, lr, ..}, the rate falling along half a cosine) and
`options` of the network. Prints `losses` of the first steps, `loss`, `accuracy` and `seconds` of training.
"""
import glob
import json
import math
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

torch.set_num_threads(1)
torch.manual_seed(1)


def start_values(folder):
    """Tensors by name; convolutions from [KH,KW,I,O] to [O,I,KH,KW]."""
    values = {}
    for path in glob.glob(f"{folder}/**/*.safetensors", recursive=True):
        with open(path, "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            data = file.read()
        for name, entry in header.items():
            if name == "__metadata__" or entry["dtype"] != "F32":
                continue
            begin, end = entry["data_offsets"]
            value = torch.tensor(np.frombuffer(data[begin:end], dtype=np.float32).reshape(entry["shape"]).copy())
            values[name] = value.permute(3, 2, 0, 1).contiguous() if value.dim() == 4 else value
    return values


def load(columns):
    kinds = {"f32": np.float32, "i32": np.int32}
    return {
        name: torch.from_numpy(np.fromfile(column["file"], dtype=kinds[column["dtype"]]).reshape(column["shape"]))
        for name, column in columns.items()
    }


def norm(p, name, x, training):
    weights = [p[f"{name}/{part}"] for part in ("running-mean", "running-variance", "gamma", "beta")]
    return F.batch_norm(x, *weights, training=training, momentum=0.1, eps=1e-5)


def conv_norm(p, name, x, training, stride=1):
    y = F.conv2d(x, p[f"{name}/0/weight"], stride=stride, padding=1)
    return F.relu(norm(p, f"{name}/1", y, training))


def pictures(batch):
    """Channels first in memory as well: with channels last, PyTorch 1.13's batch norm is 1e-3 off float64, not 1e-6."""
    return batch["image"].permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format)


def linear(p, name, x):
    return x @ p[f"{name}/weight"] + p[f"{name}/bias"]


def digits(p, batch, training, options):
    y = F.max_pool2d(conv_norm(p, "net/first", pictures(batch), training), 2)
    y = F.relu(F.conv2d(y, p["net/second/weight"], p["net/second/bias"], padding=1))
    # Features in the order in which pixels with their channels lie.
    return linear(p, "net/head", F.max_pool2d(y, 2).permute(0, 2, 3, 1).flatten(1))


def objects(p, batch, training, options):
    y = pictures(batch)
    for stage in range(3):
        y = conv_norm(p, f"net/down{stage}", y, training, stride=1 if stage == 0 else 2)
        y = y + conv_norm(p, f"net/block{stage}/body", y, training)
    return linear(p, "net/head", y.mean((2, 3)))


def gpt(p, batch, training, options):
    ids, heads = batch["ids"], options["heads"]
    rows, length = ids.shape
    width = p["transformer/wte/weight"].shape[1]
    x = F.embedding(ids, p["transformer/wte/weight"]) + p["transformer/wpe/weight"][:length]
    hidden = torch.triu(torch.ones(length, length, dtype=torch.bool), 1)

    def layer_norm(name, x):
        return F.layer_norm(x, (width,), p[f"{name}/gamma"], p[f"{name}/beta"], 1e-5)

    for layer in range(options["layers"]):
        name = f"transformer/h/{layer}"
        joint = linear(p, f"{name}/attn/c_attn", layer_norm(f"{name}/ln_1", x))
        q, k, v = (part.reshape(rows, length, heads, -1).transpose(1, 2) for part in joint.split(width, 2))
        scores = q @ k.transpose(2, 3) / math.sqrt(width / heads)
        context = scores.masked_fill(hidden, -math.inf).softmax(-1) @ v
        x = x + linear(p, f"{name}/attn/c_proj", context.transpose(1, 2).reshape(rows, length, width))
        inner = F.gelu(linear(p, f"{name}/mlp/c_fc", layer_norm(f"{name}/ln_2", x)), approximate="tanh")
        x = x + linear(p, f"{name}/mlp/c_proj", inner)
    return layer_norm("transformer/ln_f", x) @ p["transformer/wte/weight"].T


def main():
    task = json.load(sys.stdin)
    network = {"digits": digits, "objects": objects, "gpt": gpt}[task["network"]]
    options, size = task["options"], task["batch"]
    p = start_values(task["start"])
    trained = [value.requires_grad_() for name, value in p.items() if "/running-" not in name]
    train, test = load(task["train"]), load(task["test"])
    make = {"momentum": torch.optim.SGD, "adam": torch.optim.Adam}[task["optimizer"].pop("name")]
    optimizer = make(trained, **task["optimizer"])
    steps = task["epochs"] * (len(train["label"]) // size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * step / steps)) / 2)

    def batches(data):
        for at in range(0, len(data["label"]), size):
            yield {name: column[at : at + size] for name, column in data.items()}

    def cross_entropy(logits, batch, reduction="mean"):
        return F.cross_entropy(logits.flatten(0, -2), batch["label"].flatten().long(), reduction=reduction)

    losses = []
    begin = time.time()
    for _ in range(task["epochs"]):
        for batch in batches(train):
            optimizer.zero_grad()
            loss = cross_entropy(network(p, batch, True, options), batch)
            loss.backward()
            optimizer.step()
            schedule.step()
            if len(losses) < task["firstSteps"]:
                losses.append(loss.item())
    seconds = time.time() - begin
    total = hits = 0
    with torch.no_grad():
        for batch in batches(test):
            logits = network(p, batch, False, options)
            total += cross_entropy(logits, batch, "sum").item()
            hits += (logits.argmax(-1) == batch["label"]).sum().item()
    places = test["label"].numel()
    json.dump({"losses": losses, "loss": total / places, "accuracy": hits / places, "seconds": seconds}, sys.stdout)


main()
