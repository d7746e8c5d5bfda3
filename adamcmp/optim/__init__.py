"""Update rules, decay conventions and learning-rate schedules: no configuration files, no loop.

``rule`` says what an update rule is, and does what all rules have in common; ``rules`` has one file a rule;
``decay`` says where λθ enters and converts λ between conventions; ``schedules`` rolls out η_t. Nothing here imports
torch: kernels work on methods of the tensors that they are given.
"""
