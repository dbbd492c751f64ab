"""Posteriors that nobody here wrote: ADVI in several forms against long runs of Stan."""

QUESTION = "How far off is ADVI on posteriors that others chose, and what mends it?"
TITLE = "Posteriors that others chose"
#: Place in the report.
CHAPTER = 85
