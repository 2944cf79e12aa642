"""What the notebooks measure: one file a notebook, functions of profile, seed and progress that give plain numbers.

A page calls them through `b.measure`, which keeps what they give; drawing it needs nothing else.
"""
