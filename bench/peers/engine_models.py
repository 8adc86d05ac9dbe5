"""The models of the engine benchmark in PyTorch: the same layers, sizes, losses and optimizers as bench/lib/engine-recipes.ts.

Each builder returns (module, loss function of no arguments, optimizer); its batch stays in memory and is the same each step.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn


def mlp(batch):
    model = nn.Sequential(nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 10))
    x, y = torch.randn(batch, 400), torch.randint(10, (batch,))
    return model, lambda: F.cross_entropy(model(x), y), torch.optim.SGD(model.parameters(), lr=0.01)


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        outputs = 4 * width
        self.main = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.short = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.short = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return F.relu(self.main(x) + self.short(x), inplace=True)


def images(batch, classes=1000):
    x = torch.randn(batch, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    return x, torch.randint(classes, (batch,))


def resnet50(batch):
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for width, depth, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(depth):
            layers.append(Bottleneck(inputs, width, stride if i == 0 else 1))
            inputs = 4 * width
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))
    model = model.to(memory_format=torch.channels_last)
    x, y = images(batch)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    return model, lambda: F.cross_entropy(model(x), y), optimizer


def vgg16(batch):
    layers, inputs = [], 3
    for outputs in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        if outputs:
            layers += [nn.Conv2d(inputs, outputs, 3, 1, 1), nn.ReLU(inplace=True)]
            inputs = outputs
        else:
            layers.append(nn.MaxPool2d(2))
    head = [nn.Flatten(), nn.Linear(25088, 4096), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(4096, 4096),
            nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(4096, 1000)]
    model = nn.Sequential(*layers, *head).to(memory_format=torch.channels_last)
    x, y = images(batch)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    return model, lambda: F.cross_entropy(model(x), y), optimizer


class EncoderLayer(nn.Module):
    """Post-norm, as BERT has it (arXiv 1810.04805)."""

    def __init__(self, width, heads, inner, rate):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-12), nn.LayerNorm(width, 1e-12)
        self.inner, self.outer = nn.Linear(width, inner), nn.Linear(inner, width)
        self.drop = nn.Dropout(rate)

    def forward(self, x, mask):
        batch, length, width = x.shape
        split = lambda y: y.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
        q, k, v = split(self.query(x)), split(self.key(x)), split(self.value(x))
        scores = q @ k.transpose(2, 3) / math.sqrt(width // self.heads) + mask
        context = (self.drop(scores.softmax(-1)) @ v).transpose(1, 2).reshape(batch, length, width)
        x = self.norm1(x + self.drop(self.out(context)))
        return self.norm2(x + self.drop(self.outer(F.gelu(self.inner(x)))))


class Bert(nn.Module):
    def __init__(self, vocabulary=30522, width=768, layers=12, heads=12, inner=3072, positions=512, rate=0.1):
        super().__init__()
        self.words, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.types = nn.Embedding(2, width)
        self.norm, self.drop = nn.LayerNorm(width, 1e-12), nn.Dropout(rate)
        self.layers = nn.ModuleList(EncoderLayer(width, heads, inner, rate) for _ in range(layers))
        self.pooler, self.classifier = nn.Linear(width, width), nn.Linear(width, 2)

    def forward(self, ids, types, mask):
        x = self.words(ids) + self.positions.weight[: ids.shape[1]] + self.types(types)
        x = self.drop(self.norm(x))
        for layer in self.layers:
            x = layer(x, mask)
        return self.classifier(self.drop(torch.tanh(self.pooler(x[:, 0]))))


def bert(batch, length=128):
    model = Bert()
    ids, types = torch.randint(30522, (batch, length)), torch.zeros(batch, length, dtype=torch.long)
    mask, y = torch.zeros(batch, 1, 1, length), torch.randint(2, (batch,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, weight_decay=0.01)
    return model, lambda: F.cross_entropy(model(ids, types, mask), y), optimizer


class LstmModel(nn.Module):
    """The medium model of Zaremba et al. (arXiv 1409.2329)."""

    def __init__(self, vocabulary=10000, width=650, layers=2, rate=0.5):
        super().__init__()
        self.embedding, self.drop = nn.Embedding(vocabulary, width), nn.Dropout(rate)
        self.lstm = nn.LSTM(width, width, layers, dropout=rate, batch_first=True)
        self.output = nn.Linear(width, vocabulary)

    def forward(self, ids):
        y, _ = self.lstm(self.drop(self.embedding(ids)))
        return self.output(self.drop(y))


def lstm(batch, length=35):
    model = LstmModel()
    ids, y = torch.randint(10000, (batch, length)), torch.randint(10000, (batch * length,))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    return model, lambda: F.cross_entropy(model(ids).flatten(0, 1), y), optimizer


BUILDERS = {"mlp": mlp, "resnet50": resnet50, "vgg16": vgg16, "bert": bert, "lstm": lstm}
