"""Synthesised text: knowledge rephrased in many styles, and the check that every rewrite is faithful (section 2.2)."""
