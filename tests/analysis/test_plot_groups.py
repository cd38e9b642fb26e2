"""plot_groups.py on small files with known parts, and on files that are none. Usage: <this> <analysis folder>"""
import unittest

import h5py
import numpy as np
from scripts import ScriptTest
import plot_groups
from plot_spectrum import plt


def write(name, parts, subspaces=None):
    """A spectrum file with parts {name: (share, weight, eigenvalues or None)}, in this order."""
    with h5py.File(name, "w") as file:
        file["eigenvalues"] = [2.0, 1.0, 1e-12]
        file.attrs.update(dimension=3, samples=4, complete=1, lambda_max=2.0, threshold_float32=1e-6, threshold_float64=1e-15,
                          rank_float32=2, eigenvalue_mean=1.0, clipped_mean=1.0, clipped_std=0.8)
        for number, (part, (share, weight, values)) in enumerate(parts.items()):
            group = file.create_group(f"groups/{part}")
            group.attrs.update(name=np.bytes_(part), number=number, share=share, weight=weight)
            if values is not None:
                group["eigenvalues"] = values
        if subspaces is not None:
            names, overlap = subspaces
            file["subspaces/overlap"] = overlap
            file["subspaces"].attrs["names"] = np.bytes_("\n".join(names))


CLASSES = {"within classes": (0.75, 1, [1.5, 0.75]), "between classes": (0.25, 1, [0.5]),
           "class 10": (0.5, 0.5, [2.0, 1e-12]), "class 9": (0.0, 0.0, None)}
OVERLAP = (["D", "class 10"], np.array([[1, 0.25], [0.25, 1]]))


class PlotGroups(ScriptTest):
    script = "plot_groups.py"

    def setUp(self):
        super().setUp()
        self.file = self.path("a.h5")

    def test_parts_in_the_order_of_the_table(self):
        write(self.file, CLASSES, OVERLAP)
        groups = plot_groups.read_groups(self.file)
        self.assertEqual([part["name"] for part in groups["parts"]], list(CLASSES))
        names, overlap = groups["subspaces"]
        self.assertEqual(names, OVERLAP[0])
        np.testing.assert_array_equal(overlap, OVERLAP[1])

    def test_what_is_drawn(self):
        write(self.file, CLASSES, OVERLAP)
        groups = plot_groups.read_groups(self.file)
        figure, axes = plt.subplots()
        self.assertEqual(plot_groups.draw_scree(axes, groups, plot_groups.part_colours(groups["parts"])), [2, 1, 1, 0])
        np.testing.assert_allclose(axes.lines[2].get_ydata(), [1.0])  # weight times eigenvalue
        np.testing.assert_allclose(axes.lines[-1].get_ydata(), [2.0, 1.0])  # D, without what is zero
        plt.close(figure)

    def test_pictures(self):
        for parts, subspaces in ((CLASSES, OVERLAP), ({f"layer{i}": (0.01, 1, [1.0]) for i in range(100)}, None)):
            write(self.file, parts, subspaces)
            self.assert_drawn(self.file)

    def test_refusals(self):
        write(self.file, {})
        for change, words in ((None, "-noise_group"), ("empty", "empty"), ("share", "lacks the attribute share"),
                              ("nan", "not finite"), ("overlap", "shape")):
            write(self.file, CLASSES if change not in (None, "empty") else {}, OVERLAP)
            with h5py.File(self.file, "a") as file:
                if change == "empty":
                    file.create_group("groups")
                elif change == "share":
                    del file["groups/class 10"].attrs["share"]
                elif change == "nan":
                    file["groups/class 10/eigenvalues"][0] = np.nan
                elif change == "overlap":
                    file["subspaces"].attrs["names"] = np.bytes_("D")
            self.assert_refused(words, self.file)
        write(self.file, CLASSES, OVERLAP)
        self.assert_refused("one file", self.file, self.file)


if __name__ == "__main__":
    unittest.main()
