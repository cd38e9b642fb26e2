"""Compares engines with PyTorch on the same weights and images: values, per-sample gradients, a training step.

usage: compare_torch.py FOLDER ENGINE=TOLERANCE... -- COMMAND...

COMMAND FOLDER ENGINE... (torch_dump.c) writes the files. The nets are defined here on their own; PyTorch computes
in float64. Exit code 77: PyTorch or h5py is missing. Errors are normwise, a sample or vector at a time.
"""
import os
import shutil
import subprocess
import sys

try:
    import h5py
    import torch
    from torch import nn
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)


class Net(nn.Module):
    """Layers in order, named as in the state file; unnamed ones hold no parameters."""

    def __init__(self, layers):
        super().__init__()
        self.order = []
        for name, layer in layers:
            self.order.append(layer)
            if name:
                self.add_module(name, layer)

    def forward(self, x):
        for layer in self.order:
            x = layer(x)
        return x


def batchnorm(kind, channels):
    return kind(channels, eps=1e-5, momentum=1.0)  # momentum 1: the running statistics become the batch's


def lenet():
    return Net([
        ("conv1", nn.Conv2d(1, 8, 5)), ("bn1", batchnorm(nn.BatchNorm2d, 8)), (None, nn.ReLU()),
        (None, nn.MaxPool2d(3)),
        ("conv2", nn.Conv2d(8, 16, 5)), ("bn2", batchnorm(nn.BatchNorm2d, 16)), (None, nn.ReLU()),
        (None, nn.MaxPool2d(2)), (None, nn.Flatten()),
        ("fc1", nn.Linear(64, 128)), ("bn3", batchnorm(nn.BatchNorm1d, 128)), (None, nn.ReLU()),
        ("fc2", nn.Linear(128, 10)),
    ])


def allcnn():
    layers, channels = [], 3
    for i, (width, stride) in enumerate([(12, 1), (12, 1), (12, 2), (24, 1), (24, 1), (24, 2), (24, 1), (24, 1)], 1):
        layers += [(f"conv{i}", nn.Conv2d(channels, width, 3, stride=stride, padding=1)),
                   (f"bn{i}", batchnorm(nn.BatchNorm2d, width)), (None, nn.ReLU())]
        channels = width
    layers += [("conv9", nn.Conv2d(24, 10, 1)), ("bn9", batchnorm(nn.BatchNorm2d, 10)), (None, nn.ReLU()),
               (None, nn.AvgPool2d(8)), (None, nn.Flatten())]
    return Net(layers)


def dense(inputs, widths, classes, activation, norm=False, bias=True):
    layers = [(None, nn.Flatten())]
    for i, width in enumerate(widths, 1):
        layers.append((f"fc{i}", nn.Linear(inputs, width, bias=bias)))
        if norm:
            layers.append((f"bn{i}", batchnorm(nn.BatchNorm1d, width)))
        layers.append((None, activation()))
        inputs = width
    layers.append((f"fc{len(widths) + 1}", nn.Linear(inputs, classes, bias=bias)))
    return Net(layers)


def cross_entropy(z, labels):
    return nn.functional.cross_entropy(z, labels, reduction="none")


def squares(z, labels):
    return ((z - nn.functional.one_hot(labels, z.shape[1])) ** 2).sum(dim=1) / 2


CASES = {
    "small-lenet": (lenet, cross_entropy, 13338),
    "small-fc": (lambda: dense(49, [64], 10, nn.ReLU, norm=True), cross_entropy, 3978),
    "small-fc-mse": (lambda: dense(49, [64], 10, nn.ReLU, norm=True), squares, 3978),
    "tiny-fc": (lambda: dense(49, [16], 5, nn.ReLU, norm=True), cross_entropy, 917),
    "small-allcnn": (allcnn, cross_entropy, 26982),
    "logistic": (lambda: dense(784, [], 10, None), cross_entropy, 7850),
    "mlp": (lambda: dense(49, [64, 32], 10, nn.ReLU), cross_entropy, 5610),
    "mlp-tanh": (lambda: dense(6, [12, 9, 8], 3, nn.Tanh, norm=True, bias=False), cross_entropy, 334),
    "mlp-sigmoid": (lambda: dense(6, [10], 3, nn.Sigmoid), cross_entropy, 103),
    "mlp-softplus": (lambda: dense(6, [10, 7], 3, nn.Softplus), squares, 171),
}


def load(net, path):
    with h5py.File(path, "r") as file:
        state = {name: torch.from_numpy(data[...]) for name, data in file["state"].items()}
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing), missing


def gradient(net, value):
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(net.parameters()))])


def statistics(net):
    return [b.flatten() for name, b in net.named_buffers() if not name.endswith("num_batches_tracked")]


def reference(case, folder):
    build, loss, weights = CASES[case]
    net = build().double()
    load(net, f"{folder}/{case}.state.h5")
    assert sum(p.numel() for p in net.parameters()) == weights, case
    with h5py.File(f"{folder}/{case}.data.h5", "r") as file:
        x = torch.from_numpy(file["features"][...]).double()
        y = torch.from_numpy(file["labels"][...]).flatten()
        w = torch.from_numpy(file["weights"][...]).flatten()
    net.eval()
    values = [loss(net(x[k:k + 1]), y[k:k + 1])[0] for k in range(len(y))]
    result = {"values": torch.stack(values).detach(), "gradients": torch.stack([gradient(net, f) for f in values])}
    net.train()
    values = loss(net(x), y)
    result["training_values"] = values.detach()
    result["training_gradient"] = gradient(net, (w * values).sum()).unsqueeze(0)
    if statistics(net):
        result["training_statistics"] = torch.cat(statistics(net)).unsqueeze(0)
    return result


def errors(expected, path):
    """Largest normwise error of each dataset's rows."""
    found = {}
    with h5py.File(path, "r") as file:
        for name, want in expected.items():
            have = torch.from_numpy(file[name][...]).reshape(want.shape)
            assert torch.isfinite(have).all(), name
            if want.dim() == 1:  # values: against 1, for they may be small
                found[name] = float(((have - want).abs() / want.abs().clamp(min=1)).max())
            else:
                found[name] = float(((have - want).norm(dim=1) / want.norm(dim=1)).max())
    return found


def main():
    split = sys.argv.index("--")
    folder, command = sys.argv[1], sys.argv[split + 1:]
    tolerances = {name: float(value) for name, value in (text.split("=") for text in sys.argv[2:split])}
    torch.set_num_threads(1)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    subprocess.run(command + [folder] + list(tolerances), check=True)
    failed = 0
    for case in CASES:
        expected = reference(case, folder)
        for engine, tolerance in tolerances.items():
            for name, error in errors(expected, f"{folder}/{case}.{engine}.h5").items():
                verdict = "" if error <= tolerance else "  FAILED"
                failed += bool(verdict)
                print(f"{case:14} {engine:10} {name:20} {error:9.2e}{verdict}")
    shutil.rmtree(folder)
    print(f"{failed} comparisons failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
