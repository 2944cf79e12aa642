"""Rewards: plain callables from a parsed assistant turn to a number in [0, 1], one family a file.

None says that the check itself could not be made (a broken environment): such a sample leaves the loss, it is not a failure.
"""

from k2lib.rl.rewards.mathematics import Mathematics
from k2lib.rl.rewards.tool_use import ToolUse

__all__ = ["Mathematics", "ToolUse"]
