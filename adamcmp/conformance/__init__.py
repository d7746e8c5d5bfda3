"""Other libraries' optimizers held against adamcmp's: who follows which convention, and how far the updates differ.

``problems`` makes gradients, ``peers`` has one file a library, which ``worker`` runs in a process of its own, ``ours``
takes the same steps by adamcmp's kernels under every convention, and ``fit`` says which of them a peer follows. What is
said of a library is found so, and nowhere assumed.
"""
