#!/usr/bin/python3
"""Draws what `clarkia tail` found (docs/formats.md, "Tails"): quantiles of the noise across minibatches against those of the
normal distribution, excess kurtosis against that of single samples over B, and the stable index across weights beside that
of normal noise of the same covariance, flattened the same way.

  plot_tail.py tail.h5 --output tail.png
  plot_tail.py random.h5 trained.h5 --label "random weights" trained --output tails.pdf
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import plot_spectrum  # noqa: E402
from plot_spectrum import BadFile, h5py, np, plt  # noqa: E402

SERIES = ("minibatches/quantiles", "minibatches/normal_quantiles", "minibatches/kurtosis", "minibatches/sample_kurtosis",
          "weights/minibatch/alpha", "weights/normal/alpha", "weights/minibatch/alpha_standardised")


def read_tail(name):
    """The series above and the batch size, checked."""
    try:
        with h5py.File(name, "r") as file:
            missing = [key for key in SERIES if key not in file]
            if missing:
                raise BadFile(f"{name} has no dataset /{missing[0]}: was it written by clarkia tail?")
            result = {key: file[key][...] for key in SERIES}
            result["batch"] = int(file.attrs["batch"])
            result["expected"] = float(file["weights"].attrs["alpha_expected"])
    except OSError as error:
        raise BadFile(f"{name}: {os.strerror(error.errno) if error.errno else 'not a readable HDF5 file'}") from error
    except KeyError as error:
        raise BadFile(f"{name}: an attribute is missing: {error.args[0]}") from error
    for key in SERIES:
        if not np.all(np.isfinite(result[key])):
            raise BadFile(f"{name}: /{key} holds a number that is not finite")
    if result["minibatches/quantiles"].shape[1:] != result["minibatches/normal_quantiles"].shape:
        raise BadFile(f"{name}: /minibatches/quantiles and normal_quantiles do not fit together")
    return result


def draw_quantiles(axes, result, label, colour):
    """Median and the middle 90% of the series."""
    normal = result["minibatches/normal_quantiles"]
    low, middle, high = np.quantile(result["minibatches/quantiles"], [0.05, 0.5, 0.95], axis=0)
    axes.fill_between(normal, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(normal, middle, color=colour, linewidth=1.5, label=label)


def draw_indices(axes, place, result, colour):
    """Three groups of points: minibatches, normal noise, minibatches with every weight over its own deviation."""
    for step, key in enumerate(SERIES[4:]):
        values = result[key]
        axes.plot(np.full(len(values), step + place), values, ".", color=colour, markersize=5)
        axes.plot([step + place - 0.06, step + place + 0.06], [values.mean()] * 2, color=colour, linewidth=2)
    axes.plot([0.94 + place, 1.06 + place], [result["expected"]] * 2, color=colour, linewidth=1.2, linestyle=":")


def draw(results, labels, output):
    """The whole picture, to a file whose ending says the format."""
    figure, panels = plt.subplots(1, 3, figsize=(14, 4.4), dpi=150, layout="constrained")
    places = 0.25 * (np.arange(len(results)) - (len(results) - 1) / 2)
    for result, label, colour, place in zip(results, labels, plot_spectrum.colours(len(results)), places):
        draw_quantiles(panels[0], result, label, colour)
        panels[1].plot(result["minibatches/sample_kurtosis"] / result["batch"], result["minibatches/kurtosis"], ".",
                       color=colour, markersize=4)
        draw_indices(panels[2], place, result, colour)
    ends = [results[0]["minibatches/normal_quantiles"][at] for at in (0, -1)]
    panels[0].plot(ends, ends, color="0.4", linewidth=0.9, linestyle="--")
    panels[0].set(xlabel="normal quantile", ylabel="quantile of the noise over its deviation",
                  title="Across minibatches; shaded: 90% of the series")
    every = np.concatenate([np.r_[result["minibatches/sample_kurtosis"] / result["batch"], result["minibatches/kurtosis"]]
                            for result in results])
    span = [min(0, every.min()), every.max()]
    panels[1].plot(span, span, color="0.4", linewidth=0.9, linestyle="--")
    panels[1].set(xscale="symlog", yscale="symlog", xlabel="excess kurtosis of single samples / B",
                  ylabel="excess kurtosis of the noise", title="Kurtosis: 0 is normal")
    panels[2].axhline(2, color="0.4", linewidth=0.9, linestyle="--")
    panels[2].set(xticks=[0, 1, 2], xlim=(-0.6, 2.6), ylabel=r"stable index $\alpha$",
                  title="Across weights; dotted: independent normal noise")
    panels[2].set_xticklabels(["minibatch", "normal, same\ncovariance", "minibatch, each\nover its deviation"])
    for axes in panels:
        axes.title.set_fontsize(10)
        plot_spectrum.frame(axes)
    if any(labels):
        panels[0].legend(frameon=False, fontsize=8)
    plot_spectrum.save(figure, output)


def main():
    plot_spectrum.command_line("plot_tail", __doc__, read_tail, draw)


if __name__ == "__main__":
    main()
