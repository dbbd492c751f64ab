"""What the diagnostics of an approximation say when it has missed a mode, and how local fits are put together again."""

QUESTION = "Can an approximation tell that it has missed a mode, and what repairs it?"
TITLE = "What did the approximation miss?"
#: Place in the report.
CHAPTER = 75
