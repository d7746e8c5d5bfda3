"""Models: one family a file, each an `nn.Module` with torch's default initialization.

Every model takes ``input_shape`` (of one example) and ``num_classes`` first, which the program fills in from the data,
then its own sizes, all by keyword. The forward pass maps x_BI to logits_BC, branches on no value and, but for batch
norm's running averages, changes no state of the module, so that ``functional_call`` and ``vmap`` can train many copies
at once. A new model is one module and one YAML under ``configs/model/``; nothing here lists them.
"""
