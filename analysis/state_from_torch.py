#!/usr/bin/python3
"""Turns a PyTorch state_dict into a Clarkia state file, and back (docs/formats.md, section "State").

  state_from_torch.py weights.pt weights.h5      # torch.save(net.state_dict(), "weights.pt") before
  state_from_torch.py weights.h5 weights.pt      # net.load_state_dict(torch.load("weights.pt")) after

Names and shapes are the same on both sides. Clarkia keeps double precision; the way back gives double precision too
unless --float is given. In a program of your own, the two functions below do the same.
"""
import argparse
import os
import sys

try:
    import h5py
    import torch
except ImportError as error:
    sys.exit(f"state_from_torch: error: this Python lacks {error.name}; Debian: apt-get install python3-h5py python3-torch, "
             "and run it with /usr/bin/python3")


STATE_ENDINGS = (".h5", ".hdf5")
TORCH_ENDINGS = (".pt", ".pth")


class BadFile(Exception):
    """A file that is not what its name or place says; the text says why."""


def write_state(state_dict, name):
    """A state_dict to the HDF5 file `name`."""
    with h5py.File(name, "w") as file:
        for key, tensor in state_dict.items():
            data = file.create_dataset(f"state/{key}", data=tensor.detach().double().cpu().numpy())
            data.attrs.update({"units": "1", "description": "from a PyTorch state_dict"})


def read_state(name, dtype=torch.float64):
    """The state_dict in the HDF5 file `name`."""
    with h5py.File(name, "r") as file:
        return {key: torch.from_numpy(data[...]).to(dtype) for key, data in file["state"].items()}


def load_torch(name):
    """The state_dict that torch.save() wrote, checked."""
    try:
        state = torch.load(name, map_location="cpu")
    except OSError:
        raise
    except Exception as error:  # unpickling may raise anything
        raise BadFile(f"{name} is no file of torch.save()") from error
    if not isinstance(state, dict) or not state or not all(isinstance(t, torch.Tensor) for t in state.values()):
        raise BadFile(f"{name} holds no state_dict (a dictionary of tensors); save net.state_dict()")
    return state


def load_state(name, dtype):
    """The state_dict of a state file, checked."""
    try:
        return read_state(name, dtype)
    except OSError as error:
        raise BadFile(f"{name}: {os.strerror(error.errno) if error.errno else 'is no HDF5 file'}") from error
    except (KeyError, AttributeError, TypeError) as error:
        raise BadFile(f"{name} is no state file: it has no group /state of tensors (docs/formats.md)") from error


def kind_of(name):
    """Which of the two a file name says."""
    if name.endswith(STATE_ENDINGS):
        return "state"
    if name.endswith(TORCH_ENDINGS):
        return "torch"
    raise BadFile(f"{name}: its ending says neither state file ({', '.join(STATE_ENDINGS)}) nor state_dict "
                  f"({', '.join(TORCH_ENDINGS)})")


def save(write, name):
    """write(temporary), then renamed: what has the name `name` is whole."""
    temporary = f"{name}.tmp{os.getpid()}"
    try:
        write(temporary)
        os.replace(temporary, name)
    except OSError as error:
        raise BadFile(f"{name} cannot be written: {os.strerror(error.errno) if error.errno else error}") from error
    except RuntimeError as error:  # how torch.save() says that the folder is missing
        raise BadFile(f"{name} cannot be written: {' '.join(str(error).split())}") from error
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def convert(source, target, dtype):
    """Either way, as the two endings say."""
    kinds = kind_of(source), kind_of(target)
    if kinds[0] == kinds[1]:
        raise BadFile(f"{source} and {target} are both names of a {'state file' if kinds[0] == 'state' else 'state_dict'}: "
                      "one of the two must be the other kind")
    if kinds[1] == "state":
        state = load_torch(source)
        save(lambda name: write_state(state, name), target)
    else:
        state = load_state(source, dtype)
        save(lambda name: torch.save(state, name), target)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="state_dict (.pt, .pth) or state file (.h5, .hdf5)")
    parser.add_argument("target", help="state file (.h5, .hdf5) or state_dict (.pt, .pth)")
    parser.add_argument("--float", action="store_true", help="single precision in the state_dict")
    arguments = parser.parse_args()
    try:
        convert(arguments.source, arguments.target, torch.float32 if arguments.float else torch.float64)
    except OSError as error:
        sys.exit(f"state_from_torch: error: {arguments.source}: {error.strerror or error}")
    except BadFile as error:
        sys.exit(f"state_from_torch: error: {error}")


if __name__ == "__main__":
    main()
