"""`python -m chiasm.cli`, for launchers that start modules instead of console scripts."""

from . import main

main()
