"""PyTorch's SGD on the problem that test_sgd_torch.c left in a folder: same weights, samples and order."""
import sys

import numpy as np
import torch

folder = sys.argv[1]
samples, features, classes, batch, epochs, nesterov = (int(a) for a in sys.argv[2:8])
rate, momentum, decay, factor = (float(a) for a in sys.argv[8:12])
milestones = [int(a) for a in sys.argv[12].split(",") if a]
widths = [int(a) for a in sys.argv[13].split(",")]


def read(name, kind):
    return np.fromfile(f"{folder}/{name}", dtype=kind)


torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
layers, inputs = [], features
for width in widths:
    layers += [torch.nn.Linear(inputs, width), torch.nn.BatchNorm1d(width), torch.nn.Tanh()]
    inputs = width
net = torch.nn.Sequential(*layers, torch.nn.Linear(inputs, classes))
torch.nn.utils.vector_to_parameters(torch.from_numpy(read("weights", "f8")), net.parameters())
x = torch.from_numpy(read("features", "f4").reshape(samples, features)).double()
y = torch.from_numpy(read("labels", "i4")).long()
order = torch.from_numpy(read("order", "i4")).long().reshape(epochs, samples)

optimiser = torch.optim.SGD(net.parameters(), lr=rate, momentum=momentum, weight_decay=decay, nesterov=bool(nesterov))
schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, factor)
net.train()
losses = []
for epoch in range(epochs):
    total = 0.0
    for index in torch.split(order[epoch], batch):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x[index]), y[index])
        loss.backward()
        optimiser.step()
        total += loss.item() * len(index)
    losses.append(total / samples)
    schedule.step()
weights = torch.nn.utils.parameters_to_vector(net.parameters()).detach().numpy()
running = [b.numpy() for name, b in net.named_buffers() if not name.endswith("num_batches_tracked")]
np.concatenate([weights, *running, np.array(losses)]).tofile(f"{folder}/result")
