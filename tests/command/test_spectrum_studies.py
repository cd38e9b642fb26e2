"""Series of weights (-state A,B,..) and lists of nets (-net_list) by the command spectrum, against runs of one spectrum each
and numpy. Usage: <this> <clarkia>"""
import os
import subprocess
import sys
import tempfile
import unittest

import h5py
import numpy as np

CLARKIA = sys.argv.pop()
TASK = ["-data", "synthetic", "-data_shape", "1,4,4", "-data_classes", "3", "-data_count", "40"]
MLP = ["-net", "mlp", "-net_widths", "5"]


def distance(a, b):
    """(H.8) of the theory page."""
    return np.linalg.norm(a - b) / max(np.linalg.norm(a), np.linalg.norm(b))


class Studies(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def run_clarkia(self, command, *arguments):
        return subprocess.run([CLARKIA, command, *TASK, *arguments], cwd=self.folder.name, capture_output=True, text=True,
                              check=False)

    def passes(self, command, *arguments):
        result = self.run_clarkia(command, *arguments)
        self.assertEqual((result.returncode, result.stderr), (0, ""), result.stdout)
        return result.stdout

    def refusal(self, *arguments):
        """The message; no file is left."""
        before = sorted(os.listdir(self.folder.name))
        result = self.run_clarkia("spectrum", *arguments, "-output", "refused.h5")
        self.assertNotEqual(result.returncode, 0)
        self.assertEqual(result.stderr.count("error: "), 1, result.stderr)
        self.assertEqual(sorted(os.listdir(self.folder.name)), before)
        return result.stderr

    def open(self, name):
        return h5py.File(os.path.join(self.folder.name, name), "r")

    def train(self):
        """Weights early, in the middle and at the end of a short training."""
        self.passes("train", *MLP, "-dynamics_batch", "10", "-dynamics_epochs", "10", "-train_save", "0.1,0.5", "-output", "w.h5")
        return ["w-010.h5", "w-050.h5", "w.h5"]

    def test_series(self):
        states = self.train()
        text = self.passes("spectrum", *MLP, "-state", ",".join(states), "-spectrum_method", "gram", "-output", "series.h5")
        self.assertIn("w-050", text)
        alone = []
        for state in states:
            self.passes("spectrum", *MLP, "-state", state, "-spectrum_method", "gram", "-spectrum_vectors", "10", "-output", "one.h5")
            with self.open("one.h5") as file:
                alone.append((file["eigenvalues"][...], file["eigenvectors"][...], file.attrs["trace"], file.attrs["weights_checksum"]))
        with self.open("series.h5") as file:
            self.assertEqual(file.attrs["kind"].decode(), "spectrum series")
            np.testing.assert_array_equal(file["trace"], [one[2] for one in alone])
            for i, (values, vectors, _, checksum) in enumerate(alone):
                np.testing.assert_array_equal(file[f"spectra/{i}/eigenvalues"], values)
                self.assertEqual(file[f"spectra/{i}"].attrs["weights_checksum"], checksum)
                for j, (others, other_vectors, *_) in enumerate(alone):
                    cosines = np.linalg.svd(vectors @ other_vectors.T, compute_uv=False)
                    self.assertAlmostEqual(file["distance"][i, j], distance(values, others), delta=1e-12)
                    self.assertAlmostEqual(file["shape_distance"][i, j],
                                           distance(values / alone[i][2], others / alone[j][2]), delta=1e-12)
                    self.assertAlmostEqual(file["subspaces/overlap"][i, j], np.mean(cosines**2), delta=1e-10)
                    # an angle near 0 comes from a cosine near 1: sqrt(eps) radian
                    np.testing.assert_allclose(file["subspaces/angle"][i, j], np.degrees(np.arccos(np.minimum(cosines, 1))),
                                               atol=1e-5)

    def test_series_by_krylov_starts_from_the_one_before(self):
        states = self.train()
        keys = ["-spectrum_method", "krylov", "-spectrum_nev", "4", "-eps_tol", "1e-9"]
        text = self.passes("spectrum", *MLP, "-state", ",".join(states[1:] + states[1:]), *keys, "-output", "series.h5")
        self.assertEqual(text.count("starting from 4 eigenvectors of the spectrum before"), 3)
        with self.open("series.h5") as file:
            np.testing.assert_allclose(file["spectra/0/eigenvalues"], file["spectra/2/eigenvalues"], rtol=1e-7)
            self.assertAlmostEqual(file["subspaces/overlap"][0, 2], 1, delta=1e-7)

    def test_series_of_a_replica(self):
        """-state_replica is of each file of the series."""
        self.passes("train", *MLP, "-dynamics_batch", "10", "-dynamics_epochs", "4", "-dynamics_replicas", "3", "-train_save", "0.5",
                    "-output", "w.h5")
        keys = [*MLP, "-spectrum_method", "gram", "-state_replica", "1"]
        text = self.passes("spectrum", *keys, "-state", "w-050.h5,w.h5", "-output", "series.h5")
        self.assertIn("w-050.h5, replica 1", text)
        self.assertIn("w.h5, replica 1", text)
        self.assertIn("\n  w-050, replica 1 ", text)
        for i, state in enumerate(("w-050.h5", "w.h5")):
            self.passes("spectrum", *keys, "-state", state, "-spectrum_vectors", "10", "-output", "one.h5")
            self.passes("spectrum", *keys[:-1], "0", "-state", state, "-output", "other.h5")
            with self.open("series.h5") as series, self.open("one.h5") as one, self.open("other.h5") as other:
                group = series[f"spectra/{i}"]
                np.testing.assert_array_equal(group["eigenvalues"], one["eigenvalues"])
                self.assertEqual(group.attrs["weights_checksum"], one.attrs["weights_checksum"])
                self.assertNotEqual(group.attrs["weights_checksum"], other.attrs["weights_checksum"])
                self.assertEqual(group.attrs["name"].decode(), f"{state[:-3]}, replica 1")

    def test_bad_weights_show_before_the_first_spectrum(self):
        states = self.train()
        self.passes("train", *MLP, "-dynamics_batch", "10", "-dynamics_epochs", "1", "-dynamics_replicas", "2", "-output", "two.h5")
        for words, arguments in (
                ("missing.h5", ["-state", f"{states[0]},missing.h5"]),
                ("there are no replicas in it", ["-state", f"two.h5,{states[0]}", "-state_replica", "1"]),
                ("there is no replica 2, they are 0 to 1", ["-state", "two.h5,two.h5", "-state_replica", "2"]),
                ("-state_replica has no effect without -state FILE", ["-state", "two.h5,random", "-state_replica", "1"])):
            result = self.run_clarkia("spectrum", *MLP, *arguments)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(words, result.stderr)
            self.assertNotIn("spectrum 1", result.stdout)

    def test_nets(self):
        self.passes("train", *MLP, "-dynamics_batch", "10", "-dynamics_epochs", "2", "-output", "w.h5")
        nets = ["mlp:widths=5", "logistic", "mlp:widths=7:activation=tanh"]
        text = self.passes("spectrum", "-net_list", ",".join(nets), "-state", "w.h5,random,random", "-output", "nets.h5")
        with self.open("nets.h5") as file:
            self.assertEqual(file.attrs["kind"].decode(), "network scores")
            scores = file["score"][...]
            for i, net in enumerate(nets):
                group = file[f"spectra/{i}"]
                d, values = int(group.attrs["dimension"]), group["eigenvalues"][...]
                rank = np.sum(values > values[0] * d * np.finfo(np.float32).eps)
                self.assertEqual(group.attrs["name"].decode(), net)
                self.assertEqual(file["dimension"][i], d)
                self.assertEqual(file["rank"][i], rank)
                self.assertAlmostEqual(scores[i], rank / d + np.sum(values**2) / d - (np.sum(values) / d)**2, delta=1e-12)
        places = [text.rindex(f"  {nets[i]} ") for i in np.argsort(-scores)]
        self.assertEqual(places, sorted(places))  # the table is ranked
        # each as a run of its own
        self.passes("spectrum", *MLP, "-state", "w.h5", "-output", "one.h5")
        with self.open("one.h5") as one, self.open("nets.h5") as file:
            self.assertEqual(one.attrs["score"], scores[0])
            np.testing.assert_array_equal(one["eigenvalues"], file["spectra/0/eigenvalues"])
            self.assertEqual(one.attrs["weights_checksum"], file["spectra/0"].attrs["weights_checksum"])

    def test_plans_leave_no_files(self):
        self.assertIn("spectra", self.passes("spectrum", *MLP, "-state", "a.h5,b.h5", "-dry_run", "-output", "x.h5"))
        text = self.passes("spectrum", "-net_list", "logistic,mlp", "-dry_run", "-output", "x.h5")
        self.assertEqual(text.count("Plan of the spectrum"), 2)
        self.assertEqual(os.listdir(self.folder.name), [])

    def test_refusals(self):
        states = self.train()
        for words, arguments in (
                ("missing.h5", [*MLP, "-state", f"{states[0]},missing.h5"]),
                ("is empty", [*MLP, "-state", f"{states[0]},,{states[1]}"]),
                ("-noise_group is for one spectrum", [*MLP, "-state", f"{states[0]},{states[1]}", "-noise_group", "layer"]),
                ("give one for each", ["-net_list", "mlp,logistic", "-state", "w.h5,w.h5,w.h5"]),
                ("did you mean -net_widths?", ["-net_list", "mlp:widhts=5,logistic"]),
                ("resnet:depth=20:shortcut=B", ["-net_list", "mlp:widths,logistic"]),
                ("no meaning for -net logistic", ["-net_list", "mlp:widths=5,logistic:widths=5"]),
                ("-net is for one spectrum", ["-net_list", "mlp,logistic", "-net", "mlp"]),
                ("no such net", ["-net_list", "mlp,lagistic"]),
                ("-spectrum_method density", ["-net_list", "mlp,logistic", "-spectrum_method", "krylov"])):
            self.assertIn(words, self.refusal(*arguments))


if __name__ == "__main__":
    unittest.main()
