"""Small controlled measurements, one question a file: the same model, data and seeds, one thing changed."""
