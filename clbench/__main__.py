"""``python -m clbench`` is ``clbench``."""

from clbench.cli import main

main()
