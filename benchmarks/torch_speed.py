"""The same three networks in PyTorch, bfloat16 autocast and channels_last on the processor (see training_speed.py)."""

import json
import sys
import time

import torch
from torch import nn

from imagelab.data import load_dataset
from imagelab.data.dataset import Split
from imagelab.data.split import SplitSpec


def network(name: str) -> nn.Module:
    if name == "basic_ann":
        return nn.Sequential(
            nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Dropout(0.2),
            nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10),
        )  # fmt: skip
    if name == "basic_cnn":
        return nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10),
        )  # fmt: skip
    body: list[nn.Module] = []
    for channels, filters in ((1, 32), (32, 64)):
        body += [nn.Conv2d(channels, filters, 3), nn.ReLU(), nn.BatchNorm2d(filters)]
        body += [nn.Conv2d(filters, filters, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)]
    body += [nn.Flatten(), nn.Linear(1024, 256), nn.ReLU(), nn.BatchNorm1d(256), nn.Dropout(0.5), nn.Linear(256, 10)]
    return nn.Sequential(*body)


def scores(model: nn.Module, split: Split) -> float:
    model.eval()
    images, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        hits = [
            (model(x.permute(0, 3, 1, 2).float() / 255).argmax(1) == y).sum().item()
            for x, y in zip(images.split(500), labels.split(500), strict=True)
        ]
    return sum(hits) / len(split)


def main(name: str, seed: int, batch_size: int, epochs: int) -> None:
    torch.manual_seed(seed)
    dataset = load_dataset("fashion_mnist")
    train_split, val_split = SplitSpec(seed, 0.1).split(dataset.train)
    model = network(name).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), 0.0005 if name == "deeper_cnn" else 0.001)
    images, labels = torch.from_numpy(train_split.images), torch.from_numpy(train_split.labels)
    started = time.perf_counter()
    for _ in range(epochs):
        model.train()
        for indices in torch.randperm(len(labels)).split(batch_size):
            batch = images[indices].permute(0, 3, 1, 2).float() / 255
            with torch.autocast("cpu", torch.bfloat16):
                outputs = model(batch)
            loss = nn.functional.cross_entropy(outputs.float(), labels[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scores(model, val_split)
    speed = len(labels) * epochs / (time.perf_counter() - started)
    print(json.dumps({"images_per_second": speed, "test_accuracy": scores(model, dataset.test)}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
