"""A metric of one's own: how sure the model is of what it says, on average."""


def confidence(logits):
    return logits.softmax(-1).amax(-1).mean()
