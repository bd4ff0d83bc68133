"""Whether outputs that were run again come from the distribution that was recorded."""
