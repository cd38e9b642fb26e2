"""plot_series.py on small files with known spectra, and on files that are none. Usage: <this> <analysis folder>"""
import os
import subprocess
import sys
import tempfile
import unittest

import h5py
import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.image  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402

SCRIPT = os.path.join(sys.argv.pop(1), "plot_series.py")
sys.path.insert(0, os.path.dirname(SCRIPT))
import plot_series  # noqa: E402


class PlotSeries(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.file, self.picture = os.path.join(self.folder.name, "a.h5"), os.path.join(self.folder.name, "a.png")

    def write(self, count=11, subspaces=True):
        """Spectrum i is (i + 1, 0.5, 1e-12); more than ten, so that the order of names is not that of numbers."""
        with h5py.File(self.file, "w") as file:
            for i in range(count):
                file[f"spectra/{i}/eigenvalues"] = [i + 1, 0.5, 1e-12]
                file[f"spectra/{i}"].attrs["name"] = np.bytes_(f"epoch {i}")
            file["distance"] = np.abs(np.subtract.outer(np.arange(count), np.arange(count))) / 8
            if subspaces:
                file["subspaces/overlap"] = np.eye(count)
                file["subspaces"].attrs["names"] = np.bytes_("\n".join(f"epoch {i}" for i in range(count)))

    def run_script(self, *files):
        return subprocess.run([sys.executable, SCRIPT, *files, "--output", self.picture], capture_output=True, text=True,
                              check=False)

    def test_what_is_drawn(self):
        self.write()
        series = plot_series.read_series(self.file)
        self.assertEqual([name for name, _ in series["spectra"]], [f"epoch {i}" for i in range(11)])
        figure, axes = plt.subplots()
        plot_series.draw_scree(axes, series)
        np.testing.assert_allclose(axes.lines[10].get_ydata(), [11, 0.5])
        self.assertEqual(axes.lines[10].get_label(), "epoch 10, distance 0.125")
        self.assertEqual(axes.lines[0].get_label(), "epoch 0")
        plt.close(figure)

    def test_pictures(self):
        for subspaces in (True, False):
            self.write(3, subspaces)
            result = self.run_script(self.file)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertGreater(matplotlib.image.imread(self.picture).std(), 0.01)
            os.remove(self.picture)

    def test_refusals(self):
        for change, words in (("spectra", "several names in -state"), ("spectra/1/eigenvalues", "lacks eigenvalues"),
                              ("zero", "no spectrum"), ("shape", "has shape"), ("missing", "No such file"), ("two", "one file")):
            self.write()
            with h5py.File(self.file, "a") as file:
                if change.startswith("spectra"):
                    del file[change]
                elif change == "zero":
                    file["spectra/1/eigenvalues"][0] = 0
                elif change == "shape":
                    del file["distance"]
                    file["distance"] = np.zeros((2, 2))
            result = self.run_script(*{"missing": ["no.h5"], "two": [self.file, self.file]}.get(change, [self.file]))
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(words, result.stderr)
            self.assertNotIn("Traceback", result.stderr)
            self.assertFalse(os.path.exists(self.picture))


if __name__ == "__main__":
    unittest.main()
