"""One model's life, stage by stage: corpus → base → SFT → RL. Each result is computed once and found by whoever needs it.

A stage that is missing is computed by the first that asks, under a lock, and stored under `artifacts/store/`; so every
notebook runs alone, in any order. What a stage depends on (sizes, seed, the code that makes it, the stage before it) is in
its key: change one and the stage is made again. A training that was killed continues from its last snapshot.
"""

from k2lib.stages.arms import ARMS, arm, untouched
from k2lib.stages.base import base
from k2lib.stages.corpus import corpus
from k2lib.stages.real import real_rewrites
from k2lib.stages.rl import rl
from k2lib.stages.rl_arms import RL_ARMS, rl_arm
from k2lib.stages.rl_critic import rl_critic
from k2lib.stages.rl_exam import rl_exam
from k2lib.stages.sft import sft
from k2lib.stages.sft_data import sft_data
from k2lib.stages.studies import study
from k2lib.stages.training import config
from k2lib.stages.warmup import LEARNED, warmed_up

__all__ = [
    "ARMS", "LEARNED", "RL_ARMS", "arm", "base", "config", "corpus", "real_rewrites", "rl", "rl_arm", "rl_critic", "rl_exam", "sft",
    "sft_data", "study", "untouched", "warmed_up",
]  # fmt: skip
