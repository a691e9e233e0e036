"""Reference models, each small and readable."""
