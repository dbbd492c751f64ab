"""``python -m analysis.own_data FILE``: the same as ``duality data FILE``."""

import sys

from analysis.command.entry import main

main(["data", *sys.argv[1:]])
