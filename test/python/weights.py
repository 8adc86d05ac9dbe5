"""Models of torch.nn whose weights go through safetensors files: `weights.py write FOLDER` makes MODEL.DTYPE.safetensors
from random weights, `weights.py check FOLDER` loads MODEL.safetensors, strictly. Both print, as JSON, the inputs of each
model and what it gives: {file: {shape, input, output}}.
"""
import json
import sys

import torch
from torch import nn

torch.set_num_threads(1)
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}


class Pictures(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 6, (3, 1), stride=2, padding=(1, 0), groups=2)
        self.layer = nn.TransformerEncoderLayer(6, 2, 10, 0.0, activation="gelu", batch_first=True)
        self.fc = nn.Linear(6 * 3 * 3, 5)
        self.bn2 = nn.BatchNorm1d(6 * 3 * 3)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        y = torch.relu(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        tokens = self.layer(y.flatten(2).transpose(1, 2))
        return self.fc(self.bn2(y.flatten(1))) + self.head(tokens.mean(1))


class Sequences(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(11, 4)
        self.lstm = nn.LSTM(4, 5, 2, batch_first=True)
        self.gru = nn.GRU(5, 3, batch_first=True)
        self.norm = nn.LayerNorm(3)

    def forward(self, ids):
        return self.norm(self.gru(self.lstm(self.words(ids))[0])[0]).mean(1)


def inputs():
    generator = torch.Generator().manual_seed(1)
    return {
        "pictures": torch.randn(4, 3, 6, 6, generator=generator),
        "sequences": torch.randint(0, 11, (4, 7), generator=generator),
    }


def models():
    torch.manual_seed(2)
    made = {"pictures": Pictures(), "sequences": Sequences()}
    for model in made.values():
        for name, tensor in model.state_dict().items():
            if tensor.dtype == torch.float32:
                tensor.copy_(torch.rand(tensor.shape) + 0.5 if name.endswith("var") else torch.randn(tensor.shape) * 0.5)
        model.eval()
    return made


def write(path, tensors):
    header, data = {}, b""
    names = {dtype: name for name, dtype in DTYPES.items()} | {torch.int64: "I64"}
    for name, tensor in tensors.items():
        raw = bytes(tensor.contiguous().reshape(-1).clone().storage().untyped().tolist())
        place = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": place}
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)


def read(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = bytearray(file.read())
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        tensors[name] = torch.frombuffer(data[start:end], dtype=DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def main(command, folder):
    answers = {}
    with torch.no_grad():
        for kind, model in models().items():
            x = inputs()[kind]
            for dtype in DTYPES if command == "write" else [None]:
                file = f"{kind}.{dtype}.safetensors" if dtype else f"{kind}.safetensors"
                if dtype:
                    cast = {n: t.to(DTYPES[dtype]) if t.is_floating_point() else t for n, t in model.state_dict().items()}
                    write(f"{folder}/{file}", cast)
                    model.load_state_dict(cast)
                else:
                    model.load_state_dict(read(f"{folder}/{file}"), strict=True)
                # Pictures lie channels last there.
                given = x.permute(0, 2, 3, 1) if kind == "pictures" else x
                answers[file] = {
                    "shape": list(given.shape),
                    "input": given.reshape(-1).tolist(),
                    "output": model(x).reshape(-1).tolist(),
                }
    json.dump(answers, sys.stdout)


main(*sys.argv[1:])
