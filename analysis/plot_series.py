#!/usr/bin/python3
"""Draws a series of spectra, a file of `clarkia spectrum -state A,B,..` (docs/formats.md): eigenvalues by rank, later is
darker, and the overlaps of the leading eigenspaces of all pairs.

  plot_series.py series.h5 --output series.png
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import plot_groups  # noqa: E402
import plot_spectrum  # noqa: E402
from plot_spectrum import BadFile, h5py, np, plt  # noqa: E402


def read_series(name):
    """Pairs (name, eigenvalues) in order, distances of neighbours, and the subspaces or None."""
    try:
        with h5py.File(name, "r") as file:
            if "spectra" not in file or "distance" not in file:
                raise BadFile(f"{name} has no /spectra with /distance: was it written with several names in -state?")
            spectra = []
            for number in range(len(file["spectra"])):
                group = file.get(f"spectra/{number}")
                if group is None or "eigenvalues" not in group or "name" not in group.attrs:
                    raise BadFile(f"{name}: /spectra/{number} lacks eigenvalues or name")
                values = group["eigenvalues"][...]
                if values.ndim != 1 or values.size == 0 or not np.all(np.isfinite(values)) or not values[0] > 0:
                    raise BadFile(f"{name}: /spectra/{number}/eigenvalues are no spectrum")
                spectra.append((plot_groups.text(group.attrs["name"]), values))
            if not spectra:
                raise BadFile(f"{name}: /spectra is empty")
            distance = file["distance"][...]
            if distance.shape != (len(spectra), len(spectra)):
                raise BadFile(f"{name}: /distance has shape {distance.shape} for {len(spectra)} spectra")
            return {"spectra": spectra, "distance": distance, "subspaces": plot_groups.read_subspaces(name, file)}
    except OSError as error:
        raise BadFile(f"{name}: {os.strerror(error.errno) if error.errno else 'not a readable HDF5 file'}") from error


def draw_scree(axes, series):
    """Eigenvalues by rank, down to 1e-8 of the largest of all; the legend has the distance to the spectrum before."""
    floor = 1e-8 * max(values[0] for _, values in series["spectra"])
    for number, ((name, values), colour) in enumerate(zip(series["spectra"], plot_spectrum.colours(len(series["spectra"])))):
        seen = values[values > floor]
        label = f"{name}, distance {series['distance'][number, number - 1]:.3f}" if number else name
        axes.plot(np.arange(1, seen.size + 1), seen, color=colour, linewidth=1.6, label=label)
    axes.set(xscale="log", yscale="log", xlabel="number, in descending order", ylabel=r"eigenvalue $\lambda$",
             title="Eigenvalues; distance to the spectrum before")
    plot_spectrum.frame(axes)
    axes.legend(frameon=False, fontsize=8, loc="lower left")


def draw(results, labels, output):
    """The whole picture of one file."""
    series = plot_spectrum.only(results)
    columns = 2 if series["subspaces"] else 1
    figure, axes = plt.subplots(1, columns, figsize=(5.8 * columns, 4.8), dpi=150, layout="constrained", squeeze=False)
    draw_scree(axes[0, 0], series)
    if series["subspaces"]:
        plot_groups.draw_overlaps(figure, axes[0, 1], series["subspaces"])
    if labels[0]:
        figure.suptitle(labels[0], fontsize=11)
    plot_spectrum.save(figure, output)


def main():
    plot_spectrum.command_line("plot_series", __doc__, read_series, draw)


if __name__ == "__main__":
    main()
