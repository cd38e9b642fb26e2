"""T20 by `clarkia train`: a linear layer under mean squared error is a quadratic landscape, whose density goes to files.

usage: test_jko.py CLARKIA MPIEXEC FLAG RANKS
"""
import os
import subprocess
import sys
import tempfile
import unittest

import h5py
import numpy as np

CLARKIA, MPIEXEC, FLAG, RANKS = [sys.argv.pop(1) for _ in range(4)]
LAUNCHER = [MPIEXEC, FLAG, RANKS] if RANKS != "1" else []
# an input of mean 0 and mean square 2, so that weights have h = 2 and biases h = 1, each by itself
INPUTS, CLASSES = np.array([0.0, 2.0, 0.0, -2.0]), np.array([0, 1, 1, 0])
T, TAU, START = 0.3, 0.1, 1.5
TASK = ["train", "-data", "data.csv", "-data_format", "table", "-net", "logistic", "-net_loss", "mse", "-engine",
        "reference", "-dynamics_type", "jko", "-dynamics_temperature", str(T), "-dynamics_rate", str(TAU), "-dynamics_deviation",
        str(START), "-dynamics_tolerance", "1e-15"]


class Density(unittest.TestCase):
    def setUp(self):
        # in memory where possible: files are synced to the disk, which may be busy
        self.folder = tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None)
        self.write_data(INPUTS)

    def tearDown(self):
        self.folder.cleanup()

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def write_data(self, inputs):
        with open(self.path("data.csv"), "w", encoding="utf-8") as file:
            file.writelines(f"{a:g},{c}\n" for a, c in zip(inputs, CLASSES))

    def run_clarkia(self, *arguments, launcher=None):
        result = subprocess.run((LAUNCHER if launcher is None else launcher) + [CLARKIA, *TASK, *arguments], capture_output=True,
                                text=True, check=False, cwd=self.folder.name)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout

    def read(self, name):
        """Means and deviations, as rows of the two weights and the two biases."""
        with h5py.File(self.path(name), "r") as file:
            means = np.array([file["state/fc1.weight"][:, 0], file["state/fc1.bias"][...]])
            return means, file["density/deviations"][0].reshape(2, 2)

    def test_closed_form(self):
        targets = np.eye(2)[CLASSES]
        best = np.array([INPUTS @ targets / (INPUTS @ INPUTS), targets.mean(axis=0)])
        h = np.array([[2.0], [1.0]])
        steps = 20
        out = self.run_clarkia("-dynamics_epochs", str(steps), "-train_save", "0,0.05", "-output", "run.h5")
        first, s = self.read("run-000.h5")
        self.assertTrue((s == START).all())
        _, s = self.read("run-005.h5")
        np.testing.assert_allclose(s[0], 1.26968985, atol=5e-9)
        found, deviations = self.read("run.h5")
        s = np.full((2, 2), START)
        for _ in range(steps):
            s = (s + np.sqrt(s * s + 4 * TAU * (1 + TAU * h) * T)) / (2 * (1 + TAU * h))
        np.testing.assert_allclose(deviations, s, rtol=1e-13)
        np.testing.assert_allclose(found, best + (first - best) / (1 + TAU * h) ** steps, atol=1e-13)
        energies = [float(line.split("free energy")[1].split()[0]) for line in out.splitlines() if "epoch" in line and "free energy" in line]
        self.assertEqual(len(energies), steps)
        self.assertTrue((np.diff(energies) < 0).all(), energies)

    def test_a_run_that_goes_on(self):
        """A mean that is not zero couples weight and bias, so that points matter; ranks change on the way."""
        self.write_data(INPUTS + 1)
        keys = ["-dynamics_points", "normal", "-dynamics_pairs", "2", "-dynamics_replicas", "2"]
        self.run_clarkia(*keys, "-dynamics_epochs", "6", "-output", "whole.h5", launcher=[])
        self.run_clarkia(*keys, "-dynamics_epochs", "4", "-output", "part.h5", "-train_checkpoint", "run.ck")
        out = self.run_clarkia(*keys, "-dynamics_epochs", "6", "-output", "part.h5", "-train_checkpoint", "run.ck")
        self.assertIn("going on from run.ck", out)
        with h5py.File(self.path("whole.h5"), "r") as whole, h5py.File(self.path("part.h5"), "r") as part, \
             h5py.File(self.path("run.ck"), "r") as kept:
            for name in ("density/deviations", "replicas/weights", "replicas/free_energy", "replicas/iterations", "replicas/residual"):
                np.testing.assert_array_equal(whole[name][...], part[name][...], err_msg=name)
            deviations = whole["density/deviations"][...]
            self.assertEqual(deviations.shape, (2, 4))
            self.assertTrue((deviations[0] != deviations[1]).all())
            np.testing.assert_array_equal(kept["kept/deviations"][...], deviations.ravel())


if __name__ == "__main__":
    unittest.main()
