"""Tables into samples, and the bundled data sets."""
