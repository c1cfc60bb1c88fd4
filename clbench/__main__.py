"""The program ``python -m clbench``, which is the command ``clbench``."""

from clbench.cli import main

main()
