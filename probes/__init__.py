"""What is asked of a model: one folder a family, one file a question."""
