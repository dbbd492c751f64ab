"""How far ADVI stops from the optimum it is near: by optimiser, rate, draws and steps, and why PyMC's defaults stay away."""

QUESTION = "How far from its optimum does ADVI stop, and does a run know?"
TITLE = "How far off does ADVI stop?"
#: Place in the report.
CHAPTER = 65
