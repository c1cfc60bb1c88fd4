"""Pack records into a bundle that strangers can check, and check bundles by reading and re-running them."""
