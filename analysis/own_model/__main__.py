"""``python -m analysis.own_model FILE.py:FUNCTION``: the same as ``duality model FILE.py:FUNCTION``."""

import sys

from analysis.command.entry import main

main(["model", *sys.argv[1:]])
