"""The control tokens of K2's released template, and what a call's id looks like (Appendix B)."""

import re

SECTION_BEGIN, SECTION_END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
CALL_BEGIN, ARGUMENTS_BEGIN, CALL_END = "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"
MIDDLE, END = "<|im_middle|>", "<|im_end|>"
CALL_ID = re.compile(r"functions\.([A-Za-z0-9_.\-]{1,64}):(\d{1,6})")
THINK_BEGIN, THINK_END = "<think>", "</think>"  # text, no control tokens: what stands between them is no answer
