"""plot_trajectory.py and plot_phase.py on made-up analyses, and on files that are none. Usage: <this> <analysis folder>"""
import unittest

import h5py
import numpy as np
from scripts import ScriptTest
import plot_phase
import plot_trajectory


class AnalysisTest(ScriptTest):
    def write(self, name, change=None):
        """An analysis of 3000 snapshots that rotate in two of three directions."""
        angle = 0.1 * np.arange(3000)
        paths = np.stack([np.cos(angle), 2 * np.sin(angle), 0 * angle], axis=1)[:, None, :]
        lag = np.arange(0, 3000, 30)
        data = {"increments/frequency": np.arange(1500) / 3000, "increments/amplitude": np.full(1500, 2.0),
                "increments/amplitude_std": np.full(1500, 0.5), "autocorrelation/lag": lag,
                "autocorrelation/mean": np.exp(-lag / 100), "autocorrelation/quantiles": np.tile(np.linspace(-1, 1, 5), (100, 1)),
                "time": np.arange(3100.0), "gradient_norm": np.full(3100, 0.1), "gradient_norm_average": np.full(3100, 0.1),
                "projections": paths, "circulation/current": np.array([[0, 2, 0], [-2, 0, 0], [0, 0, 0.0]]),
                "circulation/current_error": np.full((3, 3), 0.1)}
        data.update(change or {})
        with h5py.File(self.path(name), "w") as file:
            for key, values in data.items():
                if values is not None:
                    file[key] = values
            file["increments"].attrs["white_level"] = 2.0
            file.require_group("autocorrelation").attrs.update(band_95=0.036, band_99=0.047)
            file.attrs.update(burn_in=100, circulates=np.bytes_("yes"))
        return self.path(name)


class PlotTrajectory(AnalysisTest):
    script = "plot_trajectory.py"

    def test_three_panels(self):
        one, two = self.write("one.h5"), self.write("two.h5", {"gradient_norm": np.full(3100, np.nan)})
        self.assert_drawn(one)
        self.assert_drawn(two)
        self.assert_drawn(one, two, "--label", "a", "b")

    def test_verdicts(self):
        self.assertEqual(plot_trajectory.verdict("yes"), "circulates: yes")
        self.assertEqual(plot_trajectory.verdict("too short"), "no verdict on circulation: too short")

    def test_bins_keep_means(self):
        x = np.arange(1, 100001)
        few, same = plot_trajectory.binned(x, np.full(100000, 3.0))
        self.assertLessEqual(len(few), 600)
        np.testing.assert_allclose(same, 3)
        self.assertEqual(few[0], 1)
        self.assertTrue(np.all(np.diff(few) > 0))

    def test_bins_of_a_linear_axis_are_even(self):
        x = np.arange(1, 100001)
        few, same = plot_trajectory.binned(x, np.full(100000, 3.0), most=2000, spaced=np.linspace)
        self.assertLessEqual(len(few), 2000)
        np.testing.assert_allclose(same, 3)
        # 99,999 / 1,999 = 50.03 neighbours a bin: centres are 50 or 51 apart, half a place less or more beside a longer bin
        self.assertTrue(np.all(np.abs(np.diff(few[:-1]) - 50.5) <= 1))

    def test_bad_files(self):
        self.assert_refused("No such file", self.path("absent.h5"))
        self.assert_refused("/time", self.write("none.h5", {"time": None}))
        self.assert_refused("not finite", self.write("nan.h5", {"increments/amplitude": np.full(1500, np.nan)}))


class PlotPhase(AnalysisTest):
    script = "plot_phase.py"

    def test_pictures(self):
        name = self.write("one.h5")
        self.assert_drawn(name)
        self.assert_drawn(name, "--directions", "2", "3")
        with h5py.File(self.path("run.h5"), "w") as file:
            file["weights"] = np.random.default_rng(1).normal(size=(50, 4))
            file.attrs["content"] = "projections"
        self.assert_drawn(self.path("run.h5"))

    def test_mean_motion_is_that_of_the_rotation(self):
        paths, current = plot_phase.read_paths(self.write("one.h5"))
        self.assertEqual(current[0][0, 1], 2)
        x, y, dx, dy = plot_phase.mean_motion(paths[:, 0, 0], paths[:, 0, 1])
        self.assertGreater(len(x), 10)
        self.assertTrue(np.all(x * dy - y * dx > 0))  # anticlockwise everywhere

    def test_bad_files(self):
        name = self.write("one.h5")
        self.assert_refused("has 3", name, "--directions", "1", "4")
        self.assert_refused("different", name, "--directions", "1", "1")
        self.assert_refused("--replica 2", name, "--replica", "2")
        self.assert_refused("neither", self.write("empty.h5", {"projections": None}))


if __name__ == "__main__":
    unittest.main()
