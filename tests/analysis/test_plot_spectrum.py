"""plot_spectrum.py on small spectra with known histograms, and on files that are none. Usage: <this> <analysis folder>"""
import contextlib
import io
import os
import sys
import unittest
from unittest import mock

import h5py
import matplotlib.image
import numpy as np
from scripts import ScriptTest
import plot_spectrum
from plot_spectrum import plt

D, N = 1000, 65


def spectrum(scale=1.0):
    """64 eigenvalues, 8 in each of 8 decades, of a matrix of order 1,000; the attributes `clarkia spectrum` writes."""
    values = scale * np.logspace(0, -8, 64, endpoint=False)
    threshold = values[0] * D * np.finfo(np.float32).eps
    every = np.maximum(np.concatenate([values, np.zeros(D - values.size)]), threshold)
    attributes = dict(dimension=D, samples=N, complete=1, lambda_max=values[0], threshold_float32=threshold,
                      threshold_float64=values[0] * D * np.finfo(np.float64).eps, rank_float32=int(np.sum(values > threshold)), eigenvalue_mean=values.sum() / D,
                      clipped_mean=every.mean(), clipped_std=every.std(), network=np.bytes_("small-lenet"),
                      samples_from=np.bytes_("synthetic train, all 65 samples"))
    return values, attributes


