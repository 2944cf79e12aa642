"""Starts a parallel job on this machine and brings its result home: from a notebook, a script or a test."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TIMEOUT = 900  # seconds


def launch(
    mode: str,
    *,
    config: dict,
    steps: int,
    batch_size: int,
    seq_len: int,
    microbatches: int,
    lr: float,
    seed: int,
    shards: Path | str,
    processes: int = 2,
    virtual: int = 1,
    timeout: float = TIMEOUT,
) -> dict:
    """Run `k2lib.parallel.train` and return {"losses": [...], "spans": [...]}.

    RuntimeError with the end of the job's output if it fails or takes longer than `timeout` seconds. No process outlives it.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, job = Path(folder) / "result.json", Path(folder) / "job.json"
        job.write_text(
            json.dumps(
                {
                    "mode": mode,
                    "config": config,
                    "steps": steps,
                    "batch_size": batch_size,
                    "seq_len": seq_len,
                    "lr": lr,
                    "seed": seed,
                    "microbatches": microbatches,
                    "virtual": virtual,
                    "shards": str(shards),
                    "out": str(out),
                }
            ),
            encoding="utf-8",
        )
        processes = 1 if mode == "single" else processes
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node",
            str(processes),
            "-m",
            "k2lib.parallel.train",
            str(job),
        ]
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", "lo"),
        }
        child = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            start_new_session=True,
        )
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
        spans = [
            span for path in sorted(out.parent.glob("result.json.spans*")) for span in json.loads(path.read_text())
        ]
        return json.loads(out.read_text()) | {"spans": spans}
