"""Modules that the fork server imports once, so that each training process has them from its start.

The compiler compiles with one thread, in the process that requests it: there are as many processes as cores, and its
own pool would start threads, which a fork does not survive. This module reads the processor's vector instructions:
torch would also compile and load a program for each kind, seconds on a cold cache, to see that the compiler knows them.
If the compiler does not know them, the benchmark of compiled strategies fails, and compiling is not selected.

Compiled programs are kept in the user's cache, which a restart does not empty. cuBLAS gets the workspace with which its
products are the same every time. Whether there is CUDA is asked of its driver's manager (NVML): the compiler asks when
it is imported, and who asks CUDA itself can fork no process that uses it.

Imported modules stay, so that Python need not look for cycles in them: not now (a second), not in the processes to
come, whose memory it would copy by that, and not at the end.
"""

import gc
import logging
import os

from adamcmp.execute.temp_dirs import compiled_programs_folder

gc.disable()
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
os.environ.setdefault("TORCHINDUCTOR_VEC_ISA_OK", "1")
if (programs := compiled_programs_folder()) is not None:
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(programs))

import torch._inductor.compile_fx  # noqa: E402  # brings torch._dynamo

import adamcmp.execute.worker  # noqa: E402

__all__ = ["adamcmp", "torch"]

# says on every first compilation that there is no CUDA, in the middle of the progress bar
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)

gc.freeze()
gc.enable()
