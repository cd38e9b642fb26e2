"""Training that is killed, stopped, or short of disk: what was flushed is right, and what goes on from the checkpoint
ends with the bits of the run in one piece: weights, trajectory, reports.

usage: test_restart.py CLARKIA MPIEXEC FLAG RANKS KILLS
"""
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np

clarkia, mpiexec, flag, ranks, kills = sys.argv[1:4] + [int(word) for word in sys.argv[4:6]]
# batch norm, momentum and a ragged last batch: whatever is not kept shows; update by update, and many at a time (onednn)
problem = ["-data", "synthetic", "-data_shape", "1,6,6", "-data_classes", "3", "-data_separation", "0.1", "-net",
           "small-fc", "-engine", "reference" if ranks == 1 else "onednn", "-dynamics_batch", "32", "-dynamics_momentum", "0.9", "-dynamics_rate",
           "0.01"]
epochs = 40 if ranks == 1 else 12  # ranks in step are slow where cores are few
length = ["-data_count", "300", "-dynamics_epochs", str(epochs)]
longer = str(epochs + 2)
record = ["-record", "run.traj", "-record_unit", "updates", "-record_every", "7", "-record_measure", "loss,gradient,test"]
keep = ["-train_checkpoint", "run.ck"]
task = ["train", *problem, *length, *record, "-output", "run.h5"]


def command(n, arguments):
    return [*([mpiexec, flag, str(n)] if n > 1 else []), clarkia, *arguments]


def start(*arguments, n=ranks, **how):
    return subprocess.Popen(command(n, arguments), text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **how)


def run(*arguments, n=ranks, code=0, **how):
    process = start(*arguments, n=n, **how)
    out, err = process.communicate()
    if process.returncode != code:
        sys.exit(f"exit code {process.returncode}, not {code}: {' '.join(arguments)}\n{out}{err}")
    return out, err


def refused(*words, arguments):
    process = start(*arguments)
    out, err = process.communicate()
    message = [line for line in err.splitlines() if line.startswith("clarkia: error: ")]
    assert process.returncode and len(message) == 1, f"{arguments}: {out}{err}"
    for word in words:
        assert word in message[0], f"'{word}' is not in: {message[0]}"
    return out


def newer(moment, *names):
    return any(os.path.exists(name) and os.path.getmtime(name) > moment for name in names)


def remove(*names):
    for name in names or [name for name in os.listdir(".") if name.startswith("run.")]:
        if os.path.exists(name):
            os.remove(name)


