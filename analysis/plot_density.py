#!/usr/bin/python3
"""Draws spectral densities estimated by `clarkia spectrum -spectrum_method density` (docs/formats.md), one or several:
eigenvalues per decade with two standard errors, and the number of eigenvalues above each value.

  plot_density.py density.h5 --output density.png
  plot_density.py before.h5 after.h5 --label before after --output density.pdf
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import plot_spectrum  # noqa: E402
from plot_spectrum import BadFile, h5py, np, plt  # noqa: E402

CURVES = ("grid", "density", "density_error")


def read_density(name):
    """The curves, the rules (nodes, weights) and the order of one file, checked."""
    try:
        with h5py.File(name, "r") as file:
            missing = [key for key in CURVES + ("nodes", "weights") if f"density/{key}" not in file]
            if missing:
                raise BadFile(f"{name} has no dataset /density/{missing[0]}: was it written by -spectrum_method density?")
            result = {key: file[f"density/{key}"][...] for key in CURVES + ("nodes", "weights")}
            if "order" not in file["density"].attrs:
                raise BadFile(f"{name} lacks the attribute order of /density")
            result["order"] = int(file["density"].attrs["order"])
    except OSError as error:
        raise BadFile(f"{name}: {os.strerror(error.errno) if error.errno else 'not a readable HDF5 file'}") from error
    if any(result[key].shape != result["grid"].shape or result["grid"].ndim != 1 for key in CURVES):
        raise BadFile(f"{name}: the curves in /density are of different shapes")
    if result["nodes"].ndim != 2 or result["nodes"].shape != result["weights"].shape or len(result["nodes"]) < 2:
        raise BadFile(f"{name}: /density/nodes and /density/weights must be two tables of at least two probes")
    for key in CURVES + ("nodes", "weights"):
        if not np.all(np.isfinite(result[key])):
            raise BadFile(f"{name}: /density/{key} holds a number that is not finite")
    if np.any(result["grid"] <= 0):
        raise BadFile(f"{name}: /density/grid holds a number that is not positive")
    return result


def counts(density):
    """Eigenvalues above each grid point, and the standard error over the probes."""
    above = density["nodes"][:, :, None] > density["grid"][None, None, :]
    each = density["order"] * np.sum(density["weights"][:, :, None] * above, axis=1)
    return each.mean(axis=0), each.std(axis=0, ddof=1) / np.sqrt(len(each))


def draw(densities, labels, output):
    """The whole picture, to a file whose ending says the format."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.8), dpi=150, layout="constrained")
    for density, label, colour in zip(densities, labels, plot_spectrum.colours(len(densities))):
        for axes, (curve, error) in ((left, (density["density"], density["density_error"])), (right, counts(density))):
            axes.plot(density["grid"], curve, color=colour, linewidth=1.6, label=label)
            axes.fill_between(density["grid"], np.maximum(curve - 2 * error, 0), curve + 2 * error, color=colour, alpha=0.25,
                              linewidth=0)
    left.set(xscale="log", yscale="log", xlabel=r"eigenvalue $\lambda$", ylabel="eigenvalues per decade",
             title="Density, with two standard errors")
    right.set(xscale="log", yscale="log", xlabel=r"eigenvalue $\lambda$", ylabel=r"eigenvalues above $\lambda$", title="Counts")
    for axes in (left, right):
        axes.set_ylim(bottom=0.1)
        plot_spectrum.frame(axes)
    if any(labels):
        left.legend(frameon=False, fontsize=8)
    plot_spectrum.save(figure, output)


def main():
    plot_spectrum.command_line("plot_density", __doc__, read_density, draw)


if __name__ == "__main__":
    main()
