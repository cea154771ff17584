import platform
import subprocess
import sys

import pytest

FAULTS_OF_THE_SECOND_BLOCK = """
import resource, sys
import numpy as np
from stap.commands.shared.memory import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
np.ones(8 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(8 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_a_freed_block_serves_the_next() -> None:
    def faults(how: str) -> int:
        return int(subprocess.check_output([sys.executable, "-c", FAULTS_OF_THE_SECOND_BLOCK, how]))

    assert faults("keep") < 0.1 * faults("give back")
