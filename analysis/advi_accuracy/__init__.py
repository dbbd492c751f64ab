"""How far ADVI stops from the optimum it is near: by optimiser, rate, draws and steps, and why PyMC's defaults stay away."""

QUESTION = (
    "How far from its exact optimum does ADVI stop, in nats, mean and standard deviation, what does it cost to come "
    "closer, and can its own evidence be trusted?"
)
TITLE = "How far does ADVI stop from its optimum?"
#: Place in the report.
CHAPTER = 65
