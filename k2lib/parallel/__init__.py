"""Parallel training on torch.distributed: pipeline stages, expert parallelism, a launcher, and the plan for 256 GPUs."""
