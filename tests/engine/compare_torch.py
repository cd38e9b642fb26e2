"""Compares engines with PyTorch on the same weights and images: values, per-sample gradients, D v, a training step.

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


def lenet(first, second, hidden):
    layers = [
        ("conv1", nn.Conv2d(1, first, 5)), ("bn1", batchnorm(nn.BatchNorm2d, first)), (None, nn.ReLU()),
        (None, nn.MaxPool2d(3)),
        ("conv2", nn.Conv2d(first, second, 5)), ("bn2", batchnorm(nn.BatchNorm2d, second)), (None, nn.ReLU()),
        (None, nn.MaxPool2d(2)), (None, nn.Flatten()),
    ]
    if not hidden:
        return Net(layers + [("fc1", nn.Linear(4 * second, 10))])
    return Net(layers + [
        ("fc1", nn.Linear(4 * second, hidden)), ("bn3", batchnorm(nn.BatchNorm1d, hidden)), (None, nn.ReLU()),
        ("fc2", nn.Linear(hidden, 10)),
    ])


def allcnn(a):
    layers, channels = [], 3
    b = 2 * a
    for i, (width, stride) in enumerate([(a, 1), (a, 1), (a, 2), (b, 1), (b, 1), (b, 2), (b, 1), (b, 1)], 1):
        layers += [(f"conv{i}", nn.Conv2d(channels, width, 3, stride=stride, padding=1)),
                   (f"bn{i}", batchnorm(nn.BatchNorm2d, width)), (None, nn.ReLU())]
        channels = width
    layers += [("conv9", nn.Conv2d(b, 10, 1)), ("bn9", batchnorm(nn.BatchNorm2d, 10)), (None, nn.ReLU()),
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


class Block(nn.Module):
    """Residual block after He et al.: two 3x3 convolutions, or 1x1, 3x3, 1x1 to four times the channels."""

    def __init__(self, channels, width, stride, bottleneck, pre, projection):
        super().__init__()
        out = 4 * width if bottleneck else width
        sizes = [(width, 1, 1), (width, 3, stride), (out, 1, 1)] if bottleneck else [(width, 3, stride), (width, 3, 1)]
        self.pre, self.steps, self.out = pre, len(sizes), out
        self.changes, self.stride = stride != 1 or channels != out, stride
        before = channels
        for i, (units, kernel, step) in enumerate(sizes, 1):
            convolution = nn.Conv2d(before, units, kernel, step, kernel // 2, bias=False)
            norm = batchnorm(nn.BatchNorm2d, before if pre else units)
            for name, layer in [("bn", norm), ("conv", convolution)] if pre else [("conv", convolution), ("bn", norm)]:
                self.add_module(f"{name}{i}", layer)
            before = units
        if self.changes and projection:
            layers = [nn.Conv2d(channels, out, 1, stride, bias=False)]
            self.downsample = nn.Sequential(*layers, *([] if pre else [batchnorm(nn.BatchNorm2d, out)]))

    def shortcut(self, x):
        if not self.changes:
            return x
        if hasattr(self, "downsample"):
            return self.downsample(x)
        more = self.out - x.shape[1]
        return nn.functional.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, more // 2, more - more // 2))

    def forward(self, x):
        y, skip = x, x
        for i in range(1, self.steps + 1):
            conv, norm = getattr(self, f"conv{i}"), getattr(self, f"bn{i}")
            if self.pre:
                y = torch.relu(norm(y))
                if i == 1 and self.changes:
                    skip = y
                y = conv(y)
            else:
                y = norm(conv(y))
                y = torch.relu(y) if i < self.steps else y
        y = y + self.shortcut(skip)
        return y if self.pre else torch.relu(y)


class ResNet(nn.Module):
    def __init__(self, blocks, bottleneck=False, pre=False, projection=False):
        super().__init__()
        self.pre = pre
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        if not pre:
            self.bn1 = batchnorm(nn.BatchNorm2d, 16)
        channels = 16
        for stage, width in enumerate([16, 32, 64], 1):
            layers = []
            for i in range(blocks):
                layers.append(Block(channels, width, 2 if stage > 1 and i == 0 else 1, bottleneck, pre, projection))
                channels = layers[-1].out
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
        if pre:
            self.bn = batchnorm(nn.BatchNorm2d, channels)
        self.fc = nn.Linear(channels, 10)

    def forward(self, x):
        x = self.conv1(x)
        x = x if self.pre else torch.relu(self.bn1(x))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = torch.relu(self.bn(x)) if self.pre else x
        return self.fc(x.mean(dim=(2, 3)))


class WideBlock(nn.Module):
    def __init__(self, channels, units, stride):
        super().__init__()
        self.bn1, self.conv1 = batchnorm(nn.BatchNorm2d, channels), nn.Conv2d(channels, units, 3, stride, 1, bias=False)
        self.bn2, self.conv2 = batchnorm(nn.BatchNorm2d, units), nn.Conv2d(units, units, 3, 1, 1, bias=False)
        if channels != units:
            self.convShortcut = nn.Conv2d(channels, units, 1, stride, bias=False)

    def forward(self, x):
        y = torch.relu(self.bn1(x))
        skip = self.convShortcut(y) if hasattr(self, "convShortcut") else x
        return skip + self.conv2(torch.relu(self.bn2(self.conv1(y))))


class WideStage(nn.Module):
    def __init__(self, *blocks):
        super().__init__()
        self.layer = nn.Sequential(*blocks)

    def forward(self, x):
        return self.layer(x)


class WideResNet(nn.Module):
    def __init__(self, blocks, widen):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        widths = [16, 16 * widen, 32 * widen, 64 * widen]
        for stage in (1, 2, 3):
            before = [widths[stage - 1]] + [widths[stage]] * (blocks - 1)
            strides = [2 if stage > 1 else 1] + [1] * (blocks - 1)
            self.add_module(f"block{stage}",
                            WideStage(*(WideBlock(c, widths[stage], s) for c, s in zip(before, strides))))
        self.bn1, self.fc = batchnorm(nn.BatchNorm2d, widths[3]), nn.Linear(widths[3], 10)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(torch.relu(self.bn1(x)).mean(dim=(2, 3)))


def norm_relu_conv(names, channels, units, kernel):
    layers = [batchnorm(nn.BatchNorm2d, channels), nn.ReLU(),
              nn.Conv2d(channels, units, kernel, padding=kernel // 2, bias=False)]
    return list(zip(names, layers))


def densenet(layers, growth, bottleneck=False, compression=1.0):
    class Layer(nn.Sequential):
        def forward(self, x):
            return torch.cat([x, super().forward(x)], dim=1)

    def sequence(kind, pairs):
        made = kind()
        for name, layer in pairs:
            made.add_module(name, layer)
        return made

    channels = 2 * growth if bottleneck and compression < 1 else 16
    parts = [("conv0", nn.Conv2d(3, channels, 3, padding=1, bias=False))]
    for block in (1, 2, 3):
        dense_layers = []
        for i in range(1, layers + 1):
            pairs, before = [], channels
            if bottleneck:
                pairs += norm_relu_conv(("norm1", "relu1", "conv1"), channels, 4 * growth, 1)
                before = 4 * growth
            number = 2 if bottleneck else 1
            pairs += norm_relu_conv((f"norm{number}", f"relu{number}", f"conv{number}"), before, growth, 3)
            dense_layers.append((f"denselayer{i}", sequence(Layer, pairs)))
            channels += growth
        parts.append((f"denseblock{block}", sequence(nn.Sequential, dense_layers)))
        if block < 3:
            units = int(channels * compression)
            pairs = norm_relu_conv(("norm", "relu", "conv"), channels, units, 1) + [("pool", nn.AvgPool2d(2))]
            parts.append((f"transition{block}", sequence(nn.Sequential, pairs)))
            channels = units
    parts += [("norm_final", batchnorm(nn.BatchNorm2d, channels)), ("relu_final", nn.ReLU())]
    return sequence(nn.Sequential, [("features", sequence(nn.Sequential, parts)), ("pool", nn.AdaptiveAvgPool2d(1)),
                                    ("flatten", nn.Flatten()), ("classifier", nn.Linear(channels, 10))])


def cross_entropy(z, labels):
    return nn.functional.cross_entropy(z, labels, reduction="none")


def squares(z, labels):
    return ((z - nn.functional.one_hot(labels, z.shape[1])) ** 2).sum(dim=1) / 2


CASES = {
    "small-lenet": (lambda: lenet(8, 16, 128), cross_entropy, 13338),
    "small-fc": (lambda: dense(49, [64], 10, nn.ReLU, norm=True), cross_entropy, 3978),
    "small-fc-mse": (lambda: dense(49, [64], 10, nn.ReLU, norm=True), squares, 3978),
    "tiny-fc": (lambda: dense(49, [16], 5, nn.ReLU, norm=True), cross_entropy, 917),
    "small-allcnn": (lambda: allcnn(12), cross_entropy, 26982),
    "logistic": (lambda: dense(784, [], 10, None), cross_entropy, 7850),
    "mlp": (lambda: dense(49, [64, 32], 10, nn.ReLU), cross_entropy, 5610),
    "mlp-tanh": (lambda: dense(6, [12, 9, 8], 3, nn.Tanh, norm=True, bias=False), cross_entropy, 334),
    "mlp-sigmoid": (lambda: dense(6, [10], 3, nn.Sigmoid), cross_entropy, 103),
    "mlp-softplus": (lambda: dense(6, [10, 7], 3, nn.Softplus), squares, 171),
    "lenet": (lambda: lenet(20, 50, 500), cross_entropy, 132220),
    "tiny-lenet": (lambda: lenet(4, 8, 0), cross_entropy, 1266),
    "allcnn": (lambda: allcnn(96), cross_entropy, 1667166),
    "resnet-A": (lambda: ResNet(2), cross_entropy, 172506),
    "resnet-B": (lambda: ResNet(1, projection=True), cross_entropy, 78042),
    "resnet-bottleneck": (lambda: ResNet(1, bottleneck=True), cross_entropy, 84762),
    "preresnet-A": (lambda: ResNet(1, pre=True), cross_entropy, 75290),
    "preresnet-bottleneck-B": (lambda: ResNet(2, bottleneck=True, pre=True, projection=True), cross_entropy, 219482),
    "wrn": (lambda: WideResNet(2, 2), cross_entropy, 691674),
    "densenet": (lambda: densenet(3, 4), cross_entropy, 14530),
    "densenet-BC": (lambda: densenet(2, 5, bottleneck=True, compression=0.5), cross_entropy, 8290),
}
LARGE = {"allcnn"}  # not run by the engine reference (torch_dump.c)


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
        v = torch.from_numpy(file["vector"][...]).flatten()
    net.eval()
    values = [loss(net(x[k:k + 1]), y[k:k + 1])[0] for k in range(len(y))]
    result = {"values": torch.stack(values).detach(), "gradients": torch.stack([gradient(net, f) for f in values])}
    slopes = result["gradients"] @ v
    result["product"] = ((slopes - slopes.mean()) @ result["gradients"] / len(y)).unsqueeze(0)
    scale = (slopes.abs() * result["gradients"].norm(dim=1)).mean()  # of the terms that D v is the sum of
    net.train()
    values = loss(net(x), y)
    result["training_values"] = values.detach()
    result["training_gradient"] = gradient(net, (w * values).sum()).unsqueeze(0)
    if statistics(net):
        result["training_statistics"] = torch.cat(statistics(net)).unsqueeze(0)
    return result, scale


def errors(expected, scale, path):
    """Largest normwise error of each dataset's rows; of D v against scale."""
    found = {}
    with h5py.File(path, "r") as file:
        for name, want in expected.items():
            have = torch.from_numpy(file[name][...]).reshape(want.shape)
            assert torch.isfinite(have).all(), name
            if want.dim() == 1:  # values: against 1, for they may be small
                found[name] = float(((have - want).abs() / want.abs().clamp(min=1)).max())
            elif name == "product":
                found[name] = float((have - want).norm() / scale)
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
        expected, scale = reference(case, folder)
        for engine, tolerance in tolerances.items():
            if engine == "reference" and case in LARGE:
                continue
            for name, error in errors(expected, scale, f"{folder}/{case}.{engine}.h5").items():
                verdict = "" if error <= tolerance else "  FAILED"
                failed += bool(verdict)
                print(f"{case:22} {engine:10} {name:20} {error:9.2e}{verdict}")
    shutil.rmtree(folder)
    print(f"{failed} comparisons failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
