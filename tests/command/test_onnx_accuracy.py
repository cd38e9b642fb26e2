"""Published models on published data: the accuracies that others measured, on the onednn engine; the reference engine
gives the same losses on some of the samples.

usage: test_onnx_accuracy.py CLARKIA DATA
Exit code 77: DATA (models and images, see tests/CMakeLists.txt) is missing.
"""
import filecmp
import gzip
import os
import shutil
import subprocess
import sys
import tempfile

import h5py
import numpy as np

clarkia, data = sys.argv[1:]
mnist = ["-data", f"{data}/mnist", "-data_split", "test"]
cifar = ["-data", f"{data}/cifar10/test_batch.rec000-499.bin", "-data_format", "cifar10",
         "-data_mean", "0.4914,0.4822,0.4465", "-data_deviation", "0.2471,0.2435,0.2616"]


def evaluate(*options):
    run = subprocess.run([clarkia, "evaluate", *options, "-output", "out.h5"], text=True, capture_output=True)
    if run.returncode:
        sys.exit(run.stdout + run.stderr)
    with h5py.File("out.h5") as file:
        return int(file.attrs["correct"]), int(file.attrs["samples"]), float(file.attrs["loss"]), file["values"][:]


def frame(source):
    """MNIST's test images inside 32 x 32 pixels, the rim black."""
    with gzip.open(f"{source}/mnist/t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    framed = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    with open("framed", "wb") as file:
        file.write(np.array([2051, *framed.shape], ">i4").tobytes() + framed.tobytes())
    return ["-data", "framed", "-data_labels", f"{source}/mnist/t10k-labels-idx1-ubyte.gz", "-data_format", "idx"]


def keep_the_model(model):
    """No result takes the place of the network it comes from."""
    shutil.copy(model, "net.onnx")
    for command in "evaluate", "train", "spectrum":
        run = subprocess.run([clarkia, command, *mnist, "-data_count", "100", "-net", "net.onnx", "-output", "net.onnx"],
                             text=True, capture_output=True)
        assert run.returncode and "net.onnx is a file that this run reads" in run.stderr, f"{command}: {run.stderr}"
    assert filecmp.cmp(model, "net.onnx", shallow=False)


def main():
    models = [("mnist-net_256x2", mnist, 9808, 200), ("Convnet_maxpool", mnist, 9792, 200),
              ("opt-mnist", [*mnist, "-data_transform", "none"], 9891, 100), ("lenet", frame(data), None, 50),
              ("resnet_2b", cifar, 345, 50), ("resnet20", cifar, 459, 4)]
    for name, options, right, few in models:
        net = ["-net", f"{data}/onnx/{name}.onnx"]
        correct, samples, loss, values = evaluate(*options, *net)
        print(f"{name}: {correct} of {samples}, loss {loss:.6g}")
        if right is None:
            assert round(100 * correct / samples) == 11, "lenet: not the published 11 %"
        else:
            assert correct == right, f"{name}: not the published {right}"
        assert abs(values.mean() - loss) <= 1e-12 * max(1, loss)
        slow = evaluate(*options, *net, "-engine", "reference", "-data_count", str(few))[3]
        worst = np.abs(slow - values[:few]).max() / np.abs(slow).max()
        print(f"  reference engine on {few} samples: losses differ by at most {worst:.2g} of the largest")
        assert worst < 1e-5
    keep_the_model(f"{data}/onnx/mnist-net_256x2.onnx")


if not os.path.isdir(f"{data}/onnx"):
    print(f"skipped: no {data}/onnx")
    sys.exit(77)
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    main()
