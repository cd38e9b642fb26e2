#!/usr/bin/python3
"""Draws spectra of the diffusion matrix: a histogram on log-log axes and the eigenvalues by rank (scree plot).

Reads nothing but spectrum files written by `clarkia spectrum` (docs/formats.md), one or several: several instants of one
training run are laid over one another, darker is later, in the order given. As in Fig. 1 of Chaudhari and Soatto,
eigenvalues are clipped from below at lambda_max d eps32, so the first bar of the histogram also holds all that are zero in
single precision; the rank in the legend counts those above.

  plot_spectrum.py spectrum.h5 --output spectrum.png
  plot_spectrum.py at20.h5 at40.h5 at100.h5 --label 20% 40% 100% --output fig1a.png
"""
import argparse
import os
import sys

try:
    import h5py
    import matplotlib
    import numpy as np
except ImportError as error:
    sys.exit(f"plot_spectrum: error: this Python lacks {error.name}; Debian: apt-get install python3-h5py "
             "python3-matplotlib, and run it with /usr/bin/python3")
import matplotlib.figure  # noqa: E402
import matplotlib.mathtext  # noqa: E402

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen first)

ATTRIBUTES = ("dimension", "samples", "complete", "lambda_max", "threshold_float32", "threshold_float64")
OPTIONAL_ATTRIBUTES = ("network", "samples_from")
COMPLETE_ATTRIBUTES = ("rank_float32", "eigenvalue_mean", "clipped_mean", "clipped_std")


class BadFile(Exception):
    """A file that is no spectrum; the text says why."""


def read_spectrum(name):
    """Eigenvalues (descending) and the attributes above of one file, checked. What a partial spectrum does not know is
    None."""
    try:
        with h5py.File(name, "r") as file:
            if "eigenvalues" not in file:
                raise BadFile(f"{name} has no dataset /eigenvalues: is it a spectrum file?")
            values = file["eigenvalues"][...]
            attributes = {key: file.attrs.get(key) for key in ATTRIBUTES + COMPLETE_ATTRIBUTES + OPTIONAL_ATTRIBUTES}
            for key in OPTIONAL_ATTRIBUTES:
                if isinstance(attributes[key], bytes):  # HDF5 strings of fixed length
                    attributes[key] = attributes[key].decode()
            needed = ATTRIBUTES + (COMPLETE_ATTRIBUTES if attributes["complete"] else ())
            missing = [key for key in needed if attributes[key] is None]
            if missing:
                raise BadFile(f"{name} lacks the attribute {missing[0]}")
    except OSError as error:
        raise BadFile(f"{name}: {os.strerror(error.errno) if error.errno else 'not a readable HDF5 file'}") from error
    if values.ndim != 1 or values.size == 0:
        raise BadFile(f"{name}: /eigenvalues has shape {values.shape}, expected a list of numbers")
    if not np.all(np.isfinite(values)):
        raise BadFile(f"{name}: eigenvalue {int(np.argmin(np.isfinite(values)))} is not finite")
    if np.any(np.diff(values) > 0):
        raise BadFile(f"{name}: /eigenvalues are not descending")
    if not values[0] > 0:
        raise BadFile(f"{name}: the largest eigenvalue is {values[0]:g}; a spectrum that is zero has no logarithm")
    return values, attributes


def clipped(values, attributes):
    """All d eigenvalues (those not computed are zero in a complete spectrum) clipped at the float32 threshold."""
    implicit = int(attributes["dimension"]) - values.size if attributes["complete"] else 0
    every = np.concatenate([values, np.zeros(max(implicit, 0))])
    return np.maximum(every, attributes["threshold_float32"])


def colours(count):
    """Light to dark, apart for every kind of colour vision and in grey."""
    return [matplotlib.colormaps["cividis_r"](shade) for shade in np.linspace(0.1, 1.0, count)] if count > 1 else [
        matplotlib.colormaps["cividis_r"](0.85)]


def legend_text(label, attributes):
    """One line of the legend: rank and clipped statistics."""
    rank, dimension = attributes["rank_float32"], int(attributes["dimension"])
    if rank is None:
        text = "leading eigenvalues, all above the threshold"
    else:
        text = f"rank {int(rank):,} = {100 * int(rank) / dimension:.2g}%"
    if attributes["complete"]:
        text += (f"\n$\\lambda$ = {attributes['clipped_mean']:.2g} $\\pm$ {attributes['clipped_std']:.2g} clipped"
                 f", mean {attributes['eigenvalue_mean']:.2g} unclipped")
    return f"{label}: {text}" if label else text


def bins_for(spectra):
    """Edges of bins of equal width in the logarithm, about 8 a decade, from the lowest threshold to the largest eigenvalue."""
    low = min(attributes["threshold_float32"] for _, attributes in spectra)
    high = max(values[0] for values, _ in spectra)
    decades = max(np.log10(high / low), 0.5)
    edges = np.logspace(np.log10(low), np.log10(high), int(np.ceil(8 * decades)) + 1)
    edges[0], edges[-1] = low, high  # not a rounding error inside
    return edges


