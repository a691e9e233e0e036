"""Neural networks as references: architectures rebuilt from their settings, and what they take in and give out."""
