"""state_from_torch.py there and back, with PyTorch's small-lenet and a state file of clarkia's own.

Usage: <this> <analysis folder> <clarkia>. Skipped where there is no PyTorch.
"""
import os
import subprocess
import sys
import unittest
from unittest import mock

try:
    import torch
except ImportError:
    print("no PyTorch: skipped")
    sys.exit(77)
import h5py
import numpy as np

from scripts import ScriptTest
import state_from_torch

CLARKIA = sys.argv.pop(1)


class SmallLenet(torch.nn.Module):
    """Layers named as in docs/formats.md."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(1, 8, 5), torch.nn.BatchNorm2d(8)
        self.conv2, self.bn2 = torch.nn.Conv2d(8, 16, 5), torch.nn.BatchNorm2d(16)
        self.fc1, self.bn3 = torch.nn.Linear(64, 128), torch.nn.BatchNorm1d(128)
        self.fc2 = torch.nn.Linear(128, 10)


class StateFromTorch(ScriptTest):
    script = "state_from_torch.py"

    def convert(self, source, target, *more):
        return self.run_script(self.path(source), self.path(target), *more)

    def refusal(self, source, target):
        """What the script says when it stops, in this process: loading PyTorch each time takes long."""
        with mock.patch.object(sys, "argv", [self.script, self.path(source), self.path(target)]):
            with self.assertRaises(SystemExit) as stopped:
                state_from_torch.main()
        return str(stopped.exception.code)

    def clarkia(self, *arguments):
        return subprocess.run([CLARKIA, *arguments, "-data", "synthetic", "-data_shape", "1,28,28", "-data_classes", "10",
                               "-data_count", "64", "-dynamics_batch", "32"], capture_output=True, text=True, check=False)

    def test_clarkia_reads_what_pytorch_wrote(self):
        torch.manual_seed(1)
        net = SmallLenet()
        torch.save(net.state_dict(), self.path("net.pt"))
        self.assertEqual(self.convert("net.pt", "net.h5").returncode, 0)
        run = self.clarkia("train", "-net", "small-lenet", "-state", self.path("net.h5"), "-dynamics_epochs", "0",
                           "-output", self.path("same.h5"))
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        with h5py.File(self.path("same.h5")) as file:
            for key, tensor in net.state_dict().items():
                if not key.endswith("num_batches_tracked"):
                    np.testing.assert_array_equal(file[f"state/{key}"][...], tensor.double().numpy(), key)

    def test_pytorch_reads_what_clarkia_wrote(self):
        run = self.clarkia("train", "-net", "small-lenet", "-dynamics_epochs", "1", "-output", self.path("net.h5"))
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertEqual(self.convert("net.h5", "net.pt").returncode, 0)
        net = SmallLenet().double()
        loaded = net.load_state_dict(torch.load(self.path("net.pt")), strict=False)
        self.assertEqual(loaded.unexpected_keys, [])
        self.assertTrue(all(key.endswith("num_batches_tracked") for key in loaded.missing_keys), loaded.missing_keys)
        self.assertEqual(sum(p.numel() for p in net.parameters()), 13338)
        self.assertEqual(self.convert("net.pt", "again.h5").returncode, 0)
        with h5py.File(self.path("net.h5")) as first, h5py.File(self.path("again.h5")) as second:
            self.assertEqual(set(first["state"]), set(second["state"]))
            for key, data in first["state"].items():
                np.testing.assert_array_equal(data[...], second[f"state/{key}"][...], key)

    def test_bad_files(self):
        torch.save([1, 2], self.path("list.pt"))
        result = self.convert("list.pt", "out.h5")
        self.assertEqual(result.returncode, 1)
        self.assertIn("no state_dict", result.stderr)
        with open(self.path("text.pt"), "w", encoding="ascii") as file:
            file.write("not a pickle")
        with open(self.path("text.h5"), "w", encoding="ascii") as file:
            file.write("not HDF5")
        with h5py.File(self.path("other.h5"), "w") as file:
            file["features"] = np.zeros(3)
        torch.save({"w": torch.zeros(2)}, self.path("good.pt"))
        cases = (("absent.h5", "out.pt", "absent.h5: No such file"), ("absent.pt", "out.h5", "absent.pt: No such file"),
                 ("text.pt", "out.h5", "text.pt is no file of torch.save"), ("text.h5", "out.pt", "text.h5: is no HDF5 file"),
                 ("other.h5", "out.pt", "no group /state"), ("good.pt", "out.dat", "out.dat: its ending"),
                 ("other.h5", "out.hdf5", "both names of a state file"), ("good.pt", "none/out.h5", "No such file"),
                 ("text.pt", "out.hdf5", "text.pt"))
        for source, target, words in cases:
            before = sorted(os.listdir(self.folder.name))
            message = self.refusal(source, target)
            self.assertIn(words, message)
            self.assertEqual(len(message.splitlines()), 1, message)
            self.assertEqual(sorted(os.listdir(self.folder.name)), before)

    def test_both_endings(self):
        torch.save({"w": torch.arange(3.0)}, self.path("a.pth"))
        state_from_torch.convert(self.path("a.pth"), self.path("a.hdf5"), torch.float64)
        state_from_torch.convert(self.path("a.hdf5"), self.path("b.pt"), torch.float32)
        self.assertTrue(torch.equal(torch.load(self.path("b.pt"))["w"], torch.arange(3.0)))
        self.assertEqual(sorted(os.listdir(self.folder.name)), ["a.hdf5", "a.pth", "b.pt"])


if __name__ == "__main__":
    unittest.main()
