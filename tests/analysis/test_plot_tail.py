"""plot_tail.py on a made-up study, and on files that are none. Usage: <this> <analysis folder>"""
import unittest

import h5py
import numpy as np
from scripts import ScriptTest


class PlotTail(ScriptTest):
    script = "plot_tail.py"

    def write(self, name, change=None):
        """Twenty series of normal noise, four flattened minibatches."""
        rng = np.random.default_rng(1)
        normal = np.linspace(-2.3, 2.3, 99)
        data = {"minibatches/quantiles": normal + 0.05 * rng.normal(size=(20, 1)), "minibatches/normal_quantiles": normal,
                "minibatches/kurtosis": 0.1 * rng.normal(size=20), "minibatches/sample_kurtosis": rng.random(20)}
        for key in ("minibatch/alpha", "normal/alpha", "minibatch/alpha_standardised"):
            data["weights/" + key] = 1.5 + 0.1 * rng.random(4)
        data.update(change or {})
        with h5py.File(self.path(name), "w") as file:
            for key, values in data.items():
                if values is not None:
                    file[key] = values
            file.attrs["batch"] = 10
            file["weights"].attrs["alpha_expected"] = 1.5
        return self.path(name)

    def test_pictures(self):
        one, two = self.write("one.h5"), self.write("two.h5")
        for arguments in ((one,), (one, two, "--label", "before", "after")):
            self.assert_drawn(*arguments)

    def test_bad_files(self):
        self.assert_refused("No such file", self.path("absent.h5"))
        self.assert_refused("/minibatches/kurtosis", self.write("none.h5", {"minibatches/kurtosis": None}))
        self.assert_refused("do not fit", self.write("shapes.h5", {"minibatches/normal_quantiles": np.ones(3)}))
        self.assert_refused("not finite", self.write("nan.h5", {"weights/normal/alpha": np.full(4, np.nan)}))


if __name__ == "__main__":
    unittest.main()
