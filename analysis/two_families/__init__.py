"""Which of two families is better, and what data can say about it: model choice as a difference of forward KL."""

QUESTION = "Which of two families is closer to the target, and can data tell?"
TITLE = "Two families: the closer one wins"
#: Place in the report.
CHAPTER = 30
