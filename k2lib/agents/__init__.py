"""Agents that use tools: the worlds the tools act on, tasks with a goal, simulated users, conversations, and their judge."""
