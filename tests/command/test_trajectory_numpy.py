"""`clarkia trajectory` against numpy, on trajectory files made by h5py. Usage: <this> <clarkia> <mpiexec> <flag> <ranks>"""
import os
import subprocess
import sys
import tempfile
import unittest

import h5py
import numpy as np

CLARKIA, MPIEXEC, FLAG, RANKS = [sys.argv.pop(1) for _ in range(4)]
LAUNCHER = [MPIEXEC, FLAG, RANKS] if RANKS != "1" else []
SCALARS = ("loss", "error", "test_loss", "test_error", "gradient_norm", "noise_trace")


class Trajectory(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        rng = np.random.default_rng(7)
        self.weights = np.cumsum(rng.normal(size=(301, 2, 40)), axis=0) * np.exp(-0.05 * np.arange(40))
        self.weights[:, :, 11] = 0.25  # never moves

    def tearDown(self):
        self.folder.cleanup()

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def write(self, name, change=None, **attributes):
        """Snapshots of two replicas every 5 updates at the learning rate 0.1."""
        T, R, m = self.weights.shape
        rows = np.arange(T)
        data = {"weights": self.weights, "step": 5 * rows, "time": 0.5 * rows, "columns": np.arange(m), "recorded": [T]}
        data.update({key: np.full((T, R), np.nan) for key in SCALARS})
        data["gradient_norm"] = np.stack([1 + rows % 3, 3 + rows % 3], axis=1).astype(float)
        data.update(change or {})
        numbers = dict(dimension=m, samples=100, batch=10, replicas=R, seed=1, replacement=1, learning_rate=0.1, momentum=0.0,
                       l2=0.0)
        numbers.update(attributes)
        with h5py.File(self.path(name), "w") as file:
            for key, values in data.items():
                file[key] = values
            for key, value in numbers.items():
                file.attrs[key] = value
            for key, text in dict(kind="trajectory", content="all", dynamics_type="sgd").items():
                file.attrs[key] = np.bytes_(text)
        return self.path(name)

    def run_clarkia(self, *arguments):
        return subprocess.run(LAUNCHER + [CLARKIA, "trajectory", *arguments], capture_output=True, text=True, check=False,
                              cwd=self.folder.name)

    def test_numbers_are_those_of_numpy(self):
        name = self.write("run.h5")
        result = self.run_clarkia("-trajectory", name, "-trajectory_burn_in", "20", "-trajectory_lags", "50", "-output", "out.h5",
                                  "-trajectory_average", "4", "-trajectory_directions", "coordinates", "-trajectory_modes", "3",
                                  "-trajectory_block", "10")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr, "")
        self.assertIn("circulates", result.stdout)
        x = self.weights[20:]
        n = len(x)
        with h5py.File(self.path("out.h5"), "r") as file:
            amplitude = np.abs(np.fft.rfft(np.diff(x, axis=0), axis=0)).reshape((n - 1) // 2 + 1, -1)
            np.testing.assert_allclose(file["increments/amplitude"], amplitude.mean(axis=1), rtol=1e-10)
            np.testing.assert_allclose(file["increments/amplitude_std"], amplitude.std(axis=1), rtol=1e-8)
            np.testing.assert_allclose(file["increments/frequency"], np.fft.rfftfreq(n - 1, 0.5), atol=1e-12)
            self.assert_bands(file["increments"], np.delete(amplitude, [11, 51], axis=1), n, 0.5)
            lag = file["autocorrelation/lag"][...]
            np.testing.assert_array_equal(lag, n * np.arange(50) // 50)
            moving = np.delete(x, 11, axis=2).reshape(n, -1)
            moving = moving - moving.mean(axis=0)
            r = np.array([(moving[:n - h] * moving[h:]).sum(axis=0) / (moving ** 2).sum(axis=0) for h in lag])
            np.testing.assert_allclose(file["autocorrelation/mean"], r.mean(axis=1), atol=1e-12)
            np.testing.assert_allclose(file["autocorrelation/std"], r.std(axis=1), atol=1e-7)
            # bins of 0.001, and numpy's quantile lies between two of 78 numbers
            between = np.quantile(r, [0.05, 0.25, 0.5, 0.75, 0.95], axis=1, method="lower").T
            above = np.quantile(r, [0.05, 0.25, 0.5, 0.75, 0.95], axis=1, method="higher").T
            quantiles = file["autocorrelation/quantiles"][...]
            self.assertTrue(np.all(quantiles >= between - 0.0011) and np.all(quantiles <= above + 0.0011))
            outside = (np.abs(r) > 1.959963984540054 / np.sqrt(n)).mean(axis=1)
            np.testing.assert_allclose(file["autocorrelation/outside_95"][1:], outside[1:], atol=1e-12)
            # the file is as an older version wrote it: without mode, weights_norm and weights_dot_gradient
            self.assertEqual(file["stationarity"].attrs["stationary"], b"not tested")
            self.assertIn(b"does not say in which mode", file["stationarity"].attrs["reason"])
            y = file["projections"][...]
            np.testing.assert_array_equal(y, x[:, :, :3])
            y = y - y.mean(axis=0)
            area = np.einsum("tri,trj->ij", y[:-1], y[1:]) / (2 * (n - 1) * 0.5)
            np.testing.assert_allclose(file["circulation/current"], area - area.T, rtol=1e-9, atol=1e-12)
            norm = (2 + np.arange(301) % 3) / np.sqrt(40)
            np.testing.assert_allclose(file["gradient_norm"], norm, rtol=1e-12)
            keep = 0.8 ** np.arange(300, -1, -1)
            np.testing.assert_allclose(file["gradient_norm_average"][-1], (keep * norm).sum() / keep.sum(), rtol=1e-12)
            self.assertEqual(int(file.attrs["series_constant"]), 2)

    def assert_bands(self, group, amplitude, n, dt):
        """Bands are all frequencies but 0 and half the sampling rate; quantiles lie between two of the series, to a bin of
        0.005 decades."""
        end = (n - 2) // 2 + 1
        edges = np.unique(np.rint(end ** (np.arange(101) / 100)).astype(int))
        np.testing.assert_allclose(group["band_frequency"], (edges[:-1] + edges[1:] - 1) / 2 / (n - 1) / dt, rtol=1e-12)
        level = np.array([amplitude[i:j].mean(axis=0) for i, j in zip(edges, edges[1:])])
        for share, found in zip([0.05, 0.25, 0.5, 0.75, 0.95], group["quantiles"][...].T):
            low, high = (np.quantile(level, share, axis=1, method=method) for method in ("lower", "higher"))
            self.assertTrue(np.all(found >= low * 10 ** -0.0051) and np.all(found <= high * 10 ** 0.0051))

    def test_weights_that_decay_to_nothing_leave_no_gap(self):
        """Weight decay takes weights without gradient to numbers whose squares are zero."""
        self.weights[:, :, 5] = 1e-170 * 0.9 ** np.arange(301)[:, None]
        result = self.run_clarkia("-trajectory", self.write("run.h5"), "-output", "out.h5")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertNotRegex(result.stdout, "inf|nan")
        with h5py.File(self.path("out.h5"), "r") as file:
            for key in ("mean", "std", "quantiles"):
                self.assertTrue(np.all(np.isfinite(file["autocorrelation"][key])), key)

    def test_singular_directions_leave_the_rest(self):
        """T10 and spectra are there, and table and file say why circulation is not."""
        measured = {"gradient_norm": 1.0, "weights_norm": 1.0, "weights_dot_gradient": 0.5, "noise_trace": 10.0}
        change = {key: np.random.default_rng(3).normal(value, 0.1, (301, 2)) for key, value in measured.items()}
        name = self.write("run.h5", change, mode_matters=0)
        with h5py.File(name, "r+") as file:
            file.attrs["mode"] = np.bytes_("training")
        result = self.run_clarkia("-trajectory", name, "-trajectory_directions", "coordinates", "-trajectory_modes", "12",
                                  "-trajectory_block", "20", "-output", "out.h5")
        self.assertEqual(result.returncode, 0, result.stderr)
        why = "direction 12 of 12 does not move or is a combination of others"
        self.assertRegex(result.stdout, f"circulates +cannot be told: the directions are not independent +{why}")
        with h5py.File(self.path("out.h5"), "r") as file:
            self.assertEqual(file.attrs["circulates"], b"singular")
            self.assertIn(why, file.attrs["circulates_reason"].decode())
            self.assertNotIn("circulation", file)
            self.assertTrue(np.all(np.isfinite(file["increments/amplitude"])))
            self.assertEqual(file["projections"].shape, (301, 2, 12))
            self.assertTrue(np.isfinite(file["stationarity"].attrs["ratio"]))

    def test_dry_run_writes_nothing(self):
        result = self.run_clarkia("-trajectory", self.write("run.h5"), "-dry_run", "-output", "out.h5")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("slab", result.stdout)
        self.assertFalse(os.path.exists(self.path("out.h5")))

    def assert_refused(self, word, *arguments):
        result = self.run_clarkia(*arguments, "-output", "none.h5")
        self.assertNotEqual(result.returncode, 0)
        self.assertEqual(result.stderr.count("clarkia: error: "), 1, result.stderr)
        self.assertIn(word, result.stderr)
        self.assertEqual([name for name in os.listdir(self.folder.name) if name.startswith("none")], [])

    def test_refusals(self):
        name = self.write("run.h5")
        self.assert_refused("-trajectory FILE.h5")
        self.assert_refused("at least 32", "-trajectory", name, "-trajectory_burn_in", "280")
        self.assert_refused("-trajectory_spectrum FILE", "-trajectory", name, "-trajectory_directions", "spectrum")
        self.assert_refused("has no dataset /hessian: give a file that has the Hessian there, [40, 40]", "-trajectory", name,
                            "-trajectory_hessian", name)
        rows = np.arange(301)
        self.assert_refused("learning rate changes after snapshot 200", "-trajectory", self.write(
            "rate.h5", {"time": np.where(rows < 200, 0.5 * rows, 100 + 0.05 * (rows - 200))}))
        self.assert_refused("not equally spaced", "-trajectory", self.write("log.h5", {"step": rows ** 2}))


if __name__ == "__main__":
    unittest.main()
