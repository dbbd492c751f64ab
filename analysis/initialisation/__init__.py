"""Basins of attraction of reverse KL: where exact descent ends from each start, and where ADVI does."""

QUESTION = (
    "Which starts lead ADVI to which minimum of reverse KL, and are they the starts that exact descent would say?"
)
TITLE = "Where a run starts, and where it ends"
#: Place in the report.
CHAPTER = 60
