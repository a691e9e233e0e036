"""What is audited and what it is compared with: targets, safe loading, data, references."""
