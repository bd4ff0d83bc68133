"""One story from raw data to retention: three branches, a leak, an incident, an explanation."""
