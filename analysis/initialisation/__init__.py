"""Basins of attraction of reverse KL: where exact descent ends from each start, and where ADVI does."""

QUESTION = "Which starts lead ADVI to which minimum of reverse KL?"
TITLE = "Where a run starts, and ends"
#: Place in the report.
CHAPTER = 60
