"""What notebook 00 shows: the machine, the shape of the model, what it answered, the claims."""

from k2lib.config import K2Config
from k2lib.publish import table
from k2lib.report import results, show


def show_machine(rows: dict[str, str]) -> None:
    """The machine as a small table."""
    _markdown("| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in rows.items()))


def show_answers() -> None:
    """What the committed run of notebook 08 answered at each age, or that it was not asked."""
    _, ledger = results.published("08_evaluation")
    if "answers" not in ledger.measured:
        print("the committed run of notebook 08 is older than these questions")
        return
    show.origin(ledger)
    show.answers(ledger.measured["answers"]["value"], ["base", "SFT", "RL"])


def show_claims() -> None:
    """Every claim with the paper's number, the rule that judges it, and its strongest committed result, as Markdown."""
    _markdown(table.markdown(link=""))


def show_needs(sizes: dict[str, dict[str, float]]) -> None:
    """A table of the seconds that each notebook is expected to take: {profile: {notebook: seconds}}."""
    lines = ["| | " + " | ".join(sizes) + " |", "|---|" + "--:|" * len(sizes)]
    for name in next(iter(sizes.values())):
        lines.append(f"| {name} | " + " | ".join(_minutes(found[name]) for found in sizes.values()) + " |")
    together = [f"**{_minutes(sum(found.values()))}**" for found in sizes.values()]
    _markdown("\n".join([*lines, "| together | " + " | ".join(together) + " |"]))


def show_shape(config: K2Config) -> None:
    """A table of the dimensions of this profile's model beside the released K2's."""
    released = K2Config.preset("kimi-k2")
    fields = {
        "layers": "num_hidden_layers",
        "width": "hidden_size",
        "heads": "num_attention_heads",
        "query latent": "q_lora_rank",
        "key-value latent": "kv_lora_rank",
        "experts": "n_routed_experts",
        "active experts": "num_experts_per_tok",
        "expert width": "moe_intermediate_size",
        "vocabulary": "vocab_size",
    }
    lines = [f"| {title} | {getattr(config, name):,} | {getattr(released, name):,} |" for title, name in fields.items()]
    _markdown("\n".join(["| | this profile | Kimi K2 |", "|---|--:|--:|", *lines]))


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _markdown(text: str) -> None:
    from IPython.display import Markdown, display

    display(Markdown(text))
