#!/usr/bin/python3
"""Draws a scaling study: time and parallel efficiency of the pieces of a run against the number of ranks.

Reads nothing but files written by `clarkia bench -output` (docs/formats.md), any number of repeats for each number of
ranks. Each call of each repeat counts: points are medians, bars go from the least to the greatest. Efficiency is the
rate (samples or operations per second and rank) over that of the smallest number of ranks that is there. Pieces with
the same work for all numbers of ranks make a strong study, those with work in proportion to the ranks a weak one; a mixture
is an error. Dashed in a strong study: the prediction, by the model of docs/theory.md, section 18, in the file of the most
ranks, where it is for as many samples as were measured.

  plot_scaling.py scaling-strong-*.h5 --output strong.png
  plot_scaling.py scaling-weak-*.h5 --task diffusion_block --output weak.png
"""
import argparse
import os
import sys

try:
    import h5py
    import matplotlib
    import numpy as np
except ImportError as error:
    sys.exit(f"plot_scaling: error: this Python lacks {error.name}; Debian: apt-get install python3-h5py "
             "python3-matplotlib, and run it with /usr/bin/python3")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen first)


class BadFile(Exception):
    """A file that is no bench, or does not go with the others; the text says why."""


def read_bench(name):
    """Number of ranks; of each piece its title, work of a call, whether the work is samples, and seconds; prediction."""
    try:
        with h5py.File(name, "r") as file:
            if "bench" not in file or "ranks" not in file.attrs:
                raise BadFile(f"{name} has no group /bench or no attribute ranks: is it from clarkia bench -output?")
            pieces = {}
            for key, data in file["bench"].items():
                samples = float(data.attrs["samples"]) * float(data.attrs["products"])
                work = samples if samples > 0 else float(data.attrs["operations"])
                title = data.attrs["description"]
                title = title.decode() if isinstance(title, bytes) else str(title)
                pieces[key] = (title, work, samples > 0, np.asarray(data[...], dtype=float))
            ranks = int(file.attrs["ranks"])
            prediction = read_prediction(file["prediction"]) if "prediction" in file else None
    except OSError as error:
        raise BadFile(f"{name}: {os.strerror(error.errno) if error.errno else 'not a readable HDF5 file'}") from error
    except KeyError as error:
        raise BadFile(f"{name}: a piece lacks {error.args[0]}") from error
    for key, (_, work, _, seconds) in pieces.items():
        if seconds.size == 0 or not np.all(seconds > 0) or not work > 0:
            raise BadFile(f"{name}: /bench/{key} has times or work that are not positive")
    return ranks, pieces, prediction


def read_prediction(group):
    """Task, work of a call, ranks, seconds, efficiency."""
    task = group.attrs["task"]
    return (task.decode() if isinstance(task, bytes) else str(task),
            float(group.attrs["samples"]) * float(group.attrs["products"]),
            *(np.asarray(group[key][...], dtype=float) for key in ("ranks", "seconds", "efficiency")))


def gather(names, task):
    """Of each piece {ranks: (work, seconds of all repeats)} and its title; samples only unless a task is named. The
    prediction of the file with the most ranks."""
    tables, titles, predictions = {}, {}, {}
    for name in names:
        ranks, pieces, prediction = read_bench(name)
        if prediction:
            predictions[ranks] = prediction
        for key, (title, work, sampled, seconds) in pieces.items():
            if (task and key not in task) or (not task and not sampled):
                continue
            known, earlier = tables.setdefault(key, {}).setdefault(ranks, (work, np.empty(0)))
            if known != work:
                raise BadFile(f"{name}: {key} has {work:g} of work on {ranks} ranks, another file has {known:g}")
            tables[key][ranks] = (work, np.concatenate([earlier, seconds]))
            titles[key] = title
    for key in task or ():
        if key not in tables:
            raise BadFile(f"--task {key}: no file has it")
    if not tables:
        raise BadFile("no piece of the files goes through samples")
    return tables, titles, predictions[max(predictions)] if predictions else None


