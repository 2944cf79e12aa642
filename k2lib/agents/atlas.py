"""A map of tools, as the paper's Figure 9: near each other stand those whose words are alike (t-SNE over TF-IDF).

The paper embeds its tools with a model; the words of a description do for a few hundred, and need none.
"""

import json
import re

from k2lib.agents import leaderboard
from k2lib.agents.domains import domains
from k2lib.agents.evolution import distinct
from k2lib.agents.tasks import Application
from k2lib.llm import get

REAL = 500  # tools of the leaderboard that are drawn, of those that there are


def synthetic() -> dict[str, list[dict]]:
    """{category: specifications}, each tool of every bundled application once."""
    found: dict[str, list[dict]] = {}
    for domain in domains().values():
        tools = {action.replace(" ", "_"): action for action in domain.actions}
        found.setdefault(domain.category, []).extend(Application(domain.name, domain, tools).specs)
    return found


def real() -> list[dict]:
    """The leaderboard's specifications without near duplicates, where `k2 get bfcl` has brought them; none elsewhere."""
    return distinct(leaderboard.tools())[0] if get.have("bfcl") else []


def placed(specs: list[dict], seed: int = 0) -> list[list[float]]:
    """[x, y] of each specification. RuntimeError without scikit-learn."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise RuntimeError("the map of tools needs scikit-learn: pip install 'k2lib[notebooks]'") from error
    vectors = TfidfVectorizer(sublinear_tf=True, stop_words="english").fit_transform(map(_text, specs))
    near = min(30.0, (len(specs) - 1) / 3)
    return (
        TSNE(perplexity=near, metric="cosine", init="random", random_state=seed)
        .fit_transform(vectors.toarray())
        .tolist()
    )


def _text(spec: dict) -> str:
    """Name, description and parameters, as words."""
    function = spec["function"]
    words = f"{function['name']} {function['description']} {json.dumps(function['parameters'].get('properties', {}))}"
    return re.sub(r"[^A-Za-z]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", words))
