"""Measurements: this server, its peers and the kernel's limit in one run. README.md tells how to read them."""
