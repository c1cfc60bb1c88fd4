"""Which records may be compared, and how they are grouped."""