def draw_histogram(axes, spectra, labels):
    """Number of eigenvalues in each bin, those clipped included; returns the counts, one list a spectrum."""
    edges = bins_for(spectra)
    all_counts = []
    for (values, attributes), label, colour in zip(spectra, labels, colours(len(spectra))):
        counts, _ = np.histogram(clipped(values, attributes), bins=edges)
        axes.stairs(counts, edges, fill=True, facecolor=(*colour[:3], 0.15), edgecolor=colour, linewidth=1.6,
                    label=legend_text(label, attributes))
        all_counts.append(counts)
    axes.set(xscale="log", yscale="log", xlabel=r"eigenvalue $\lambda$, clipped at $\lambda_{\max}\, d\, \epsilon_{32}$",
             ylabel="number of eigenvalues", title="Histogram")
    axes.set_ylim(bottom=0.7)
    return all_counts


def draw_scree(axes, spectra, labels):
    """Eigenvalue against its number, with the single-precision threshold. What is zero in double precision is not drawn;
    returns the numbers of eigenvalues that are, one a spectrum."""
    lowest, drawn = [], []
    for (values, attributes), label, colour in zip(spectra, labels, colours(len(spectra))):
        seen = values[values > attributes["threshold_float64"]]
        axes.plot(np.arange(1, seen.size + 1), seen, color=colour, linewidth=1.8, label=label,
                  marker="s" if seen.size == 1 else None, markersize=5)  # a line needs two points
        lowest.append(min(seen[-1], attributes["threshold_float32"]) if seen.size else attributes["threshold_float32"])
        drawn.append(seen.size)
        axes.axhline(attributes["threshold_float32"], color=colour, linewidth=0.9, linestyle=":")
        if attributes["rank_float32"]:
            axes.plot(int(attributes["rank_float32"]), attributes["threshold_float32"], "o", color=colour, markersize=4)
    axes.set(xscale="log", yscale="log", xlabel="number, in descending order", ylabel=r"eigenvalue $\lambda$",
             title=r"Eigenvalues; dotted: $\lambda_{\max}\, d\, \epsilon_{32}$, dot: rank")
    top = max(values[0] for values, _ in spectra)
    axes.set_ylim(bottom=min(lowest) / 2, top=3 * top)
    return drawn


def title_of(spectra):
    """Network, dimension and samples, where all files have the same."""
    def common(key):
        values = {attributes[key] for _, attributes in spectra}
        return values.pop() if len(values) == 1 else None

    dimension, samples = common("dimension"), common("samples")
    words = ["Spectrum of the diffusion matrix", common("network"), f"d = {int(dimension):,}" if dimension else None,
             f"N = {int(samples):,}" if samples else None]
    title = ", ".join(word for word in words if word)
    return f"{title}\n{common('samples_from')}" if common("samples_from") else title


def frame(axes):
    """A light grid, and no lines at the top and on the right."""
    axes.grid(True, which="major", linewidth=0.5, alpha=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def only(results):
    """The one result of a picture that shows one file."""
    if len(results) != 1:
        raise BadFile("one file at a time")
    return results[0]


def save(figure, output):
    """To a file whose ending says the format."""
    try:
        figure.savefig(output)
    finally:
        plt.close(figure)


def draw(spectra, labels, output):
    """The whole picture."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.8), dpi=150, layout="constrained")
    draw_histogram(left, spectra, labels)
    draw_scree(right, spectra, labels)
    for axes in (left, right):
        frame(axes)
    handles, texts = left.get_legend_handles_labels()
    right.legend(handles, texts, frameon=False, fontsize=8, loc="lower left")
    figure.suptitle(title_of(spectra), fontsize=11)
    save(figure, output)


def check_output(name):
    """The ending of the picture's name says its format; without one matplotlib would choose both."""
    ending = os.path.splitext(name)[1]
    known = matplotlib.figure.Figure().canvas.get_supported_filetypes()
    if ending[1:].lower() not in known:
        raise BadFile(f"--output {name}: {'is no picture format: ' + ending if ending else 'has no ending'}; take .png, .pdf "
                      "or .svg")


def check_labels(labels):
    """What stands between two $ in a label is a formula; one that matplotlib cannot read is named."""
    for label in labels:
        try:
            matplotlib.mathtext.MathTextParser("path").parse(label)
        except ValueError as error:
            raise BadFile(f"--label {label}: {str(error).strip().splitlines()[-1]}; write \\$ for a dollar sign") from error


def command_line(program, description, read, draw_all):
    """Arguments, checks and messages of a script that draws result files; read: one file; draw_all: files, labels, output."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE", help="spectrum file (HDF5), earliest first")
    parser.add_argument("--output", required=True, help="picture to write: .png, .pdf or .svg")
    parser.add_argument("--label", nargs="+", default=None, help="one a file; without: the file names")
    arguments = parser.parse_args()
    labels = arguments.label or [os.path.splitext(os.path.basename(name))[0] for name in arguments.files]
    if len(labels) != len(arguments.files):
        parser.error(f"{len(labels)} labels for {len(arguments.files)} files")
    try:
        check_output(arguments.output)
        check_labels(labels)
        results = [read(name) for name in arguments.files]
        draw_all(results, labels if len(results) > 1 or arguments.label else [""], arguments.output)
    except OSError as error:
        sys.exit(f"{program}: error: --output {arguments.output}: {error.strerror or error}")
    except (BadFile, ValueError) as error:
        sys.exit(f"{program}: error: {' '.join(str(error).split())}")
    print(f"{program}: {arguments.output}")


def main():
    command_line("plot_spectrum", __doc__, read_spectrum, draw)


if __name__ == "__main__":
    main()
