"""Training: one loop, one batch layout, one checkpoint layout for pre-training, fine-tuning and the studies."""

from k2lib.train.batch import Batch
from k2lib.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from k2lib.train.loop import StepRecord, train
from k2lib.train.snapshot import Snapshot

__all__ = ["Batch", "Checkpoint", "Snapshot", "StepRecord", "load_checkpoint", "save_checkpoint", "train"]
