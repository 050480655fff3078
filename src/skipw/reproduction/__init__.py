"""The paper's experiments on our own models: analyses, the paper's claims, and the report that answers them."""
