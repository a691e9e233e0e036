"""What a language model prefers to say of whom."""