def kind_of(tables):
    """strong or weak, from how the work grows with the ranks; one number of ranks is no study."""
    kinds = set()
    for key, table in tables.items():
        base = min(table)
        if len(table) < 2:
            raise BadFile(f"{key} was measured on {base} ranks only; a study needs two numbers of ranks")
        growth = [table[ranks][0] / table[base][0] for ranks in sorted(table)]
        if np.allclose(growth, 1):
            kinds.add("strong")
        elif np.allclose(growth, [ranks / base for ranks in sorted(table)]):
            kinds.add("weak")
        else:
            raise BadFile(f"{key}: the work is neither the same for all numbers of ranks nor in proportion to them")
    if len(kinds) > 1:
        raise BadFile("some pieces are of a strong study, others of a weak one; choose with --task")
    return kinds.pop()


def efficiencies(table):
    """Ranks, median seconds, least, greatest, efficiency relative to the smallest number of ranks."""
    ranks = sorted(table)
    median = np.array([np.median(table[n][1]) for n in ranks])
    least = np.array([table[n][1].min() for n in ranks])
    greatest = np.array([table[n][1].max() for n in ranks])
    rate = np.array([table[n][0] for n in ranks]) / median / np.array(ranks)
    return np.array(ranks), median, least, greatest, rate / rate[0]


def draw_prediction(axes, prediction, table, colour):
    """Prints and draws the predicted line, which is relative to one rank as the efficiency in the file is."""
    task, _, ranks, seconds, efficiency = prediction
    axes[0].plot(ranks, seconds, color=colour, linewidth=1.2, linestyle="--", label="predicted, not measured")
    base = min(table)
    here = np.interp(np.log(base), np.log(ranks), efficiency)  # measured efficiencies are relative to the base
    axes[1].plot(ranks, efficiency / here, color=colour, linewidth=1.2, linestyle="--", label="predicted, not measured")
    for row in zip(ranks, seconds, efficiency / here):
        print("%-20s %6d ranks  predicted %.4g s  efficiency %.3f" % (task, *row))


def draw(tables, titles, kind, output, prediction):
    """Prints the numbers and draws them, to a file whose ending says the format."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.8), dpi=150, layout="constrained")
    try:
        for i, (key, table) in enumerate(sorted(tables.items())):
            colour = matplotlib.colormaps["cividis"](i / max(len(tables) - 1, 1) * 0.9)
            ranks, median, least, greatest, efficiency = efficiencies(table)
            left.errorbar(ranks, median, yerr=[median - least, greatest - median], color=colour, marker="o",
                          markersize=4, capsize=3, label=titles[key])
            ideal = median[0] * (ranks[0] / ranks if kind == "strong" else np.ones(ranks.size))
            left.plot(ranks, ideal, color=colour, linewidth=0.8, linestyle=":")
            right.plot(ranks, efficiency, color=colour, marker="o", markersize=4, label=titles[key])
            for row in zip(ranks, median, least, greatest, efficiency):
                print("%-20s %6d ranks  median %.4g s  from %.4g to %.4g s  efficiency %.3f" % (key, *row))
            if kind == "strong" and prediction and prediction[:2] == (key, table[min(table)][0]):
                draw_prediction((left, right), prediction, table, colour)
        base = min(min(table) for table in tables.values())
        left.set(xscale="log", yscale="log", xlabel="ranks", ylabel="seconds a call; dotted: ideal",
                 title=f"{kind.capitalize()} scaling")
        right.set(xscale="log", xlabel="ranks", title="Efficiency",
                  ylabel=f"efficiency relative to {base} rank{'s' if base > 1 else ''}")
        right.axhline(1, color="grey", linewidth=0.8, linestyle=":")
        right.set_ylim(bottom=0)
        right.legend(frameon=False, fontsize=8, loc="lower left")
        figure.savefig(output)
    finally:
        plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE", help="file of clarkia bench -output")
    parser.add_argument("--output", required=True, help="picture to write: .png, .pdf or .svg")
    parser.add_argument("--task", nargs="+", default=None, help="only these datasets of /bench")
    arguments = parser.parse_args()
    try:
        tables, titles, prediction = gather(arguments.files, arguments.task)
        draw(tables, titles, kind_of(tables), arguments.output, prediction)
    except OSError as error:
        sys.exit(f"plot_scaling: error: --output {arguments.output}: {error.strerror or error}")
    except (BadFile, ValueError) as error:
        sys.exit(f"plot_scaling: error: {' '.join(str(error).split())}")
    print(f"plot_scaling: {arguments.output}")


if __name__ == "__main__":
    main()
