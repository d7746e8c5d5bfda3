"""Update rules as pure functions: no configuration, no loop, no state of their own.

``decay`` says where λθ enters and converts λ between conventions; ``adaptive`` holds Adam's family, ``momentum``
SGD's, each an in-place kernel on tensors with an optional leading run axis; ``schedules`` rolls out η_t.
"""
