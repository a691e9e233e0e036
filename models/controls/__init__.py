"""Models with a planted defect of known size, and their clean twins: what a probe must read right first."""
