"""A small CIFAR-10 of random images, in the files that torchvision reads."""

import hashlib
import pickle
import struct

import numpy as np
import torchvision

from kerasnets import data


def write(root, monkeypatch, count=12):
    """Write a CIFAR-10 of random images and have torchvision take its checksums for the right ones."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    kind = torchvision.datasets.CIFAR10

    def write_batch(name):
        images = random.integers(0, 256, (count, 3072), dtype=np.uint8)
        batch = {"data": images, "labels": random.integers(0, 10, count).tolist()}
        raw = pickle.dumps(batch, protocol=2)
        (folder / name).write_bytes(raw)
        return [name, hashlib.md5(raw).hexdigest()]

    monkeypatch.setattr(kind, "train_list", [write_batch(name) for name, _ in kind.train_list])
    monkeypatch.setattr(kind, "test_list", [write_batch(name) for name, _ in kind.test_list])
    (folder / "batches.meta").write_bytes(class_file())
    return folder


def class_file():
    """CIFAR-10's file of class names as Python 2 pickled it, from the names in kerasnets."""

    def text(value):
        return b"U" + bytes([len(value)]) + value.encode()

    memo = iter(range(1, 100))

    def memoize(value):
        return value + b"q" + bytes([next(memo)])

    raw = b"\x80\x02" + memoize(b"}") + b"(" + memoize(text("num_cases_per_batch")) + b"M" + struct.pack("<H", 10000)
    raw += memoize(text("label_names")) + memoize(b"]") + b"("
    raw += b"".join(memoize(text(name)) for name in data.class_names("cifar10")) + b"e"
    return raw + memoize(text("num_vis")) + b"M" + struct.pack("<H", 3072) + b"u."
