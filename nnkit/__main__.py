"""`python -m nnkit`."""

from runpy import run_module

if __name__ == "__main__":
    run_module("nnkit.cli", run_name="__main__", alter_sys=True)
