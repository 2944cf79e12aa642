"""What the project shows of its runs: the report of one, README's table and picture, the overview in notebook 00."""
