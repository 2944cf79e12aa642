"""Synthesis: rephrased knowledge, and tools, agents, tasks and trajectories for agentic training (sections 2.2 and 3.1)."""
