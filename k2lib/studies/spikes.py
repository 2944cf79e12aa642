"""Was a training free of loss spikes? The paper says so of its run by eye (Fig. 3); this is a stated rule for the same."""

import torch


def count_spikes(losses: list[float], window: int = 50, deviations: float = 6.0) -> int:
    """Steps whose loss exceeds the running median of the last `window` losses by `deviations` median deviations.

    A step within an ongoing spike is counted too.
    """
    count = 0
    for i in range(window, len(losses)):
        recent = torch.tensor(losses[i - window : i], dtype=torch.float64)
        median = recent.median()
        spread = (recent - median).abs().median() * 1.4826
        count += bool(losses[i] > median + deviations * spread)
    return count
