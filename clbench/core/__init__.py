"""The vocabulary of all rooms: streams, records and their storage, random numbers, errors, registries, checksums."""
