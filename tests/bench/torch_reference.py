#!/usr/bin/python3
"""Times PyTorch on a network and prints JSON, seconds per sample at the best batch size of each task.

Tasks: values (forward and loss), per-sample gradients (functorch vmap of grad), D v (forward-mode product, then a
weighted gradient: JVP + VJP, the cheapest way to apply the diffusion matrix once), a training step (batch 128, SGD with
momentum); with --epoch N also a training epoch: N samples in memory, shuffled, batches of 128 taken from them. Random weights, random data in memory, evaluation mode except for training. Needs Debian's python3-torch;
run it with /usr/bin/python3. `clarkia bench` sets its own figures beside these.
"""
import argparse
import json
import time

import functorch
import torch
import torch.nn as nn
import torch.nn.functional as F


def small_lenet():
    """small-lenet: 13,338 weights (docs/theory.md, network facts)."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3),
        nn.Conv2d(8, 16, 5), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 10))


def tiny_fc():
    """tiny-fc: 917 weights for 49 inputs and 5 classes."""
    return nn.Sequential(nn.Flatten(), nn.Linear(49, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 5))


class Block(nn.Module):
    """Two convolutions beside a shortcut that takes every second pixel where the image shrinks (option A)."""

    def __init__(self, inputs, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.more = stride, (channels - inputs) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, self.more, self.more))
        return F.relu(x + y)


def resnet(depth):
    """CIFAR ResNet of 6n+2 layers: 269,722 weights at depth 20, 1,727,962 at 110."""
    layers, inputs = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()], 16
    for channels in (16, 32, 64):
        for i in range((depth - 2) // 6):
            layers.append(Block(inputs, channels, 2 if i == 0 and channels > 16 else 1))
            inputs = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


NETS = {"small-lenet": (small_lenet, (1, 28, 28), 10), "tiny-fc": (tiny_fc, (1, 7, 7), 5),
        "resnet-20": (lambda: resnet(20), (3, 32, 32), 10), "resnet-110": (lambda: resnet(110), (3, 32, 32), 10)}


def best(work, samples, seconds):
    """Least time per sample of repeated calls of work(), after a warm-up call, over about `seconds`."""
    work()
    least, begin = float("inf"), time.perf_counter()
    while True:
        start = time.perf_counter()
        work()
        end = time.perf_counter()
        least = min(least, end - start)
        if end - begin > seconds:
            return least / samples


def values_task(net, data, labels):
    def work():
        with torch.no_grad():
            F.cross_entropy(net(data), labels, reduction="none")
    return work


def functional(net):
    func, params, buffers = functorch.make_functional_with_buffers(net)

    def losses(weights, data, labels):
        return F.cross_entropy(func(weights, buffers, data), labels, reduction="none")
    return losses, params


def rows_task(net, data, labels):
    losses, params = functional(net)

    def one(weights, x, y):
        return losses(weights, x.unsqueeze(0), y.unsqueeze(0))[0]
    rows = functorch.vmap(functorch.grad(one), in_dims=(None, 0, 0))
    return lambda: rows(params, data, labels)


def diffusion_task(net, data, labels):
    losses, params = functional(net)
    vector = tuple(torch.randn_like(p) for p in params)

    def work():
        _, slopes = functorch.jvp(lambda w: losses(w, data, labels), (params,), (vector,))
        _, pull = functorch.vjp(lambda w: losses(w, data, labels), params)
        return pull(slopes - slopes.mean())
    return work


def training_task(net, data, labels):
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)

    def work():
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(net(data), labels).backward()
        optimizer.step()
    return work


def epoch_task(net, data, labels):
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)

    def work():
        order = torch.randperm(len(data))
        for first in range(0, len(data), 128):
            batch = order[first:first + 128]
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(net(data[batch]), labels[batch]).backward()
            optimizer.step()
    return work


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0, help="time spent on each task and batch size")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 64, 128, 256, 512, 1024])
    parser.add_argument("--net", choices=NETS, default="small-lenet")
    parser.add_argument("--tasks", nargs="+", help="some of the tasks only")
    parser.add_argument("--epoch", type=int, metavar="N", help="also time a training epoch over N samples")
    options = parser.parse_args()
    make, shape, classes = NETS[options.net]
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    result = {"torch": torch.__version__, "threads": options.threads, "network": options.net}
    tasks = {"values": values_task, "per_sample_gradients": rows_task, "diffusion_product": diffusion_task,
             "training_step": training_task}
    batches = dict.fromkeys(tasks, options.batches)
    batches["training_step"] = [128]
    if options.epoch:
        tasks["training_epoch"], batches["training_epoch"] = epoch_task, [options.epoch]
    for name, task in tasks.items():
        if options.tasks and name not in options.tasks:
            continue
        timings = {}
        for batch in batches[name]:
            net = make()
            net.train(name.startswith("training"))
            data, labels = torch.randn(batch, *shape), torch.randint(classes, (batch,))
            timings[batch] = best(task(net, data, labels), batch, options.seconds)
        batch = min(timings, key=timings.get)
        result[name] = {"seconds_per_sample": timings[batch], "batch": batch, "by_batch": timings}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
