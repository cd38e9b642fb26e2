#!/usr/bin/python3
"""Draws a phase portrait: two projections of a run against each other, from a file of `clarkia trajectory`, or from a
trajectory of projections itself. Early is light, late is dark; arrows show the velocity of the current where snapshots are
dense and it is three standard errors or more, and the current with its error stands in the title where the file has it.

  plot_phase.py analysis.h5 --output phase.png
  plot_phase.py analysis.h5 --directions 1 3 --replica 1 --output phase.pdf
"""
import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import plot_spectrum  # noqa: E402
from plot_spectrum import BadFile, h5py, np, plt  # noqa: E402


def text_of(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def read_paths(name):
    """Snapshots [T, replicas, k]; the current and its error [k, k], or None."""
    try:
        with h5py.File(name, "r") as file:
            if "projections" in file:
                paths, current = file["projections"][...], None
                if "circulation/current" in file:
                    current = file["circulation/current"][...], file["circulation/current_error"][...]
            elif "weights" in file and text_of(file.attrs.get("content", "")) == "projections":
                paths, current = file["weights"][...], None
                if paths.ndim == 2:
                    paths = paths[:, None, :]
            else:
                raise BadFile(f"{name} has neither /projections (clarkia trajectory) nor is it a trajectory of projections")
    except OSError as error:
        raise BadFile(f"{name}: {os.strerror(error.errno) if error.errno else 'not a readable HDF5 file'}") from error
    if paths.ndim != 3 or len(paths) < 2:
        raise BadFile(f"{name}: {paths.shape} is no shape of two snapshots or more")
    if not np.all(np.isfinite(paths)):
        raise BadFile(f"{name}: a projection is not finite")
    return np.asarray(paths, dtype=float), current


def current_velocity(x, y, cells=14, least=30, errors=3):
    """Centres of the cells of a grid, and the velocity of the current there, per snapshot: the mean of the step that led to a
    snapshot and of the step that follows. What draws back to the middle is the same forwards and backwards in time and drops
    out, so that nothing is left of a process without circulation. Only of cells with `least` snapshots or more where it is
    `errors` standard errors or more; the outermost 1% of the snapshots lie beyond the grid."""
    grids = [np.linspace(*np.quantile(z, [0.005, 0.995]), cells + 1) for z in (x, y)]
    at = [np.searchsorted(grid, z[1:-1], side="right") - 1 for grid, z in zip(grids, (x, y))]
    inside = np.all([(0 <= k) & (k < cells) for k in at], axis=0)
    cell = (at[0] * cells + at[1])[inside]
    count = np.bincount(cell, minlength=cells * cells)
    steps = [((z[2:] - z[:-2]) / 2)[inside] for z in (x, y)]
    mean = [np.bincount(cell, step, cells * cells) / np.maximum(count, 1) for step in steps]
    square = sum(np.bincount(cell, (step - m[cell]) ** 2, cells * cells) for step, m in zip(steps, mean))
    error = np.sqrt(square / np.maximum(count, 1)) / np.sqrt(np.maximum(count, 1))
    seen = np.nonzero((count >= least) & (np.hypot(*mean) >= errors * error))[0]
    middle = [(grid[:-1] + grid[1:]) / 2 for grid in grids]
    return middle[0][seen // cells], middle[1][seen % cells], mean[0][seen], mean[1][seen]


def draw(paths, current, directions, replica, output):
    """The whole picture, to a file whose ending says the format."""
    i, j = directions
    x, y = paths[:, replica, i], paths[:, replica, j]
    figure, axes = plt.subplots(figsize=(6.4, 5.6), dpi=150, layout="constrained")
    shown = np.linspace(0, len(x) - 1, min(len(x), 8000)).astype(int)
    if len(shown) <= 2000:
        axes.plot(x[shown], y[shown], color="0.7", linewidth=0.4, zorder=1)
    mixed = np.random.default_rng(1).permutation(shown)  # so that late ones do not hide early ones
    points = axes.scatter(x[mixed], y[mixed], c=mixed, s=4, cmap="cividis_r", linewidths=0, alpha=0.4, zorder=2)
    arrows = current_velocity(x, y)
    if len(arrows[0]):
        axes.quiver(*arrows, color="crimson", width=0.005, angles="xy", zorder=3)
    bar = figure.colorbar(points, ax=axes, label="snapshot")
    bar.solids.set_alpha(1)
    axes.locator_params(nbins=6)
    axes.set(xlabel=f"projection {i + 1}", ylabel=f"projection {j + 1}")
    title = "Phase portrait; " + ("arrows: velocity of the current" if len(arrows[0]) else "no velocity beyond three standard errors in any cell")
    if current is not None:
        title += f"\ncurrent {current[0][i, j]:.3g} $\\pm$ {current[1][i, j]:.2g} ({'anticlockwise' if current[0][i, j] > 0 else 'clockwise'})"
    axes.set_title(title, fontsize=10)
    plot_spectrum.frame(axes)
    plot_spectrum.save(figure, output)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="FILE", help="of clarkia trajectory, or a trajectory of projections")
    parser.add_argument("--output", required=True, help="picture to write: .png, .pdf or .svg")
    parser.add_argument("--directions", nargs=2, type=int, default=[1, 2], metavar=("I", "J"), help="which two, from 1")
    parser.add_argument("--replica", type=int, default=1, help="from 1")
    arguments = parser.parse_args()
    try:
        plot_spectrum.check_output(arguments.output)
        paths, current = read_paths(arguments.file)
        for direction in arguments.directions:
            if not 1 <= direction <= paths.shape[2]:
                raise BadFile(f"--directions {direction}: the file has {paths.shape[2]}")
        if arguments.directions[0] == arguments.directions[1]:
            raise BadFile("--directions: two different ones are needed")
        if not 1 <= arguments.replica <= paths.shape[1]:
            raise BadFile(f"--replica {arguments.replica}: the file has {paths.shape[1]}")
        draw(paths, current, [direction - 1 for direction in arguments.directions], arguments.replica - 1, arguments.output)
    except OSError as error:
        sys.exit(f"plot_phase: error: --output {arguments.output}: {error.strerror or error}")
    except (BadFile, ValueError) as error:
        sys.exit(f"plot_phase: error: {' '.join(str(error).split())}")
    print(f"plot_phase: {arguments.output}")


if __name__ == "__main__":
    main()