def datasets(name):
    found = {}
    with h5py.File(name) as file:
        file.visititems(lambda path, item: found.update({path: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def reports(out):
    """Lines of the epochs, without times."""
    return {line: text for line, text in re.findall(r"(epoch \d+/\d+)(  loss .*?  rate \S+)", out)}


def check_results(whole, whole_reports, out=None):
    for name in "run.traj", "run.h5":
        got = datasets(name)
        assert got.keys() == whole[name].keys()
        for path, numbers in got.items():
            assert numbers.dtype == whole[name][path].dtype
            assert numbers.tobytes() == whole[name][path].tobytes(), f"{name}: {path} differs"
    if out is not None:
        for line, text in reports(out).items():
            assert whole_reports[line] == text, f"{line}: {text}, but {whole_reports[line]}"
        assert not os.path.exists("run.traj.part")


def check_part(whole):
    """What is counted is there, in the file of a run that was killed."""
    with h5py.File("run.traj.part") as file:
        count = int(file["recorded"][0])
        for path, numbers in whole["run.traj"].items():
            if path not in ("columns", "recorded"):
                assert file[path][:count].tobytes() == numbers[:count].tobytes(), f"{path} of the first {count}"
    return count


def kill_ranks(process):
    """Of the launcher's children the ranks alone, so that it still cleans up; without it, the process itself."""
    victims = [process.pid]
    if ranks > 1:
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
            victims = [int(word) for word in file.read().split()]
    for victim in victims:
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            pass


def killed_at_random_moments(whole, whole_reports, seconds):
    """seconds: what training itself takes. Every fifth kill may come before it begins. On a busy machine a kill may come
    too late: more follow until a run has been cut off and has gone on."""
    moments, resumed, parts, snapshots, kill = random.Random(1), 0, 0, 0, 0
    often = [*keep, "-train_checkpoint_interval", "0.002", "-record_flush", "0.002"]
    remove()
    while kill < kills or (kill < kills + 40 and not (parts and resumed and snapshots)):
        kill += 1
        began = time.time()
        process = start(*task, *often)
        while kill % 5 != 0 and process.poll() is None and not newer(began, "run.traj.part", "run.traj"):
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 1) * seconds)
        kill_ranks(process)
        out, _ = process.communicate()
        resumed += "going on from run.ck" in out
        for line, text in reports(out).items():
            assert whole_reports[line] == text, f"{line}: {text}, but {whole_reports[line]}"
        if os.path.exists("run.traj.part"):
            parts += 1
            snapshots += check_part(whole)
        if os.path.exists("run.h5"):
            check_results(whole, whole_reports)
            remove()
    out, _ = run(*task, *often)
    check_results(whole, whole_reports, out)
    print(f"{kill} kills: {parts} unfinished files with {snapshots} right snapshots, gone on with {resumed} times")
    assert parts > 0 and resumed > 0 and snapshots > 0, "nothing was tested"


def stopped_in_order(whole, whole_reports):
    """Signals, the time limit, the stop file: exit code 85, no result, the same command goes on; also on other ranks."""
    others = 3 - ranks if ranks < 3 else 1
    for how in "time", "SIGUSR1", "SIGTERM", "file":
        if how == "SIGTERM" and ranks > 1:
            continue  # the launcher kills its ranks
        remove()
        if how == "time":
            _, err = run(*task, *keep, "-max_seconds", "0.001", code=85)
        else:
            # an update at a time goes to the disk, so that the run lasts
            process = start(*task, *keep, "-train_checkpoint_interval", "0", "-stop_file", "run.stop")
            while not os.path.exists("run.ck") and process.poll() is None:
                time.sleep(0.005)
            if how == "file":
                open("run.stop", "w").close()
            else:
                os.kill(process.pid, getattr(signal, how))
            _, err = process.communicate()
            if process.returncode == 0:  # it was over before
                check_results(whole, whole_reports)
                continue
            assert process.returncode == 85, f"{how}: {process.returncode} {err}"
        assert "clarkia: error: stopped (" in err and not os.path.exists("run.h5") and not os.path.exists("run.traj"), err
        check_part(whole)
        out, _ = run(*task, *keep, n=others)
        assert "going on from run.ck" in out
        check_results(whole, whole_reports, out)


def a_longer_run(whole):
    """The end of one run is a place to go on from: more epochs, and a trajectory with more snapshots."""
    remove()
    shorter = [*problem, "-data_count", "300", "-dynamics_epochs", str(epochs // 2), *record, "-output", "run.h5"]
    run("train", *shorter, *keep)
    out, _ = run(*task, *keep)
    assert "going on from run.ck" in out
    check_results(whole, reports(out), out)
    out, _ = run(*task, *keep)  # nothing is left to do
    check_results(whole, {})


def replicas_go_on():
    """Coupled replicas, on one rank or a rank each, then the other way round."""
    some = [*task, "-dynamics_epochs", "4", "-dynamics_type", "parle", "-dynamics_replicas", "2", "-dynamics_inner", "4"]
    remove()
    out, _ = run(*some)
    whole = {name: datasets(name) for name in ("run.traj", "run.h5")}
    assert whole["run.traj"]["weights"].shape[1] == whole["run.traj"]["loss"].shape[1] == 2
    assert (whole["run.traj"]["loss"][-1, 0] != whole["run.traj"]["loss"][-1, 1])
    remove()
    run(*some, *keep, "-max_seconds", "0.001", code=85)
    again, _ = run(*some, *keep, n=3 - ranks)
    assert "going on from run.ck" in again
    check_results(whole, reports(out), again)


def others_are_refused():
    """run.ck is that of the whole run."""
    start_over = [
        ("network is 'small-fc' there", ["-net", "tiny-fc", "-train_checkpoint", "run.ck"]),
        ("data_checksum is", ["-data_separation", "0.2", *keep]),
        ("schedule is '0.01' there and '0.02' here", ["-dynamics_rate", "0.02", *keep]),
        ("momentum 0.9", ["-dynamics_momentum", "0.8", *keep]),
        ("batch is '32' there and '30' here", ["-dynamics_batch", "30", *keep]),
        ("trajectory is", ["-record_every", "8", *keep]),
    ]
    for words, options in start_over:
        before = open("run.ck", "rb").read()
        refused("run.ck is of another run", words, arguments=[*task, *options])
        assert open("run.ck", "rb").read() == before
    out, _ = run(*task, *keep, "-dynamics_rate", "0.02", "-dynamics_epochs", longer, "-train_checkpoint_force")
    assert "schedule was '0.01' and is '0.02' from here on" in out and f"epoch {longer}/{longer}" in out
    refused("run.ck is of another run", "columns 2691", "columns 675",
            arguments=[*task, *keep, "-net", "tiny-fc", "-train_checkpoint_force"])


def damage_is_refused():
    """A bit in the middle, in the seal, in the first bytes; a truncated file; a file of another kind."""
    good = open("run.ck", "rb").read()
    for place in 3, len(good) // 2, len(good) - 5:
        bad = bytearray(good)
        bad[place] ^= 1 << (place % 8)
        with open("run.ck", "wb") as file:
            file.write(bad)
        refused("run.ck is damaged", arguments=[*task, *keep])
    with open("run.ck", "wb") as file:
        file.write(good[:-100])
    refused("run.ck is damaged", arguments=[*task, *keep])
    shutil.copy("run.h5", "run.ck")
    refused("run.ck is damaged, or is no file of this kind", arguments=[*task, *keep])
    remove("run.ck")
    assert os.path.exists("run.ck.1")  # kept: the run goes on from that
    out, _ = run(*task, *keep, "-dynamics_epochs", longer, "-train_checkpoint_force", "-dynamics_rate", "0.02")
    assert "going on from run.ck.1" in out


def divergence_is_told():
    remove()
    out = refused("if training diverges", arguments=[*task, *keep, "-train_checkpoint_interval", "0", "-dynamics_rate",
                                                     "1e30"])
    assert re.search(r"the run ended in update \d+, batch \d+ of epoch 1", out), out
    assert re.search(r"the last good checkpoint is run.ck, after update \d+|there is no checkpoint yet", out), out
    assert not os.path.exists("run.h5") and not os.path.exists("run.traj")


def full_disks_are_errors(whole):
    """No file may grow beyond a limit: at the start, and while the run goes on. One process: MPI has files too."""
    remove()
    large = 40_000_000  # more than MPI's own files take; the trajectory would have 86 MB
    process = start(*task, "-record_every", "1", "-dynamics_epochs", "400", n=1, restore_signals=False,
                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (large, resource.RLIM_INFINITY)))
    out, err = process.communicate()
    assert process.returncode and "clarkia: error: run.traj.part: cannot be written" in err, out + err
    assert not os.path.exists("run.traj.part") and not [name for name in os.listdir(".") if ".tmp-" in name]
    process = start(*task, "-record_flush", "0", n=1, restore_signals=False)
    while not os.path.exists("run.traj.part") and process.poll() is None:
        time.sleep(0.001)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    out, err = process.communicate()
    if process.returncode == 0:
        check_results(whole, reports(out))
    else:
        assert "run.traj.part" in err and "cannot be written" in err and err.count("clarkia: error: ") == 1, err
        check_part(whole)


def main():
    remove()
    out, _ = run(*task)
    took = re.search(r"time +([0-9.]+) (ms|s) ", out)
    seconds = float(took[1]) / (1000 if took[2] == "ms" else 1) if took else 60
    whole = {name: datasets(name) for name in ("run.traj", "run.h5")}
    whole_reports = reports(out)
    assert whole["run.traj"]["step"][-1] == 10 * epochs // 7 * 7 and len(whole_reports) == epochs
    assert np.isfinite(whole["run.traj"]["gradient_norm"]).all() and np.isnan(whole["run.traj"]["noise_trace"]).all()
    killed_at_random_moments(whole, whole_reports, seconds)
    if kills > 12:
        return
    stopped_in_order(whole, whole_reports)
    replicas_go_on()
    a_longer_run(whole)
    others_are_refused()
    damage_is_refused()
    divergence_is_told()
    if ranks == 1:
        full_disks_are_errors(whole)


# in memory where possible: files are synced to the disk, which may be busy
folder = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None)
try:
    os.chdir(folder)
    main()
finally:
    os.chdir("/")
    shutil.rmtree(folder)
