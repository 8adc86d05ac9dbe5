"""The AUC and log loss that PyTorch (or scikit-learn) reaches on a data file: the oracle of the quality benchmark.

Prints a JSON line for each epoch of each seed, so that early stopping can be read off, and the scores of `--model sklearn`
as one line. Id 0 means no feature: its embedding stays 0.
"""
import argparse
import json
import time

import numpy as np
import torch

from common import ClickModel, Data, auc, scores, train_step


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--model", choices=["deepfm", "lr", "sklearn"], default="deepfm")
    parser.add_argument("--dim", type=int, default=8)
    parser.add_argument("--hidden", type=int, nargs="*", default=[64, 32])
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--optimizer", choices=["adagrad", "adam"], default="adagrad")
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--inverse-strength", type=float, default=1.0, help="of the regularisation; scikit-learn only")
    return parser.parse_args()


def optimizers_of(model, options):
    sparse, dense = model.groups()
    if options.optimizer == "adam":
        return [torch.optim.SparseAdam(sparse, lr=options.lr), torch.optim.Adam(dense, lr=options.lr)]
    return [torch.optim.Adagrad(sparse, lr=options.lr), torch.optim.Adagrad(dense, lr=options.lr)]


def train(options, data, test, seed):
    torch.manual_seed(seed)
    vocabulary = int(data.meta["vocabulary"])
    dim = options.dim if options.model == "deepfm" else 0
    model = ClickModel(vocabulary, data.fields, data.numbers, dim, options.hidden, options.dropout, padding=0)
    optimizers = optimizers_of(model, options)
    begin = time.perf_counter()
    for epoch in range(options.epochs):
        for batch in data.batches(options.batch):
            train_step(model, optimizers, batch)
        seconds = time.perf_counter() - begin
        say({"model": options.model, "seed": seed, "epoch": epoch + 1, "seconds": seconds, **scores(model, test)})


def sklearn(options, data, test):
    from scipy.sparse import csr_matrix, hstack
    from sklearn.linear_model import LogisticRegression

    vocabulary = int(data.meta["vocabulary"])

    def matrix(part):
        pointers = np.arange(0, part.rows * part.fields + 1, part.fields)
        ones = (part.ids.numpy().ravel() > 0).astype(np.float32)
        onehot = csr_matrix((ones, part.ids.numpy().ravel(), pointers), (part.rows, vocabulary))
        return hstack([onehot, part.dense.numpy()]).tocsr()

    model = LogisticRegression(C=options.inverse_strength, max_iter=300)
    begin = time.perf_counter()
    model.fit(matrix(data), data.label.numpy())
    label = test.label.double()
    logit = model.decision_function(matrix(test)).astype(np.float64)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(torch.from_numpy(logit), label)
    seconds = time.perf_counter() - begin
    say({"model": "sklearn", "seconds": seconds, "logLoss": float(loss), "auc": auc(logit, label.numpy())})


def say(message):
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    arguments = parse()
    train_data, test_data = Data(arguments.train), Data(arguments.test)
    if arguments.model == "sklearn":
        sklearn(arguments, train_data, test_data)
    else:
        for number in arguments.seeds:
            train(arguments, train_data, test_data, number)