class PlotSpectrum(ScriptTest):
    script = "plot_spectrum.py"

    def write(self, name, values, attributes):
        with h5py.File(self.path(name), "w") as file:
            file["eigenvalues"] = values
            file.attrs.update(attributes)
        return self.path(name)

    def refusal(self, *arguments):
        """What the script says when it stops; it must stop in order."""
        said = io.StringIO()
        with mock.patch.object(sys, "argv", [self.script, *arguments]), contextlib.redirect_stderr(said):
            with self.assertRaises(SystemExit) as stopped:
                plot_spectrum.main()
        self.assertNotIn(stopped.exception.code, (0, None))
        return said.getvalue() + str(stopped.exception.code)

    def assert_refusal(self, words, *arguments):
        """The same in this process: loading matplotlib each time takes long."""
        message = self.refusal(*arguments, "--output", self.path("none.png"))
        for word in words:
            self.assertIn(word, message)
        self.assertFalse(os.path.exists(self.path("none.png")))

    def test_picture_of_several_instants(self):
        files = [self.write(f"at{k}.h5", *spectrum(k)) for k in (1, 2, 3)]
        result = self.run_script(*files, "--label", "20%", "40%", "100%", "--output", self.path("out.png"))
        self.assertEqual(result.returncode, 0, result.stderr)
        pixels = matplotlib.image.imread(self.path("out.png"))[:, :, :3]
        self.assertGreater(pixels.shape[1], 1000)
        ink = np.mean(np.any(pixels < 0.99, axis=2))
        self.assertTrue(0.02 < ink < 0.6, ink)
        for colour in plot_spectrum.colours(3):  # each instant is seen
            near = np.all(np.abs(pixels - np.array(colour[:3])) < 0.02, axis=2)
            self.assertGreater(np.sum(near), 200)

    def test_histogram_counts_every_eigenvalue_once(self):
        """8 of the 64 in every full decade; whatever is clipped, the implicit zeros too, in the first bin."""
        one, two = spectrum(), spectrum(0.5)
        figure, axes = plt.subplots()
        counts = plot_spectrum.draw_histogram(axes, [one, two], ["", ""])
        edges = plot_spectrum.bins_for([one, two])
        plt.close(figure)
        for (values, attributes), mine in zip((one, two), counts):
            self.assertEqual(mine.sum(), D)
            first = np.flatnonzero(mine)[0]
            self.assertLessEqual(edges[first], attributes["threshold_float32"])
            self.assertGreaterEqual(mine[first], D - attributes["rank_float32"])
            self.assertEqual(mine[edges[:-1] > 1e-2].sum(), np.sum(values >= edges[edges > 1e-2][0]))

    def test_legend_names_rank_and_moments(self):
        _, attributes = spectrum()
        text = plot_spectrum.legend_text("100%", attributes)
        self.assertIn(f"rank {attributes['rank_float32']} = {attributes['rank_float32'] / D * 100:.2g}%", text)
        self.assertIn(f"{attributes['clipped_std']:.2g}", text)

    def test_title_says_what_all_files_share(self):
        one = plot_spectrum.read_spectrum(self.write("one.h5", *spectrum()))
        values, attributes = spectrum()
        two = plot_spectrum.read_spectrum(self.write("two.h5", values, {**attributes, "samples": N + 1}))
        title = plot_spectrum.title_of([one, one])
        for words in ("small-lenet", "d = 1,000", f"N = {N}", "all 65 samples"):
            self.assertIn(words, title)
        self.assertNotIn("N = ", plot_spectrum.title_of([one, two]))

    def test_leading_eigenvalues_only(self):
        """A partial spectrum knows neither its rank nor its moments."""
        values, attributes = spectrum()
        known = {key: attributes[key] for key in ("dimension", "samples", "lambda_max", "threshold_float32", "threshold_float64")}
        known["complete"] = 0
        name = self.write("leading.h5", values[:20], known)
        read, got = plot_spectrum.read_spectrum(name)
        self.assertEqual(plot_spectrum.clipped(read, got).size, 20)
        self.assertIn("leading", plot_spectrum.legend_text("", got))
        plot_spectrum.draw([(read, got)], [""], self.path("leading.png"))
        self.assertGreater(os.path.getsize(self.path("leading.png")), 10000)

    def test_scree_leaves_out_numerical_zeros(self):
        """An eigenvalue of 1e-17 is zero in double precision: it neither is drawn nor sets the axis."""
        values, attributes = spectrum()
        figure, axes = plt.subplots()
        drawn = plot_spectrum.draw_scree(axes, [(np.append(values, 1e-17), attributes)], [""])
        bottom = axes.get_ylim()[0]
        plt.close(figure)
        self.assertEqual(drawn, [values.size])
        self.assertGreater(bottom, values[-1] / 3)

    def test_single_eigenvalue_is_seen(self):
        values, attributes = spectrum()
        figure, axes = plt.subplots()
        drawn = plot_spectrum.draw_scree(axes, [(values[:1], {**attributes, "rank_float32": 1})], [""])
        markers = [line.get_marker() for line in axes.lines if len(line.get_xdata()) == 1 and line.get_ydata()[0] == values[0]]
        plt.close(figure)
        self.assertEqual(drawn, [1])
        self.assertEqual(markers, ["s"])

    def test_pdf_too(self):
        result = self.run_script(self.write("a.h5", *spectrum()), "--output", self.path("out.pdf"))
        self.assertEqual(result.returncode, 0, result.stderr)
        with open(self.path("out.pdf"), "rb") as file:
            self.assertEqual(file.read(5), b"%PDF-")

    def test_bad_files(self):
        values, attributes = spectrum()
        self.assert_refusal(["absent.h5", "No such file"], self.path("absent.h5"))
        with open(self.path("text.h5"), "w", encoding="ascii") as file:
            file.write("not HDF5")
        self.assert_refusal(["text.h5", "HDF5"], self.path("text.h5"))
        with h5py.File(self.path("data.h5"), "w") as file:
            file["features"] = np.zeros(3)
        self.assert_refusal(["data.h5", "/eigenvalues"], self.path("data.h5"))
        lacking = {key: value for key, value in attributes.items() if key != "rank_float32"}
        self.assert_refusal(["rank_float32"], self.write("lacking.h5", values, lacking))
        del lacking["complete"]
        self.assert_refusal(["complete"], self.write("lacking.h5", values, lacking))
        broken = values.copy()
        broken[5] = np.nan
        self.assert_refusal(["eigenvalue 5", "not finite"], self.write("nan.h5", broken, attributes))
        self.assert_refusal(["descending"], self.write("up.h5", values[::-1], attributes))
        self.assert_refusal(["zero"], self.write("zero.h5", np.zeros(3), attributes))
        self.assert_refusal(["shape"], self.write("flat.h5", np.ones((2, 2)), attributes))

    def test_bad_arguments(self):
        name = self.write("a.h5", *spectrum())
        self.assert_refusal(["2 labels for 1 files"], name, "--label", "a", "b")
        self.assertIn("nonsense", self.refusal(name, "--output", self.path("out.nonsense")))
        self.assertIn("has no ending", self.refusal(name, "--output", self.path("x")))
        formula = self.refusal(name, "--label", r"$\notacommand$", "--output", self.path("x.png"))
        self.assertIn("--label", formula)
        self.assertEqual(len(formula.strip().splitlines()), 1, formula)
        self.assertEqual(os.listdir(self.folder.name), ["a.h5"])
        self.assertIn("No such file", self.refusal(name, "--output", self.path("no/such/folder/out.png")))

    def test_exit_code(self):
        self.assert_refused("No such file", self.path("absent.h5"))


if __name__ == "__main__":
    unittest.main()
