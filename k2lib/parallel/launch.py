"""Starts a parallel job on this machine and brings its result home: from a notebook, a script or a test."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TIMEOUT = 900  # seconds


def launch(mode: str, *, shards: Path | str, processes: int = 2, timeout: float = TIMEOUT, **job: object) -> dict:
    """Run `k2lib.parallel.job` and return {"losses": [...], "spans": [...]}; `job` holds the other keys of its JOB.json.

    RuntimeError with the end of the job's output if it fails or takes longer than `timeout` seconds. No process outlives it.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, described = Path(folder) / "result.json", Path(folder) / "job.json"
        whole = {"virtual": 1, "policy": {}} | job | {"mode": mode, "shards": str(shards), "out": str(out)}
        described.write_text(json.dumps(whole), encoding="utf-8")
        start = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
        start = [] if mode == "single" else start
        command = [sys.executable, *start, "-m", "k2lib.parallel.job", str(described)]
        environment = {"GLOO_SOCKET_IFNAME": "lo"} | os.environ
        environment |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "K2_DTYPE": "float32"}  # see the trainer
        piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        child = subprocess.Popen(command, env=environment, start_new_session=True, **piped)
        try:
            output, _ = child.communicate(timeout=timeout)
        except BaseException as error:
            os.killpg(child.pid, 9)
            child.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise RuntimeError(f"the {mode} job did not end within {timeout:g} seconds and was stopped") from None
            raise
        if child.returncode or not out.exists():
            errors = re.findall(r"^(?:\[rank\d+\]: )?(\w*(?:Error|Exception): .*)", output, re.MULTILINE)
            told = errors[0] if errors else f"its last lines:\n{output[-2000:]}"
            raise RuntimeError(f"the {mode} job failed with exit code {child.returncode}: {told}")
        written = sorted(out.parent.glob("result.json.spans*"))
        spans = [span for path in written for span in json.loads(path.read_text(encoding="utf-8"))]
        return json.loads(out.read_text(encoding="utf-8")) | {"spans": spans}
