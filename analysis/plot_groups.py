#!/usr/bin/python3
"""Draws the parts of D in a file of `clarkia spectrum -noise_group layer|tensor|class` (docs/formats.md): their shares of
tr D, their eigenvalues by rank beside those of D, and for classes the overlaps of their leading eigenspaces.

  plot_groups.py classes.h5 --output classes.png
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import plot_spectrum  # noqa: E402
from plot_spectrum import BadFile, h5py, np, plt  # noqa: E402

NEEDED = ("name", "number", "share", "weight")
WHOLE = ("between classes", "within classes")


def text(value):
    """A string attribute, of fixed length or not."""
    return value.decode() if isinstance(value, bytes) else str(value)


def read_subspaces(name, file):
    """Names and overlaps of the subspaces, or None."""
    if "subspaces" not in file:
        return None
    group = file["subspaces"]
    if "names" not in group.attrs or "overlap" not in group:
        raise BadFile(f"{name}: /subspaces lacks names or overlap")
    names, overlap = text(group.attrs["names"]).split("\n"), group["overlap"][...]
    if overlap.shape != (len(names), len(names)):
        raise BadFile(f"{name}: /subspaces/overlap has shape {overlap.shape} for {len(names)} names")
    return names, overlap


def read_groups(name):
    """Parts in their order, each a dict of the attributes above and its eigenvalues (None: a class without samples), the
    eigenvalues of D, and the subspaces."""
    spectrum, _ = plot_spectrum.read_spectrum(name)
    with h5py.File(name, "r") as file:
        if "groups" not in file:
            raise BadFile(f"{name} has no /groups: was it written with -noise_group?")
        parts = []
        for group in file["groups"].values():
            missing = [key for key in NEEDED if key not in group.attrs]
            if missing:
                raise BadFile(f"{name}: {group.name} lacks the attribute {missing[0]}")
            part = {key: group.attrs[key] for key in NEEDED}
            part["name"] = text(part["name"])
            part["values"] = group["eigenvalues"][...] if "eigenvalues" in group else None
            if part["values"] is not None and not np.all(np.isfinite(part["values"])):
                raise BadFile(f"{name}: {group.name}/eigenvalues are not finite")
            parts.append(part)
        if not parts:
            raise BadFile(f"{name}: /groups is empty")
        parts.sort(key=lambda part: part["number"])
        return {"spectrum": spectrum, "parts": parts, "subspaces": read_subspaces(name, file)}


def part_colours(parts):
    """Parts within and between classes stand out; the others follow a scale in their order."""
    others = [part["name"] for part in parts if part["name"] not in WHOLE]
    scale = dict(zip(others, plot_spectrum.colours(len(others))))
    return [{"between classes": "C3", "within classes": "C0"}.get(part["name"]) or scale[part["name"]] for part in parts]


def draw_shares(axes, parts, colours):
    """Bars from top to bottom in the order of the table; names go where there is room for them."""
    places = np.arange(len(parts))
    axes.barh(places, [100 * part["share"] for part in parts], color=colours)
    axes.set(xlabel="share of tr D, %", title="Shares")
    step = max(1, len(parts) // 40)
    axes.set_yticks(places[::step], [part["name"] for part in parts][::step], fontsize=7)
    axes.invert_yaxis()


def draw_scree(axes, groups, colours):
    """Eigenvalues of each part times its weight, so that all are parts of one D; returns the numbers drawn."""
    spectrum, drawn = groups["spectrum"], []
    floor = spectrum[0] * 1e-8
    for part, colour in zip(groups["parts"], colours):
        values = part["values"][part["weight"] * part["values"] > floor] if part["values"] is not None else np.empty(0)
        whole = part["name"] in WHOLE
        axes.plot(np.arange(1, values.size + 1), part["weight"] * values, color=colour, linewidth=1.8 if whole else 0.9,
                  marker="o" if values.size < 20 and whole else None, markersize=3, label=part["name"] if whole else None,
                  zorder=3 if whole else 2)
        drawn.append(values.size)
    seen = spectrum[spectrum > floor]
    axes.plot(np.arange(1, seen.size + 1), seen, color="black", linewidth=1.2, linestyle="--", label="D", zorder=4)
    axes.set(xscale="log", yscale="log", xlabel="number, in descending order", ylabel=r"eigenvalue $\lambda$",
             title=r"Eigenvalues (of a class: $p_c \lambda$)" if groups["subspaces"] else "Eigenvalues")
    axes.legend(frameon=False, fontsize=8)
    return drawn


def draw_overlaps(figure, axes, subspaces):
    """The matrix of overlaps."""
    names, overlap = subspaces
    image = axes.imshow(overlap, vmin=0, vmax=1, cmap="cividis")
    step = max(1, len(names) // 30)
    axes.set_xticks(range(0, len(names), step), names[::step], rotation=90, fontsize=7)
    axes.set_yticks(range(0, len(names), step), names[::step], fontsize=7)
    axes.set_title(r"Overlap $|U_a^T U_b|_F^2 / k$ of leading eigenspaces")
    figure.colorbar(image, ax=axes, shrink=0.8)


def draw(results, labels, output):
    """The whole picture of one file."""
    groups = plot_spectrum.only(results)
    columns = 3 if groups["subspaces"] else 2
    figure, axes = plt.subplots(1, columns, figsize=(5.6 * columns, 5.2), dpi=150, layout="constrained")
    colours = part_colours(groups["parts"])
    draw_shares(axes[0], groups["parts"], colours)
    draw_scree(axes[1], groups, colours)
    for panel in axes[:2]:
        panel.set_axisbelow(True)
        plot_spectrum.frame(panel)
    if groups["subspaces"]:
        draw_overlaps(figure, axes[2], groups["subspaces"])
    if labels[0]:
        figure.suptitle(labels[0], fontsize=11)
    plot_spectrum.save(figure, output)


def main():
    plot_spectrum.command_line("plot_groups", __doc__, read_groups, draw)


if __name__ == "__main__":
    main()
