"""Libraries that are observed without being told: one module each, turned on by ``instrument``."""
