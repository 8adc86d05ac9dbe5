"""What the PyTorch peers share: the file that carries their data, the model and its recipe, the scores.

A data file has the layout of safetensors (eight bytes of header length, a JSON header, raw little-endian tensors) with
`ids` I32 [rows, fields], `dense` F32 [rows, n] (n may be 0) and `label` F32 [rows].
"""
import json

import numpy as np
import torch
from torch import nn

NUMPY_TYPES = {"I32": np.int32, "F32": np.float32}


class Data:
    def __init__(self, path):
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        self.meta = header.pop("__metadata__", {})
        raw = np.memmap(path, np.uint8, "r", 8 + length)

        def tensor(name):
            entry = header[name]
            begin, end = entry["data_offsets"]
            return np.frombuffer(raw[begin:end], NUMPY_TYPES[entry["dtype"]]).reshape(entry["shape"])

        self.ids = torch.from_numpy(tensor("ids").astype(np.int64))
        self.dense = torch.from_numpy(tensor("dense").copy())
        self.label = torch.from_numpy(tensor("label").copy())
        self.rows, self.fields = self.ids.shape
        self.numbers = self.dense.shape[1]

    def batches(self, size, first=0, stride=1):
        """Batches in file order; worker `first` of `stride` takes every stride-th one. The last may be short."""
        for begin in range(first * size, self.rows, stride * size):
            end = begin + size
            yield self.ids[begin:end], self.dense[begin:end], self.label[begin:end]


class ClickModel(nn.Module):
    """Logistic regression (`dim` 0) or DeepFM: first-order weights + FM term + MLP over the embeddings and numbers.

    Start values are flotilla's: embeddings N(0, 0.01), He uniform before a ReLU, Glorot uniform for the output, else 0.
    """

    def __init__(self, vocabulary, fields, numbers, dim, hidden, dropout=0.0, padding=None):
        super().__init__()
        self.first = nn.Embedding(vocabulary, 1, padding_idx=padding, sparse=True)
        nn.init.zeros_(self.first.weight)
        self.bias = nn.Parameter(torch.zeros(()))
        self.numeric = nn.Linear(numbers, 1, bias=False) if numbers else None
        if numbers:
            nn.init.zeros_(self.numeric.weight)
        self.embedding = None
        if dim:
            self.embedding = nn.Embedding(vocabulary, dim, padding_idx=padding, sparse=True)
            nn.init.normal_(self.embedding.weight, std=0.01)
            if padding is not None:
                with torch.no_grad():
                    self.embedding.weight[padding].zero_()
            layers, width = [], fields * dim + numbers
            for size in hidden:
                linear = nn.Linear(width, size)
                nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu")
                nn.init.zeros_(linear.bias)
                layers += [linear, nn.ReLU()] + ([nn.Dropout(dropout)] if dropout else [])
                width = size
            output = nn.Linear(width, 1, bias=False)
            nn.init.xavier_uniform_(output.weight)
            self.deep = nn.Sequential(*layers, output)

    def forward(self, ids, dense):
        logit = self.first(ids).sum((1, 2)) + self.bias
        if self.numeric is not None:
            logit = logit + self.numeric(dense).squeeze(1)
        if self.embedding is not None:
            embedded = self.embedding(ids)
            total = embedded.sum(1)
            logit = logit + 0.5 * (total * total - (embedded * embedded).sum(1)).sum(1)
            flat = embedded.flatten(1)
            if self.numeric is not None:
                flat = torch.cat([flat, dense], 1)
            logit = logit + self.deep(flat).squeeze(1)
        return logit

    def groups(self):
        """The sparse and the dense parameters."""
        sparse = [layer.weight for layer in (self.first, self.embedding) if layer is not None]
        return sparse, [p for p in self.parameters() if not any(p is s for s in sparse)]


def train_step(model, optimizers, batch):
    ids, dense, label = batch
    loss = nn.functional.binary_cross_entropy_with_logits(model(ids, dense), label)
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    return loss


def scores(model, data, batch=4096):
    """Held-out log loss and AUC (ties count half)."""
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(ids, dense) for ids, dense, _ in data.batches(batch)]).double()
    model.train()
    label = data.label.double()
    log_loss = float(nn.functional.binary_cross_entropy_with_logits(logits, label))
    return {"logLoss": log_loss, "auc": auc(logits.numpy(), label.numpy())}


def auc(score, label):
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives = label.sum()
    negatives = len(label) - positives
    return float((ranks[label > 0].sum() - positives * (positives + 1) / 2) / (positives * negatives))
