"""Posteriors with several modes: forward KL from the draws of samplers, reverse KL by ADVI, and the exact answer beside both."""

QUESTION = "What do both directions report of a posterior with two modes, and what does a sampler?"
TITLE = "Posteriors with several modes"
#: Place in the report.
CHAPTER = 80
