"""plot_series.py on small files with known spectra, and on files that are none. Usage: <this> <analysis folder>"""
import unittest

import h5py
import numpy as np
from scripts import ScriptTest
import plot_series
from plot_spectrum import plt


class PlotSeries(ScriptTest):
    script = "plot_series.py"

    def setUp(self):
        super().setUp()
        self.file = self.path("a.h5")

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
            self.assert_drawn(self.file)

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
            self.assert_refused(words, *{"missing": ["no.h5"], "two": [self.file, self.file]}.get(change, [self.file]))


if __name__ == "__main__":
    unittest.main()
