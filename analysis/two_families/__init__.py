"""Which of two families is better, and what data can say about it: model choice as a difference of forward KL."""

QUESTION = "Given two families, which one is closer to the target in forward KL, and can data alone tell?"
TITLE = "Two families: the closer one is the better one"
#: Place in the report.
CHAPTER = 30
