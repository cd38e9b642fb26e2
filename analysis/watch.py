#!/usr/bin/python3
"""Shows how a running training is doing, as text in a terminal, from the journal that `clarkia train -train_journal FILE`
writes (docs/formats.md, "Journal"): epochs, time left, losses and errors with their history. Needs nothing but Python.

  watch.py run.jsonl               follow until the last epoch, or Ctrl-C
  watch.py run.jsonl --once        print once, for a log or `watch`
  ssh cluster tail -n +1 -f run.jsonl | watch.py -
"""
import argparse
import json
import math
import os
import shutil
import sys
import time

BARS = " ▁▂▃▄▅▆▇█"
SHOWN = (("loss", "training loss", "{:.5g}"), ("error", "training error", "{:.2%}"), ("free_energy", "free energy", "{:.5g}"),
         ("test_loss", "test loss", "{:.5g}"), ("test_error", "test error", "{:.2%}"))


class Journal:
    """What the lines so far say: of the last run that the file tells of, and all its epochs."""

    def __init__(self):
        self.head, self.epochs, self.rest = {}, [], ""

    def feed(self, text):
        """Takes text that may end within a line; bad lines are an error that names them."""
        lines = (self.rest + text).split("\n")
        self.rest = lines.pop()
        for line in filter(None, lines):
            try:
                entry = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"this is no line of a journal: {line[:60]}") from error
            if not isinstance(entry, dict) or not ("epoch" in entry or "program" in entry):
                raise ValueError(f"this is no line of a journal: {line[:60]}")
            if "program" in entry:
                self.head = entry
            else:  # a run that went on from a checkpoint tells its epochs anew
                while self.epochs and self.epochs[-1]["epoch"] >= entry["epoch"]:
                    self.epochs.pop()
                self.epochs.append(entry)

    def done(self):
        return bool(self.epochs) and self.epochs[-1]["epoch"] >= self.head.get("epochs", math.inf)


def duration(seconds):
    """7325 -> "2 h 02 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def curve(values, width):
    """A line of bars, the last `width` groups of values from lowest to highest."""
    values = [value for value in values if value is not None]
    if not values:
        return ""
    group = max(1, math.ceil(len(values) / width))
    means = [sum(values[i:i + group]) / len(values[i:i + group]) for i in range(0, len(values), group)]
    low, high = min(means), max(means)
    return "".join(BARS[1 + (round(7 * (mean - low) / (high - low)) if high > low else 0)] for mean in means)


def screen(journal, width):
    """The whole view, as lines."""
    head, epochs = journal.head, journal.epochs
    lines = [f"{head.get('program', 'clarkia')}: {head.get('net', '?')} to {head.get('output') or '?'}, "
             f"started {head.get('started', '?')}"]
    if not epochs:
        return lines + ["no epoch is finished yet"]
    last, total = epochs[-1], head.get("epochs", 0)
    share = last["epoch"] / total if total else 0
    bar = max(10, min(50, width - 40))
    filled = round(share * bar)
    left = "finished" if journal.done() else f"{duration(last['left'])} left" if last.get("left") is not None else ""
    lines.append(f"epoch {last['epoch']}/{total} [{'#' * filled}{'.' * (bar - filled)}] {share:.0%} {left}")
    lines.append(f"update {last['step']}, learning rate {last['rate']:g}, {last['seconds']:.3g} s an epoch, "
                 f"as of {last['at']}")
    for key, name, form in SHOWN:
        values = [epoch.get(key) for epoch in epochs]
        known = [value for value in values if value is not None]
        if known:
            text = f"  {name:<15}{form.format(known[-1]):>10}  least {form.format(min(known)):>8}  "
            lines.append(text + curve(values, max(10, width - len(text) - 1)))
    return lines


def show(journal, again):
    """Prints the view; again: over the one before."""
    width = shutil.get_terminal_size((100, 24)).columns
    lines = [line[:width] for line in screen(journal, width)]
    if again:
        sys.stdout.write("\x1b[H\x1b[2J")
    print("\n".join(lines), flush=True)


def follow(stream, arguments):
    """Reads what is there, shows it, and goes on until the run is done or, with --once or from a pipe, the text ends."""
    journal = Journal()
    terminal = sys.stdout.isatty()
    while True:
        text = stream.readline() if stream is sys.stdin else stream.read()
        journal.feed(text)
        ended = journal.done() or (text == "" and stream is sys.stdin)
        if arguments.once and not (stream is sys.stdin and text):
            show(journal, False)
            return
        if not arguments.once and (text or ended):
            show(journal, terminal)
        if ended:
            return
        if stream is not sys.stdin:
            time.sleep(arguments.interval)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("journal", help="file of -train_journal; -: standard input")
    parser.add_argument("--once", action="store_true", help="print once and stop")
    parser.add_argument("--interval", type=float, default=2, help="seconds between two looks at the file")
    arguments = parser.parse_args()
    try:
        if arguments.journal == "-":
            follow(sys.stdin, arguments)
        else:
            with open(arguments.journal, encoding="utf-8") as stream:
                follow(stream, arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os._exit(1)
    except OSError as error:
        sys.exit(f"watch: error: {arguments.journal}: {error.strerror}")
    except ValueError as error:
        sys.exit(f"watch: error: {arguments.journal}: {error}")


if __name__ == "__main__":
    main()
