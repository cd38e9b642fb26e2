"""plot_density.py on a density with known counts, and on files that have none. Usage: <this> <analysis folder>"""
import unittest

import h5py
import numpy as np
from scripts import ScriptTest
import plot_density


class PlotDensity(ScriptTest):
    script = "plot_density.py"

    def write(self, name, change=None):
        """Two probes of a matrix of order 100: nodes 1 and 0.01, with a quarter and a half of the weight at 1."""
        grid = np.logspace(-4, 0.5, 91)
        data = dict(grid=grid, density=np.full(91, 20.0), density_error=np.full(91, 2.0),
                    nodes=np.array([[1.0, 0.01], [1.0, 0.01]]), weights=np.array([[0.25, 0.75], [0.5, 0.5]]))
        data.update(change or {})
        with h5py.File(self.path(name), "w") as file:
            for key, values in data.items():
                if values is not None:
                    file[f"density/{key}"] = values
            file["density"].attrs["order"] = 100
        return self.path(name)

    def test_counts_and_their_errors(self):
        density = plot_density.read_density(self.write("a.h5"))
        count, error = plot_density.counts(density)
        at = np.searchsorted(density["grid"], 0.1)
        self.assertAlmostEqual(count[at], 37.5)
        self.assertAlmostEqual(error[at], 12.5)
        self.assertAlmostEqual(count[0], 100)
        self.assertAlmostEqual(count[-1], 0)

    def test_pictures(self):
        one, two = self.write("one.h5"), self.write("two.h5")
        self.assert_drawn(one, two, "--label", "before", "after")

    def test_bad_files(self):
        self.assert_refused("No such file", self.path("absent.h5"))
        self.assert_refused("/density/grid", self.write("none.h5", {"grid": None}))
        self.assert_refused("different shapes", self.write("shapes.h5", {"density": np.ones(3)}))
        self.assert_refused("not finite", self.write("nan.h5", {"density": np.full(91, np.nan)}))
        self.assert_refused("two probes", self.write("one.h5", {"nodes": np.ones((1, 2)), "weights": np.ones((1, 2))}))


if __name__ == "__main__":
    unittest.main()
