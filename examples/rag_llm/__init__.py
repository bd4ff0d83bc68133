"""A retrieval-augmented app with a real language model and real embeddings, traced by mvtrace."""
