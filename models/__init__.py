"""What is fitted, and the truth about it: targets, families, divergences, exact projections and PyMC fits.

Nothing here plots, prints or knows of the command line; ``analysis`` builds on ``models``, never the reverse.
"""
