#!/usr/bin/python3
"""Draws what `clarkia trajectory` found (docs/formats.md, "Analysis"), in three panels as Fig. 3 of Chaudhari and Soatto:
the spectrum of the increments averaged over weights, the autocorrelation with the bands of white noise, the gradient norm.
Shaded: the middle 50 and 90% of the weights, of those that move.

  plot_trajectory.py analysis.h5 --output fig3.png
  plot_trajectory.py small.h5 large.h5 --label "B = 32" "B = 512" --output compared.pdf
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import plot_spectrum  # noqa: E402
from plot_spectrum import BadFile, h5py, np, plt  # noqa: E402

SERIES = ("increments/frequency", "increments/amplitude", "increments/band_frequency", "increments/quantiles",
          "autocorrelation/lag", "autocorrelation/mean", "autocorrelation/quantiles", "time", "gradient_norm",
          "gradient_norm_average")


VERDICTS = {"yes": "circulates", "no": "no circulation is seen", "not asked": "one direction: whether it circulates was not asked",
            "too short": "too short a run to tell whether it circulates",
            "not stationary": "not stationary: whether it circulates cannot be told",
            "singular": "directions not independent: whether it circulates cannot be told"}


def read_analysis(name):
    """The series above and the numbers that the picture names, checked."""
    try:
        with h5py.File(name, "r") as file:
            missing = [key for key in SERIES if key not in file]
            if missing:
                raise BadFile(f"{name} has no dataset /{missing[0]}: was it written by clarkia trajectory?")
            result = {key: file[key][...] for key in SERIES}
            result["white"] = float(file["increments"].attrs["white_level"])
            result["bands"] = [float(file["autocorrelation"].attrs[key]) for key in ("band_95", "band_99")]
            result["burn_in"] = int(file.attrs["burn_in"])
            verdict = file.attrs["circulates"]
            verdict = verdict.decode() if isinstance(verdict, bytes) else str(verdict)
            if verdict not in VERDICTS:
                raise BadFile(f"{name}: the attribute circulates is '{verdict}', which is none of {', '.join(VERDICTS)}")
            result["verdict"] = VERDICTS[verdict]
            result["snapshots"] = int(file.attrs["snapshots"])
    except OSError as error:
        raise BadFile(f"{name}: {os.strerror(error.errno) if error.errno else 'not a readable HDF5 file'}") from error
    except KeyError as error:
        raise BadFile(f"{name}: an attribute is missing: {error.args[0]}") from error
    for key in SERIES[:7]:
        if not np.all(np.isfinite(result[key])):
            raise BadFile(f"{name}: /{key} holds a number that is not finite")
    return result


def binned(x, *curves, most=600, spaced=np.geomspace):
    """Means over neighbours, so that no more than `most` points are drawn: as many of each octave as its share of a
    logarithmic axis, or with np.linspace equally many neighbours everywhere, for a linear one."""
    if len(x) <= most:
        return (x, *curves)
    edges = np.unique(np.rint(spaced(1, len(x) + 1, most + 1)).astype(int)) - 1
    return tuple(np.add.reduceat(curve, edges[:-1]) / np.diff(edges) for curve in (x, *curves))


def draw_increments(axes, result, label, colour):
    """Without the first frequency, which a logarithmic axis does not have, and without that of half the sampling rate, where
    white increments have another level."""
    inner = slice(1, (result["snapshots"] - 2) // 2 + 1)
    frequency, amplitude = binned(*(result[key][inner] for key in SERIES[:2]))
    axes.plot(frequency, amplitude, color=colour, linewidth=1.2, label=label)
    band, quantiles = result["increments/band_frequency"], result["increments/quantiles"]
    axes.fill_between(band, quantiles[:, 0], quantiles[:, 4], color=colour, alpha=0.12, linewidth=0)
    axes.fill_between(band, quantiles[:, 1], quantiles[:, 3], color=colour, alpha=0.25, linewidth=0)
    axes.axhline(result["white"], color=colour, linewidth=0.9, linestyle=":")
    # weights that hardly move, at 1e-25 say, are not followed down
    return 0.1 * min(amplitude.min(), quantiles[:, 2].min()), 3 * max(amplitude.max(), quantiles[:, 4].max())


def draw_autocorrelation(axes, result, label, colour):
    lag, mean, quantiles = (result[key] for key in SERIES[4:7])
    axes.fill_between(lag, quantiles[:, 0], quantiles[:, 4], color=colour, alpha=0.12, linewidth=0)
    axes.fill_between(lag, quantiles[:, 1], quantiles[:, 3], color=colour, alpha=0.25, linewidth=0)
    axes.plot(lag, mean, color=colour, linewidth=1.4, label=label)
    for band, style in zip(result["bands"], ("--", ":")):
        axes.axhline(band, color=colour, linewidth=0.8, linestyle=style)
        axes.axhline(-band, color=colour, linewidth=0.8, linestyle=style)


def draw_gradient(axes, result, label, colour):
    time, norm, average = (result[key] for key in SERIES[7:])
    seen = np.isfinite(norm)
    if not np.any(seen):
        return False
    time, norm, average = binned(time[seen], norm[seen], average[seen], most=2000, spaced=np.linspace)
    axes.plot(time, norm, color=colour, linewidth=0.6, alpha=0.35)
    axes.plot(time, average, color=colour, linewidth=1.6, label=label)
    if result["burn_in"]:
        axes.axvline(result["time"][result["burn_in"]], color=colour, linewidth=0.8, linestyle="--")
    return True


def draw(results, labels, output):
    """The whole picture, to a file whose ending says the format."""
    figure, panels = plt.subplots(1, 3, figsize=(14, 4.4), dpi=150, layout="constrained")
    measured, bounds = False, []
    for result, label, colour in zip(results, labels, plot_spectrum.colours(len(results))):
        bounds.append(draw_increments(panels[0], result, label, colour))
        draw_autocorrelation(panels[1], result, label, colour)
        measured |= draw_gradient(panels[2], result, label, colour)
    panels[0].set(xscale="log", yscale="log", xlabel=r"frequency [1/time, time = $\eta \times$ updates]",
                  ylabel=r"$|\mathrm{rfft}(x_{t+1} - x_t)|$", title="Increments; dotted: white increments")
    panels[0].set_ylim(min(low for low, high in bounds), max(high for low, high in bounds))
    panels[1].set(xlabel="lag [snapshots]", ylabel="autocorrelation",
                  title="Autocorrelation; dashed, dotted: 95%, 99% of white positions")
    panels[2].set(xlabel=r"time [$\eta \times$ updates]", ylabel=r"$|\nabla f| / \sqrt{d}$", title="Gradient norm")
    if measured:
        panels[2].set_yscale("log")
    else:
        panels[2].set(xticks=[], yticks=[])
        panels[2].text(0.5, 0.5, "not measured in this run", ha="center", va="center", transform=panels[2].transAxes)
    for axes in panels:
        axes.title.set_fontsize(9)
        plot_spectrum.frame(axes)
    if any(labels):
        panels[0].legend(frameon=False, fontsize=8)
    words = [f"{label + ': ' if label else ''}{result['verdict']}" for result, label in zip(results, labels)]
    figure.suptitle("; ".join(words), fontsize=10)
    plot_spectrum.save(figure, output)


def main():
    plot_spectrum.command_line("plot_trajectory", __doc__, read_analysis, draw)


if __name__ == "__main__":
    main()
