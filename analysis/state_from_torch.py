#!/usr/bin/python3
"""Turns a PyTorch state_dict into a Clarkia state file, and back (docs/formats.md, section "State").

  state_from_torch.py weights.pt weights.h5      # torch.save(net.state_dict(), "weights.pt") before
  state_from_torch.py weights.h5 weights.pt      # net.load_state_dict(torch.load("weights.pt")) after

Names and shapes are the same on both sides. Clarkia keeps double precision; the way back gives double precision too
unless --float is given. In a program of your own, the two functions below do the same.
"""
import argparse
import sys

try:
    import h5py
    import torch
except ImportError as error:
    sys.exit(f"state_from_torch: error: this Python lacks {error.name}; Debian: apt-get install python3-h5py python3-torch, "
             "and run it with /usr/bin/python3")


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="state_dict (.pt, .pth) or state file (.h5)")
    parser.add_argument("target", help="state file (.h5) or state_dict (.pt, .pth)")
    parser.add_argument("--float", action="store_true", help="single precision in the state_dict")
    arguments = parser.parse_args()
    try:
        if arguments.target.endswith(".h5"):
            state = torch.load(arguments.source, map_location="cpu")
            if not isinstance(state, dict) or not all(isinstance(t, torch.Tensor) for t in state.values()):
                sys.exit(f"state_from_torch: error: {arguments.source} holds no state_dict (a dictionary of tensors); save "
                         "net.state_dict()")
            write_state(state, arguments.target)
        else:
            torch.save(read_state(arguments.source, torch.float32 if arguments.float else torch.float64), arguments.target)
    except (OSError, KeyError) as error:
        sys.exit(f"state_from_torch: error: {arguments.source} to {arguments.target}: {error}")


if __name__ == "__main__":
    main()
