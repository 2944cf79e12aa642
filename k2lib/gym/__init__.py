"""Problems that a program can check, one object each: fine-tuning learns its demonstration, RL and evaluation play its episode.

One family a file; `mixture` draws from them, `play` lets a model play many episodes at once.
"""
