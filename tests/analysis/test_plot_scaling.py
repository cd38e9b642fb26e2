"""plot_scaling.py against times made up from a known law. Usage: test_plot_scaling.py <analysis folder>"""
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np

script = os.path.join(sys.argv[1], "plot_scaling.py")
folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)


def write(name, ranks, samples, seconds):
    with h5py.File(name, "w") as file:
        file.attrs["ranks"] = ranks
        for key, work, operations in (("diffusion_product", samples, 0.0), ("dgemm", 0.0, 1e9 * ranks)):
            data = file.create_dataset(f"/bench/{key}", data=np.array(seconds))
            data.attrs.update(samples=float(work), products=1.0, operations=operations, description=key)


def run(*arguments):
    return subprocess.run([sys.executable, "-B", script, *arguments], capture_output=True, text=True, check=False)


def check(condition, words):
    if not condition:
        sys.exit(f"FAILED: {words}")


def efficiency(text, ranks):
    lines = [line for line in text.splitlines() if line.startswith("diffusion_product")]
    row = [line.split() for line in lines if f" {ranks} ranks" in line]
    check(len(row) == 1, f"one row for {ranks} ranks in {text}")
    return float(row[0][-1])


# strong: t = 8/P + 0.5, base 2 ranks: efficiency(P) = (2 t(2))/(P t(P)); medians of two files, one of them an outlier
for ranks in (2, 4, 8):
    time = 8 / ranks + 0.5
    write(f"s{ranks}a.h5", ranks, 1024, [time, time, 10 * time])
    write(f"s{ranks}b.h5", ranks, 1024, [time, time, time / 2])
strong = [f"s{ranks}{which}.h5" for ranks in (2, 4, 8) for which in "ab"]
said = run(*strong, "--output", "strong.png")
check(said.returncode == 0, said.stderr)
check(os.path.getsize("strong.png") > 10000, "a picture")
for ranks in (2, 4, 8):
    wanted = 2 * (8 / 2 + 0.5) / (ranks * (8 / ranks + 0.5))
    check(abs(efficiency(said.stdout, ranks) - wanted) < 6e-4, f"efficiency of {ranks} ranks in {said.stdout}")
check("dgemm" not in said.stdout, "pieces without samples are left out unless asked for")
check(run(*strong, "--task", "dgemm", "--output", "gemm.svg").returncode == 0, "dgemm when asked for, a weak study")

check("predicted" not in said.stdout, "a prediction that no file has")

# the prediction of the file of most ranks is drawn, where it is for this work and this piece
for samples, drawn in ((1024, True), (50, False)):
    with h5py.File("s8a.h5", "a") as file:
        if "prediction" in file:
            del file["prediction"]
        group = file.create_group("prediction")
        group.attrs.update(task="diffusion_product", samples=samples, products=1.0)
        ranks = np.array([1, 2, 4, 8, 64])
        time = 8 / ranks + 0.5
        group.update({"ranks": ranks, "seconds": time, "efficiency": time[0] / (ranks * time)})
    said = run(*strong, "--output", "strong.png")
    check(said.returncode == 0, said.stderr)
    lines = [line.split() for line in said.stdout.splitlines() if "predicted" in line]
    check(len(lines) == (5 if drawn else 0), f"a line for each predicted number of ranks: {said.stdout}")
    if drawn:  # relative to the smallest number of ranks that was measured, 2
        check(abs(float(lines[-1][-1]) - 2 * 4.5 / (64 * (8 / 64 + 0.5))) < 6e-4, f"efficiency of 64 ranks: {lines[-1]}")
        check(abs(float(lines[-1][4]) - 0.625) < 1e-6, f"seconds of 64 ranks: {lines[-1]}")

# weak: work in proportion to the ranks, t = 1 + 0.25 log2 P
for ranks in (1, 4):
    write(f"w{ranks}.h5", ranks, 100 * ranks, [1 + 0.25 * np.log2(ranks)])
said = run("w1.h5", "w4.h5", "--output", "weak.png")
check(said.returncode == 0 and abs(efficiency(said.stdout, 4) - 1 / 1.5) < 6e-4, said.stdout + said.stderr)

# what is refused, and says why
write("odd.h5", 4, 300, [1.0])
write("zero.h5", 4, 100, [0.0])
open("text.h5", "w", encoding="utf-8").write("no HDF5")
for words, *arguments in (("neither the same", "w1.h5", "odd.h5"), ("another file has", "w4.h5", "odd.h5"),
                          ("two numbers of ranks", "w1.h5"), ("not positive", "w1.h5", "zero.h5"),
                          ("text.h5", "text.h5"), ("no file has it", "w1.h5", "w4.h5", "--task", "nothing"),
                          ("bad.xyz", "w1.h5", "w4.h5", "--output", "bad.xyz")):
    if "--output" not in arguments:
        arguments += ["--output", "refused.png"]
    said = run(*arguments)
    check(said.returncode != 0 and "Traceback" not in said.stderr, f"{arguments}: {said.stderr}")
    check(words in said.stderr or words == "bad.xyz", f"'{words}' is not in: {said.stderr}")
    check(not os.path.exists("refused.png"), f"a picture after {arguments}")
print("all fine")
