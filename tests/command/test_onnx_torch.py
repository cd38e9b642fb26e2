"""Networks written by torch.onnx.export, against PyTorch in float64: the loss of each sample, and all weights and
running statistics after one step of SGD, tensor by tensor under their names in the state_dict.

usage: test_onnx_torch.py CLARKIA
Exit code 77: PyTorch or h5py is missing.
"""
import os
import subprocess
import sys
import tempfile
import warnings

try:
    import h5py
    import torch
    from torch import nn
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

clarkia = os.path.abspath(sys.argv[1])
N, CLASSES, SIDE = 12, 4, 12


class Plain(nn.Module):
    """A shape taken from the batch, asymmetric padding, a pool that looks over the edge."""

    def __init__(self):
        super().__init__()
        self.pad = nn.ZeroPad2d((2, 1, 0, 1))
        self.conv1 = nn.Conv2d(1, 4, 3, stride=2)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.conv2 = nn.Conv2d(4, 5, 2, padding=1, bias=False)
        self.fc = nn.Linear(5 * 5 * 4, CLASSES)

    def forward(self, x):
        x = self.pool(torch.tanh(self.conv1(self.pad(x))))
        x = torch.relu(self.conv2(x))
        return self.fc(x.view(x.size(0), -1))


class Residual(nn.Module):
    """Batch norm kept, an addition, a concatenation, means over the image, log-softmax at the end."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.layers = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.bn2 = nn.BatchNorm2d(8)
        self.pool = nn.AvgPool2d(3, stride=2, padding=1)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = torch.sigmoid(self.bn1(self.conv1(x)))
        x = torch.cat([x, torch.tanh(self.layers(x) + x)], 1)
        x = self.pool(torch.relu(self.bn2(x))).mean([2, 3])
        return torch.log_softmax(self.fc(x), 1)


class Dense(nn.Module):
    """Vectors: batch norm of features, dense layers without a bias, softplus."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(SIDE * SIDE, 9, bias=False)
        self.bn = nn.BatchNorm1d(9)
        self.fc2 = nn.Linear(9, CLASSES)

    def forward(self, x):
        x = nn.functional.softplus(self.bn(self.fc1(torch.flatten(x, 1))))
        return self.fc2(x)


def run(*arguments):
    done = subprocess.run([clarkia, *arguments], text=True, capture_output=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def write_images():
    images = torch.randint(0, 256, (N, SIDE, SIDE), dtype=torch.uint8)
    labels = torch.arange(N, dtype=torch.uint8) % CLASSES
    with open("images", "wb") as file:
        file.write(b"".join(x.to_bytes(4, "big") for x in (2051, N, SIDE, SIDE)) + images.numpy().tobytes())
    with open("labels", "wb") as file:
        file.write(b"".join(x.to_bytes(4, "big") for x in (2049, N)) + labels.numpy().tobytes())
    pixels = images.float() * torch.tensor(1 / 255, dtype=torch.float32)  # samples are float32
    return pixels.double().reshape(N, 1, SIDE, SIDE), labels.long()


def compare(what, ours, theirs, tolerance):
    error = (ours - theirs).abs().max().item() / max(theirs.abs().max().item(), 1e-3)
    if not error <= tolerance:
        sys.exit(f"{what}: differs by {error:.3g} of its largest number, more than {tolerance}")
    return error


def check(kind, opset, dynamic, engine, tolerance):
    x, y = write_images()
    net = kind()
    for name, buffer in net.named_buffers():  # as after some training
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    net.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, x[:1].float(), "net.onnx", opset_version=opset, do_constant_folding=False,
                          training=torch.onnx.TrainingMode.PRESERVE, input_names=["x"],
                          dynamic_axes={"x": {0: "n"}} if dynamic else None)
    net.double()
    data = ["-data", "images", "-data_labels", "labels", "-data_format", "idx", "-net", "net.onnx", "-engine", engine]
    run("evaluate", *data, "-output", "values.h5")
    with torch.no_grad():
        theirs = nn.functional.cross_entropy(net(x), y, reduction="none")
    with h5py.File("values.h5") as file:
        worst = compare(f"{kind.__name__}, opset {opset}: losses", torch.tensor(file["values"][:]), theirs, tolerance)

    run("train", *data, "-dynamics_epochs", "1", "-dynamics_batch", str(N), "-dynamics_rate", "0.5", "-dynamics_momentum",
        "0", "-train_test", "false", "-output", "state.h5")
    net.train()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.5)
    nn.functional.cross_entropy(net(x), y).backward()
    optimiser.step()
    expected = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    with h5py.File("state.h5") as file:
        names = set(file["state"])
        if names != set(expected):
            sys.exit(f"{kind.__name__}, opset {opset}: tensors {sorted(names)} instead of {sorted(expected)}")
        for name, tensor in expected.items():
            worst = max(worst, compare(f"{kind.__name__}, opset {opset}: {name}",
                                       torch.tensor(file["state"][name][()]), tensor, tolerance))
    print(f"{kind.__name__}, opset {opset}, {engine}: differences up to {worst:.2g}")


torch.manual_seed(3)
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    for kind in (Plain, Residual, Dense):
        for opset in (9, 11, 13, 16):
            check(kind, opset, opset != 9, "reference", 1e-9)
        check(kind, 17, False, "onednn", 2e-5)
