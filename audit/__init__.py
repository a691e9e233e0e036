"""The spine: what an audit is."""
