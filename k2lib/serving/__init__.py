"""A checkpoint as an OpenAI-compatible endpoint: `k2 serve`."""
