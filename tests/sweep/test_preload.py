"""A process that trials are forked from has imported what they need, so that no trial does so for itself."""

import ast
import subprocess
import sys

_TRIAL = """
import sys
import nnkit.sweep.preload
import nnkit.analysis.report.ending, nnkit.api
before = set(sys.modules)
words = ["data=iris", "model=mlp_small", "trainer.max_steps=1", "logger=[]", "report=false", "trainer.num_threads=1"]
nnkit.api.train(words, show=False)
print(sorted(set(sys.modules) - before))
"""


def test_a_trial_imports_next_to_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _TRIAL], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    new = ast.literal_eval(done.stdout.splitlines()[-1])
    assert len(new) < 10, new
    assert not [name for name in new if name.startswith(("pandas", "pyarrow", "nnkit", "lightning"))]
