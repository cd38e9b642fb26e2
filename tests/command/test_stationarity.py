"""T10 by training and analysing: what is recorded of x.grad f is right, and a run under the conditions fulfils (M.4).

usage: test_stationarity.py CLARKIA MPIEXEC FLAG RANKS
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
# classes that overlap, so that the minimum is near and has noise; decay, so that there is one
PROBLEM = ["-data", "synthetic", "-data_shape", "1,2,2", "-data_classes", "3", "-data_separation", "0.1", "-data_count", "32",
           "-engine", "reference"]


class Stationarity(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()

    def tearDown(self):
        self.folder.cleanup()

    def run_clarkia(self, *arguments):
        result = subprocess.run(LAUNCHER + [CLARKIA, *arguments], capture_output=True, text=True, check=False,
                                cwd=self.folder.name)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout

    def train(self, *arguments, net="tiny-fc"):
        self.run_clarkia("train", *PROBLEM, "-net", net, "-output", "w.h5", "-record", "run.h5", "-record_unit", "updates",
                         *arguments)
        return h5py.File(os.path.join(self.folder.name, "run.h5"), "r")

    def analyse(self, *arguments):
        text = self.run_clarkia("trajectory", "-trajectory", "run.h5", "-trajectory_directions", "random", "-trajectory_modes", "2",
                                "-output", "out.h5", *arguments)
        with h5py.File(os.path.join(self.folder.name, "out.h5"), "r") as file:
            attributes = dict(file["stationarity"].attrs)
        (row,) = [line for line in text.splitlines() if "T10: x.grad f" in line]
        return attributes, row

    def test_products_are_those_of_the_moves(self):
        """gd: x_t - x_{t+1} = eta (grad f + l2 x); with -loss_l2 in f; by the gradient's pass, and by that for the noise."""
        for measure in "gradient", "noise", "loss,gradient,noise":
            with self.train("-dynamics_type", "gd", "-dynamics_mode", "evaluation", "-dynamics_rate", "0.5", "-dynamics_l2", "0.02", "-loss_l2", "0.03",
                            "-dynamics_epochs", "8", "-record_measure", measure) as file:
                x = file["weights"][...]
                g = (x[:-1] - x[1:]) / 0.5 - 0.02 * x[:-1]
                # differences of numbers of order 1: ten digits are left, and float32 networks would have two
                np.testing.assert_allclose(file["weights_dot_gradient"][:-1], (x[:-1] * g).sum(axis=1), rtol=1e-8, atol=1e-12)
                np.testing.assert_allclose(file["gradient_norm"][:-1], np.linalg.norm(g, axis=1), rtol=1e-8)
                np.testing.assert_allclose(file["weights_norm"], np.linalg.norm(x, axis=1), rtol=1e-12)

    def test_a_network_under_the_conditions(self):
        """Batch norm in evaluation mode; training mode of a net that knows no other."""
        for net, mode, l2, epochs, every in ("tiny-fc", "evaluation", "0.03", "1000", "4"), ("logistic", "training", "0.2", "500", "2"):
            self.train("-dynamics_rate", "0.3", "-dynamics_batch", "4", "-dynamics_replacement", "-dynamics_l2", l2,
                       "-dynamics_mode", mode, "-dynamics_epochs", epochs, "-record_every", every, "-record_measure", "noise",
                       net=net).close()
            attributes, row = self.analyse("-trajectory_burn_in", "400", "-trajectory_level", "0.001")
            self.assertEqual(attributes["stationary"], b"yes", row)
            self.assertGreaterEqual(attributes["blocks"], 12)
            self.assertLess(attributes["ratio_error"], 0.1)
            self.assertLessEqual(abs(attributes["ratio"] - 1), 3 * attributes["ratio_error"], row)

    def test_refused(self):
        for keys, word in ((["-dynamics_momentum", "0.5"], "momentum 0.5"), (["-dynamics_mode", "training"], "evaluation"),
                           (["-dynamics_batch", "5"], "-dynamics_batch"), (["-record_measure", "gradient"], "noise"),
                           (["-dynamics_replacement", "false"], "-dynamics_replacement")):
            self.train("-dynamics_batch", "2", "-dynamics_replacement", "-dynamics_mode", "evaluation", "-dynamics_rate", "0.1",
                       "-dynamics_epochs", "10", "-record_every", "1", "-record_measure", "noise", *keys).close()
            attributes, row = self.analyse()
            self.assertEqual(attributes["stationary"], b"not tested")
            self.assertIn(word, attributes["reason"].decode())
            self.assertIn(word, row)


if __name__ == "__main__":
    unittest.main()
