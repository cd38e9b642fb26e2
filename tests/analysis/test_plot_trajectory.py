"""plot_trajectory.py and plot_phase.py on made-up analyses, and on files that are none. Usage: <this> <analysis folder>"""
import unittest

import h5py
import numpy as np
from scripts import ScriptTest
import plot_phase
import plot_trajectory


class AnalysisTest(ScriptTest):
    def write(self, name, change=None, circulates="yes"):
        """An analysis of 3000 snapshots that rotate in two of three directions."""
        angle = 0.1 * np.arange(3000)
        paths = np.stack([np.cos(angle), 2 * np.sin(angle), 0 * angle], axis=1)[:, None, :]
        lag = np.arange(0, 3000, 30)
        data = {"increments/frequency": np.arange(1500) / 3000, "increments/amplitude": np.full(1500, 2.0),
                "increments/band_frequency": np.geomspace(1, 1499, 60) / 3000,
                "increments/quantiles": np.tile([0.5, 1.5, 2, 2.5, 5], (60, 1)), "autocorrelation/lag": lag,
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
            file.attrs.update(burn_in=100, snapshots=3000, circulates=np.bytes_(circulates))
        return self.path(name)


class PlotTrajectory(AnalysisTest):
    script = "plot_trajectory.py"

    def test_every_verdict_has_its_words(self):
        for verdict in plot_trajectory.VERDICTS:
            result = plot_trajectory.read_analysis(self.write("one.h5", circulates=verdict))
            self.assertEqual(result["verdict"], plot_trajectory.VERDICTS[verdict])
        self.assert_refused("none of yes, no", self.write("odd.h5", circulates="maybe"))

    def test_three_panels(self):
        one, two = self.write("one.h5"), self.write("two.h5", {"gradient_norm": np.full(3100, np.nan)})
        self.assert_drawn(one)
        self.assert_drawn(two)
        self.assert_drawn(one, two, "--label", "a", "b")

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

    def test_velocity_of_a_rotation(self):
        paths, current = plot_phase.read_paths(self.write("one.h5"))
        self.assertEqual(current[0][0, 1], 2)
        x, y, dx, dy = plot_phase.current_velocity(paths[:, 0, 0], paths[:, 0, 1])
        self.assertGreater(len(x), 10)
        self.assertTrue(np.all(x * dy - y * dx > 0))  # anticlockwise everywhere

    def test_velocity_leaves_out_what_draws_back(self):
        """x' = K x + z: of a symmetric K nothing beyond chance is left, of a rotation the tangents of a circle."""
        z = np.random.default_rng(2).normal(size=(20000, 2))
        for turn in (0, 0.2):
            K = 0.9 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
            x = np.zeros((20000, 2))
            for t in range(19999):
                x[t + 1] = K @ x[t] + z[t]
            at = plot_phase.current_velocity(x[:, 0], x[:, 1])
            if turn == 0:
                self.assertLess(len(at[0]), 3)  # of 196 cells each by chance with P(chi^2 of two >= 18) = 1.2e-4
            else:
                self.assertGreater(len(at[0]), 60)
                area = at[0] * at[3] - at[1] * at[2]
                # <x (x_{t+1} - x_{t-1})/2> over <x^2>: 0.9 sin 0.2 = 0.18 radians a snapshot
                self.assertAlmostEqual(np.sum(area) / np.sum(at[0] ** 2 + at[1] ** 2), 0.9 * np.sin(turn), delta=0.02)

    def test_bad_files(self):
        name = self.write("one.h5")
        self.assert_refused("has 3", name, "--directions", "1", "4")
        self.assert_refused("different", name, "--directions", "1", "1")
        self.assert_refused("--replica 2", name, "--replica", "2")
        self.assert_refused("neither", self.write("empty.h5", {"projections": None}))


if __name__ == "__main__":
    unittest.main()
