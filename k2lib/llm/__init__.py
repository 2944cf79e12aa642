"""Language models behind one protocol, and the chat format they speak."""
